/**
 * A mesh for one test file: a real API server and istiod on a bridge, hosts on it, and workloads that krun starts there.
 *
 * In: nothing but the live tools. Out: runs of the compiled krun on hosts, as root or as an ordinary user, with pilot-agent,
 * Envoy and Istio's own test workload in a folder of PATH; objects of namespace `shop` at will.
 *
 * ```ts
 * await using lab = await MeshLab.create();
 * const host = await lab.network.host("web");
 * await using web = await lab.workload(host, { name: "web", args: ["echo-server", "--port", "8080"], uid: 1500 });
 * await web.krun.sees("stderr", /program started/);
 * ```
 *
 * @module
 */
import { join } from "node:path";
import { liveTool } from "../../scripts/live_tools.ts";
import { type KrunOptions, KrunProcess } from "../krun_process.ts";
import { waitFor } from "../wait.ts";
import { type ApiServer, type KubeObject, startApiServer } from "./api_server.ts";
import { bundledKrun } from "./bundled.ts";
import { compiledKrun } from "./compiled.ts";
import { type Istiod, type IstiodOptions, startIstiod } from "./istiod.ts";
import { type MeshHost, MeshNetwork } from "./mesh_network.ts";

/** An ordinary user of the hosts. */
export const ORDINARY = 1500;

/** The programs of a mesh, as an image has them. */
const PROGRAMS = ["pilot-agent", "envoy", "echo-server", "echo-client"] as const;

const USUAL_PATH = "/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin";

/** The words that make calls, before their URLs: `http://...`, by HTTP_PROXY where that is set, and `tcp://HOST:PORT`. */
export const PEER_CALLS: readonly string[] = [
  "python3",
  new URL("../programs/mesh_calls.py", import.meta.url).pathname,
];

/** One call. */
export interface PeerCall {
  readonly url: string;
  readonly status?: number;
  readonly body?: string;
  /** Why there was no answer. */
  readonly failure?: string;
}

/** What {@linkcode PEER_CALLS} printed. */
export function callsIn(stdout: string): PeerCall[] {
  return stdout.split("\n").filter((line) => line.startsWith('{"url"')).map((line) => JSON.parse(line));
}

/** Options of {@linkcode MeshLab.create}. */
export interface MeshLabOptions extends Pick<IstiodOptions, "meshConfig" | "env">, Pick<WorkloadOptions, "runtime"> {
  /** More names of the API server's certificate, as `DNS:name`. */
  readonly names?: readonly string[];
}

/** What differs from one workload to the next. */
export interface WorkloadOptions {
  /** WORKLOAD_NAME, and its service account, which is made. */
  readonly name: string;
  /** What comes after `krun`. */
  readonly args: readonly string[];
  readonly env?: Readonly<Record<string, string>>;
  /** As whom krun runs. @default {0} */
  readonly uid?: number;
  /** The only capabilities of krun and of what it starts, as setpriv(1) names them. @default {all} */
  readonly capabilities?: readonly string[];
  /** Its base folder, which stays. @default {a new one, removed} */
  readonly base?: string;
  /** As which user krun asks the API server; what he may do is given to him by {@linkcode ApiServer.grant}. @default {"krun"} */
  readonly user?: string;
  /** URL of the API server in krun's kubeconfig. @default {its address} */
  readonly apiServer?: string;
  /** What PATH has after the folder of the mesh's programs. @default {where the machine has its own} */
  readonly path?: string;
  /**
   * Whose Deno krun has: the binary's, where its HBONE endpoint is switched off, or that of the tests, which can have one.
   * @default {the lab's, else "2.6"}
   */
  readonly runtime?: "2.6" | "2.9";
  /** Programs of the mesh that this image lacks. */
  readonly without?: readonly (typeof PROGRAMS)[number][];
}

/** A krun on a host. Disposing it ends it, and removes its base. */
export interface Workload extends AsyncDisposable {
  readonly krun: KrunProcess;
  /** Its base folder. */
  readonly base: string;
  /** Process id of a program of its folder of PATH. @throws {Error} when it does not run */
  pid(program: "pilot-agent" | "envoy"): number;
  /** As {@linkcode MeshLab.callable} on its host. */
  callable(is?: boolean): Promise<void>;
  /** What Envoy's admin endpoint answers, asked by the agent's own `request`. */
  envoy(path: string): Promise<string>;
}

/** The mesh. Made by {@linkcode MeshLab.create}. */
export class MeshLab implements AsyncDisposable {
  readonly #stack = new AsyncDisposableStack();
  readonly #accounts = new Set<string>();
  #folder = "";
  #bundle: Promise<readonly string[]> | undefined;
  #runtime: WorkloadOptions["runtime"];
  network!: MeshNetwork;
  server!: ApiServer;
  istiod!: Istiod;

