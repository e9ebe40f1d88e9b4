/** The debug SSH server under attack, before and after a login: it serves on, its memory stays, and its log has no error. */
import assert from "node:assert/strict";
import { DISCONNECT } from "../../src/core/ssh_disconnect.ts";
import { SSH_MESSAGE, sshMessage } from "../../src/core/ssh_messages.ts";
import { concatBytes, sshString, sshUint32 } from "../../src/core/ssh_wire.ts";
import { type HostKey, readHostKey } from "../../src/ssh/host_key.ts";
import { loadSsh2 } from "../../src/ssh/ssh2.ts";
import { SshTransport } from "../../src/ssh/transport.ts";
import { plainPacket, SshClientTransport } from "../ssh_client_transport.ts";
import { waitFor } from "../wait.ts";
import { holdsAgain, residentBytes, steadyFootprint } from "./footprint.ts";
import { RawSshClient, signedRequest } from "./raw_ssh_client.ts";
import { freePort } from "./ssh_forward_rig.ts";
import { audited, SshRig } from "./ssh_rig.ts";

/** How much krun may grow under all of one attack, bytes, once it is warm: garbage that V8 has not collected yet. */
const MOST_GROWTH = 96 << 20;

/**
 * How much after as much again, and once more: less than 800 bytes a connection. With 8 floods in each of 5 runs it was 12 MiB at most, on a
 * busy machine too.
 */
const MOST_GROWTH_AGAIN = 16 << 20;

const encoder = new TextEncoder();
const VERSION = encoder.encode("SSH-2.0-hostile\r\n");

/** Chance that is the same in each run. */
function chance(seed: number): (below: number) => number {
  let state = seed;
  return (below) => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return Math.floor(state / 2 ** 32 * below);
  };
}

/** The bytes of a client up to its first message under keys, to be cut and changed. */
async function handshake(): Promise<Uint8Array> {
  const ssh2 = await loadSsh2();
  const key = readHostKey(ssh2, ssh2.generateKeyPairSync("ed25519").private) as HostKey;
  const [said, answers]: [Uint8Array[], Uint8Array[]] = [[], []];
  const nothing = () => {};
  const others = {
    onVersion: nothing,
    onService: nothing,
    onPayload: nothing,
    onDisconnect: nothing,
    onFault: nothing,
  };
  const server = new SshTransport({
    ssh2,
    hostKeys: [key],
    onWrite: (bytes) => void answers.push(bytes.slice()),
    ...others,
  });
  const client = new SshClientTransport({ onWrite: (bytes) => void said.push(bytes.slice()) });
  client.start();
  for (let at = 0; client.exchanges === 0; at++) {
    server.receive(said[at]!);
    for (const bytes of answers.splice(0)) client.receive(bytes);
  }
  [server, client].forEach((side) => side.close());
  return concatBytes(...said);
}

/** Says something to the server without waiting for it, and hears it out. */
async function say(port: number, ...pieces: readonly Uint8Array[]): Promise<void> {
  using conn = await Deno.connect({ hostname: "127.0.0.1", port });
  try {
    for (const piece of pieces) for (let at = 0; at < piece.length;) at += await conn.write(piece.subarray(at));
    await conn.closeWrite();
    const buffer = new Uint8Array(4096);
    while (await conn.read(buffer) !== null);
  } catch {
    // It has hung up in the middle.
  }
}

