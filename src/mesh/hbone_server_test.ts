import { createHash, randomBytes } from "node:crypto";
import { connect } from "node:net";
import assert from "node:assert/strict";
import { AT_ONCE } from "../../tests/drain_at_once.ts";
import { MeshRig, type Peer, readAll } from "../../tests/mesh_rig.ts";
import { TcpProgram, unusedPort } from "../../tests/tcp_program.ts";
import { waitFor } from "../../tests/wait.ts";
import { KrunError } from "../core/errors.ts";
import { DescriptorBudget } from "./descriptor_budget.ts";

const text = (bytes: Uint8Array | undefined) => new TextDecoder().decode(bytes);
const bytes = (content: string) => new TextEncoder().encode(content);
const digest = (content: Uint8Array) => createHash("sha256").update(content).digest("hex");

/** The endpoint of a workload whose one port is the program's. */
function serving({ port }: { port: number }, options: Partial<Parameters<typeof MeshRig.start>[0]> = {}) {
  return MeshRig.start({ workload: { hosts: ["10.0.0.5"], ports: [port] }, ...options });
}

Deno.test("serveHbone() carries bytes both ways, to the program and to the ssh port", async () => {
  await using program = await TcpProgram.echo();
  await using ssh = await TcpProgram.start((socket) => socket.write("SSH-2.0-x\r\n"));
  await using rig = await serving(program, {
    workload: { hosts: ["10.0.0.5"], ports: [program.port], sshPort: ssh.port },
  });
  const peer = rig.peer();
  const echo = peer.open(`10.0.0.5:${program.port}`);
  assert.equal(await echo.status, 200);
  await echo.channel.write(bytes("hello"));
  assert.equal(text(await echo.channel.read()), "hello");
  echo.channel.end();
  assert.equal(await echo.channel.read(), undefined);
  const shell = peer.open("localhost:22");
  assert.equal(await shell.status, 200);
  assert.equal(text(await shell.channel.read()), "SSH-2.0-x\r\n");
  shell.channel.reset();
});

Deno.test("serveHbone() brings 1 MiB there and back unchanged, also on 100 streams at once", async () => {
  await using program = await TcpProgram.echo();
  await using rig = await serving(program);
  const peer = rig.peer();
  const one = async (length: number) => {
    const sent = randomBytes(length);
    const { channel } = peer.open(`10.0.0.5:${program.port}`);
    const received = readAll(channel);
    for (let at = 0; at < length; at += 10_000) await channel.write(sent.subarray(at, at + 10_000));
    channel.end();
    assert.equal(digest(await received), digest(sent));
  };
  await one(1 << 20);
  await Promise.all(Array.from({ length: 100 }, () => one(20_000)));
  assert.equal(program.sockets.length, 101);
});

Deno.test("serveHbone() lets each half end by itself", async (t) => {
  await t.step("the peer ends, and still reads", async () => {
    await using program = await TcpProgram.start((socket) => {
      socket.resume();
      socket.on("end", () => socket.end("late answer"));
    });
    await using rig = await serving(program);
    const { channel } = rig.peer().open(`localhost:${program.port}`);
    await channel.write(bytes("question"));
    channel.end();
    assert.equal(text(await readAll(channel)), "late answer");
    assert.equal(channel.broken.aborted, false);
  });
  await t.step("the program ends, and still reads", async () => {
    let got = "";
    await using program = await TcpProgram.start((socket) => {
      socket.on("data", (chunk) => got += chunk);
      socket.end("bye");
    });
    await using rig = await serving(program);
    const { channel } = rig.peer().open(`localhost:${program.port}`);
    assert.equal(text(await readAll(channel)), "bye");
    await channel.write(bytes("x".repeat(100_000)));
    channel.end();
    await waitFor("the program to have it all", () => got.length === 100_000);
    await waitFor("the program's connection to end", () => program.sockets[0]!.closed);
    assert.equal(channel.broken.aborted, false);
  });
});

