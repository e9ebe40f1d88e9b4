import assert from "node:assert/strict";
import { createServer as createHttp2, type ServerHttp2Stream } from "node:http2";
import type { AddressInfo } from "node:net";
import type { V1Container, V1Probe } from "@kubernetes/client-node";
import fc from "fast-check";
import type { ChildEnd } from "../core/exit_status.ts";
import { systemClock } from "./clock.ts";
import { healthCheckFrame, isServing, type ProbeTarget, tryProbe } from "./probe_handlers.ts";

function target(options: { end?: ChildEnd; ports?: V1Container["ports"]; seen?: string[][] } = {}): ProbeTarget {
  const { end = { kind: "exited", code: 0 }, ports = [], seen = [] } = options;
  return {
    container: { name: "app", ports, env: [{ name: "A", value: "a" }] },
    host: "127.0.0.1",
    clock: systemClock,
    run: (argv) => {
      seen.push([...argv]);
      return Promise.resolve(end);
    },
  };
}

/** With more time than the probe's default, since machines are slow. */
function tryPatiently(probe: V1Probe, target: ProbeTarget) {
  return tryProbe({ timeoutSeconds: 60, ...probe }, target);
}

function httpServer(handler: (request: Request) => Response) {
  const seen: { url: string; headers: Headers }[] = [];
  const server = Deno.serve({ hostname: "127.0.0.1", port: 0, onListen: () => {} }, (request) => {
    seen.push({ url: request.url, headers: new Headers(request.headers) });
    return handler(request);
  });
  return { port: server.addr.port, seen, [Symbol.asyncDispose]: () => server.shutdown() };
}

Deno.test("tryProbe() judges an exec probe by exit 0 and expands literals alone", async () => {
  const seen: string[][] = [];
  const probe: V1Probe = { exec: { command: ["check", "$(A)", "$(HOME)"] } };
  assert.equal((await tryPatiently(probe, target({ seen }))).result, "success");
  assert.deepEqual(seen, [["check", "a", "$(HOME)"]]);
  assert.equal((await tryPatiently(probe, target({ end: { kind: "exited", code: 1 } }))).result, "failure");
  assert.equal((await tryPatiently(probe, target({ end: { kind: "signaled", signal: 9 } }))).result, "failure");
  assert.equal((await tryPatiently({ exec: {} }, target())).result, "error");
});

Deno.test("tryProbe() takes 200 to 399 of an httpGet probe as success", async () => {
  for (
    const [status, result] of [
      [200, "success"],
      [204, "success"],
      [304, "success"],
      [399, "success"],
      [400, "failure"],
      [503, "failure"],
    ] as const
  ) {
    await using server = httpServer(() => new Response(null, { status }));
    assert.equal((await tryPatiently({ httpGet: { port: server.port } }, target())).result, result, String(status));
  }
});

Deno.test("tryProbe() sends the headers of kube-probe, the probe's own instead, and none for an empty value", async () => {
  await using server = httpServer(() => new Response("ok"));
  const probe = (httpHeaders?: { name: string; value: string }[]): V1Probe => ({
    httpGet: { port: server.port, path: "/ready?full=1", ...(httpHeaders ? { httpHeaders } : {}) },
  });
  await tryPatiently(probe(), target());
  await tryPatiently(
    probe([{ name: "User-Agent", value: "me" }, { name: "Accept", value: "" }, { name: "Host", value: "shop" }]),
    target(),
  );
  const [plain, own] = server.seen;
  assert.equal(new URL(plain!.url).pathname + new URL(plain!.url).search, "/ready?full=1");
  assert.equal(plain!.headers.get("user-agent"), "kube-probe/1.34");
  assert.equal(plain!.headers.get("accept"), "*/*");
  assert.equal(plain!.headers.get("accept-encoding"), null);
  assert.equal(own!.headers.get("user-agent"), "me");
  assert.equal(own!.headers.get("accept"), null);
  assert.equal(own!.headers.get("host"), "shop");
});

Deno.test("tryProbe() follows redirects to the same host name and takes another one as success", async () => {
  await using server = httpServer(({ url }) => {
    const { pathname } = new URL(url);
    if (pathname === "/there") return new Response("ok");
    if (pathname === "/here") return new Response(null, { status: 302, headers: { location: "/there" } });
    if (pathname === "/broken") return new Response(null, { status: 302, headers: { location: "/500" } });
    if (pathname === "/away") {
      return new Response(null, { status: 302, headers: { location: "http://elsewhere.invalid/" } });
    }
    if (pathname === "/loop") return new Response(null, { status: 302, headers: { location: "/loop" } });
    return new Response(null, { status: 500 });
  });
  for (
    const [path, result, requests] of [["/here", "success", 2], ["/broken", "failure", 2], ["/away", "success", 1], [
      "/loop",
      "failure",
      10,
    ]] as const
  ) {
    server.seen.length = 0;
    assert.equal((await tryPatiently({ httpGet: { port: server.port, path } }, target())).result, result, path);
    assert.equal(server.seen.length, requests, path);
  }
});

Deno.test("tryProbe() fails an httpGet or tcpSocket probe where nothing listens, and errs on a port that is not there", async () => {
  const listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  const { port } = listener.addr;
  const tcp: V1Probe = { tcpSocket: { port } };
  assert.equal((await tryPatiently(tcp, target())).result, "success");
  assert.equal(
    (await tryPatiently({ tcpSocket: { port: "web" } }, target({ ports: [{ name: "web", containerPort: port }] })))
      .result,
    "success",
  );
  listener.close();
  assert.equal((await tryPatiently(tcp, target())).result, "failure");
  assert.equal((await tryPatiently({ httpGet: { port } }, target())).result, "failure");
  assert.equal((await tryPatiently({ httpGet: { port: "nope" } }, target())).result, "error");
  assert.equal((await tryPatiently({}, target())).result, "error");
});

