import { createHash, randomBytes } from "node:crypto";
import * as http2 from "node:http2";
import type { AddressInfo } from "node:net";
import assert from "node:assert/strict";
import { CertificateFolder, MeshRig, workloadId } from "../../tests/mesh_rig.ts";
import { TcpProgram, unusedPort } from "../../tests/tcp_program.ts";
import { TlsFrontEnd } from "../../tests/tls_front_end.ts";
import { TestAuthority } from "../../tests/certificates.ts";
import { unlessItHangs, waitFor } from "../../tests/wait.ts";
import { silentLog } from "../core/log.ts";
import { readPeerPatterns } from "../core/spiffe_id.ts";
import { type ConnectOptions, connectStdio } from "./connect.ts";
import { DescriptorBudget } from "./descriptor_budget.ts";
import { endBetweenTurns } from "./http2_session.ts";
import { serveTunnel } from "./tunnel_server.ts";

const text = (bytes: Uint8Array) => new TextDecoder().decode(bytes);
const bytes = (content: string) => new TextEncoder().encode(content);

/** What a process that is started by ssh has. */
class Stdio {
  readonly #input = new TransformStream<Uint8Array, Uint8Array>();
  readonly writer = this.#input.writable.getWriter();
  readonly input = this.#input.readable;
  readonly parts: Uint8Array[] = [];
  isClosed = false;
  readonly output = new WritableStream<Uint8Array>({
    write: (chunk) => void this.parts.push(chunk),
    close: () => void (this.isClosed = true),
  });

  get got(): Uint8Array {
    return new Uint8Array(this.parts.flatMap((part) => [...part]));
  }
}

type Way = Pick<ConnectOptions, "address" | "mesh" | "frontEnd">;

const NO_FRONT_END: Way["frontEnd"] = { roots: [], idToken: () => Promise.reject(new Error("not asked for")) };
const NO_MESH: Way["mesh"] = { certificates: "/nonexistent" };

/** Connects with an input that is `sent` and then at its end. */
async function converse(way: Way, sent: Uint8Array): Promise<Stdio> {
  const stdio = new Stdio();
  const connected = connectStdio({ ...way, ...stdio, input: stdio.input, signal: new AbortController().signal });
  const send = async () => {
    for (let at = 0; at < sent.length; at += 50_000) await stdio.writer.write(sent.subarray(at, at + 50_000));
    await stdio.writer.close();
  };
  send().catch(() => {});
  await unlessItHangs("the connection's end", connected, { seen: () => `${stdio.got.length} bytes` });
  return stdio;
}

/** A peer of the mesh with `program` for its one port, and a caller beside it. */
async function mesh(port: number, options: { allow?: string; caller?: string } = {}) {
  const stack = new AsyncDisposableStack();
  const rig = stack.use(await MeshRig.start({ workload: { hosts: [], ports: [port] } }));
  const certificate = rig.authority.issue({ uris: [options.caller ?? workloadId("client")] });
  const folder = stack.use(await CertificateFolder.create(certificate, rig.authority.pem));
  const allow = options.allow && readPeerPatterns({ env: "HBONE_ALLOW", text: options.allow });
  const way: Way = {
    address: { kind: "mesh", host: "127.0.0.1", port },
    mesh: { certificates: folder.path, endpoints: [unusedPort(), rig.server.port], ...(allow ? { allow } : {}) },
    frontEnd: NO_FRONT_END,
  };
  return { way, folder, rig, [Symbol.asyncDispose]: () => stack.disposeAsync() };
}

/** A tunnel to an ssh server behind a front end that ends TLS. */
async function cloud(sshPort: number | undefined, options: { takesIdToken?: boolean; token?: string } = {}) {
  const stack = new AsyncDisposableStack();
  const program = { port: unusedPort(), protocol: "http/1.1" } as const;
  const listen = { hostname: "127.0.0.1", ports: [0], log: silentLog, descriptors: new DescriptorBudget(100) };
  const tunnel = stack.use(await serveTunnel({ ...listen, program, sshPort }));
  const frontEnd = stack.use(await TlsFrontEnd.start(tunnel.port));
  const audiences: string[] = [];
  const way: Way = {
    address: { kind: "front end", origin: frontEnd.origin, port: 22, takesIdToken: options.takesIdToken ?? false },
    mesh: NO_MESH,
    frontEnd: {
      roots: [frontEnd.authority.pem],
      idToken: (audience) => {
        audiences.push(audience);
        return Promise.resolve(options.token ?? "t0ken");
      },
    },
  };
  return { way, frontEnd, audiences, [Symbol.asyncDispose]: () => stack.disposeAsync() };
}