Deno.test("serveHbone() makes a reset of a reset, and never an end", async (t) => {
  const ends: string[] = [];
  await using program = await TcpProgram.start((socket) => {
    socket.resume();
    socket.on("end", () => ends.push("end"));
    socket.on("error", () => ends.push("reset"));
    socket.write("hello");
  });
  await using rig = await serving(program);
  const connected = async (peer: Peer) => {
    ends.length = 0;
    const stream = peer.open(`localhost:${program.port}`);
    assert.equal(text(await stream.channel.read()), "hello");
    return stream;
  };
  await t.step("the peer resets the stream", async () => {
    const { channel } = await connected(rig.peer());
    channel.reset();
    await waitFor("the program to see it", () => ends.length > 0);
    assert.deepEqual(ends, ["reset"]);
  });
  await t.step("the peer loses its connection", async () => {
    const peer = rig.peer();
    await connected(peer);
    await peer[Symbol.asyncDispose]();
    await waitFor("the program to see it", () => ends.length > 0);
    assert.deepEqual(ends, ["reset"]);
  });
  await t.step("the program resets its connection", async () => {
    const { channel, code } = await connected(rig.peer());
    program.sockets.at(-1)!.resetAndDestroy();
    await assert.rejects(channel.read());
    assert.equal(code(), 0xa, "CONNECT_ERROR");
  });
  await t.step("the twin: an end in order is none", async () => {
    const { channel } = await connected(rig.peer());
    channel.end();
    await waitFor("the program to see it", () => ends.length > 0);
    assert.deepEqual(ends, ["end"]);
    channel.reset();
  });
});

Deno.test("serveHbone() goes on when what waited for the network has left", async () => {
  const sent = randomBytes(8 << 20);
  await using program = await TcpProgram.start((socket) => socket.end(sent));
  await using rig = await serving(program);
  const { channel } = rig.peer({ windowBytes: 2 ** 31 - 1 }).open(`localhost:${program.port}`);
  assert.equal(digest(await readAll(channel)), digest(sent));
  channel.end();
});

Deno.test("serveHbone() listens on the first port that nothing else holds", async (t) => {
  const [first, second] = [unusedPort(), unusedPort()];
  await using program = await TcpProgram.echo();
  const start = () => serving(program, { ports: [first, second] });
  await t.step("the first one", async () => {
    await using rig = await start();
    assert.equal(rig.server.port, first);
  });
  using _holder = Deno.listen({ hostname: "127.0.0.1", port: first });
  await t.step("the second one, and it works", async () => {
    await using rig = await start();
    assert.equal(rig.server.port, second);
    const { status, channel } = rig.peer().open(`localhost:${program.port}`);
    assert.equal(await status, 200);
    channel.reset();
  });
  await t.step("none", async () => {
    using _other = Deno.listen({ hostname: "127.0.0.1", port: second });
    await assert.rejects(start(), (error) => error instanceof KrunError && error.code === "HboneUnavailable");
  });
});

Deno.test("serveHbone() answers 503 when the program does not accept, and goes on", async () => {
  const port = unusedPort();
  await using rig = await serving({ port });
  const peer = rig.peer();
  const refused = peer.open(`localhost:${port}`);
  assert.equal(await refused.status, 503);
  assert.match(text(await readAll(refused.channel)), new RegExp(`^nothing answers on port ${port}\n$`));
  using listener = Deno.listen({ hostname: "127.0.0.1", port });
  const accepted = peer.open(`localhost:${port}`);
  (await listener.accept()).close();
  assert.equal(await accepted.status, 200);
});

Deno.test("serveHbone() closes a connection that nobody uses, and none that is in use", async () => {
  await using program = await TcpProgram.echo();
  await using rig = await serving(program, { limits: { idleMs: 300 } });
  const [idle, busy, silent] = [rig.peer(), rig.peer(), connect(rig.server.port, "127.0.0.1")];
  silent.on("error", () => {});
  const { channel, status } = busy.open(`localhost:${program.port}`);
  await status;
  await idle.closed;
  assert.equal(idle.failure, undefined);
  await channel.write(bytes("still here"));
  assert.equal(text(await channel.read()), "still here");
  channel.end();
  assert.equal(await channel.read(), undefined);
  await busy.closed;
  silent.destroy();
});

Deno.test("serveHbone() gives a handshake its time and no more", async () => {
  await using program = await TcpProgram.echo();
  await using rig = await serving(program, { limits: { handshakeMs: 300 } });
  const silent = connect(rig.server.port, "127.0.0.1");
  silent.on("error", () => {});
  await new Promise((resolve) => silent.once("close", resolve));
});

Deno.test("serveHbone() has as many streams of one connection as it says, and no more", async () => {
  await using program = await TcpProgram.echo();
  await using rig = await serving(program, { limits: { streams: 2 } });
  const peer = rig.peer();
  const authority = `localhost:${program.port}`;
  const first = peer.open(authority);
  assert.equal(await first.status, 200);
  const others = [peer.open(authority), peer.open(authority)];
  assert.equal(await others[0]!.status, 200);
  await new Promise((resolve) => setTimeout(resolve, 200));
  assert.equal(program.sockets.length, 2, "the third one waits, or is refused");
  for (const { channel } of [first, ...others]) channel.reset();
});