Deno.test("tryProbe() fails a server that does not answer within timeoutSeconds", async () => {
  const listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  const accepted = listener.accept();
  const { result, message } = await tryProbe({ timeoutSeconds: 1, httpGet: { port: listener.addr.port } }, target());
  assert.deepEqual([result, message], ["failure", "no answer within 1 s"]);
  (await accepted).close();
  listener.close();
});

Deno.test("tryProbe() ends with the container, whatever a server that does not answer does", async () => {
  using listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  const { port } = listener.addr;
  for (const probe of [{ httpGet: { port } }, { grpc: { port } }] as V1Probe[]) {
    const over = new AbortController();
    const got = tryProbe({ ...probe, timeoutSeconds: 3600 }, target(), over.signal);
    const connection = await listener.accept();
    over.abort();
    assert.equal((await got).result, "failure", Object.keys(probe).join());
    connection.close();
  }
});

Deno.test("tryProbe() waits for 10 KiB of an httpGet answer, and for no more", async (t) => {
  const cases = [
    { name: "an endless answer", bytes: 11 * 1024, closes: false, expected: ["success", "HTTP 200"] },
    {
      name: "an answer that stops coming",
      bytes: 1024,
      closes: false,
      expected: ["error", "HTTP 200, no answer within 1 s"],
    },
    {
      ...{ name: "an answer that is cut off", bytes: 1024, closes: true },
      expected: ["error", "HTTP 200, the answer was cut off"],
    },
  ];
  for (const { name, bytes, closes, expected } of cases) {
    await t.step(name, async () => {
      using listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
      const answering = listener.accept().then(async (connection) => {
        await connection.read(new Uint8Array(1024));
        const head = `HTTP/1.1 200 OK\r\ncontent-length: 1000000000\r\n\r\n`;
        await connection.write(new TextEncoder().encode(head + "x".repeat(bytes)));
        if (closes) connection.close();
        return connection;
      });
      const timeoutSeconds = name === "an answer that stops coming" ? 1 : 60;
      const probe = { timeoutSeconds, httpGet: { port: listener.addr.port } };
      const { result, message } = await tryProbe(probe, target());
      const connection = await answering;
      if (!closes) connection.close();
      assert.deepEqual([result, message], expected);
    });
  }
});

Deno.test("tryProbe() says in plain words that nobody listens, that nobody answers, and that a name is unknown", async () => {
  using closed = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  const { port } = closed.addr;
  const message = async (probe: V1Probe) => (await tryPatiently(probe, target())).message;
  for (const probe of [{ httpGet: { port } }, { grpc: { port } }]) {
    const cutting = closed.accept().then((connection) => connection.close());
    assert.equal(await message(probe), "the connection was cut off", JSON.stringify(probe));
    await cutting;
  }
  closed.close();
  for (const probe of [{ tcpSocket: { port } }, { httpGet: { port } }, { grpc: { port } }]) {
    assert.equal(await message(probe), "connection refused", JSON.stringify(probe));
  }
  // An empty label: no name server is asked.
  assert.equal(await message({ httpGet: { port, host: "a..b" } }), "that name has no address");
});

Deno.test("tryProbe() asks a grpc server's health and takes only SERVING", async () => {
  const statuses: Record<string, number> = { "": 1, down: 2 };
  const server = createHttp2();
  server.on("stream", (stream: ServerHttp2Stream, headers) => {
    assert.equal(headers[":path"], "/grpc.health.v1.Health/Check");
    const chunks: Uint8Array[] = [];
    stream.on("data", (c: Uint8Array) => chunks.push(c));
    stream.on("end", () => {
      const service = new TextDecoder().decode(chunks[0]!.slice(7));
      const status = statuses[service];
      stream.respond({ "content-type": "application/grpc" }, { waitForTrailers: true });
      stream.on("wantTrailers", () => stream.sendTrailers({ "grpc-status": status === undefined ? "5" : "0" }));
      stream.end(status === undefined ? undefined : new Uint8Array([0, 0, 0, 0, 2, 8, status]));
    });
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const { port } = server.address() as AddressInfo;
  assert.equal((await tryPatiently({ grpc: { port } }, target())).result, "success");
  assert.equal((await tryPatiently({ grpc: { port, service: "down" } }, target())).result, "failure");
  assert.equal((await tryPatiently({ grpc: { port, service: "unknown" } }, target())).result, "failure");
  await new Promise((resolve) => server.close(resolve));
  assert.equal((await tryPatiently({ grpc: { port } }, target())).result, "failure");
});

Deno.test("isServing() believes nothing but a whole SERVING answer", () => {
  assert.ok(isServing(new Uint8Array([0, 0, 0, 0, 2, 8, 1])));
  fc.assert(fc.property(fc.uint8Array(), (bytes) => {
    const serving = bytes.length === 7 && `${bytes}` === "0,0,0,0,2,8,1";
    assert.equal(isServing(bytes), serving);
  }));
});

Deno.test("healthCheckFrame() frames a name of any length", () => {
  fc.assert(fc.property(fc.string({ maxLength: 300 }), (service) => {
    const frame = healthCheckFrame(service);
    const view = new DataView(frame.buffer);
    assert.equal(view.getUint32(1), frame.length - 5);
    const name = new TextEncoder().encode(service);
    if (name.length > 0) assert.deepEqual(frame.slice(-name.length), name);
  }));
});
