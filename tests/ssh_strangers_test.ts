/** Who connects to the debug SSH server: how long and how many may stay without logging in, and who has to go later. */
import assert from "node:assert/strict";
import { sshAuthorities } from "../src/core/ssh_authorities.ts";
import { SSH_MESSAGE } from "../src/core/ssh_messages.ts";
import { loadSsh2 } from "../src/ssh/ssh2.ts";
import { serveSsh, type SshServer, type SshServerOptions } from "../src/ssh/ssh_server.ts";
import { type HostKey, readHostKey } from "../src/ssh/host_key.ts";
import { FakeClock } from "./fake_clock.ts";
import { RecordingLog } from "./recording_log.ts";
import { softwareKey } from "./ssh_keys.ts";
import { LoginClient } from "./ssh_login_client.ts";
import { waitFor } from "./wait.ts";

const ann = softwareKey("ssh-ed25519", "ann"), eve = softwareKey("ssh-ed25519", "eve");
const LINE = `${ann.publicKey.type} ${ann.publicKey.base64} ann`;

interface Rig extends AsyncDisposable {
  readonly server: SshServer;
  readonly clock: FakeClock;
  readonly log: RecordingLog;
  readonly port: number;
  /** From now on these lines say who is authorized. */
  authorize(lines: string): void;
}

async function openRig(lines = LINE): Promise<Rig> {
  const ssh2 = await loadSsh2();
  const hostKey = readHostKey(ssh2, ssh2.generateKeyPairSync("ed25519").private) as HostKey;
  const [clock, log] = [new FakeClock(), new RecordingLog()];
  let authorities = sshAuthorities(lines, undefined);
  const server = serveSsh({
    ...{ ssh2, clock, log, principals: [], mostDescriptors: 1000, idleTimeoutMs: 0 },
    addresses: [{ hostname: "127.0.0.1", port: 0 }],
    hostKeys: () => [hostKey],
    authorities: () => authorities,
    // Nobody opens a session here.
    world: {} as SshServerOptions["world"],
    sockets: {} as SshServerOptions["sockets"],
  });
  return {
    ...{ server, clock, log, port: server.addresses[0]!.port },
    authorize: (lines) => {
      authorities = sshAuthorities(lines, undefined);
      server.judgeAgain();
    },
    [Symbol.asyncDispose]: () => server[Symbol.asyncDispose](),
  };
}

async function login(port: number): Promise<LoginClient> {
  const client = await LoginClient.connect(port);
  client.offer({ algorithm: "ssh-ed25519", blob: ann.publicKey.blob, sign: (data) => ann.sign(data) });
  assert.equal((await client.next())[0], SSH_MESSAGE.userauthSuccess);
  return client;
}

/** A connection that says nothing; whether the server has ended it. */
async function lurk(port: number): Promise<AsyncDisposable & { readonly isOver: boolean }> {
  const conn = await Deno.connect({ hostname: "127.0.0.1", port });
  let isOver = false;
  const reading = (async () => {
    while (await conn.read(new Uint8Array(1024)) !== null);
  })().catch(() => {}).finally(() => isOver = true);
  return {
    get isOver() {
      return isOver;
    },
    async [Symbol.asyncDispose]() {
      conn.close();
      await reading;
    },
  };
}

Deno.test("whoever has not logged in within two minutes is cut off, and nobody else", async () => {
  await using rig = await openRig();
  await using lurker = await lurk(rig.port);
  await using asks = await LoginClient.connect(rig.port);
  asks.offer({ algorithm: "ssh-ed25519", blob: ann.publicKey.blob });
  assert.equal((await asks.next())[0], SSH_MESSAGE.userauthPkOk);
  await using ann_ = await login(rig.port);
  await rig.clock.pass(119_999);
  assert.deepEqual([lurker.isOver, asks.isOver], [false, false]);
  await rig.clock.pass(1);
  await waitFor("both to be cut off", () => lurker.isOver && asks.isOver);
  await rig.clock.pass(600_000);
  ann_.send(Uint8Array.of(SSH_MESSAGE.globalRequest, 0, 0, 0, 1, 120, 1));
  assert.equal((await ann_.next())[0], SSH_MESSAGE.requestFailure, "who is in is answered");
});

