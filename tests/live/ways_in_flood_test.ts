/**
 * Back-pressure of both ways in: who does not read is not sent more than the kernel and the windows of HTTP/2 hold. It takes seconds
 * to see that a flood has stopped.
 */
import { connect } from "node:net";
import * as tls from "node:tls";
import assert from "node:assert/strict";
import { http2Channel } from "../../src/mesh/http2_channel.ts";
import { flood, floodFrom, MOST_BYTES } from "../flood.ts";
import { MeshRig, workloadId } from "../mesh_rig.ts";
import { greedyOpening } from "../raw_http2.ts";
import { TcpProgram } from "../tcp_program.ts";
import { TunnelRig } from "../tunnel_rig.ts";
import { ValveProxy } from "../valve_proxy.ts";
import { waitFor } from "../wait.ts";

Deno.test("serveHbone() takes no more than the other side reads", async (t) => {
  await using program = await TcpProgram.start((socket) => socket.pause());
  await using rig = await MeshRig.start({ workload: { hosts: [], ports: [program.port] } });
  const authority = `localhost:${program.port}`;
  const connection = () => waitFor("the program's connection", () => program.sockets.shift());
  await t.step("a program that does not read", async () => {
    const { channel } = rig.peer().open(authority);
    let sent = 0;
    const write = (chunk: Uint8Array) => channel.write(chunk).then(() => void (sent += chunk.length));
    const taken = await flood(write, () => sent);
    assert.ok(taken < MOST_BYTES, `${taken} bytes`);
    (await connection()).destroy();
  });
  await t.step("a peer that does not read its stream", async () => {
    rig.peer().open(authority);
    const socket = await connection();
    const taken = await floodFrom(socket);
    assert.ok(taken < MOST_BYTES, `${taken} bytes`);
    socket.destroy();
  });
  await t.step("a peer that allows everything and does not read its connection", async () => {
    await using proxy = new ValveProxy(rig.server.port);
    const { certPem, keyPem } = rig.authority.issue({ uris: [workloadId("client")] });
    const peer = tls.connect({
      port: proxy.port,
      ca: rig.authority.pem,
      cert: certPem,
      key: keyPem,
      checkServerIdentity: () => undefined,
      ALPNProtocols: ["h2"],
    });
    peer.write(greedyOpening([[":method", "CONNECT"], [":authority", authority]]));
    const socket = await connection();
    proxy.shut();
    const taken = await floodFrom(socket);
    assert.ok(taken < MOST_BYTES, `${taken} bytes`);
    // Nor does such a peer hold up the end.
    await rig.server[Symbol.asyncDispose]();
    peer.destroy();
  });
});

Deno.test("serveTunnel() takes no more than the other side reads", async (t) => {
  const head = "HTTP/1.1 200 OK\r\n\r\n";
  await using raw = await TcpProgram.start((socket) => socket.write(head, () => socket.pause()));
  await using rig = await TunnelRig.start({ port: raw.port, protocol: "http/1.1" });
  const connection = () => waitFor("the program's connection", () => raw.sockets.shift());
  await t.step("an answer that an HTTP/2 caller does not read", async () => {
    const stream = rig.session().request({ ":path": "/" });
    stream.on("error", () => {});
    const socket = await connection();
    const taken = await floodFrom(socket);
    assert.ok(taken < MOST_BYTES, `${taken} bytes`);
    socket.destroy();
  });
  await t.step("an answer that an HTTP/1.1 caller does not read", async () => {
    const caller = connect(rig.server.port, "127.0.0.1");
    caller.pause();
    caller.on("error", () => {});
    caller.write("GET / HTTP/1.1\r\nHost: x\r\n\r\n");
    const socket = await connection();
    const taken = await floodFrom(socket);
    assert.ok(taken < MOST_BYTES, `${taken} bytes`);
    socket.destroy();
    caller.destroy();
  });
  await t.step("a request that the program does not read", async () => {
    const opened = { endStream: false, waitForTrailers: true };
    const channel = http2Channel(rig.session().request({ ":method": "POST", ":path": "/" }, opened));
    let sent = 0;
    const write = (chunk: Uint8Array) => channel.write(chunk).then(() => void (sent += chunk.length));
    const taken = await flood(write, () => sent);
    assert.ok(taken < MOST_BYTES, `${taken} bytes`);
    (await connection()).destroy();
  });
});
