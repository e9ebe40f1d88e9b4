import assert from "node:assert/strict";
import { settle } from "../../tests/fake_clock.ts";
import { SSH_MESSAGE } from "../core/ssh_messages.ts";
import type { UserauthRequest } from "../core/ssh_userauth.ts";
import { concatBytes, SshFormatError, sshString, sshUint32 } from "../core/ssh_wire.ts";
import { LoginDialogue, type LoginVerdict } from "./login_dialogue.ts";

const { userauthRequest, userauthFailure, userauthSuccess, userauthPkOk, userauthInfoRequest } = SSH_MESSAGE;

/** A dialogue whose judge knows users by name, and what came of it. */
class Rig {
  readonly sent: number[] = [];
  readonly delays: number[] = [];
  readonly judged: string[] = [];
  readonly logins: string[] = [];
  readonly faults: unknown[] = [];
  tooMany = 0;
  /** Set: answers to failures wait for it. */
  held: PromiseWithResolvers<void> | undefined;
  readonly dialogue: LoginDialogue<string> = new LoginDialogue<string>({
    methods: ["publickey", "keyboard-interactive"],
    judge: (request) => Promise.resolve(this.#judge(request)),
    delay: (failures) => {
      this.delays.push(failures);
      return this.held?.promise ?? Promise.resolve();
    },
  }, {
    send: (payload) => void this.sent.push(payload[0]!),
    sessionId: () => Uint8Array.of(1),
    onLogin: (login) => void this.logins.push(login),
    onTooMany: () => void this.tooMany++,
    onFault: (cause) => void this.faults.push(cause),
  });

  #judge({ user, method }: UserauthRequest): LoginVerdict<string> {
    this.judged.push(method.kind === "publickey" ? `${user} ${method.algorithm}` : user);
    if (user === "broken") throw new Error("an internal fault");
    if (user === "ann") return { kind: "allowed", login: user };
    if (user === "known") return { kind: "acceptable" };
    if (user === "free") return { kind: "refused", free: true };
    if (user !== "asked") return { kind: "refused" };
    return {
      kind: "asked",
      instruction: "say it",
      prompt: "it: ",
      answered: (answer) =>
        Promise.resolve(
          answer === "more" ? this.#judge({ user, method } as UserauthRequest) : {
            ...answer === "it" ? { kind: "allowed", login: user } : { kind: "refused" },
          } as LoginVerdict<string>,
        ),
    };
  }

  async receive(...payloads: Uint8Array[]): Promise<number[]> {
    for (const payload of payloads) this.dialogue.receive(payload);
    await settle();
    return this.sent.splice(0);
  }
}

function request(user: string, { method = "none", service = "ssh-connection", rest = [] as Uint8Array[] } = {}) {
  const words = [user, service, method].map((word) => sshString(word));
  return concatBytes(Uint8Array.of(userauthRequest), ...words, ...rest);
}

function answers(...texts: string[]): Uint8Array<ArrayBuffer> {
  const all = texts.map((text) => sshString(text));
  return concatBytes(Uint8Array.of(SSH_MESSAGE.userauthInfoResponse), sshUint32(texts.length), ...all);
}

Deno.test("LoginDialogue lets in, and passes over what comes after it", async () => {
  const rig = new Rig();
  assert.deepEqual(await rig.receive(request("ann"), request("ann")), [userauthSuccess]);
  assert.deepEqual([rig.logins, rig.judged], [["ann"], ["ann"]]);
  assert.deepEqual(await rig.receive(request("eve"), answers("it"), Uint8Array.of(79)), []);
});

Deno.test("LoginDialogue ends after six failures, the last of which gets no answer; questions are free", async () => {
  const rig = new Rig();
  assert.deepEqual(await rig.receive(request("free")), [userauthFailure]);
  for (let failures = 1; failures < 6; failures++) {
    assert.deepEqual(await rig.receive(request("eve")), [userauthFailure]);
    assert.deepEqual(await rig.receive(request("free")), [userauthFailure]);
    assert.equal(rig.dialogue.failures, failures);
  }
  assert.deepEqual([rig.delays, rig.tooMany], [[1, 2, 3, 4, 5], 0]);
  assert.deepEqual(await rig.receive(request("eve")), []);
  assert.deepEqual([rig.tooMany, rig.dialogue.failures], [1, 6]);
  assert.deepEqual(await rig.receive(request("ann")), [], "nobody comes in after that");
  assert.deepEqual(rig.logins, []);
});

