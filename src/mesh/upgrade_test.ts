import { connect, type Socket } from "node:net";
import assert from "node:assert/strict";
import { AT_ONCE } from "../../tests/drain_at_once.ts";
import { TcpProgram, unusedPort } from "../../tests/tcp_program.ts";
import { TunnelRig, WebProgram } from "../../tests/tunnel_rig.ts";
import { waitFor } from "../../tests/wait.ts";
import { DescriptorBudget } from "./descriptor_budget.ts";

/** A caller that writes bytes and reads what comes. */
class RawCaller implements AsyncDisposable {
  readonly #socket: Socket;
  readonly #closed: Promise<unknown>;
  got = "";

  constructor(port: number) {
    this.#socket = connect(port, "127.0.0.1");
    this.#closed = new Promise((resolve) => this.#socket.once("close", resolve));
    this.#socket.on("error", () => {});
    this.#socket.on("data", (bytes) => this.got += bytes.toString("latin1"));
  }

  get closed(): Promise<unknown> {
    return this.#closed;
  }

  send(text: string): void {
    this.#socket.write(text);
  }

  end(): void {
    this.#socket.end();
  }

  sees(text: string): Promise<unknown> {
    return waitFor(text, () => this.got.includes(text));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#socket.destroy();
    await this.#closed;
  }
}

const upgrade = (protocol: string, path = "/ws") =>
  [
    `GET ${path} HTTP/1.1`,
    "Host: web.example.com",
    "Connection: Upgrade, X-Hop",
    `Upgrade: ${protocol}`,
    "Sec-WebSocket-Key: a2V5",
    "X-Hop: 1",
    "X-Forwarded-Client-Cert: By=spiffe://cluster.local/ns/ops/sa/admin",
    "",
    "",
  ].join("\r\n");

const program = () => WebProgram.start("http/1.1", (response) => response.end("plain"));

Deno.test("serveTunnel() passes a WebSocket through, with what came behind its head on both sides", async () => {
  await using web = await program();
  let raw: readonly string[] = [];
  web.onUpgrade((message, socket) => {
    raw = message.rawHeaders;
    socket.write(
      "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nX-A: 1\r\n\r\nwelcome",
    );
    socket.pipe(socket);
  });
  await using rig = await TunnelRig.start(web);
  await using caller = new RawCaller(rig.server.port);
  caller.send(upgrade("websocket") + "early");
  await caller.sees("welcome");
  await caller.sees("early");
  caller.send("later");
  await caller.sees("later");
  assert.match(caller.got, /^HTTP\/1\.1 101 \r\nX-A: 1\r\nconnection: Upgrade\r\nupgrade: websocket\r\n\r\nwelcome/);
  const names = raw.filter((_, at) => at % 2 === 0).map((name) => name.toLowerCase()).toSorted();
  assert.deepEqual(names, ["connection", "host", "sec-websocket-key", "upgrade"]);
});

Deno.test("serveTunnel() lets nothing through behind an upgrade that the program declines", async () => {
  await using web = await program();
  web.onUpgrade((_message, socket) => socket.write("HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\n\r\nno"));
  await using rig = await TunnelRig.start(web);
  await using caller = new RawCaller(rig.server.port);
  // A second request, which a proxy that only joins the two connections would hand over as it is.
  caller.send(upgrade("websocket") + "GET /smuggled HTTP/1.1\r\nX-Forwarded-Client-Cert: forged\r\n\r\n");
  await caller.closed;
  assert.match(caller.got, /^HTTP\/1\.1 403 \r\nContent-Length: 2\r\nconnection: close\r\n\r\nno$/);
  assert.deepEqual(web.seen, []);
});

