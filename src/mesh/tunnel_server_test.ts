import { randomBytes } from "node:crypto";
import * as http2 from "node:http2";
import assert from "node:assert/strict";
import { TcpProgram, unusedPort } from "../../tests/tcp_program.ts";
import { type Answer, type Call, TunnelRig, WebProgram } from "../../tests/tunnel_rig.ts";
import { waitFor } from "../../tests/wait.ts";
import { http2Channel } from "./http2_channel.ts";

const text = (bytes: Uint8Array | undefined) => new TextDecoder().decode(bytes);
const CERTIFICATE = { "x-forwarded-client-cert": "By=spiffe://cluster.local/ns/ops/sa/admin" };

/** Answers with what was asked. */
const echo = (protocol: "http/1.1" | "h2c") =>
  WebProgram.start(protocol, (response, { body }) => {
    response.writeHead(201, { "x-from": "program", "set-cookie": ["a=1", "b=2"] });
    response.addTrailers({ "grpc-status": "0" });
    response.end(body);
  });

const CALLERS: Readonly<Record<string, (rig: TunnelRig, call: Call) => Promise<Answer>>> = {
  "HTTP/1.1": (rig, call) => rig.http1(call),
  "HTTP/2": (rig, call) => rig.http2(call),
};

for (const protocol of ["http/1.1", "h2c"] as const) {
  for (const [caller, ask] of Object.entries(CALLERS)) {
    Deno.test(`serveTunnel() passes ${caller} on to a program of ${protocol}`, async (t) => {
      await using program = await echo(protocol);
      await using rig = await TunnelRig.start(program);
      const isHttp2 = caller === "HTTP/2";
      await t.step("a request with all that a request has", async () => {
        const headers = {
          ...(isHttp2 ? { ":authority": "web.example.com" } : { host: "web.example.com" }),
          "x-a": "1",
        };
        const chunked = isHttp2 ? {} : { "transfer-encoding": "chunked", te: "trailers", connection: "te" };
        const body = randomBytes(300_000).toString("hex");
        const trailers = { "x-after": "2" };
        const call = { method: "POST", path: "/a?b=c", headers: { ...headers, ...chunked }, body, trailers };
        const answer = await ask(rig, call);
        const seen = program.seen.at(-1)!;
        assert.deepEqual([seen.method, seen.path, seen.body === body], ["POST", "/a?b=c", true]);
        assert.equal(seen.headers[protocol === "h2c" ? ":authority" : "host"], "web.example.com");
        assert.equal(seen.headers["x-a"], "1");
        assert.equal(seen.trailers["x-after"], "2");
        assert.deepEqual([answer.status, answer.body === body], [201, true]);
        assert.equal(answer.headers["x-from"], "program");
        assert.deepEqual(answer.headers["set-cookie"], ["a=1", "b=2"]);
        assert.equal(answer.trailers["grpc-status"], "0");
      });
      await t.step("without what only the mesh may say", async () => {
        await ask(rig, { headers: { ...CERTIFICATE, "x-b": "1" } });
        const { headers } = program.seen.at(-1)!;
        assert.deepEqual([headers["x-b"], headers["x-forwarded-client-cert"]], ["1", undefined]);
      });
      await t.step("a body whose framing is nobody's habit", async () => {
        const before = program.seen.length;
        const chunked = isHttp2 ? {} : { headers: { "transfer-encoding": "chunked" } };
        const smuggled = "GET /smuggled HTTP/1.1\r\nhost: x\r\n\r\n";
        const { body } = await ask(rig, { method: "DELETE", body: smuggled, ...chunked });
        assert.equal(body, smuggled);
        assert.deepEqual(program.seen.slice(before).map(({ method, path }) => `${method} ${path}`), ["DELETE /"]);
      });
      await t.step("HEAD", async () => {
        const { status, body } = await ask(rig, { method: "HEAD" });
        assert.deepEqual([status, body], [201, ""]);
      });
    });
  }
}

Deno.test("serveTunnel() differs from a naive proxy: the control of what it takes away", async () => {
  await using program = await echo("http/1.1");
  // The naive one: the caller reaches the program as it would through any relay of bytes.
  const response = await fetch(`http://127.0.0.1:${program.port}/`, { headers: CERTIFICATE });
  await response.text();
  assert.equal(program.seen[0]!.headers["x-forwarded-client-cert"], CERTIFICATE["x-forwarded-client-cert"]);
});