const WAYS = { mesh, cloud } as const;

for (const [name, start] of Object.entries(WAYS)) {
  Deno.test(`connectStdio() by the ${name} carries 1 MiB there and back, and ends in order`, async () => {
    await using program = await TcpProgram.echo();
    await using far = await start(program.port);
    const sent = randomBytes(1 << 20);
    const { got, isClosed } = await converse(far.way, sent);
    const digest = (content: Uint8Array) => createHash("sha256").update(content).digest("hex");
    assert.equal(digest(got), digest(sent));
    assert.ok(isClosed);
  });

  Deno.test(`connectStdio() by the ${name} lets each half end by itself`, async (t) => {
    await t.step("the input ends first", async () => {
      await using program = await TcpProgram.start((socket) => {
        socket.resume();
        socket.on("end", () => socket.end("late answer"));
      });
      await using far = await start(program.port);
      assert.equal(text((await converse(far.way, bytes("question"))).got), "late answer");
    });
    await t.step("the far side ends first", async () => {
      let got = "";
      await using program = await TcpProgram.start((socket) => {
        socket.on("data", (chunk) => got += chunk);
        socket.end("bye");
      });
      await using far = await start(program.port);
      const stdio = new Stdio();
      const connected = connectStdio({
        ...far.way,
        ...stdio,
        input: stdio.input,
        signal: new AbortController().signal,
      });
      await waitFor("the output to be closed", () => stdio.isClosed);
      assert.equal(text(stdio.got), "bye");
      await stdio.writer.write(bytes("still heard"));
      await stdio.writer.close();
      await connected;
      await waitFor("the far side to hear it", () => got === "still heard");
    });
  });

  Deno.test(`connectStdio() by the ${name} says when it was cut off`, async () => {
    await using program = await TcpProgram.start((socket) => {
      socket.write("half of it");
      socket.once("data", () => socket.resetAndDestroy());
    });
    await using far = await start(program.port);
    const stdio = new Stdio();
    const connected = connectStdio({ ...far.way, ...stdio, input: stdio.input, signal: new AbortController().signal });
    stdio.writer.write(bytes("go")).catch(() => {});
    await assert.rejects(connected, { code: "ConnectFailed", message: /cut off before the far side had ended$/ });
    assert.equal(stdio.isClosed, false);
  });

  Deno.test(`connectStdio() by the ${name} ends when it is told to`, async () => {
    await using program = await TcpProgram.echo();
    await using far = await start(program.port);
    const stdio = new Stdio();
    const end = new AbortController();
    const connected = connectStdio({ ...far.way, ...stdio, input: stdio.input, signal: end.signal });
    await stdio.writer.write(bytes("hello"));
    await waitFor("an answer", () => stdio.parts.length > 0);
    end.abort();
    await assert.rejects(connected, { code: "ConnectFailed", message: /it was given up$/ });
  });

  Deno.test(`connectStdio() by the ${name} says that nothing answers`, async () => {
    await using far = await start(unusedPort());
    const hint = /whether the program at the far side runs|somebody who may log in/;
    await assert.rejects(converse(far.way, bytes("")), (error) => {
      const { code, message, hint: advice } = error as Error & { code: string; hint: string };
      assert.equal(code, "ConnectRefused");
      assert.match(message, /answers 50[23], nothing answers on port \d+$/);
      return hint.test(advice);
    });
  });
}

Deno.test("connectStdio() believes a peer of its own trust domain, or of its list, and nobody else", async () => {
  await using program = await TcpProgram.echo();
  const outcome = async (options: Parameters<typeof mesh>[1]) => {
    await using far = await mesh(program.port, options);
    return await converse(far.way, bytes("x")).then(
      ({ got }) => text(got),
      ({ code, message }) => `${code}: ${message}`,
    );
  };
  assert.equal(await outcome({}), "x");
  assert.equal(await outcome({ allow: workloadId("web") }), "x");
  assert.match(await outcome({ allow: workloadId("other") }), /^ConnectFailed: .*names spiffe:.*\/sa\/web$/);
  // A caller of another domain believes its own domain, and the peer is not of it.
  assert.match(await outcome({ caller: "spiffe://other.org/ns/a/sa/b" }), /^ConnectFailed: .*names spiffe:/);
  const both = { caller: "spiffe://other.org/ns/a/sa/b", allow: workloadId("web") };
  assert.match(
    await outcome(both),
    /^ConnectRefused: .*answers 403, .*not in the allow list$/,
    "who is believed need not believe",
  );
});

