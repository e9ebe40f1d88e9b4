/** MESH=td: by the real krun, Envoy and gRPC, with a control plane of ours in Google's place. */
import assert from "node:assert/strict";
import { join } from "node:path";
import { liveTool } from "../../scripts/live_tools.ts";
import { type KrunEnd, KrunProcess } from "../krun_process.ts";
import { waitFor } from "../wait.ts";
import { compiledKrun } from "./compiled.ts";
import { ORDINARY, PEER_CALLS, place } from "./mesh_lab.ts";
import { MeshNetwork } from "./mesh_network.ts";
import { startXdsServer, type XdsServer } from "./xds_server.ts";

interface RunOptions {
  readonly args: readonly string[];
  readonly env?: Readonly<Record<string, string>>;
  readonly uid?: number;
  readonly programs?: readonly string[];
}

/** A host without a cluster, and the control plane. */
class Rig implements AsyncDisposable {
  private constructor(readonly folder: string, readonly network: MeshNetwork, readonly server: XdsServer) {}

  static async create(): Promise<Rig> {
    const folder = await Deno.makeTempDir({ prefix: "krun-td-" });
    await Deno.chmod(folder, 0o755);
    const network = await MeshNetwork.create();
    const server = await startXdsServer(folder, network.address);
    // Envoy runs as a user of its own, which has to read both.
    for (const file of [server.credentials, server.caFile]) await Deno.chmod(file, 0o644);
    return new Rig(folder, network, server);
  }

  async start({ args, env = {}, uid = 0, programs = ["envoy"] }: RunOptions): Promise<KrunProcess> {
    const host = await this.network.host(`h${crypto.randomUUID().slice(0, 4)}`);
    const base = await Deno.makeTempDir({ dir: this.folder, prefix: "base-" });
    await Deno.chmod(base, 0o755);
    await Deno.chown(base, uid, uid);
    for (const program of programs) await place(await liveTool(program), join(base, program));
    const become = uid === 0 ? [] : ["setpriv", `--reuid=${uid}`, `--regid=${uid}`, "--clear-groups"];
    return new KrunProcess({
      ...{ args, cwd: base, under: [...host.under, ...become], argv: [await compiledKrun()] },
      env: {
        ...{ PATH: `${base}:/usr/bin:/bin:/usr/sbin:/sbin`, MESH_BASE_DIR: base, HOME: base },
        ...{ MESH: "td:projects=7&mesh=shop", XDS_ADDR: this.server.address, SSL_CERT_FILE: this.server.caFile },
        ...{ GOOGLE_APPLICATION_CREDENTIALS: this.server.credentials, ...env },
      },
    });
  }

  async run(options: RunOptions): Promise<KrunEnd> {
    await using krun = await this.start(options);
    return await krun.end;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.server[Symbol.asyncDispose]();
    await this.network[Symbol.asyncDispose]();
    await Deno.remove(this.folder, { recursive: true });
  }
}

Deno.test("krun makes a program a client of Traffic Director, without a cluster", async (t) => {
  await using rig = await Rig.create();

  await t.step("Envoy that has no configuration in time ends the start, with its own lines", async () => {
    const env = { MESH_MODE: "proxy", MESH_START_TIMEOUT: "2s" };
    const { code, stderr } = await rig.run({ args: ["true"], env });
    assert.equal(code, 125);
    assert.match(stderr, /Cannot join the mesh at [\d.]+:\d+: its proxy is not ready after 2 s/);
  });
  rig.server.release();

  for (const uid of [0, ORDINARY]) {
    await t.step(`the program starts once Envoy is ready, as user ${uid}`, async () => {
      const script = 'echo "$HTTP_PROXY"; exec "$@" http://127.0.0.1:15021/healthz/ready';
      const args = ["sh", "-c", script, "sh", ...PEER_CALLS];
      const { code, stdout, stderr } = await rig.run({ args, env: { MESH_MODE: "proxy" }, uid });
      assert.equal(code, 0, stderr);
      assert.match(stdout, /^http:\/\/127\.0\.0\.1:15001\n.*"status": 200/);
      assert.doesNotMatch(stderr, / (?:warn|error) /);
    });
  }

  await t.step("traffic is captured where it can be, and the metadata server's is not", async () => {
    const script = "iptables-save -t nat";
    const { code, stdout, stderr } = await rig.run({
      args: ["sh", "-c", script],
      programs: ["envoy", "pilot-agent"],
    });
    assert.equal(code, 0, stderr);
    assert.match(stdout, /-A ISTIO_OUTPUT -d 169\.254\.169\.254\/32 -j RETURN/);
    assert.match(stdout, /-A ISTIO_OUTPUT -j ISTIO_REDIRECT/);
  });

  await t.step("gRPC asks by itself where nothing can be captured, with credentials that are handed on", async () => {
    const args = ["echo-client", "xds:///web:8080", "--count", "1", "--timeout", "30s"];
    const env = { KRUN_PASS_ENV: "GOOGLE_APPLICATION_CREDENTIALS" };
    await using krun = await rig.start({ args, env, uid: ORDINARY, programs: ["echo-client"] });
    const name = "/7/mesh:shop/web:8080";
    await waitFor("gRPC to ask", () => rig.server.requests.some(({ names }) => names[0]?.endsWith(name)));
    krun.kill("SIGTERM");
    const { stderr } = await krun.end;
    assert.doesNotMatch(stderr, / (?:warn|error) /);
  });

  await t.step("--check says what would be asked", async () => {
    const { stdout } = await rig.run({ args: ["--check", "true"] });
    assert.match(stdout, /configuration +projects\/7\/networks\/mesh:shop +MESH/);
  });
});
