import { Buffer } from "node:buffer";
import * as http from "node:http";
import { connect, type Socket } from "node:net";
import * as tls from "node:tls";
import assert from "node:assert/strict";
import { FakeClock } from "../../tests/fake_clock.ts";
import { MeshRig, workloadId } from "../../tests/mesh_rig.ts";
import {
  END_HEADERS,
  END_STREAM,
  frame,
  framesIn,
  GOAWAY,
  headerBlock,
  HEADERS,
  PREFACE,
  SETTINGS,
} from "../../tests/raw_http2.ts";
import { TcpProgram } from "../../tests/tcp_program.ts";
import { TunnelRig, WebProgram } from "../../tests/tunnel_rig.ts";
import { waitFor } from "../../tests/wait.ts";
import { drainServer } from "./drain.ts";

const never = () => new AbortController().signal;
const nobody = () => 0;
const [PORT, BEHIND] = [15009, 8080];

/** Notes what it is told. */
function noting() {
  const told: string[] = [];
  const tell = (word: string) => () => void told.push(word);
  return {
    told,
    port: PORT,
    programPorts: [BEHIND],
    announce: tell("announce"),
    shut: tell("shut"),
    finish: tell("finish"),
  };
}

Deno.test("drainServer() leaves callers the time to hear of the end, and the program that to get what they sent", async () => {
  const [server, clock] = [noting(), new FakeClock()];
  const options = { over: never(), clock, programRuns: true, waiting: nobody };
  const drained = drainServer(server, options).then(() => server.told.push("over"));
  await clock.pass(99);
  assert.deepEqual(server.told, ["announce"]);
  await clock.pass(131);
  assert.deepEqual(server.told, ["announce", "shut"]);
  await clock.pass(30);
  await drained;
  assert.deepEqual(server.told, ["announce", "shut", "finish", "over"]);
});

Deno.test("drainServer() shuts nothing that still has to be accepted, and goes on only when the program has accepted too", async () => {
  const [server, clock] = [noting(), new FakeClock()];
  const queues = new Map([[PORT, 1], [BEHIND, 1]]);
  const options = { over: never(), clock, programRuns: true, waiting: (port: number) => queues.get(port) ?? 0 };
  const drained = drainServer(server, options).then(() => server.told.push("over"));
  await clock.pass(10_000);
  assert.deepEqual(server.told, ["announce"]);
  queues.set(PORT, 0);
  await clock.pass(10_000);
  assert.deepEqual(server.told, ["announce", "shut"]);
  queues.set(BEHIND, 0);
  await clock.pass(100);
  await drained;
});

Deno.test("drainServer() waits for nothing without a program, or when there is no more time", async () => {
  const [ended, hurried, clock] = [noting(), noting(), new FakeClock()];
  await drainServer(ended, { over: never(), clock, programRuns: false, waiting: () => 1 });
  await drainServer(hurried, { over: AbortSignal.abort(), clock, programRuns: true, waiting: () => 1 });
  assert.deepEqual([ended.told, hurried.told], Array(2).fill(["announce", "shut", "finish"]));
});

/** Asks on one connection, and says whether that is to be kept. */
async function askOn(agent: http.Agent, port: number): Promise<string | undefined> {
  const request = http.request({ host: "127.0.0.1", port, agent }).end();
  const answer = await new Promise<http.IncomingMessage>((resolve, reject) => {
    request.once("response", resolve);
    request.once("error", reject);
  });
  assert.equal(answer.statusCode, 200);
  await new Promise((resolve) => answer.resume().once("end", resolve));
  return answer.headers.connection;
}

Deno.test("serveTunnel() tells by connection: close that it will end, and serves who had not heard of it", async () => {
  await using program = await WebProgram.start("http/1.1", (response) => response.end("yes"));
  await using rig = await TunnelRig.start(program);
  const clock = new FakeClock();
  const agent = new http.Agent({ keepAlive: true, maxSockets: 1 });
  const { port } = rig.server;
  assert.equal(await askOn(agent, port), "keep-alive");
  const drained = rig.server.drain({ over: never(), clock, programRuns: true, waiting: nobody });
  assert.equal(await askOn(agent, port), "close");
  assert.equal(await askOn(agent, port), "close", "and a new connection");
  await clock.pass(130);
  await assert.rejects(askOn(agent, port), { code: "ECONNREFUSED" });
  await clock.pass(130);
  await drained;
  agent.destroy();
});

