import assert from "node:assert/strict";
import fc from "fast-check";
import { clientCiphers, guessesRight, hasFirstPacket } from "./ssh_kexinit.ts";
import { concatBytes, SshFormatError, sshString, sshUint32 } from "./ssh_wire.ts";

/** A first packet whose lists are these, in the order of RFC 4253, 7.1. */
function packet(lists: readonly string[], { message = 20 } = {}): Uint8Array {
  const payload = concatBytes(Uint8Array.of(message), new Uint8Array(16), ...lists.map(sshString), new Uint8Array(5));
  const padding = new Uint8Array(4);
  const rest = concatBytes(Uint8Array.of(padding.length), payload, padding);
  return concatBytes(sshUint32(rest.length), rest);
}

const LISTS = [
  "curve25519-sha256",
  "ssh-ed25519",
  "aes128-ctr",
  "aes128-ctr,aes256-gcm@openssh.com",
  "m",
  "m",
  "none",
  "none",
];

Deno.test("clientCiphers() are the third and the fourth list of the packet", () => {
  const fromServer = ["aes128-ctr", "aes256-gcm@openssh.com"];
  assert.deepEqual(clientCiphers(packet(LISTS)), { toServer: ["aes128-ctr"], fromServer });
  assert.throws(() => clientCiphers(packet(LISTS, { message: 21 })), SshFormatError);
});

Deno.test("hasFirstPacket() is true from its last byte on, and a length that no packet has is refused", () => {
  const whole = packet(LISTS);
  for (let length = 0; length < whole.length; length++) assert.equal(hasFirstPacket(whole.subarray(0, length)), false);
  assert.equal(hasFirstPacket(whole), true);
  assert.throws(() => hasFirstPacket(sshUint32(35_001)), SshFormatError);
});

Deno.test("clientCiphers() throws SshFormatError and nothing else", () => {
  fc.assert(fc.property(fc.uint8Array({ maxLength: 200 }), (bytes) => {
    try {
      clientCiphers(bytes);
    } catch (error) {
      assert.ok(error instanceof SshFormatError, String(error));
    }
  }));
});

/** Such a packet without its length and padding. */
function payload(kex: string, hostKey: string, message = 20): Uint8Array {
  return packet([kex, hostKey, ...LISTS.slice(2)], { message }).subarray(5);
}

Deno.test("guessesRight() where method and kind of host key are the first ones of both sides (RFC 4253, 7)", () => {
  const server = payload("a,b", "k,l");
  const right = ["a,b k,l", "a k", "a,x k,l"], wrong = ["b,a k", "b k", "x,a k", "a l,k", "a l", " k", "ab k"];
  for (const lists of [...right, ...wrong]) {
    const [kex = "", hostKey = ""] = lists.split(" ");
    assert.equal(guessesRight({ client: payload(kex, hostKey), server }), right.includes(lists), lists);
  }
  assert.throws(() => guessesRight({ client: payload("a", "k", 21), server }), SshFormatError);
  assert.throws(() => guessesRight({ client: server.subarray(0, 30), server }), SshFormatError);
});