Deno.test("serveTunnel() keeps an answer that is a head alone, as gRPC's failures are", async () => {
  await using program = await WebProgram.start("h2c", (response) => {
    response.stream!.respond({ ":status": 200, "grpc-status": "7" }, { endStream: true });
  });
  await using rig = await TunnelRig.start(program);
  const stream = rig.session().request({ ":method": "POST", ":path": "/grpc", te: "trailers" }, { endStream: false });
  const flags = await new Promise<number>((resolve, reject) => {
    stream.once("response", (_headers, got) => resolve(got));
    stream.once("error", reject);
    stream.end("question");
  });
  assert.ok(flags & http2.constants.NGHTTP2_FLAG_END_STREAM);
  assert.equal(program.seen[0]!.headers.te, "trailers");
});

Deno.test("serveTunnel() streams: an answer begins before its request has ended", async () => {
  const server = http2.createServer();
  server.on("stream", (stream: http2.ServerHttp2Stream) => {
    stream.respond({ ":status": 200 });
    stream.pipe(stream);
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const { port } = server.address() as { port: number };
  await using rig = await TunnelRig.start({ port, protocol: "h2c" });
  const stream = rig.session().request({ ":method": "POST", ":path": "/" }, {
    endStream: false,
    waitForTrailers: true,
  });
  const channel = http2Channel(stream);
  for (const word of ["one", "two"]) {
    await channel.write(new TextEncoder().encode(word));
    assert.equal(text(await channel.read()), word);
  }
  channel.end();
  assert.equal(await channel.read(), undefined);
  server.close();
});

for (const [caller, ask] of Object.entries(CALLERS)) {
  Deno.test(`serveTunnel() says by ${caller} that the program does not answer`, async () => {
    const port = unusedPort();
    await using rig = await TunnelRig.start({ port, protocol: "http/1.1" });
    for (const call of [{}, { method: "POST", body: "x".repeat(200_000) }]) {
      const { status, body } = await ask(rig, call);
      assert.deepEqual([status, body], [502, `nothing answers on port ${port}\n`]);
    }
    assert.equal((await ask(rig, { method: "HEAD" })).status, 502);
  });

  Deno.test(`serveTunnel() cuts by ${caller} what the program cuts`, async () => {
    await using program = await WebProgram.start("http/1.1", (response) => {
      response.writeHead(200);
      response.write("half of it", () => program.sockets.at(-1)!.destroy());
    });
    await using rig = await TunnelRig.start(program);
    await assert.rejects(ask(rig, {}));
  });
}

Deno.test("serveTunnel() ends the program's work when the caller leaves", async () => {
  let gone = 0;
  await using program = await WebProgram.start("http/1.1", (response) => {
    response.on("close", () => gone++);
    response.write("first of many");
  });
  await using rig = await TunnelRig.start(program);
  const stream = rig.session().request({ ":path": "/" });
  await new Promise((resolve) => stream.once("data", resolve));
  stream.close(http2.constants.NGHTTP2_CANCEL);
  await waitFor("the program to hear of it", () => gone === 1);
});

Deno.test("serveTunnel() streams to the ssh server, and to nothing else", async (t) => {
  await using ssh = await TcpProgram.echo();
  await using program = await echo("http/1.1");
  await using rig = await TunnelRig.start(program, { sshPort: ssh.port });
  const post = (path: string) =>
    rig.session().request({ ":method": "POST", ":path": path }, { endStream: false, waitForTrailers: true });
  await t.step("POST /_hbone/22", async () => {
    const channel = http2Channel(post("/_hbone/22"));
    await channel.write(new TextEncoder().encode("SSH-2.0-x"));
    assert.equal(text(await channel.read()), "SSH-2.0-x");
    channel.end();
    assert.equal(await channel.read(), undefined);
  });
  await t.step("what is no tunnel", async () => {
    assert.equal((await rig.http2({ method: "POST", path: "/_hbone/15000", body: "" })).status, 404);
    assert.equal((await rig.http2({ method: "GET", path: "/_hbone/22" })).status, 405);
    const old = await rig.http1({ method: "POST", path: "/_hbone/22", body: "x" });
    assert.equal(old.status, 505);
    assert.match(old.body, /needs HTTP\/2/);
    assert.equal((await rig.http1({ path: "/_hbone/15000" })).status, 404);
  });
  assert.deepEqual([ssh.sockets.length, program.seen.length], [1, 0]);
});