/** What a server of HTTP/2 sends, and the payloads of its GOAWAY frames: the last stream that counts, and the code. */
class RawHttp2 {
  readonly #socket: Socket;
  readonly #parts: Buffer[] = [];
  readonly ended: Promise<unknown>;

  constructor(socket: Socket) {
    this.#socket = socket;
    this.ended = new Promise((resolve) => socket.once("close", resolve));
    socket.on("data", (part) => this.#parts.push(part as Buffer));
    socket.write(Buffer.concat([PREFACE, frame(SETTINGS, 0, 0)]));
  }

  /** Sends a request, without waiting for anything. */
  send(stream: number, fields: readonly (readonly [string, string])[]): void {
    this.#socket.write(frame(HEADERS, END_HEADERS | END_STREAM, stream, headerBlock(fields)));
  }

  sees(type: "HEADERS" | "GOAWAY", stream: number): Promise<unknown> {
    return waitFor(`${type} of stream ${stream}`, () => this.has(type, stream));
  }

  has(type: "HEADERS" | "GOAWAY", stream: number): boolean {
    return framesIn(Buffer.concat(this.#parts)).some((one) => one.type === type && one.stream === stream);
  }

  get lastStream(): number {
    const bytes = Buffer.concat(this.#parts);
    const goaway = bytes.indexOf(Buffer.from([0, 0, 8, GOAWAY, 0, 0, 0, 0, 0]));
    return goaway < 0 ? -1 : bytes.readUInt32BE(goaway + 9);
  }
}

const GET = [[":method", "GET"], [":scheme", "http"], [":path", "/"], [":authority", "web"]] as const;

Deno.test("serveTunnel() serves by HTTP/2 what came before it was shut, and says of the rest that it was not looked at", async () => {
  const release = Promise.withResolvers<void>();
  await using program = await WebProgram.start(
    "http/1.1",
    (response) => void release.promise.then(() => response.end()),
  );
  await using rig = await TunnelRig.start(program);
  const clock = new FakeClock();
  const caller = new RawHttp2(connect(rig.server.port, "127.0.0.1"));
  const drained = rig.server.drain({ over: never(), clock, programRuns: true, waiting: nobody });
  caller.send(1, GET);
  await waitFor("the request at the program", () => program.seen.length === 1);
  await clock.pass(130);
  await caller.sees("GOAWAY", 0);
  assert.equal(caller.lastStream, 1);
  caller.send(3, GET);
  release.resolve();
  await caller.sees("HEADERS", 1);
  assert.equal(program.seen.length, 1, "what came after GOAWAY has not reached the program");
  await clock.pass(130);
  await drained;
  await caller.ended;
});

Deno.test("serveHbone() serves what came before it was shut, and says of the rest that it was not looked at", async () => {
  await using program = await TcpProgram.echo();
  await using rig = await MeshRig.start({ workload: { hosts: [], ports: [program.port] } });
  const clock = new FakeClock();
  const { certPem: cert, keyPem: key } = rig.authority.issue({ uris: [workloadId("client")] });
  const shown = { ca: rig.authority.pem, cert, key, ALPNProtocols: ["h2"], checkServerIdentity: () => undefined };
  const caller = new RawHttp2(tls.connect({ port: rig.server.port, ...shown }));
  const drained = rig.server.drain({ over: never(), clock, programRuns: true, waiting: nobody });
  const connectTo = [[":method", "CONNECT"], [":authority", `localhost:${program.port}`]] as const;
  caller.send(1, connectTo);
  await caller.sees("HEADERS", 1);
  await clock.pass(130);
  await caller.sees("GOAWAY", 0);
  assert.equal(caller.lastStream, 1);
  caller.send(3, connectTo);
  await clock.pass(130);
  await drained;
  await caller.ended;
  assert.equal(program.sockets.length, 1);
});