Deno.test("serveTunnel() upgrades to nothing but WebSockets of HTTP/1.1", async () => {
  await using web = await program();
  let upgrades = 0;
  web.onUpgrade((_message, socket) => {
    upgrades++;
    socket.destroy();
  });
  const answerTo = async (request: string, protocol: "http/1.1" | "h2c" = "http/1.1") => {
    await using rig = await TunnelRig.start({ port: web.port, protocol });
    await using caller = new RawCaller(rig.server.port);
    caller.send(request);
    await caller.closed;
    return caller.got.split("\r\n")[0];
  };
  assert.equal(await answerTo(upgrade("h2c")), "HTTP/1.1 501 ");
  assert.equal(await answerTo(upgrade("websocket"), "h2c"), "HTTP/1.1 501 ");
  assert.equal(await answerTo(upgrade("websocket", "/_hbone/22")), "HTTP/1.1 505 ");
  assert.equal(upgrades, 0);
  // The twin: this one gets through, and its program cuts it.
  assert.equal(await answerTo(upgrade("websocket")), "HTTP/1.1 502 ");
  assert.equal(upgrades, 1);
});

Deno.test("serveTunnel() says that there is no program to upgrade to", async () => {
  const port = unusedPort();
  await using rig = await TunnelRig.start({ port, protocol: "http/1.1" });
  await using caller = new RawCaller(rig.server.port);
  caller.send(upgrade("websocket"));
  await caller.closed;
  assert.match(caller.got, new RegExp(`^HTTP/1.1 502 [^]*\r\n\r\nnothing answers on port ${port}\n$`));
});

Deno.test("serveTunnel() keeps nothing for a caller who leaves before the program has answered the upgrade", async () => {
  // It reads, so that it hears of the end, and says nothing.
  await using silent = await TcpProgram.start((socket) => socket.resume());
  await using rig = await TunnelRig.start({ port: silent.port, protocol: "http/1.1" });
  await using caller = new RawCaller(rig.server.port);
  caller.send(upgrade("websocket"));
  await waitFor("the request at the program", () => silent.sockets.length === 1);
  caller.end();
  await waitFor("its end", () => silent.sockets[0]!.readableEnded || silent.sockets[0]!.destroyed);
  await caller.closed;
});

Deno.test("serveTunnel() keeps a connection of HTTP/1.1 for the next request", async () => {
  await using web = await program();
  await using rig = await TunnelRig.start(web);
  await using caller = new RawCaller(rig.server.port);
  for (const path of ["/one", "/two"]) {
    caller.got = "";
    caller.send(`GET ${path} HTTP/1.1\r\nHost: x\r\n\r\n`);
    await caller.sees("plain");
  }
  assert.deepEqual(web.seen.map(({ path }) => path), ["/one", "/two"]);
});

Deno.test("serveTunnel() knows HTTP/2 by its first bytes, however they come", async () => {
  await using web = await program();
  await using rig = await TunnelRig.start(web);
  await using caller = new RawCaller(rig.server.port);
  for (const byte of "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n") {
    caller.send(byte);
    await new Promise((resolve) => setTimeout(resolve, 1));
  }
  caller.send("\0\0\0\x04\0\0\0\0\0");
  // SETTINGS, from the server.
  await waitFor("a frame", () => caller.got.charCodeAt(3) === 4);
});

Deno.test("serveTunnel() waits for a connection's first bytes as long as it says", async () => {
  await using rig = await TunnelRig.start(undefined, { timeoutMs: 300 });
  await using silent = new RawCaller(rig.server.port);
  await using hesitant = new RawCaller(rig.server.port);
  hesitant.send("PRI * HT");
  await Promise.all([silent.closed, hesitant.closed]);
});

Deno.test("serveTunnel() refuses an address that is taken", async () => {
  using holder = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  const start = TunnelRig.start(undefined, { ports: [holder.addr.port] });
  await assert.rejects(start, { code: "HboneUnavailable" });
});

Deno.test("serveTunnel() keeps no connection of HTTP/2 that its caller has ended", async () => {
  await using web = await program();
  await using rig = await TunnelRig.start(web, { descriptors: new DescriptorBudget(2) });
  for (let i = 0; i < 3; i++) {
    await using caller = new RawCaller(rig.server.port);
    caller.send("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0");
    await waitFor("a frame", () => caller.got.charCodeAt(3) === 4);
    caller.end();
    await caller.closed;
  }
});