Deno.test("LoginDialogue answers pipelined tries in their order, each of them when its turn has come", async () => {
  const rig = new Rig();
  rig.held = Promise.withResolvers();
  const key = [Uint8Array.of(0), sshString("ssh-ed25519"), sshString("blob")];
  const last = request("known", { method: "publickey", rest: key });
  assert.deepEqual(await rig.receive(request("eve"), last, request("ann")), []);
  // The transport uses its bytes again.
  last.fill(0);
  assert.deepEqual(rig.judged, ["eve"]);
  rig.held.resolve();
  assert.deepEqual(await rig.receive(), [userauthFailure, userauthPkOk, userauthSuccess]);
  assert.deepEqual(rig.judged, ["eve", "known ssh-ed25519", "ann"]);
});

Deno.test("LoginDialogue takes no more than so many tries at once", () => {
  const rig = new Rig();
  rig.held = Promise.withResolvers();
  // The first is being answered.
  for (let tries = 0; tries < 9; tries++) rig.dialogue.receive(request("eve"));
  assert.throws(() => rig.dialogue.receive(request("eve")), SshFormatError);
});

Deno.test("LoginDialogue asks, and judges what is answered", async () => {
  const rig = new Rig();
  assert.deepEqual(await rig.receive(request("asked")), [userauthInfoRequest]);
  assert.deepEqual(await rig.receive(answers("wrong")), [userauthFailure]);
  assert.deepEqual(await rig.receive(request("asked")), [userauthInfoRequest]);
  assert.deepEqual(await rig.receive(answers("more")), [userauthInfoRequest]);
  assert.deepEqual(await rig.receive(answers("it")), [userauthSuccess]);
  assert.deepEqual(rig.logins, ["asked"]);
});

Deno.test("LoginDialogue counts an answer that is none, or more than one, as a failure", async () => {
  for (const answer of [answers(), answers("it", "it"), answers("it").subarray(0, 8)]) {
    const rig = new Rig();
    await rig.receive(request("asked"));
    assert.deepEqual(await rig.receive(answer), [userauthFailure]);
    assert.deepEqual([rig.dialogue.failures, rig.logins], [1, []]);
  }
});

Deno.test("LoginDialogue takes its question back when the client tries again, and answers the new try alone", async () => {
  const rig = new Rig();
  assert.deepEqual(await rig.receive(request("asked")), [userauthInfoRequest]);
  assert.deepEqual(await rig.receive(request("eve")), [userauthFailure]);
  // What was asked first is not open any more.
  assert.throws(() => rig.dialogue.receive(answers("it")), SshFormatError);
  assert.deepEqual(rig.logins, []);
});

Deno.test("LoginDialogue ends the connection at an answer without a question, and at any other message", () => {
  for (
    const payload of [answers("it"), Uint8Array.of(userauthSuccess), Uint8Array.of(userauthPkOk), Uint8Array.of(79)]
  ) {
    assert.throws(() => new Rig().dialogue.receive(payload), SshFormatError);
  }
});

Deno.test("LoginDialogue ends the connection at a try that cannot be read, or is for another service", async () => {
  const torn = request("ann").subarray(0, 12);
  const signature = request("ann", { method: "publickey", rest: [Uint8Array.of(1), sshString("ssh-ed25519")] });
  for (
    const payload of [torn, signature, request("ann", { service: "ssh-userauth" }), Uint8Array.of(userauthRequest)]
  ) {
    const rig = new Rig();
    assert.deepEqual(await rig.receive(payload, request("ann")), []);
    assert.deepEqual([rig.tooMany, rig.logins, rig.dialogue.failures], [1, [], 1]);
  }
});

Deno.test("LoginDialogue says nothing and lets nobody in once the connection is gone", async () => {
  const waiting = new Rig();
  waiting.held = Promise.withResolvers();
  await waiting.receive(request("eve"), request("ann"));
  waiting.dialogue.close();
  waiting.held.resolve();
  assert.deepEqual(await waiting.receive(), []);
  assert.deepEqual(waiting.logins, []);
  const asked = new Rig();
  await asked.receive(request("asked"));
  asked.dialogue.close();
  assert.deepEqual(await asked.receive(answers("it")), []);
  assert.deepEqual(asked.logins, []);
});

Deno.test("LoginDialogue ends the connection where the judge is at fault, and not krun", async () => {
  const rig = new Rig();
  assert.deepEqual(await rig.receive(request("broken"), request("ann")), []);
  assert.deepEqual([rig.faults.length, rig.logins], [1, []]);
});
