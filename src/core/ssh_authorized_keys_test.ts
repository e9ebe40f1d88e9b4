import assert from "node:assert/strict";
import fc from "fast-check";
import { softwareKey } from "../../tests/ssh_keys.ts";
import { SSH_KEY_TYPES } from "./ssh_algorithm.ts";
import { parseAuthorizedKeys } from "./ssh_authorized_keys.ts";
import { NO_KEY_OPTIONS } from "./ssh_key_options.ts";

const { publicKey } = softwareKey("ssh-ed25519");
const KEY = `ssh-ed25519 ${publicKey.base64}`;

/** Line, options and comment of each key; line and reason of each refusal. */
function read(text: string, options = {}) {
  const { keys, refused } = parseAuthorizedKeys(text, options);
  assert.ok(keys.every(({ key }) => key.base64 === publicKey.base64));
  return { keys: keys.map(({ line, options, comment }) => ({ line, options, comment })), refused };
}

Deno.test("parseAuthorizedKeys() passes over empty lines and remarks, and counts them", () => {
  const text = `# remark\r\n\r\n \t # ${KEY}\n ${KEY} me at home\r\n\trestrict,command="a b" ${KEY}\n`;
  assert.deepEqual(read(text), {
    keys: [
      { line: 4, options: NO_KEY_OPTIONS, comment: "me at home" },
      { line: 5, options: { ...NO_KEY_OPTIONS, pty: false, portForwarding: false, forcedCommand: "a b" }, comment: "" },
    ],
    refused: [],
  });
  assert.deepEqual(read(""), { keys: [], refused: [] });
});

Deno.test("parseAuthorizedKeys() takes a line whose options look like a key, and a mark of the text's encoding", () => {
  assert.equal(read(`\uFEFF${KEY}`).keys.length, 1);
  assert.equal(read(`command="ssh-ed25519 AAAA" ${KEY}`).keys[0]?.options.forcedCommand, "ssh-ed25519 AAAA");
});

Deno.test("parseAuthorizedKeys() takes every type of key", () => {
  const text = SSH_KEY_TYPES.map((type) => `no-pty ${type} ${softwareKey(type).publicKey.base64} ${type}`).join("\n");
  const { keys, refused } = parseAuthorizedKeys(text);
  assert.deepEqual(refused, []);
  assert.deepEqual(keys.map(({ key }) => key.type), [...SSH_KEY_TYPES]);
});

Deno.test("parseAuthorizedKeys() refuses a line with its reason, and takes the others", () => {
  const lines: readonly (readonly [string, string])[] = [
    [`environment="A=b" ${KEY}`, 'its option "environment" is not one that krun honours (docs/ssh.md has all)'],
    [`command=ls ${KEY}`, 'the value of its option "command" wants double quotes, as command="..."'],
    [
      `no-ptty ${KEY}`,
      'its option "no-ptty" is not one that krun honours; the nearest that it does is no-pty (docs/ssh.md has all)',
    ],
    [`command="a ${KEY}`, "a quote in its options has no end"],
    [`ssh-dss AAAAB3NzaC1kc3M=`, 'keys of type "ssh-dss" are not taken'],
    [`ssh-ed25519 ${publicKey.base64.slice(4)}`, "it is no line of a key, as: ssh-ed25519 AAAA... name"],
    [`ssh-rsa ${publicKey.base64}`, 'the line says "ssh-rsa", its key ssh-ed25519'],
    ["restrict", "it is no line of a key, as: ssh-ed25519 AAAA... name"],
    [`pty, ${KEY}`, 'its options cannot be read from "pty," on'],
    [`no pty ${KEY}`, "it is no line of a key, as: ssh-ed25519 AAAA... name"],
    ["-----BEGIN OPENSSH PRIVATE KEY-----", "the key is no base64"],
    [`"${KEY} me"`, "the key is in quotes: give it without them"],
    ["'restrict ssh-ed25519 AAAAC3Nz'", "the key is in quotes: give it without them"],
    [publicKey.base64, "the type before the key is missing, as: ssh-ed25519 AAAA... name"],
    [`${KEY}\\nssh-rsa AAAA`, "it has a backslash and an n where the line is to end"],
    [`${KEY.slice(0, 40)}`, "the key is cut off: paste the whole line"],
    ["https://github.com/ann.keys", "it is a URL: give the keys that are there"],
    ["~/.ssh/id_ed25519.pub", "it is the name of a file: give what is in it"],
    ["id_ed25519.pub", "it is the name of a file: give what is in it"],
    ["/etc/ssh/authorized_keys", "it is the name of a file: give what is in it"],
  ];
  const text = lines.map(([line]) => `${KEY}\n${line}\n`).join("");
  const { keys, refused } = read(text);
  assert.deepEqual(keys.map(({ line }) => line), lines.map((_, index) => 2 * index + 1));
  assert.deepEqual(refused, lines.map(([, reason], index) => ({ line: 2 * index + 2, reason })));
});

Deno.test("parseAuthorizedKeys() makes every key a CA where it is told to, with options of its own", () => {
  const { keys, refused } = read(`${KEY}\nprincipals="ops",no-pty ${KEY} the CA\n`, { certAuthority: true });
  const ca = { ...NO_KEY_OPTIONS, certAuthority: true };
  assert.deepEqual(refused, []);
  assert.deepEqual(keys, [
    { line: 1, options: ca, comment: "" },
    { line: 2, options: { ...ca, principals: ["ops"], pty: false }, comment: "the CA" },
  ]);
});

Deno.test("parseAuthorizedKeys() never throws, and each line is a key, a refusal or nothing", () => {
  const piece = fc.oneof(fc.string(), fc.constantFrom(KEY, "restrict ", 'command="', "\n", " ", "#", "ssh-rsa AAAA"));
  fc.assert(fc.property(fc.array(piece).map((pieces) => pieces.join("")), (text) => {
    const { keys, refused } = parseAuthorizedKeys(text);
    const used = text.split("\n").filter((line) => line.trim() !== "" && !line.trim().startsWith("#"));
    assert.equal(keys.length + refused.length, used.length);
  }));
});