/** One attack by its number: what is said before there are keys. */
function attack(number: number, whole: Uint8Array): Uint8Array[] {
  const random = chance(number);
  const noise = (length: number) => Uint8Array.from({ length }, () => random(256));
  switch (number % 8) {
    case 0: // Cut off.
      return [whole.subarray(0, random(whole.length))];
    case 1: { // One byte is another, after the version.
      const changed = whole.slice();
      changed[VERSION.length + random(changed.length - VERSION.length)]! ^= 1 + random(255);
      return [changed];
    }
    case 2:
      return [noise(200)];
    case 3:
      return [VERSION, noise(300)];
    case 4: // Of any type, with anything in it.
      return [VERSION, plainPacket(Uint8Array.of(random(256), ...noise(random(100))))];
    case 5: // An exchange of keys whose lists are no lists.
      return [VERSION, plainPacket(Uint8Array.of(20, ...noise(16 + random(200))))];
    case 6: // A length that nobody may have, and one that would hold memory.
      return [VERSION, sshUint32(number % 16 < 8 ? 0xffff_fff8 : 34_996), noise(100)];
    default: // A version without an end.
      return [encoder.encode("SSH-2.0-"), encoder.encode("x".repeat(random(20_000)))];
  }
}

async function attackAll(
  port: number,
  { from, to, whole }: { from: number; to: number; whole: Uint8Array },
): Promise<void> {
  let next = from;
  const one = async () => {
    while (next < to) await say(port, ...attack(next++, whole));
  };
  await Promise.all(Array.from({ length: 32 }, one));
}

/** What must hold after an attack. */
async function standsAfter(rig: SshRig): Promise<void> {
  assert.equal((await rig.ssh(["echo served"])).stdout, "served\n");
  assert.doesNotMatch(rig.krun.stderr, /^\S+ error |Uncaught|Unhandled|internal fault|panicked/im);
  // The program runs on.
  assert.doesNotMatch(rig.krun.stderr, /container ended/);
}

Deno.test("10,000 malformed packets and truncated handshakes leave the server serving, and its memory flat", async () => {
  await using rig = await SshRig.start();
  const whole = await handshake();
  let next = 0;
  /** What krun holds after more of them. */
  const memoryAfter = async (count: number) => {
    await attackAll(rig.port, { from: next, to: next += count, whole });
    await rig.ssh(["sleep 0.1"]);
    return residentBytes(rig.krun.pid);
  };
  const warm = await memoryAfter(6000);
  const footprint = await steadyFootprint(rig.krun.pid);
  const first = await memoryAfter(10_000);
  await standsAfter(rig);
  assert.ok(first - warm < MOST_GROWTH, `${first - warm} bytes`);
  // V8's heap has its size by now: the same again, twice, takes no more.
  const again = [await memoryAfter(10_000), await memoryAfter(10_000)];
  await standsAfter(rig);
  await holdsAgain(rig.krun.pid, footprint);
  assert.ok(again[1]! - first < MOST_GROWTH_AGAIN, `${again.map((bytes) => bytes - first)} bytes`);
});

Deno.test("clients that say one byte at a time are served as any others, and hundreds of them keep nobody out", async () => {
  await using rig = await SshRig.start();
  await rig.ssh(["sleep 0.1"]);
  const before = await steadyFootprint(rig.krun.pid);
  const whole = await handshake();
  const conns: Deno.Conn[] = [];
  for (let at = 0; at < 300; at++) {
    const conn = await Deno.connect({ hostname: "127.0.0.1", port: rig.port });
    conns.push(conn);
    await conn.write(whole.subarray(0, 1)).catch(() => 0);
  }
  await standsAfter(rig);
  // The newest ones are still listened to.
  const last = conns.at(-1)!;
  const answer = new Uint8Array(4096);
  let heard = 0;
  const hearing = (async () => {
    for (let count; (count = await last.read(answer).catch(() => null)) !== null;) heard += count;
  })();
  for (let at = 1; at < whole.length; at++) await last.write(whole.subarray(at, at + 1));
  await waitFor("the answer with the server's key", () => heard > 800);
  for (const conn of conns) conn.close();
  await hearing;
  await holdsAgain(rig.krun.pid, before);
});

/** Logs in, does something, and hears how krun ends it. */
async function isEnded(
  rig: SshRig,
  act: (client: RawSshClient) => Promise<void> | void,
  { logsIn = true } = {},
): Promise<void> {
  await using client = await RawSshClient.connect(rig.port);
  if (logsIn) await client.login(await Deno.readTextFile(rig.key));
  await act(client);
  await client.over();
  assert.equal(client.goodbye, DISCONNECT.protocolError);
}

