import assert from "node:assert/strict";
import { FakeClock, settle } from "../../tests/fake_clock.ts";
import { RecordingLog } from "../../tests/recording_log.ts";
import { softwareKey } from "../../tests/ssh_keys.ts";
import { KrunError } from "../core/errors.ts";
import { sshAuthorities } from "../core/ssh_authorities.ts";
import { NO_KEY_OPTIONS } from "../core/ssh_key_options.ts";
import { rightsOfKey } from "../core/ssh_login_rights.ts";
import type { UserauthRequest } from "../core/ssh_userauth.ts";
import { concatBytes, sshString } from "../core/ssh_wire.ts";
import type { LoginVerdict } from "./login_dialogue.ts";
import { createLoginJudge, type LoginJudgeOptions, type SshLogin } from "./login_judge.ts";
import { P521 } from "./p521.ts";
import type { TokenLoginOptions } from "./token_login.ts";
import { Turns } from "../core/turns.ts";

const ann = softwareKey("ssh-ed25519", "ann"), eve = softwareKey("ssh-ed25519", "eve");
const rsa = softwareKey("ssh-rsa");
const sessionId = Uint8Array.of(1, 2, 3);
const tokenOf = (claims: object) => `e30.${btoa(JSON.stringify(claims)).replaceAll("=", "")}.c2ln`;
const TOKEN = tokenOf({ aud: ["krun-ssh/shop"] });

function rig(options: Partial<LoginJudgeOptions> = {}) {
  const log = new RecordingLog();
  const over = new AbortController();
  const line = (key: typeof ann) => `${key.publicKey.type} ${key.publicKey.base64} of somebody`;
  const authorities = sshAuthorities([ann, rsa].map(line).join("\n"), undefined);
  const clock = new FakeClock();
  const judge = createLoginJudge({
    ...{ peerAddress: "10.0.0.9", authorities: () => authorities, principals: ["web"], clock, log, over: over.signal },
    p521: new P521(),
    ...options,
  });
  const ask = (user: string, method: UserauthRequest["method"]) =>
    judge.judge({ user, service: "ssh-connection", method }, { sessionId });
  return { log, over, judge, ask, clock };
}

function tokens(reviewToken: TokenLoginOptions["cluster"]["reviewToken"]): TokenLoginOptions {
  const accessOf = () => Promise.resolve({ allowed: true, reason: "" });
  return {
    cluster: { reviewToken, accessOf },
    namespace: "shop",
    signal: new AbortController().signal,
    turns: new Turns(1),
    clock: new FakeClock(),
  };
}

/** A signed request, of another algorithm than the key's, or over something else, where one is given. */
function signed(key: typeof ann, { algorithm = key.publicKey.type as string, over = sessionId } = {}) {
  const part = new TextEncoder().encode("the request");
  const signature = key.sign(concatBytes(sshString(over), part), { algorithm });
  return { kind: "publickey", algorithm, blob: key.publicKey.blob, signature, signed: part } as const;
}

function kinds(verdict: LoginVerdict<SshLogin>): string {
  return verdict.kind === "refused" && verdict.free ? "refused for free" : verdict.kind;
}

Deno.test("createLoginJudge() lets in by a signature over this session alone, and names who it is", async () => {
  const { ask, log } = rig();
  assert.equal(kinds(await ask("ann", { ...signed(ann), signature: undefined } as never)), "acceptable");
  assert.equal(kinds(await ask("ann", signed(ann, { over: Uint8Array.of(9) }))), "refused");
  assert.equal(kinds(await ask("ann", signed(ann))), "allowed");
  assert.deepEqual(log.events, ["info ssh login refused", "info ssh login"]);
  const [refusal, login] = log.lines.map(({ fields }) => fields);
  assert.match(`${refusal!.reason}`, /its signature is not valid: the key has not signed this/);
  assert.deepEqual([login!.user, login!.comment, login!.reason], ["ann", "of somebody", undefined]);
  assert.match(`${login!.key}`, /^SHA256:/);
});