  private constructor() {}

  /** Makes all of it; about 8 s. */
  static async create(options: MeshLabOptions = {}): Promise<MeshLab> {
    const lab = new MeshLab();
    try {
      await lab.#build(options);
    } catch (error) {
      await lab[Symbol.asyncDispose]();
      throw error;
    }
    return lab;
  }

  /** An object of namespace `shop` (or another, if `metadata` names one), made or changed. */
  async apply(kind: string, name: string, spec: Record<string, unknown>): Promise<KubeObject> {
    const metadata = { namespace: "shop", name };
    return await this.server.apply({ apiVersion: API_VERSIONS[kind] ?? "v1", kind, metadata, ...spec });
  }

  /** The folder for PATH with these programs in it. */
  async programs(without: WorkloadOptions["without"] = []): Promise<string> {
    const folder = await Deno.makeTempDir({ dir: this.#folder, prefix: "bin-" });
    await Deno.chmod(folder, 0o755);
    for (const program of PROGRAMS) {
      if (!without.includes(program)) await place(await liveTool(program), join(folder, program));
    }
    await place(await compiledKrun(), join(folder, "krun"));
    return folder;
  }

  /** The words that start krun on Deno 2.9, and what its environment must have besides. */
  async krunOn29(uid = 0): Promise<{ argv: readonly string[]; env: Readonly<Record<string, string>> }> {
    const cache = join(this.#folder, `deno-${uid}`);
    await Deno.mkdir(cache, { recursive: true });
    await Deno.chown(cache, uid, uid);
    const bundle = async () => {
      const folder = join(this.#folder, "bundle");
      await Deno.mkdir(folder);
      return await bundledKrun(folder);
    };
    return { argv: await (this.#bundle ??= bundle()), env: { DENO_DIR: cache } };
  }

  /** Starts a workload. */
  async workload(host: MeshHost, options: WorkloadOptions): Promise<Workload> {
    const { name, args, env = {}, uid = 0, path, without, runtime = this.#runtime ?? "2.6", capabilities } = options;
    if (!this.#accounts.has(name)) {
      this.#accounts.add(name);
      await this.apply("ServiceAccount", name, {});
    }
    const base = options.base ?? await Deno.makeTempDir({ dir: this.#folder, prefix: `${name}-` });
    const kubeconfig = join(base, "kubeconfig");
    await this.#writeKubeconfig(kubeconfig, options);
    await Deno.chmod(base, 0o755);
    for (const path of [base, kubeconfig]) await Deno.chown(path, uid, uid);
    const bin = await this.programs(without);
    // Of what the binary lacks it warns each time.
    const compiled = { argv: [join(bin, "krun")], env: { HBONE_ALLOW: "-" } };
    const { argv, env: own } = runtime === "2.6" ? compiled : await this.krunOn29(uid);
    const become = uid === 0 ? [] : [`--reuid=${uid}`, `--regid=${uid}`, "--clear-groups"];
    if (capabilities) become.push(`--bounding-set=-all,${capabilities.map((name) => `+${name}`).join()}`);
    const run: KrunOptions = {
      args,
      under: [...host.under, ...become.length > 0 ? ["setpriv", ...become] : []],
      // What comes before krun is found by the usual PATH.
      argv: [...(path === undefined ? [] : ["/usr/bin/env", `PATH=${bin}:${path}`]), ...argv],
      cwd: base,
      env: {
        ...{ PATH: `${bin}:${USUAL_PATH}`, HOME: base, KUBECONFIG: kubeconfig },
        ...{ WORKLOAD_NAMESPACE: "shop", WORKLOAD_NAME: name, WORKLOAD_SERVICE_ACCOUNT: name, MESH_BASE_DIR: base },
        ...{ XDS_ADDR: this.istiod.discoveryAddress, ...own, ...env },
      },
    };
    const krun = new KrunProcess(run);
    return {
      krun,
      base,
      pid: (program) => pidOf(join(bin, program)),
      callable: (is) => this.callable(host, is),
      envoy: async (path) => {
        const { code, stdout, stderr } = await this.network.run(host, [
          join(bin, "pilot-agent"),
          "request",
          "GET",
          path,
        ]);
        if (code !== 0) throw new Error(`pilot-agent request ended with ${code}: ${stderr}`);
        return stdout;
      },
      async [Symbol.asyncDispose]() {
        await krun[Symbol.asyncDispose]();
        if (!options.base) await Deno.remove(base, { recursive: true });
        await Deno.remove(bin, { recursive: true });
      },
    };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#stack.disposeAsync();
    if (this.#folder !== "") await Deno.remove(this.#folder, { recursive: true });
  }

  /** Waits until istiod sends those that call a workload to its instance on a host, or no longer does. */
  async callable({ address }: MeshHost, is = true): Promise<void> {
    await waitFor(`an entry of ${address} that ${is ? "can" : "cannot"} be called`, async () => {
      return (await this.entries()).some((one) => one.address === address && one.healthy === "True") === is;
    });
  }

  /** The entries that istiod has made for instances of a WorkloadGroup: it sends calls to one that is healthy. */
  async entries(): Promise<{ name: string; address: string; healthy: string }[]> {
    const path = "/apis/networking.istio.io/v1/namespaces/shop/workloadentries";
    const { items } = await (await this.server.request(path)).json() as { items: KubeObject[] };
    return items.map(({ metadata: { name }, spec, status = {} }) => {
      const { address = "" } = spec as { address?: string };
      const { conditions = [] } = status as { conditions?: { type: string; status: string }[] };
      return { name, address, healthy: conditions.find(({ type }) => type === "Healthy")?.status ?? "unknown" };
    });
  }

  async #writeKubeconfig(path: string, { apiServer, user = "krun" }: WorkloadOptions): Promise<void> {
    const text = await Deno.readTextFile((await this.server.user(user)).kubeconfig);
    await Deno.writeTextFile(path, text.replaceAll(this.server.url, apiServer ?? this.server.url), { mode: 0o600 });
  }

  async #build({ names = [], runtime, ...options }: MeshLabOptions): Promise<void> {
    this.#runtime = runtime;
    this.#folder = await Deno.makeTempDir({ prefix: "krun-mesh-" });
    await Deno.chmod(this.#folder, 0o755);
    this.network = this.#stack.use(await MeshNetwork.create());
    const { address } = this.network;
    const certificate = { names: [`IP:${address}`, "IP:127.0.0.1", ...names] };
    const cluster = { address, seed: "istio", ...(names.length > 0 && { certificate }) } as const;
    this.server = this.#stack.use(await startApiServer(cluster));
    // The default of 10 s would be waited for at the end of every workload.
    const env = { PILOT_WORKLOAD_ENTRY_GRACE_PERIOD: "1s", ...options.env };
    this.istiod = this.#stack.use(await startIstiod(this.server, { address, ...options, env }));
    await this.server.namespace("shop");
    await this.server.grant("shop", "krun", RULES);
    await this.server.grant("istio-system", "krun", ISTIO_RULES);
  }
}

const get = ["get"], read = ["get", "watch", "list"];

/** What krun's user may do in namespace `shop`. */
export const RULES = [
  { apiGroups: [""], resources: ["secrets", "configmaps"], verbs: read },
  { apiGroups: [""], resources: ["serviceaccounts/token"], verbs: ["create"] },
  { apiGroups: ["networking.istio.io"], resources: ["workloadgroups", "sidecars"], verbs: read },
];

const ISTIO_RULES = [
  { apiGroups: [""], resources: ["configmaps"], resourceNames: ["istio", "mesh-env"], verbs: get },
];

const NETWORKING = "networking.istio.io/v1", SECURITY = "security.istio.io/v1";

const API_VERSIONS: Readonly<Record<string, string>> = {
  AuthorizationPolicy: SECURITY,
  DestinationRule: NETWORKING,
  Gateway: NETWORKING,
  PeerAuthentication: SECURITY,
  ServiceEntry: NETWORKING,
  Sidecar: NETWORKING,
  VirtualService: NETWORKING,
  WorkloadEntry: NETWORKING,
  WorkloadGroup: NETWORKING,
};

/** The environment of a process, as `NAME=value`. */
export function environOf(pid: number): string[] {
  return Deno.readTextFileSync(`/proc/${pid}/environ`).split("\0");
}

function pidOf(path: string): number {
  const pids = [...Deno.readDirSync("/proc")].map(({ name }) => Number(name));
  const found = pids.find((pid) => pid > 0 && executable(pid) === path);
  if (found === undefined) throw new Error(`${path} does not run`);
  return found;
}

function executable(pid: number): string | undefined {
  try {
    return Deno.readLinkSync(`/proc/${pid}/exe`);
  } catch {
    return undefined;
  }
}

/**
 * Puts a program of this machine where any user may reach it, as not below a home folder: a hard link where the file system has it; a
 * copy costs 100 MB.
 */
export async function place(from: string, to: string): Promise<void> {
  await Deno.link(from, to).catch(() => Deno.copyFile(from, to));
}
