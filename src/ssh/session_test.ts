import assert from "node:assert/strict";
import "../../tests/load_libc.ts";
import { fewDescriptors } from "../../tests/few_descriptors.ts";
import { RecordingLog } from "../../tests/recording_log.ts";
import { ENV, SessionRig, TERMINAL } from "../../tests/session_rig.ts";
import { RecordingCarrier } from "../../tests/ssh_carrier.ts";
import { waitFor } from "../../tests/wait.ts";
import { accountNames } from "../core/account_names.ts";
import { SSH_MESSAGE } from "../core/ssh_messages.ts";
import { SshReader } from "../core/ssh_wire.ts";
import { systemClock } from "../pod/clock.ts";
import { loadLibc } from "../pod/libc.ts";
import { ownUser } from "../pod/user.ts";
import { userFiles } from "../pod/user_files.ts";
import { SshChannel } from "./channel.ts";
import { Session } from "./session.ts";

const libc = loadLibc();
const END = { address: "127.0.0.1", port: 1 };

interface ClientOptions {
  readonly hasShell?: boolean;
  readonly descriptors?: number;
  readonly pty?: boolean;
  readonly forcedCommand?: string;
}

/** A session of a client that a test is. */
class Client implements AsyncDisposable {
  readonly rig = new SessionRig();
  readonly carrier = new RecordingCarrier();
  readonly log = new RecordingLog();
  readonly budget;
  readonly channel: SshChannel;
  readonly session: Session;
  isOver = false;

  constructor({ hasShell = false, descriptors = 10, pty = true, forcedCommand }: ClientOptions = {}) {
    this.budget = fewDescriptors(descriptors);
    const sizes = { peerWindow: 1 << 20, peerMaxPacket: 1 << 20, window: 1 << 20 };
    this.channel = new SshChannel({ carrier: this.carrier, id: 3, peer: 7, ...sizes });
    const user = ownUser(libc);
    this.session = new Session({
      channel: this.channel,
      world: {
        ...{
          env: () => ENV,
          cwd: "/",
          account: undefined,
          accounts: accountNames({ passwd: "", group: "" }),
          user,
          starter: this.rig.sessions,
        },
        proc: { pids: () => [], text: () => undefined },
        files: userFiles(libc, { user, cwd: "/" }),
        isExecutable: () => hasShell,
      },
      rights: { pty, forcedCommand },
      ends: { client: END, server: END },
      clock: systemClock,
      log: this.log,
      takeDescriptor: this.budget.take,
      onOver: () => this.isOver = true,
    });
  }

  /** Asks for a program, with a terminal or without, or for a prompt. */
  runs(command: string | undefined, { terminal = false } = {}): void {
    if (terminal) this.session.request({ kind: "pty-req", term: "dumb", terminal: TERMINAL });
    this.session.request(command === undefined ? { kind: "shell" } : { kind: "exec", command });
  }

  /** Types something. */
  types(text: string): void {
    this.channel.received(new TextEncoder().encode(text));
  }

  /** Waits until something is shown, which must come. */
  async sees(pattern: RegExp): Promise<void> {
    await waitFor(`${pattern}`, () => pattern.test(this.shown()));
  }

  /** All that was shown. */
  shown(): string {
    const { channelData, channelExtendedData } = SSH_MESSAGE;
    const payloads = this.carrier.sent.filter(([type]) => type === channelData || type === channelExtendedData);
    return payloads.map((payload) => {
      const head = payload[0] === channelExtendedData ? 13 : 9;
      return new TextDecoder().decode(payload.subarray(head));
    }).join("");
  }

  /** How the session has ended, as the client was told. */
  async ended(): Promise<number | string> {
    await waitFor("the session's end", () => this.isOver);
    assert.equal(this.budget.taken, 0);
    const exit = this.carrier.sent.find(([type]) => type === SSH_MESSAGE.channelRequest);
    const reader = new SshReader(exit!.subarray(5));
    const [type] = [reader.text(), reader.uint8()];
    return type === "exit-status" ? reader.uint32() : reader.text();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.channel.lost();
    await this.rig[Symbol.asyncDispose]();
  }
}

Deno.test("what is refused of a session is told in the log, once of each kind", async () => {
  await using client = new Client({ pty: false });
  for (let round = 0; round < 3; round++) {
    const types = ["auth-agent-req@openssh.com", "x11-req", "made-up@example.com"];
    for (const type of types) assert.equal(client.session.request({ kind: "unknown", type }), false);
    assert.equal(client.session.request({ kind: "pty-req", term: "dumb", terminal: TERMINAL }), false);
    assert.equal(client.session.request({ kind: "subsystem", name: `bogus${round}` }), false);
    client.session.request({ kind: "env", name: "SECRET", value: "x" });
  }
  assert.deepEqual(client.log.lines.map(({ event, fields: { request } }) => `${event}: ${request}`), [
    "ssh request refused: auth-agent-req@openssh.com",
    "ssh request refused: x11-req",
    "ssh request refused: pty-req",
    "ssh request refused: subsystem",
  ]);
  assert.deepEqual(client.log.lines.map(({ fields }) => fields.reason), [
    "krun forwards no agent",
    "krun forwards no X11",
    "this login may have no terminal",
    'there is no subsystem "bogus0"',
  ]);
});