Deno.test("createLoginJudge() refuses a stranger's key at the question, and RSA with SHA-1 whoever signs", async () => {
  const { ask, log } = rig();
  assert.equal(kinds(await ask("eve", { ...signed(eve), signature: undefined } as never)), "refused");
  assert.equal(kinds(await ask("ann", signed(rsa, { algorithm: "ssh-rsa" }))), "refused");
  const sha1 = { ...signed(rsa, { algorithm: "ssh-rsa" }), algorithm: "rsa-sha2-512" };
  assert.equal(kinds(await ask("ann", sha1)), "refused");
  assert.equal(kinds(await ask("ann", signed(rsa, { algorithm: "rsa-sha2-512" }))), "allowed");
  const reasons = log.lines.map(({ fields }) => fields.reason);
  assert.equal(reasons[0], "the key is not authorized");
  assert.equal(reasons[1], 'the algorithm "ssh-rsa" is not taken');
  assert.match(`${reasons[2]}`, /its signature is not valid: it is of "ssh-rsa"/);
});

Deno.test("createLoginJudge() lets nobody in by another way, which is logged, and says for free which ways there are", async () => {
  const { ask, judge, log } = rig();
  assert.deepEqual(judge.methods, ["publickey"]);
  assert.equal(kinds(await ask("ann", { kind: "other", name: "none" })), "refused for free");
  assert.deepEqual(log.lines, []);
  assert.equal(kinds(await ask("root", { kind: "other", name: "password" })), "refused");
  assert.equal(kinds(await ask("root", { kind: "keyboard-interactive" })), "refused");
  assert.deepEqual(log.lines.map(({ fields }) => fields), [
    { user: "root", reason: 'nobody logs in by "password"' },
    { user: "root", reason: 'nobody logs in by "keyboard-interactive"' },
  ]);
});

Deno.test("createLoginJudge() logs no more of a stranger's words than a name has", async () => {
  const { ask, log } = rig();
  const long = "y".repeat(100_000);
  await ask(long, { kind: "other", name: long });
  await ask(long, { kind: "publickey", algorithm: long, blob: new Uint8Array(30_000), signed: new Uint8Array() });
  for (const { fields } of log.lines) assert.ok(JSON.stringify(fields).length < 1_000);
});

Deno.test("createLoginJudge() takes a token in pieces, as ssh(1) cuts it, and asks the cluster once for all of it", async () => {
  const long = `${TOKEN}${"x".repeat(2_500)}`;
  const seen: string[] = [];
  const { ask, judge, log } = rig({
    tokens: tokens((token) => {
      seen.push(token);
      return Promise.resolve({ authenticated: true, user: { username: "ann" } });
    }),
  });
  assert.deepEqual(judge.methods, ["publickey", "keyboard-interactive"]);
  let verdict = await ask("ann", { kind: "keyboard-interactive" });
  const prompts: string[] = [];
  for (let at = 0; verdict.kind === "asked"; at += 1_023) {
    prompts.push(verdict.prompt);
    verdict = await verdict.answered(long.slice(at, at + 1_023));
  }
  assert.equal(verdict.kind, "allowed");
  assert.deepEqual(prompts, ["Token: ", "Token, from character 1024 on: ", "Token, from character 2047 on: "]);
  assert.deepEqual([seen, log.events], [[long], ["info ssh login"]]);
  // At once, and with what a terminal may add.
  const whole = await ask("ann", { kind: "keyboard-interactive" });
  assert.ok(whole.kind === "asked");
  assert.equal((await whole.answered(`${long}\r`)).kind, "allowed");
});

Deno.test("createLoginJudge() gives who comes by a token all rights, until the token ends", async () => {
  const { ask } = rig({ tokens: tokens(() => Promise.resolve({ authenticated: true, user: { username: "ann" } })) });
  const rightsBy = async (token: string) => {
    const asked = await ask("ann", { kind: "keyboard-interactive" });
    const verdict = asked.kind === "asked" ? await asked.answered(token) : asked;
    assert.ok(verdict.kind === "allowed");
    assert.equal(verdict.login.offer, undefined, "there is nothing to judge again");
    return verdict.login.rights;
  };
  const all = rightsOfKey(NO_KEY_OPTIONS);
  assert.deepEqual(await rightsBy(tokenOf({ aud: "krun-ssh/shop", exp: 1_938_000_000 })), {
    ...all,
    expiresAtMs: 1_938_000_000_000,
  });
  assert.deepEqual(await rightsBy(TOKEN), all);
});