Deno.test("a hundred who never log in keep nobody out: each newcomer takes the place of the oldest", async () => {
  await using rig = await openRig();
  await using lurkers = new AsyncDisposableStack();
  const all: { readonly isOver: boolean }[] = [];
  for (let count = 0; count < 100; count++) all.push(lurkers.use(await lurk(rig.port)));
  await using first = await login(rig.port);
  await waitFor("one to go", () => all[0]!.isOver);
  assert.equal(all.filter(({ isOver }) => isOver).length, 1, "who is in takes nobody's place");
  for (let count = 0; count < 50; count++) all.push(lurkers.use(await lurk(rig.port)));
  await waitFor("fifty to go", () => all.filter(({ isOver }) => isOver).length === 50);
  assert.ok(all.slice(0, 50).every(({ isOver }) => isOver), "the oldest");
  await using second = await login(rig.port);
  assert.deepEqual([first.isOver, second.isOver], [false, false]);
});

Deno.test("six failures end a connection, and each of them stands in the log", async () => {
  await using rig = await openRig();
  await using client = await LoginClient.connect(rig.port);
  assert.deepEqual(client.signatures.filter((name) => /ssh-rsa|ssh-dss/.test(name)), []);
  for (let tries = 1; tries <= 6; tries++) {
    client.offer({ user: "eve", algorithm: "ssh-ed25519", blob: eve.publicKey.blob });
    if (tries === 6) break;
    if (tries >= 4) await waitFor("the answer to be held back", () => rig.log.lines.length === tries);
    await rig.clock.pass(2_000);
    assert.equal((await client.next())[0], SSH_MESSAGE.userauthFailure);
  }
  assert.equal((await client.next())[0], 0);
  assert.deepEqual(rig.log.events, Array(6).fill("info ssh login refused"));
  for (const { fields } of rig.log.lines) {
    assert.match(`${fields.from}`, /^127\.0\.0\.1 \d+$/);
    assert.deepEqual([fields.user, fields.reason], ["eve", "the key is not authorized"]);
  }
});

Deno.test("a login is nobody's before it is proven: what comes before that is no session, and ends the connection", async () => {
  await using rig = await openRig();
  for (const type of [SSH_MESSAGE.channelOpen, SSH_MESSAGE.globalRequest, SSH_MESSAGE.userauthInfoResponse]) {
    await using client = await LoginClient.connect(rig.port);
    client.send(Uint8Array.of(type, 0, 0, 0, 0));
    assert.equal((await client.next())[0], 0);
  }
  await using replayed = await LoginClient.connect(rig.port);
  await using other = await LoginClient.connect(rig.port);
  // A signature of another connection is none of this one.
  const sign = (data: Uint8Array) => {
    const forOther = data.slice();
    forOther.set(other.sessionId, 4);
    return ann.sign(forOther);
  };
  replayed.offer({ algorithm: "ssh-ed25519", blob: ann.publicKey.blob, sign });
  assert.equal((await replayed.next())[0], SSH_MESSAGE.userauthFailure);
});

Deno.test("whoever is in goes when the key is not authorized any more, may do something else, or has expired", async () => {
  await using rig = await openRig(`expiry-time="20310506071000Z" ${LINE}`);
  await using short = await login(rig.port);
  await rig.clock.pass(40_000);
  assert.equal(short.isOver, false);
  await rig.clock.pass(80_000);
  await waitFor("its end", () => short.isOver);
  rig.authorize(LINE);
  await using narrowed = await login(rig.port);
  rig.authorize(`# the same again\n${LINE}`);
  assert.equal(narrowed.isOver, false);
  rig.authorize(`restrict ${LINE}`);
  await waitFor("its end", () => narrowed.isOver);
  await using removed = await login(rig.port);
  rig.authorize("");
  await waitFor("its end", () => removed.isOver);
  const ended = rig.log.lines.filter(({ event }) => event === "ssh connection ended");
  const reasons = [
    "the line of the key has expired at 2031-05-06T07:10:00.000Z",
    "what it may do has changed",
    "the key is not authorized",
  ];
  assert.deepEqual(ended.map(({ fields }) => fields.reason), reasons);
  await waitFor("the logouts", () => rig.log.events.filter((event) => event === "info ssh logout").length === 3);
});