Deno.test("serveTunnel() takes nobody new once it drains, and what is under way goes on to its own end", async (t) => {
  for (const protocol of ["http/1.1", "h2c"] as const) {
    await t.step(protocol, async () => {
      const release = Promise.withResolvers<void>();
      await using slow = await WebProgram.start("http/1.1", async (response) => {
        response.writeHead(200);
        response.write("first ");
        await release.promise;
        response.end("last");
      });
      await using rig = await TunnelRig.start({ port: slow.port, protocol: "http/1.1" });
      const answer = protocol === "h2c" ? rig.http2({ path: "/" }) : rig.http1({ path: "/" });
      await using idle = new RawCaller(rig.server.port);
      await waitFor("the request to be under way", () => slow.seen.length === 1);
      void rig.server.drain(AT_ONCE);
      await idle.closed;
      await assert.rejects(Deno.connect({ hostname: "127.0.0.1", port: rig.server.port }), { code: "ECONNREFUSED" });
      release.resolve();
      const { status, body } = await answer;
      assert.deepEqual([status, body], [200, "first last"]);
    });
  }
});

Deno.test("serveTunnel() answers 503 when more is under way than it has descriptors for", async () => {
  await using raw = await TcpProgram.start((socket) => socket.resume());
  await using rig = await TunnelRig.start({ port: raw.port, protocol: "http/1.1" }, {
    descriptors: new DescriptorBudget(4),
  });
  const session = rig.session();
  const waiting = [1, 2].map(() => session.request({ ":path": "/" }));
  for (const stream of waiting) stream.on("error", () => {});
  await waitFor("both to be under way", () => raw.sockets.length === 2);
  const third = session.request({ ":path": "/" });
  const status = await new Promise((resolve) => third.once("response", (head) => resolve(head[":status"])));
  assert.equal(status, 503);
});

for (const kind of ["HTTP/1.1", "HTTP/2", "nothing yet"]) {
  Deno.test(`serveTunnel() gives up the oldest idle connection of ${kind} for a new caller, and none that is at work`, async () => {
    await using web = await WebProgram.start(
      "http/1.1",
      (response, { path }) => path === "/slow" || response.end("hi"),
    );
    await using rig = await TunnelRig.start(web, { descriptors: new DescriptorBudget(8) });
    const working = rig.session().request({ ":path": "/slow" });
    working.on("error", () => {});
    await waitFor("the slow request", () => web.seen.length === 1);
    const idle = Array.from({ length: 3 }, () => new RawCaller(rig.server.port));
    for (const caller of idle) {
      if (kind === "HTTP/1.1") caller.send("GET / HTTP/1.1\r\nhost: web\r\n\r\n");
      if (kind === "HTTP/2") caller.send("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0");
      if (kind !== "nothing yet") await waitFor("an answer", () => caller.got.length > 0);
    }
    for (let more = 0; more < 6; more++) assert.equal((await rig.http1({ path: "/" })).status, 200);
    await idle[0]!.closed;
    assert.equal(working.closed, false);
    for (const caller of idle) await caller[Symbol.asyncDispose]();
  });
}

Deno.test("serveTunnel() has a place again after a program that answers 101 to who has asked for no upgrade", async () => {
  await using raw = await TcpProgram.start((socket) => {
    const [head, ...rest] = ["HTTP/1.1 101 Switching Protocols", "Connection: upgrade", "Upgrade: odd", "", ""];
    socket.resume().write([head, ...rest].join("\r\n"));
  });
  await using rig = await TunnelRig.start({ port: raw.port, protocol: "http/1.1" }, {
    descriptors: new DescriptorBudget(4),
  });
  for (let i = 0; i < 6; i++) {
    const { status, body } = i % 2 === 0 ? await rig.http1({ path: "/" }) : await rig.http2({ path: "/" });
    assert.deepEqual([status, body], [502, "the program has switched protocols, which nobody asked for\n"]);
  }
});