Deno.test("serveHbone() resets what is open when it ends", async () => {
  const ends: string[] = [];
  await using program = await TcpProgram.start((socket) => {
    socket.resume();
    socket.on("end", () => ends.push("end"));
    socket.on("error", () => ends.push("reset"));
  });
  await using rig = await serving(program);
  const { channel, status } = rig.peer().open(`localhost:${program.port}`);
  await status;
  await rig.server[Symbol.asyncDispose]();
  await assert.rejects(channel.read());
  await waitFor("the program to see it", () => ends.length > 0);
  assert.deepEqual(ends, ["reset"]);
});

Deno.test("serveHbone() lets nobody in once it drains, and what is open goes on to its own end", async () => {
  await using program = await TcpProgram.echo();
  await using rig = await serving(program);
  const [peer, idle] = [rig.peer(), rig.peer()];
  const authority = `localhost:${program.port}`;
  const { channel, status } = peer.open(authority);
  assert.equal(await status, 200);
  const used = idle.open(authority);
  used.channel.end();
  assert.equal(await used.channel.read(), undefined);
  void rig.server.drain(AT_ONCE);
  await idle.closed;
  await assert.rejects(Deno.connect({ hostname: "127.0.0.1", port: rig.server.port }), Deno.errors.ConnectionRefused);
  await assert.rejects(async () => await peer.open(authority).status, "by an open connection neither");
  await channel.write(bytes("still here"));
  assert.equal(text(await channel.read()), "still here");
  channel.end();
  assert.equal(await channel.read(), undefined);
  await peer.closed;
  assert.equal(program.sockets.length, 2);
});

Deno.test("serveHbone() lets no stranger keep out a peer by connections without a handshake", async () => {
  await using program = await TcpProgram.echo();
  await using rig = await serving(program, { descriptors: new DescriptorBudget(8) });
  const strangers = Array.from({ length: 10 }, () => connect(rig.server.port, "127.0.0.1"));
  let gone = 0;
  for (const stranger of strangers) {
    stranger.on("error", () => {});
    stranger.on("close", () => gone++);
  }
  await waitFor("those to be refused that are too many", () => gone >= 6);
  const admitted = await waitFor("a peer to be let in", async () => {
    const { channel, status } = rig.peer().open(`localhost:${program.port}`);
    return await status === 200 ? channel : undefined;
  });
  await admitted.write(bytes("hello"));
  assert.equal(text(await admitted.read()), "hello");
  for (const stranger of strangers) stranger.destroy();
});

Deno.test("serveHbone() opens no more streams of all peers together than it has descriptors for", async () => {
  await using program = await TcpProgram.echo();
  await using rig = await serving(program, { descriptors: new DescriptorBudget(4) });
  const authority = `localhost:${program.port}`;
  const [one, other] = [rig.peer().open(authority), rig.peer().open(authority)];
  assert.deepEqual([await one.status, await other.status], [200, 200]);
  const peer = rig.peer();
  await assert.rejects(async () => await peer.open(authority).status, "nor connections");
  one.channel.end();
  assert.equal(await one.channel.read(), undefined);
  await other.channel.write(bytes("on"));
  assert.equal(text(await other.channel.read()), "on");
});

Deno.test("serveHbone() answers 503 to a stream for which it has no descriptor, and has it again later", async () => {
  await using program = await TcpProgram.echo();
  await using rig = await serving(program, { descriptors: new DescriptorBudget(2) });
  const peer = rig.peer();
  const authority = `localhost:${program.port}`;
  const first = peer.open(authority);
  assert.equal(await first.status, 200);
  const second = peer.open(authority);
  assert.equal(await second.status, 503);
  assert.equal(text(await readAll(second.channel)), "too many streams are open here\n");
  first.channel.end();
  assert.equal(await first.channel.read(), undefined);
  const third = await waitFor("room", async () => {
    const next = peer.open(authority);
    return await next.status === 200 ? next : undefined;
  });
  third.channel.reset();
});

Deno.test("serveHbone() gives up an idle peer for a new one, and none that has a stream open", async () => {
  await using program = await TcpProgram.echo();
  await using rig = await serving(program, { descriptors: new DescriptorBudget(6) });
  const authority = `localhost:${program.port}`;
  const [working, idle] = [rig.peer(), rig.peer()];
  const { channel, status } = working.open(authority);
  assert.equal(await status, 200);
  for (const next of [() => idle, () => rig.peer(), () => rig.peer()]) {
    const used = next().open(authority);
    assert.equal(await used.status, 200);
    used.channel.end();
    assert.equal(await used.channel.read(), undefined);
  }
  await idle.closed;
  await channel.write(bytes("still here"));
  assert.equal(text(await channel.read()), "still here");
});
