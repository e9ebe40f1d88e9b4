/**
 * KRUN_TUNNEL as a run has it: in a network namespace of its own, behind an Envoy that ends TLS, called by `krun --connect` and by
 * OpenSSH through that; as on Cloud Run, and elsewhere.
 */
import { createHash, randomBytes } from "node:crypto";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import assert from "node:assert/strict";
import { liveTool } from "../../scripts/live_tools.ts";
import { FakeMetadataServer } from "../fake_metadata_server.ts";
import { krunArgv, KrunProcess, runKrun } from "../krun_process.ts";
import { waitFor } from "../wait.ts";
import { Workspace } from "../workspace.ts";
import { EnvoyFrontEnd, type LoggedRequest } from "./envoy_front_end.ts";
import { type MeshHost, MeshNetwork } from "./mesh_network.ts";
import { OpenSsh } from "./openssh.ts";
import { startProcess, untilReady } from "./server_process.ts";

const ECHO = fileURLToPath(new URL("../programs/tcp_echo.py", import.meta.url));
/** Without a look for a cluster, for which nobody answers here. */
const CLOUD_RUN = { K_SERVICE: "web", K_REVISION: "web-00001-abc", PORT: "8080", CLUSTER_NAME: "-" };
/** A name that only Google serves, in a namespace whose /etc/hosts says otherwise. */
const RUN_APP = "web-abc123.a.run.app";

const digest = (bytes: Uint8Array) => createHash("sha256").update(bytes).digest("hex");

/** A host for a krun, one for callers, and a machine between them. */
class Rig implements AsyncDisposable {
  readonly #stack = new AsyncDisposableStack();
  network!: MeshNetwork;
  host!: MeshHost;
  callers!: MeshHost;
  workspace!: Workspace;
  echoServer = "";
  echoClient = "";

  static async create(): Promise<Rig> {
    const rig = new Rig();
    rig.network = rig.#stack.use(await MeshNetwork.create());
    rig.workspace = rig.#stack.use(await Workspace.create());
    rig.host = await rig.network.host("web");
    rig.callers = await rig.network.host("callers");
    await Deno.writeTextFile(`/etc/netns/${rig.callers.name}/hosts`, `${rig.network.address} ${RUN_APP} localhost\n`);
    [rig.echoServer, rig.echoClient] = [await liveTool("echo-server"), await liveTool("echo-client")];
    return rig;
  }

  /** A krun on the host; what comes after `krun`, and its environment. */
  start(args: readonly string[], env: Record<string, string>): KrunProcess {
    return new KrunProcess({
      args,
      under: this.host.under,
      cwd: this.workspace.root,
      env: { KRUN_TUNNEL: "h2c", ...env },
    });
  }

  /** Istio's test server on the PORT that it is given. */
  get program(): string[] {
    return ["/bin/sh", "-c", `echo "PORT is $PORT"; exec ${this.echoServer} --port "\${PORT:-8080}"`];
  }

  /** The words of `krun --connect` on the callers' host. */
  connectArgv(address: string, env: Record<string, string> = {}): string[] {
    const assigned = Object.entries({ DENO_DIR: denoDir(), ...env }).map(([name, value]) => `${name}=${value}`);
    return [...this.callers.under, "env", ...assigned, ...krunArgv(), "--connect", address];
  }

  async connect(address: string, { env, sent }: { env?: Record<string, string>; sent: Uint8Array }) {
    const [program = "", ...args] = this.connectArgv(address, env);
    const child = new Deno.Command(program, { args, stdin: "piped", stdout: "piped", stderr: "piped" }).spawn();
    const feed = ReadableStream.from([sent]).pipeTo(child.stdin).catch(() => {});
    const { code, stdout, stderr } = await child.output();
    await feed;
    return { code, stdout, stderr: new TextDecoder().decode(stderr) };
  }