Deno.test("connectStdio() believes no peer whose certificate another authority has signed", async () => {
  await using program = await TcpProgram.echo();
  await using far = await mesh(program.port);
  const stranger = new TestAuthority();
  await far.folder.put("root-cert.pem", stranger.pem);
  await assert.rejects(converse(far.way, bytes("x")), { code: "ConnectFailed" });
  assert.equal(program.sockets.length, 0);
});

Deno.test("connectStdio() tells each endpoint that it tried", async () => {
  await using far = await mesh(unusedPort());
  const endpoints = [unusedPort(), unusedPort()];
  const way = { ...far.way, mesh: { ...far.way.mesh, endpoints } };
  await assert.rejects(converse(way, bytes("")), (error) => {
    const { code, message } = error as Error & { code: string };
    assert.equal(code, "ConnectFailed");
    return endpoints.every((port) => message.includes(`https://127.0.0.1:${port}: connection refused`));
  });
});

Deno.test("connectStdio() calls a peer by the address that its name has led to", async () => {
  await using far = await mesh(unusedPort());
  const { certPem, keyPem } = far.rig.authority.issue({ uris: [workloadId("web")] });
  const server = http2.createSecureServer({ cert: certPem, key: keyPem });
  const authorities: unknown[] = [];
  const sessions: http2.Http2Session[] = [];
  server.on("session", (session) => {
    endBetweenTurns(session);
    sessions.push(session);
  });
  server.on("stream", (stream: http2.ServerHttp2Stream, headers) => {
    authorities.push(headers[":authority"]);
    stream.on("error", () => {});
    stream.respond({ ":status": 403 });
    stream.end("no\n");
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const { port } = server.address() as AddressInfo;
  for (const host of ["localhost", "127.0.0.1"]) {
    const address = { kind: "mesh", host, port: 22 } as const;
    const way = { ...far.way, address, mesh: { ...far.way.mesh, endpoints: [port] } };
    await assert.rejects(converse(way, bytes("")), { code: "ConnectRefused" });
  }
  for (const session of sessions) session.destroy();
  await new Promise((resolve) => server.close(resolve));
  assert.deepEqual(authorities, ["127.0.0.1:22", "127.0.0.1:22"]);
});

Deno.test("connectStdio() gives up a far side that does not answer", async () => {
  using silent = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  await using far = await mesh(unusedPort());
  const mine = { ...far.way, mesh: { ...far.way.mesh, endpoints: [silent.addr.port] } };
  const stdio = new Stdio();
  const connected = connectStdio({
    ...mine,
    ...stdio,
    input: stdio.input,
    signal: new AbortController().signal,
    timeoutMs: 300,
  });
  await assert.rejects(connected, { code: "ConnectFailed", message: /no answer within 300 ms$/ });
});

Deno.test("connectStdio() sends an ID token where the address takes one, and nowhere else", async () => {
  await using program = await TcpProgram.echo();
  for (const takesIdToken of [true, false]) {
    await using far = await cloud(program.port, { takesIdToken });
    await converse(far.way, bytes("x"));
    assert.deepEqual(far.audiences, takesIdToken ? [far.frontEnd.origin] : []);
    const [request] = far.frontEnd.requests;
    assert.equal(request!.authorization, takesIdToken ? "Bearer t0ken" : undefined);
    assert.deepEqual([request![":method"], request![":path"]], ["POST", "/_hbone/22"]);
  }
});

Deno.test("connectStdio() shows no token that cannot be sent", async () => {
  await using far = await cloud(unusedPort(), { takesIdToken: true, token: "s3cr3t\r\nx: y" });
  await assert.rejects(converse(far.way, bytes("")), (error) => {
    const { code, message, hint } = error as Error & { code: string; hint: string };
    assert.equal(code, "ConnectFailed");
    return !`${message} ${hint}`.includes("s3cr3t");
  });
  assert.equal(far.frontEnd.requests.length, 0);
});

Deno.test("connectStdio() believes no front end but one of the given authorities", async () => {
  await using program = await TcpProgram.echo();
  await using far = await cloud(program.port, { takesIdToken: true });
  const frontEnd = { ...far.way.frontEnd, roots: [new TestAuthority().pem] };
  await assert.rejects(converse({ ...far.way, frontEnd }, bytes("x")), { code: "ConnectFailed" });
  assert.equal(far.frontEnd.requests.length, 0, "nobody has seen the token");
});

Deno.test("connectStdio() says what a front end refuses", async () => {
  await using far = await cloud(undefined);
  const message = /answers 404, this workload has no ssh server$/;
  const hint = /^give krun at the far side somebody who may log in: SSH_AUTH/;
  await assert.rejects(converse(far.way, bytes("")), { code: "ConnectRefused", message, hint });
});
