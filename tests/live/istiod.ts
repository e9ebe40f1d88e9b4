/**
 * A real istiod against a real API server, for one test file.
 *
 * In: an {@linkcode ApiServer} with the seed `istio`. Out: a control plane, ready to be asked for certificates and configuration.
 * What only Istio's own Envoy understands is switched off, since the rig has the upstream one: the ALPN filter, metadata
 * exchange, and stats by Prometheus, of which istiod itself has no default.
 *
 * @module
 */
import { join } from "node:path";
import { liveTool } from "../../scripts/live_tools.ts";
import type { ApiServer, KubeObject } from "./api_server.ts";
import { freePort, type ServerProcess, startProcess, untilReady } from "./server_process.ts";

/** Where Istio's own objects are. */
export const ISTIO_NAMESPACE = "istio-system";

/** Options of {@linkcode startIstiod}. */
export interface IstiodOptions {
  /** Address by which workloads reach it. @default {"127.0.0.1"} */
  readonly address?: string;
  /** MeshConfig, as a value. @default {{}} */
  readonly meshConfig?: Readonly<Record<string, unknown>>;
  /** More environment. */
  readonly env?: Readonly<Record<string, string>>;
  /** Put the mesh's own ConfigMap into the cluster, as the chart does. @default {true} */
  readonly configMap?: boolean;
  /** More of its namespace that is there before it starts, as the injector's ConfigMap must be. */
  readonly objects?: readonly KubeObject[];
}

/** Puts Istio's namespace into the cluster, which has its CRDs, and starts istiod; about 2 s. */
export async function startIstiod(server: ApiServer, options: IstiodOptions = {}): Promise<Istiod> {
  const istiod = new Istiod(server, options);
  try {
    await istiod.prepare();
  } catch (error) {
    await istiod[Symbol.asyncDispose]();
    throw error;
  }
  return istiod;
}

/** A running istiod. Made by {@linkcode startIstiod}. */
export class Istiod implements AsyncDisposable {
  #process: ServerProcess | undefined;
  readonly #ports = {
    http: freePort(),
    xds: freePort(),
    monitoring: freePort(),
    ctrlz: freePort(),
  };

  constructor(readonly server: ApiServer, readonly options: IstiodOptions) {}

  /** `<address>:<port>` of XDS and certificates over TLS. */
  get discoveryAddress(): string {
    return `${this.options.address ?? "127.0.0.1"}:${this.#ports.xds}`;
  }

  /** Its process id. */
  get pid(): number {
    if (!this.#process) throw new Error("istiod does not run");
    return this.#process.pid;
  }

  /** URL below which its webhooks are, `/inject` where there is an injector's ConfigMap: in plain text, on loopback. */
  get webhooks(): string {
    return `http://127.0.0.1:${this.#ports.http}`;
  }

  /** Everything it has written so far. */
  log(): Promise<string> {
    return Deno.readTextFile(this.#log);
  }

  /** For {@linkcode startIstiod}. */
  async prepare(): Promise<void> {
    await this.server.namespace(ISTIO_NAMESPACE);
    const { meshConfig = {}, configMap = true, objects = [] } = this.options;
    const mesh = { trustDomain: "cluster.local", ...meshConfig };
    await Deno.writeTextFile(this.#meshFile, JSON.stringify(mesh));
    if (configMap) {
      await this.server.create({
        apiVersion: "v1",
        kind: "ConfigMap",
        metadata: { namespace: ISTIO_NAMESPACE, name: "istio" },
        data: { mesh: JSON.stringify(mesh, null, 2), meshNetworks: "networks: {}" },
      });
    }
    await Promise.all(objects.map((object) => this.server.create(object)));
    await this.start();
  }

  /** Starts it again after {@linkcode Istiod.stop}, on the same ports, with the same CA, and with more environment if any. */
  async start(env: Readonly<Record<string, string>> = {}): Promise<void> {
    const { http, xds, monitoring, ctrlz } = this.#ports;
    const argv = [
      await liveTool("pilot-discovery"),
      "discovery",
      `--kubeconfig=${this.server.adminKubeconfig}`,
      `--meshConfig=${this.#meshFile}`,
      "--domain=cluster.local",
      `--httpAddr=127.0.0.1:${http}`,
      "--grpcAddr=",
      `--secureGRPCAddr=:${xds}`,
      // The webhooks are then on httpAddr.
      "--httpsAddr=",
      `--monitoringAddr=127.0.0.1:${monitoring}`,
      `--ctrlz_port=${ctrlz}`,
    ];
    const all = {
      POD_NAME: "istiod-1",
      POD_NAMESPACE: ISTIO_NAMESPACE,
      PILOT_CERT_PROVIDER: "istiod",
      REVISION: "default",
      CLUSTER_ID: "Kubernetes",
      VALIDATION_WEBHOOK_CONFIG_NAME: "",
      INJECTION_WEBHOOK_CONFIG_NAME: "",
      PILOT_ENABLE_ALPN_FILTER: "false",
      PILOT_ENABLE_METADATA_EXCHANGE: "false",
      ...this.options.env,
      ...env,
    };
    const set = Object.entries(all).map(([name, value]) => `${name}=${value}`);
    this.#process = startProcess(["env", ...set, ...argv], this.#log);
    await untilReady(this.#process, async () => {
      const response = await fetch(`http://127.0.0.1:${http}/ready`);
      await response.body?.cancel();
      return response.ok;
    });
  }

  /** Ends it. Its CA stays in the cluster. */
  async stop(signal: Deno.Signal = "SIGKILL"): Promise<void> {
    await this.#process?.end(signal);
    this.#process = undefined;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop();
  }

  get #log(): string {
    return join(this.server.folder, "istiod.log");
  }

  get #meshFile(): string {
    return join(this.server.folder, "mesh.json");
  }
}