for (const hasShell of [true, false]) {
  const where = hasShell ? "a shell" : "no shell";
  Deno.test(`a program is refused when no descriptor is left for it, with ${where}`, async () => {
    await using client = new Client({ hasShell, descriptors: 2 });
    client.runs("/bin/cat");
    assert.equal(await client.ended(), 126);
    assert.match(client.shown(), /^krun: Cannot start program "\S+": too many files are open; end other sessions/);
    assert.deepEqual(client.log.events[1], "warn ssh session's program refused");
  });

  Deno.test(`a command gets signals and its end by one is told as such, with ${where}`, async () => {
    await using client = new Client({ hasShell });
    client.runs("/bin/sleep 3600");
    await waitFor("the program", () => client.budget.taken === 3);
    assert.equal(client.session.request({ kind: "signal", name: "TERM" }), true);
    assert.equal(await client.ended(), "TERM");
  });

  Deno.test(`a command has the terminal that was granted, which shows what krun tells, with ${where}`, async () => {
    await using client = new Client({ hasShell });
    client.runs("/bin/sh -c 'tty; echo $SSH_TTY; read x'", { terminal: true });
    await client.sees(/^(\/dev\/pts\/\d+)\r\n\1\r\n/);
    client.session.tell("it ends");
    await client.sees(/\r\nkrun: it ends\r\n/);
    await client.session.hangUp("it is over");
    assert.equal(await client.ended(), "HUP");
  });
}

Deno.test("whoever is forced a command sends it no signal", async () => {
  await using client = new Client({ forcedCommand: "/bin/cat" });
  client.runs("/bin/sleep 3600");
  await waitFor("the program", () => client.budget.taken === 3);
  for (const name of ["KILL", "TERM", "USR1"]) assert.equal(client.session.request({ kind: "signal", name }), false);
  client.types("it goes on");
  await client.sees(/^it goes on$/);
  client.channel.peerEnded();
  assert.equal(await client.ended(), 0);
});

Deno.test("a terminal that is asked for when the program runs is refused, and nothing is said in its way", async () => {
  await using client = new Client();
  client.runs("/bin/cat");
  assert.equal(client.session.request({ kind: "pty-req", term: "dumb", terminal: TERMINAL }), false);
  client.session.tell("it ends");
  client.channel.peerEnded();
  assert.equal(await client.ended(), 0);
  assert.equal(client.shown(), "");
});

Deno.test("a program that is typed at krun's prompt gets signals, and the prompt goes on", async () => {
  await using client = new Client();
  client.runs(undefined, { terminal: true });
  client.types("/bin/sleep 3600\r");
  await waitFor("the program", () => client.budget.taken === 3);
  client.session.tell("a word");
  await client.sees(/\r\nkrun: a word\r\n/);
  assert.equal(client.session.request({ kind: "signal", name: "USR1" }), true);
  await waitFor("its end", () => client.budget.taken === 0);
  assert.equal(client.session.request({ kind: "signal", name: "USR1" }), false);
  client.types("exit 5\r");
  assert.equal(await client.ended(), 5);
});

Deno.test("hangUp() ends krun's prompt with what was typed there, also a program that ignores SIGHUP", async () => {
  for (
    const typed of ["/bin/sleep 3600", "/bin/sh -c 'trap \"\" HUP; echo re''ady; read x; exec sleep 0.2'", undefined]
  ) {
    await using client = new Client();
    client.runs(undefined, { terminal: true });
    if (typed !== undefined) {
      client.types(`${typed}\r`);
      await waitFor("the program", () => client.budget.taken === 3);
      if (typed.includes("trap")) await waitFor("its trap", () => client.shown().split("ready").length > 1);
    } else await client.sees(/krun:\/> /);
    await client.session.hangUp("it is over");
    assert.equal(await client.ended(), "HUP");
  }
});

Deno.test("a program that no descriptor is left for is refused at krun's prompt, which goes on", async () => {
  await using client = new Client({ descriptors: 2 });
  client.runs(undefined);
  client.types("/bin/true\nexit\n");
  assert.equal(await client.ended(), 0);
  assert.match(client.shown(), /too many files are open/);
});

Deno.test("what krun has itself and what there is not are answered without a shell", async () => {
  for (const [command, status, shown] of [["pwd", 0, /^\/\n$/], ["krun-no-such", 127, /built in are/]] as const) {
    await using client = new Client();
    client.runs(command);
    assert.equal(await client.ended(), status);
    assert.match(client.shown(), shown);
  }
});

Deno.test("without a shell a program is not started for a command that has an operator, and its output says why", async () => {
  await using client = new Client();
  client.runs("/bin/echo a && /bin/echo b");
  assert.equal(await client.ended(), 2);
  assert.match(client.shown(), /^krun: "&&" is a shell's, and this image has none: /);
});
