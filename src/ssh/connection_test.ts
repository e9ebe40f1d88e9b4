import assert from "node:assert/strict";
import { FakeClock } from "../../tests/fake_clock.ts";
import { RawSshClient } from "../../tests/live/raw_ssh_client.ts";
import { RecordingLog } from "../../tests/recording_log.ts";
import { waitFor } from "../../tests/wait.ts";
import { SSH_MESSAGE, sshMessage } from "../core/ssh_messages.ts";
import { SshOutputBudget } from "../core/ssh_output_budget.ts";
import { SshWindowBudget } from "../core/ssh_window_budget.ts";
import { sshString } from "../core/ssh_wire.ts";
import type { SshChannel } from "./channel.ts";
import { SshConnection } from "./connection.ts";
import { makeHostKey } from "./host_key.ts";
import { loadSsh2, type Ssh2, type Ssh2Protocol } from "./ssh2.ts";

const ssh2 = await loadSsh2();
const { key: hostKey } = makeHostKey(ssh2);

/** A connection that lets anybody in, and a client that is in. */
class Pair implements AsyncDisposable {
  readonly log = new RecordingLog();
  readonly sessions: SshChannel[] = [];
  connection!: SshConnection<string>;
  client!: RawSshClient;
  /** The server's side of ssh2. */
  protocol!: Ssh2Protocol;
  #running: Promise<void> | undefined;

  static async open(): Promise<Pair> {
    const pair = new Pair();
    using listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
    const accepted = listener.accept();
    const connecting = RawSshClient.connect(listener.addr.port);
    pair.connection = pair.#connection(await accepted);
    pair.#running = pair.connection.run();
    pair.client = await connecting;
    await pair.client.transport.service("ssh-userauth");
    const [user, service, method] = ["ann", "ssh-connection", "none"].map(sshString);
    pair.client.send(Uint8Array.of(SSH_MESSAGE.userauthRequest), user!, service!, method!);
    await pair.client.take(SSH_MESSAGE.userauthSuccess);
    return pair;
  }

  #connection(socket: Deno.TcpConn): SshConnection<string> {
    const keep = (protocol: Ssh2Protocol) => void (this.protocol = protocol);
    const Protocol = class extends ssh2.Protocol {
      constructor(config: ConstructorParameters<Ssh2["Protocol"]>[0]) {
        super(config);
        keep(this);
      }
    };
    return new SshConnection(socket, {
      ...{ ssh2: { ...ssh2, Protocol }, hostKeys: [hostKey], clock: new FakeClock(), log: this.log },
      output: new SshOutputBudget(),
      judge: {
        methods: ["none"],
        judge: () => Promise.resolve({ kind: "allowed", login: "ann" }),
        delay: () => Promise.resolve(),
      },
      welcome: () => ({
        windows: new SshWindowBudget(),
        session: (channel) => {
          this.sessions.push(channel);
          return { request: () => true };
        },
        forward: () => assert.fail("nothing is forwarded here"),
        request: () => Promise.resolve(false),
      }),
    });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.client[Symbol.asyncDispose]();
    await this.#running;
  }
}

Deno.test("a client that goes on asking and does not finish an exchange of keys is told goodbye before its answers take much memory", async () => {
  await using pair = await Pair.open();
  const { client } = pair;
  // It would answer.
  client.pause();
  pair.protocol.rekey();
  // An answer that waits counts 129 bytes, and 4 MiB may wait.
  for (let sent = 0; sent < 33_000; sent++) {
    client.send(Uint8Array.of(SSH_MESSAGE.globalRequest), sshString("keepalive@openssh.com"), Uint8Array.of(1));
  }
  const isBroken = () => pair.log.lines.find(({ event }) => event === "ssh connection broken");
  const { fields } = await waitFor("the goodbye", isBroken, { timeoutMs: 20_000 });
  assert.equal(fields.reason, "the client does not exchange keys");
});

Deno.test("what a client says once it was told goodbye does nothing any more", async () => {
  await using pair = await Pair.open();
  const { client } = pair;
  const session = await client.openSession();
  client.data(session, "before");
  await waitFor("it", () => pair.sessions[0]!.receivedBytes === 6);
  // It reads the goodbye, and not that nothing follows: then it would leave.
  client.pause();
  pair.connection.end();
  await waitFor("the goodbye", () => client.goodbye);
  client.data(session, "after");
  client.send(sshMessage(SSH_MESSAGE.channelEof, session.peer));
  await client.flushed();
  client.resume();
  await client.over();
  await waitFor("the end", () => pair.connection.over.aborted);
  assert.equal(pair.sessions[0]!.receivedBytes, 6);
});