const { channelOpen, channelData, channelEof, channelClose, channelWindowAdjust, channelRequest, globalRequest } =
  SSH_MESSAGE;

Deno.test("who breaks the protocol is told goodbye, before and after a login, and others go on", async (t) => {
  await using rig = await SshRig.start();
  await rig.ssh(["sleep 0.1"]);
  const before = await steadyFootprint(rig.krun.pid);
  await using witness = await RawSshClient.connect(rig.port);
  await witness.login(await Deno.readTextFile(rig.key));
  const session = await witness.exec("cat");
  await t.step("channels and requests before a login", async () => {
    for (const type of Object.values(SSH_MESSAGE).filter((type) => type >= globalRequest)) {
      await isEnded(rig, (client) => client.send(sshMessage(type, 0, 0, 0)), { logsIn: false });
    }
    await isEnded(rig, (client) => client.send(sshMessage(SSH_MESSAGE.userauthSuccess)), { logsIn: false });
  });
  await t.step("a service that is none", async () => {
    await using client = await RawSshClient.connect(rig.port);
    void client.transport.service("ssh-connection");
    await client.over();
    assert.equal(client.goodbye, DISCONNECT.serviceNotAvailable);
  });
  await t.step("more than the window", async () => {
    await isEnded(rig, async (client) => {
      // Its pipe takes a mebibyte, which is granted anew.
      const sleeping = await client.exec("sleep 60");
      for (let sent = 0; sent <= 2 * sleeping.window; sent += 32_000) {
        client.data(sleeping, new Uint8Array(32_000));
      }
    });
  });
  await t.step("bytes after their end", async () => {
    await isEnded(rig, async (client) => {
      const cat = await client.exec("cat; sleep 60");
      client.send(sshMessage(channelEof, cat.peer));
      client.data(cat, "late");
    });
  });
  await t.step("channels that are not there", async () => {
    for (const type of [channelData, channelEof, channelClose, channelWindowAdjust]) {
      await isEnded(rig, (client) => client.send(sshMessage(type, 4711, 1), Uint8Array.of(0)));
    }
    await isEnded(rig, (client) => client.send(sshMessage(channelRequest, 9), sshString("shell"), Uint8Array.of(1)));
    await isEnded(rig, (client) => client.send(sshMessage(SSH_MESSAGE.channelOpenConfirmation, 0, 1, 2, 3)));
  });
  await t.step("a window that cannot be counted", async () => {
    await isEnded(rig, async (client) => {
      const sleeping = await client.exec("sleep 60");
      client.send(sshMessage(channelWindowAdjust, sleeping.peer, 2 ** 32 - 1));
    });
  });
  await t.step("messages that end too early", async () => {
    const short = [
      [Uint8Array.of(channelOpen)],
      [Uint8Array.of(channelOpen), sshString("session"), sshUint32(0)],
      [Uint8Array.of(globalRequest), sshUint32(2 ** 32 - 1)],
      [Uint8Array.of(channelData), sshUint32(0)],
    ];
    for (const parts of short) await isEnded(rig, (client) => client.send(...parts));
  });
  await t.step("what belongs to an exchange of keys, where there is none", async () => {
    for (const type of [21, 30, 49]) await isEnded(rig, (client) => client.send(Uint8Array.of(type)));
  });
  await t.step("a packet that is none, while others are under way", async () => {
    await isEnded(rig, async (client) => {
      const sleeping = await client.exec("sleep 60");
      for (let sent = 0; sent < 8; sent++) client.data(sleeping, new Uint8Array(32_000));
      client.write(new Uint8Array(40_000).fill(255));
    });
    await isEnded(rig, async (client) => {
      const sleeping = await client.exec("sleep 60");
      for (let sent = 0; sent < 4; sent++) client.data(sleeping, new Uint8Array(32_000));
      client.write(concatBytes(sshUint32(32_000), new Uint8Array(80_000)));
    });
  });
  await t.step("messages that nobody knows end nothing: krun says so, before and after a login", async () => {
    await using client = await RawSshClient.connect(rig.port);
    // Packets are counted from the change of keys on: the first one asks for the service.
    await client.transport.service("ssh-userauth");
    for (const type of [9, 70, 85, 200, 255]) client.send(Uint8Array.of(type));
    await waitFor("the answers", () => client.unimplemented.length === 5);
    client.send(signedRequest(client.transport.sessionId, await Deno.readTextFile(rig.key)));
    await client.take(SSH_MESSAGE.userauthSuccess);
    for (const type of [19, 79, 101, 192]) client.send(Uint8Array.of(type), sshString("x"));
    await client.exec("exit 4");
    assert.deepEqual(await client.exited(), { status: 4 });
    assert.deepEqual(client.unimplemented, [1, 2, 3, 4, 5, 7, 8, 9, 10]);
  });
  await t.step("the others go on", async () => {
    witness.data(session, "still here");
    await waitFor("an answer", () => witness.output === "still here");
    await witness[Symbol.asyncDispose]();
    await standsAfter(rig);
    await holdsAgain(rig.krun.pid, before);
  });
});