Deno.test("createLoginJudge() does not ask for pieces for ever", async () => {
  const { ask } = rig({ tokens: tokens(() => Promise.reject(new Error("never shown"))) });
  let verdict = await ask("eve", { kind: "keyboard-interactive" });
  let questions = 0;
  for (; verdict.kind === "asked"; questions++) verdict = await verdict.answered("x".repeat(1_023));
  assert.deepEqual([kinds(verdict), questions], ["refused", 16]);
});

Deno.test("createLoginJudge() refuses a token that cannot be checked, and tells why to the log alone", async () => {
  const failure = new KrunError("Forbidden", "Cannot review a token", "bind ClusterRole system:auth-delegator");
  const { ask, log } = rig({ tokens: tokens(() => Promise.reject(failure)) });
  const verdict = await ask("ann", { kind: "keyboard-interactive" });
  assert.ok(verdict.kind === "asked" && !/review|delegator/.test(verdict.instruction + verdict.prompt));
  assert.equal(kinds(await verdict.answered(TOKEN)), "refused");
  assert.deepEqual(log.lines.map(({ level, fields }) => [level, fields]), [
    ["warn", { user: "ann", reason: failure.message, hint: failure.hint }],
  ]);
});

Deno.test("createLoginJudge() refuses a token while whose check the server ends", async () => {
  const pending = Promise.withResolvers<never>();
  const { ask, over } = rig({ tokens: tokens(() => pending.promise) });
  const verdict = await ask("ann", { kind: "keyboard-interactive" });
  const answered = verdict.kind === "asked" ? verdict.answered(TOKEN) : undefined;
  over.abort();
  pending.reject(over.signal.reason);
  assert.equal((await answered)?.kind, "refused");
});

Deno.test("createLoginJudge() holds the answer to a fourth failure back, not to the first three", async () => {
  const { judge, clock } = rig();
  for (const failures of [1, 2, 3]) await judge.delay(failures);
  let isOver = false;
  void judge.delay(4).then(() => isOver = true);
  await clock.pass(249);
  assert.equal(isOver, false);
  await clock.pass(1);
  await settle();
  assert.equal(isOver, true);
});

Deno.test("createLoginJudge() tells of whoever leaves without a login and without a refusal, and of nobody else", async () => {
  const reasons = (log: RecordingLog) => log.lines.map(({ event, fields }) => `${event}: ${fields.reason}`);
  const left = async (methods: readonly UserauthRequest["method"][], options: Partial<LoginJudgeOptions> = {}) => {
    const { ask, judge, log } = rig(options);
    for (const method of methods) await ask("ann", method);
    judge.gone();
    return reasons(log);
  };
  const none = { kind: "other", name: "none" } as const;
  const question = { ...signed(ann), signature: undefined } as never;
  const byToken = { kind: "keyboard-interactive" } as const;
  const withTokens = { tokens: tokens(() => Promise.reject(new Error("never asked"))) };
  assert.deepEqual(await left([]), []);
  assert.deepEqual(await left([none, none]), ["ssh login refused: it offered no key"]);
  assert.deepEqual(await left([none], withTokens), ["ssh login refused: it offered no key and no token"]);
  assert.deepEqual(await left([none, question]), ["ssh login refused: it did not sign with the key that it offered"]);
  assert.deepEqual(await left([none, byToken], withTokens), ["ssh login refused: it gave no token"]);
  assert.equal((await left([none, signed(eve)])).length, 1);
  assert.equal((await left([none, signed(ann)])).length, 1);
  assert.deepEqual(await left([none], { over: AbortSignal.abort() }), []);
});