  /** Bytes come back from where the ssh server would be. */
  async echoForSsh(): Promise<AsyncDisposable> {
    const log = join(this.workspace.root, `echo-${crypto.randomUUID()}.log`);
    const server = startProcess([...this.host.under, "python3", ECHO, "15022"], log);
    await untilReady(server, async () => (await Deno.readTextFile(log)).includes("ready"));
    return { [Symbol.asyncDispose]: () => server.end("SIGKILL") };
  }

  frontEnd(port: number, options: { port?: number; name?: string } = {}): Promise<EnvoyFrontEnd> {
    const behind = { address: this.host.address, port };
    return EnvoyFrontEnd.start({ hostname: this.network.address, behind, ...options });
  }

  /** Path of a file with the front end's authority, for SSL_CERT_FILE. */
  async rootsOf({ authority }: EnvoyFrontEnd): Promise<string> {
    const path = join(this.workspace.root, "front-end.pem");
    await Deno.writeTextFile(path, authority.pem);
    return path;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#stack.disposeAsync();
  }
}

function denoDir(): string {
  return Deno.env.get("DENO_DIR") ?? join(Deno.env.get("HOME") ?? "/root", ".cache", "deno");
}

Deno.test("KRUN_TUNNEL on Cloud Run: the front door has PORT, the program another one, and ssh its tunnel", async (t) => {
  await using rig = await Rig.create();
  await using krun = rig.start(rig.program, CLOUD_RUN);
  await krun.sees("stdout", /^PORT is 8081$/m);
  await krun.sees("stderr", /tunnel listens port=8080/);

  await t.step("requests reach the program by HTTP/1.1 and HTTP/2, without what only a mesh may say", async () => {
    for (const more of [[], ["--http2"]]) {
      const fields = ["-H", "x-forwarded-client-cert: By=spiffe://cluster.local/ns/ops/sa/admin", "-H", "x-kept: 1"];
      const argv = [rig.echoClient, `http://${rig.host.address}:8080/some/path`, ...fields, ...more];
      const { code, stdout } = await rig.network.run(rig.callers, argv);
      assert.equal(code, 0, stdout);
      assert.match(stdout, /StatusCode=200/);
      assert.match(stdout, /URL=\/some\/path/);
      assert.match(stdout, /RequestHeader=X-Kept:1/);
      assert.doesNotMatch(stdout, /RequestHeader=X-Forwarded-Client-Cert/i);
    }
  });

  await t.step("a WebSocket", async () => {
    const { code, stdout } = await rig.network.run(rig.callers, [rig.echoClient, `ws://${rig.host.address}:8080/`]);
    assert.equal(code, 0, stdout);
    assert.match(stdout, /HelloWorld/);
  });

  await t.step("krun --connect, by a host of run.app, with an ID token for it", async () => {
    await using _ssh = await rig.echoForSsh();
    await using frontEnd = await rig.frontEnd(8080, { port: 443, name: RUN_APP });
    await using metadata = new FakeMetadataServer(rig.network.address);
    const env = { SSL_CERT_FILE: await rig.rootsOf(frontEnd), GCE_METADATA_HOST: metadata.host };
    const sent = randomBytes(1 << 20);
    const { code, stdout, stderr } = await rig.connect(`${RUN_APP}:22`, { env, sent });
    assert.deepEqual([code, digest(stdout)], [0, digest(sent)], stderr);
    assert.deepEqual(metadata.audiences, [`https://${RUN_APP}`]);
    const [{ authorization, method, path }] = await frontEnd.requests(1) as [LoggedRequest];
    assert.deepEqual([method, path], ["POST", "/_hbone/22"]);
    assert.equal(authorization, `Bearer ${metadata.tokenFor(`https://${RUN_APP}`)}`);
    assert.ok(!stderr.includes(metadata.tokenFor(`https://${RUN_APP}`)));
  });

  await t.step("by any other host without one, and nobody is asked for it", async () => {
    await using _ssh = await rig.echoForSsh();
    await using frontEnd = await rig.frontEnd(8080);
    await using metadata = new FakeMetadataServer(rig.network.address);
    const env = { SSL_CERT_FILE: await rig.rootsOf(frontEnd), GCE_METADATA_HOST: metadata.host };
    const sent = randomBytes(1000);
    const { code, stdout, stderr } = await rig.connect(frontEnd.origin, { env, sent });
    assert.deepEqual([code, digest(stdout)], [0, digest(sent)], stderr);
    assert.deepEqual(metadata.audiences, []);
    assert.equal((await frontEnd.requests(1))[0]?.authorization, null);
  });

  await t.step("OpenSSH, by krun --connect %h:%p", async () => {
    await using sshd = await OpenSsh.start({ port: 15022, under: rig.host.under });
    await using frontEnd = await rig.frontEnd(8080, { port: 443, name: RUN_APP });
    await using metadata = new FakeMetadataServer(rig.network.address);
    const env = { SSL_CERT_FILE: await rig.rootsOf(frontEnd), GCE_METADATA_HOST: metadata.host };
    const args = await sshd.client(RUN_APP, rig.connectArgv("%h:%p", env).join(" "), "hostname -I; exit 7");
    const { code, stdout, stderr } = await new Deno.Command("ssh", { args, stdin: "null" }).output();
    assert.equal(code, 7, new TextDecoder().decode(stderr));
    assert.ok(new TextDecoder().decode(stdout).split(/\s+/).includes(rig.host.address));
  });

  await t.step(
    "requests through the front end, by HTTP/2 and HTTP/1.1, each at once and behind one another",
    async () => {
      await using frontEnd = await rig.frontEnd(8080, { name: RUN_APP });
      const roots = await rig.rootsOf(frontEnd);
      for (const version of ["--http2", "--http1.1"]) {
        const urls = Array.from({ length: 20 }, (_, number) => `${frontEnd.origin}/${number}`);
        const argv = ["curl", "--silent", "--show-error", "--parallel", version, "--cacert", roots, ...urls];
        const { code, stdout, stderr } = await rig.network.run(rig.callers, argv);
        assert.equal(code, 0, stderr);
        const answered = new Set([...stdout.matchAll(/^URL=\/(\d+)$/gm)].map(([, number]) => number));
        assert.equal(answered.size, 20, stdout);
      }
    },
  );

  await t.step("no other port has a tunnel", async () => {
    await using frontEnd = await rig.frontEnd(8080);
    const env = { SSL_CERT_FILE: await rig.rootsOf(frontEnd) };
    const { code, stderr } = await rig.connect(`${frontEnd.origin}/_hbone/8081`, { env, sent: new Uint8Array(1) });
    assert.equal(code, 125);
    assert.match(stderr, /answers 404, only the ssh port has a tunnel/);
  });
});

Deno.test("KRUN_TUNNEL elsewhere: a port of krun's own, and PORT is the program's", async (t) => {
  await using rig = await Rig.create();
  const open = { KRUN_TUNNEL: "h2c", KRUN_TUNNEL_ADDRESS: rig.host.address, PORT: "8080" };
  await using krun = rig.start(rig.program, open);
  await krun.sees("stdout", /^PORT is 8080$/m);
  await krun.sees("stderr", /tunnel listens port=15009/);
  for (const port of [8080, 15009]) {
    const argv = [rig.echoClient, `http://${rig.host.address}:${port}/`];
    const { code, stdout } = await rig.network.run(rig.callers, argv);
    assert.equal(code, 0, stdout);
  }
  await t.step("--check says so", async () => {
    const options = {
      under: rig.host.under,
      cwd: rig.workspace.root,
      env: { KRUN_TUNNEL: "h2c", KRUN_TUNNEL_ADDRESS: rig.host.address, PORT: "8080" },
    };
    const { code, stdout } = await runKrun({ ...options, args: ["--check=json", "/bin/true"] });
    assert.equal(code, 0, stdout);
    const found = (JSON.parse(stdout).findings as { what: string; value: string; because: string }[])
      .map(({ what, value, because }) => `${what}: ${value}: ${because}`);
    assert.ok(
      found.some((line) => /^tunnel: port 15010: not on Cloud Run.*; port 15009 is in use by .*deno/.test(line)),
      found.join("\n"),
    );
    assert.ok(found.includes("program behind it: port 8080 (http/1.1): declared"), found.join("\n"));
    assert.ok(found.includes(`tunnel's address: ${rig.host.address}: KRUN_TUNNEL_ADDRESS`), found.join("\n"));
  });
});

Deno.test("KRUN_TUNNEL elsewhere, without an address: only this machine reaches it", async () => {
  await using rig = await Rig.create();
  await using krun = rig.start(rig.program, { PORT: "8080" });
  await krun.sees("stderr", /tunnel listens port=15009 address=127\.0\.0\.1/);
  const own = await rig.network.run(rig.host, [rig.echoClient, "http://127.0.0.1:15009/"]);
  assert.equal(own.code, 0, own.stdout);
  const knock = ["timeout", "5", "bash", "-c", `exec 3<>/dev/tcp/${rig.host.address}/15009`];
  assert.match((await rig.network.run(rig.callers, knock)).stderr, /refused/);
});

Deno.test("KRUN_TUNNEL lets nobody new in at a stop, and cuts nobody before the program has ended", async () => {
  await using rig = await Rig.create();
  await using krun = rig.start(["python3", ECHO, "8080", "15022"], { KRUN_TUNNEL_ADDRESS: rig.host.address });
  await krun.sees("stderr", /tunnel listens port=15009/);
  await using frontEnd = await rig.frontEnd(15009);
  const env = { SSL_CERT_FILE: await rig.rootsOf(frontEnd) };
  const [program = "", ...args] = rig.connectArgv(frontEnd.origin, env);
  const child = new Deno.Command(program, { args, stdin: "piped", stdout: "piped", stderr: "inherit" }).spawn();
  const [writer, reader] = [child.stdin.getWriter(), child.stdout.getReader()];
  const say = async (text: string) => {
    await writer.write(new TextEncoder().encode(text));
    return new TextDecoder().decode((await reader.read()).value);
  };
  assert.equal(await say("before"), "before");
  krun.kill("SIGTERM");
  await krun.sees("stdout", /stopping/);
  await waitFor("the front door to be shut", async () => {
    const knock = ["timeout", "5", "bash", "-c", `exec 3<>/dev/tcp/${rig.host.address}/15009`];
    return /refused/.test((await rig.network.run(rig.callers, knock)).stderr);
  });
  assert.equal(await say("after"), "after");
  await writer.close();
  assert.equal((await reader.read()).done, true);
  assert.equal((await child.status).code, 0);
  const { code, stderr } = await krun.end;
  assert.equal(code, 0, stderr);
});

Deno.test("a port that KRUN_TUNNEL cannot have is one clear error, and nothing runs", async () => {
  await using rig = await Rig.create();
  await using holder = startEcho(rig, "8080");
  await holder.ready;
  const options = {
    under: rig.host.under,
    cwd: rig.workspace.root,
    env: { KRUN_TUNNEL: "h2c", KRUN_LOG_FORMAT: "text", ...CLOUD_RUN },
  };
  for (const args of [["/bin/echo", "ran"], ["--check", "/bin/echo", "ran"]]) {
    const { code, stdout, stderr } = await runKrun({ ...options, args });
    assert.equal(code, args.length === 2 ? 125 : 1, stderr);
    assert.match(
      stdout + stderr,
      /Cannot listen for KRUN_TUNNEL \(PORT of Cloud Run\): port 8080 is in use by .*python.*; end what uses it, or unset/,
    );
    assert.doesNotMatch(stdout, /^ran$/m);
  }
});

function startEcho(rig: Rig, port: string): AsyncDisposable & { readonly ready: Promise<void> } {
  const log = join(rig.workspace.root, "holder.log");
  const server = startProcess([...rig.host.under, "python3", ECHO, port], log);
  const ready = untilReady(server, async () => (await Deno.readTextFile(log)).includes("ready"));
  return { ready, [Symbol.asyncDispose]: () => server.end("SIGKILL") };
}