Deno.test("a client that has logged in and floods krun takes little of its memory, and keeps nobody out", async (t) => {
  await using rig = await SshRig.start();
  const key = await Deno.readTextFile(rig.key);
  const login = async () => {
    const client = await RawSshClient.connect(rig.port);
    await client.login(key);
    return client;
  };
  const flood = async (client: RawSshClient, count: number, ...parts: readonly Uint8Array[]) => {
    for (let sent = 0; sent < count; sent++) {
      client.send(...parts);
      if (sent % 2000 === 0) await Promise.race([client.flushed(), new Promise((resolve) => setTimeout(resolve, 50))]);
    }
  };
  const keepalive = [Uint8Array.of(globalRequest), sshString("keepalive@openssh.com"), Uint8Array.of(1)];
  await rig.ssh(["sleep 0.1"]);
  /** Global requests whose answers are not read until all were made. */
  const floodUnread = async (whilePaused?: () => Promise<void>) => {
    await using client = await login();
    // More than all buffers on the way hold, so that the answers wait in krun.
    const COUNT = 40_000, FILLING = 30_000_000;
    await client.exec(`exec head -c ${FILLING} /dev/zero`, { window: 2 ** 32 - 1 });
    client.pause();
    await flood(client, COUNT, ...keepalive);
    await whilePaused?.();
    client.resume();
    await client.flushed();
    const answers = () => client.received.filter(([type]) => type === SSH_MESSAGE.requestFailure).length;
    await waitFor("all answers", () => answers() === COUNT);
  };
  // Twice, until V8 has the memory that it takes for such.
  for (let round = 0; round < 2; round++) await floodUnread();
  const before = await steadyFootprint(rig.krun.pid);
  const memory = residentBytes(rig.krun.pid);
  const flat = () => {
    const grown = residentBytes(rig.krun.pid) - memory;
    assert.ok(grown < MOST_GROWTH, `${grown} bytes`);
  };
  await t.step("global requests whose answers are not read", async () => {
    await floodUnread(async () => {
      await standsAfter(rig);
      flat();
    });
    flat();
  });
  await t.step("packets as large as they may be", async () => {
    await using client = await login();
    const large = sshString(new Uint8Array(33_000));
    await flood(client, 5000, Uint8Array.of(globalRequest), sshString("nobody@example.com"), Uint8Array.of(0), large);
    await client.flushed();
    await standsAfter(rig);
    flat();
  });
  await t.step("messages that nobody knows", async () => {
    await using client = await login();
    await flood(client, 20_000, Uint8Array.of(200));
    await waitFor("the answers", () => client.unimplemented.length === 20_000);
    flat();
  });
  await t.step("requests of a channel", async () => {
    await using client = await login();
    const session = await client.openSession();
    const request = [sshMessage(channelRequest, session.peer), sshString("env"), Uint8Array.of(1)];
    await flood(client, 20_000, ...request, sshString("LC_ALL"), sshString("C".repeat(1000)));
    await waitFor("the answers", () => client.received.length === 20_000);
    flat();
  });
  await t.step("single bytes for a program that does not read", async () => {
    await using client = await login();
    const session = await client.exec("sleep 600");
    const byte = [sshMessage(channelData, session.peer, 1), Uint8Array.of(1)];
    await flood(client, 100_000, ...byte);
    await client.flushed();
    await standsAfter(rig);
    flat();
  });
  await t.step("windows of many connections that are filled, and nobody reads", async () => {
    await using clients = new AsyncDisposableStack();
    let windows = 0;
    for (let connection = 0; connection < 4; connection++) {
      const client = clients.use(await login());
      for (const session of await Promise.all(Array.from({ length: 64 }, () => client.openSession()))) {
        windows += session.window;
        for (let left = session.window; left > 0; left -= 32_768) client.data(session, new Uint8Array(32_768));
      }
      await client.flushed();
    }
    assert.ok(windows <= (64 << 20) + 256 * 32_768, `${windows} bytes`);
    await standsAfter(rig);
    flat();
  });
  await t.step("5,000 channels, of which none could be served", async () => {
    await using client = await login();
    const numbers = [sshUint32(0), sshUint32(1000), sshUint32(1000)];
    const to = [sshString("127.0.0.1"), sshUint32(freePort()), sshString(""), sshUint32(0)];
    await flood(client, 5000, Uint8Array.of(channelOpen), sshString("session"), ...numbers);
    await waitFor("the answers", () => client.received.length === 5000);
    const opened = client.received.filter(([type]) => type === SSH_MESSAGE.channelOpenConfirmation);
    assert.equal(opened.length, 64);
    client.received.length = 0;
    await flood(client, 3000, Uint8Array.of(channelOpen), sshString("direct-tcpip"), ...numbers, ...to);
    await waitFor("the answers", () => client.received.length === 3000);
    assert.ok(client.received.every(([type]) => type === SSH_MESSAGE.channelOpenFailure));
    client.received.length = 0;
    client.send(Uint8Array.of(channelOpen), sshString("direct-tcpip"), sshUint32(0), sshUint32(9), sshUint32(0), ...to);
    await client.take(SSH_MESSAGE.channelOpenFailure);
    flat();
  });
  await t.step("more places to listen in than it may have", async () => {
    await using client = await login();
    await flood(
      client,
      500,
      Uint8Array.of(globalRequest),
      sshString("tcpip-forward"),
      Uint8Array.of(1),
      sshString(""),
      sshUint32(0),
    );
    await waitFor("the answers", () => client.received.length === 500);
    assert.equal(client.received.filter(([type]) => type === SSH_MESSAGE.requestSuccess).length, 64);
  });
  await t.step("keys that are exchanged again and again, and logins after the login", async () => {
    await using client = await login();
    for (let round = 0; round < 30; round++) {
      client.transport.rekey();
      await waitFor("keys", () => !client.transport.isExchanging);
    }
    for (let round = 0; round < 100; round++) client.send(signedRequest(client.transport.sessionId, key));
    await client.exec("exit 3");
    assert.deepEqual(await client.exited(), { status: 3 });
    flat();
  });
  await t.step("anything at all", async () => {
    const random = chance(7);
    for (let round = 0; round < 30; round++) {
      await using client = await login();
      const { peer } = await client.openSession();
      for (let count = 0; count < 20 && !client.isOver; count++) {
        const rest = Uint8Array.from({ length: random(60) }, () => random(256));
        client.send(
          sshMessage(80 + random(21), random(3) ? peer : random(5)),
          random(2) ? sshString("exec") : rest,
          rest,
        );
      }
      await client.flushed();
    }
    await standsAfter(rig);
  });
  await audited(rig, /ssh logout/);
  await holdsAgain(rig.krun.pid, before);
  flat();
});
