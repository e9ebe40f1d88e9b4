/**
 * The mesh's proxy while it runs. In: the plan. Out: the container's side for the supervisor, and why it is not ready.
 *
 * @module
 */
import { agentLogLine, parseAgentLine, type ProxyPhase } from "../core/agent_log.ts";
import { namesText } from "../core/certificate_names.ts";
import { KrunError } from "../core/errors.ts";
import type { MeshPorts } from "../core/istio_proxy.ts";
import { LastWords, meshRemedy, takenAddress } from "../core/mesh_fault.ts";
import type { DecidedMode } from "../core/mesh_mode.ts";
import { hostPort, hostPortText } from "../core/mesh_settings.ts";
import { join } from "../core/posix_path.ts";
import { askAgent, configDump, drainProxy, listeners, proxyReady, quitEnvoy } from "../mesh/proxy_status.ts";
import { systemClock } from "../pod/clock.ts";
import type { OwnContainer, StopBeginning } from "../pod/container.ts";
import type { MeshHealth } from "./mesh_health.ts";
import type { Run } from "./run.ts";
import type { WaysIn } from "./ways_in.ts";

/** What the agent writes before it answers has come by then, milliseconds. */
const LINE_MS = 50;

/** Resolves when the signal aborts. */
function aborted(signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (signal.aborted) return resolve();
    signal.addEventListener("abort", () => resolve(), { once: true });
  });
}

/** Which proxy, and whose. */
export interface ProxyPlan {
  /** Of the control plane. */
  readonly address: { readonly value: string };
  readonly mode: DecidedMode;
  readonly ports: MeshPorts;
}

/** What a proxy belongs to. */
export interface ProxyRun extends Pick<Run, "log" | "settings" | "plan"> {
  /** What opens with the proxy. @default {nothing} */
  readonly ways?: Pick<WaysIn, "prepareHbone" | "openHbone"> | undefined;
  /** What the agent is told of the workload, where others can call it. @default {nothing} */
  readonly health?: MeshHealth | undefined;
}

/** Agent and Envoy, as the container `istio-proxy`. */
export class MeshProxy implements OwnContainer {
  readonly #mesh: ProxyPlan;
  readonly #run: ProxyRun;
  readonly #last = new LastWords();
  readonly #started = Promise.withResolvers<void>();
  readonly #failed = Promise.withResolvers<KrunError>();
  #phase: ProxyPhase = "starting";
  #wasReady = false;

  constructor(mesh: ProxyPlan, run: ProxyRun) {
    this.#mesh = mesh;
    this.#run = run;
  }

  /** Resolves when the proxy is ready for the first time. */
  get started(): Promise<void> {
    return this.#started.promise;
  }

  /** A line of agent or Envoy, for krun's log. */
  onLine(line: string): void {
    const { log, settings } = this.#run;
    const read = parseAgentLine(line);
    const loud = settings.mesh.agentDebug !== undefined;
    const { level, event, fields } = agentLogLine(read, { loud, phase: this.#phase });
    log[level](event, fields);
    if (!this.#wasReady) this.#last.push(read);
  }

  async untilStarted(over: AbortSignal): Promise<void> {
    this.#phase = "starting";
    if (!this.#wasReady) this.#run.ways?.prepareHbone();
    await proxyReady(this.#place, { over, clock: systemClock });
    if (over.aborted) return;
    this.#phase = "running";
    if (this.#wasReady) return;
    await this.#warnOfTakenPorts(over);
    // The program must not start without what it was asked to have: the run is about to be ended.
    if (!await this.#openWays()) return await aborted(over);
    this.#wasReady = true;
    this.#started.resolve();
  }

  async onStop({ over, othersRun }: StopBeginning): Promise<void> {
    this.#run.health?.stop();
    if (this.#isGateway) return;
    await drainProxy(this.#place, { over, clock: systemClock, programRuns: othersRun });
  }

  async end(over: AbortSignal): Promise<void> {
    await this.#run.health?.untilTold(over);
    this.#phase = "ending";
    if (this.#isGateway) return;
    await quitEnvoy(this.#place, { over, clock: systemClock });
  }

  /** Its listeners are no inbound ones: at SIGTERM the agent itself drains them all, and waits. */
  get #isGateway(): boolean {
    return this.#run.settings.mesh.gateway !== undefined;
  }

  /**
   * Why the program cannot start: the proxy was not ready in time, or what opens with it cannot be had. `undefined`: it can, or
   * `over` aborted first.
   */
  async fault(over: AbortSignal): Promise<KrunError | undefined> {
    const { startTimeoutMs } = this.#run.settings.mesh;
    const patience = new AbortController();
    const ended = AbortSignal.any([over, patience.signal]);
    const late = systemClock.sleep(startTimeoutMs, ended).then(() => !ended.aborted);
    const fault = await Promise.race([late, this.#failed.promise, this.#started.promise.then(() => false)]);
    patience.abort();
    return fault === true ? await this.#notReady(over) : fault || undefined;
  }

  /** Whether the program may start. */
  async #openWays(): Promise<boolean> {
    try {
      await this.#run.ways?.openHbone();
      return true;
    } catch (cause) {
      if (!(cause instanceof KrunError)) throw cause;
      this.#failed.resolve(cause);
      return false;
    }
  }

  /** In mode proxy Envoy listens on the port of every Service of the mesh that it may call. */
  async #warnOfTakenPorts(signal: AbortSignal): Promise<void> {
    if (this.#mesh.mode.mode !== "proxy") return;
    const { pod, program } = this.#run.plan.planned;
    const container = pod.spec?.containers.find(({ name }) => name === program);
    const own = new Set(container?.ports?.map(({ containerPort }) => containerPort));
    for (const { host, port } of await listeners(this.#place, signal)) {
      if (!own.has(port)) continue;
      this.#run.log.warn("the program cannot listen on its port: Envoy does, for a Service of the mesh", {
        address: hostPortText({ host, port }),
        hint: "a Sidecar with egress says which Services are called from here",
      });
    }
  }

  get #place() {
    return { mode: this.#mesh.mode.mode, ports: this.#mesh.ports };
  }

  async #notReady(signal: AbortSignal): Promise<KrunError> {
    const { address, ports } = this.#mesh;
    const { startTimeoutMs, trafficDirector } = this.#run.settings.mesh;
    await askAgent(this.#place, signal);
    await systemClock.sleep(LINE_MS, signal);
    const dump = await this.#saveDump(signal);
    const { lines, cause } = this.#last;
    const why = cause === undefined ? "" : `: ${cause}${await holderOf(cause)}${await this.#shownBy(cause)}`;
    const state = `its proxy is not ready after ${startTimeoutMs / 1000} s${why}`;
    const remedy = meshRemedy(trafficDirector ? undefined : cause);
    const said = lines.length > 0 ? lines : [`the agent said nothing; is port ${ports.status} its own?`];
    const saved = dump === undefined ? [] : [`Envoy's configuration: ${dump}`];
    return new KrunError(
      "MeshNotReady",
      `Cannot join the mesh at ${address.value}: ${state}`,
      `${remedy}; MESH_START_TIMEOUT gives it more time, MESH_OPTIONAL=true starts without it`,
      { details: [...said, ...saved].join("\n") },
    );
  }

  /** Whose certificate it is that is not believed, to be added to the cause: the server there may be anybody. */
  async #shownBy(cause: string): Promise<string> {
    if (!/certificate/.test(cause) || this.#run.settings.mesh.trafficDirector) return "";
    const { lookAtControlPlane } = await import("../mesh/control_plane_probe.ts");
    const look = await lookAtControlPlane(hostPort(this.#mesh.address.value)!);
    return "names" in look ? ` (the certificate there is for ${namesText(look.names)})` : "";
  }

  /** Envoy's configuration as a file of krun's user; its path. It stays when krun has ended. */
  async #saveDump(signal: AbortSignal): Promise<string | undefined> {
    const { mesh } = this.#run.settings;
    // Nobody would be told of the file where the program starts all the same.
    if (this.#mesh.mode.mode === "proxyless" || mesh.optional) return undefined;
    const dump = await configDump(this.#place, signal);
    if (dump === undefined) return undefined;
    const { base } = this.#run.plan;
    const path = join(base === "/" ? "/tmp" : base, "istio-proxy-config-dump.json");
    try {
      // That of the start before: whoever tries again and again must not fill the disk.
      await Deno.remove(path).catch(() => {});
      await Deno.writeTextFile(path, dump, { createNew: true, mode: 0o600 });
      return path;
    } catch (cause) {
      this.#run.log.warn("Envoy's configuration cannot be saved", { path, reason: String(cause) });
      return undefined;
    }
  }
}

/** Who has the port that Envoy cannot listen on, to be added to the cause. */
async function holderOf(cause: string): Promise<string> {
  const taken = takenAddress(cause);
  if (taken === undefined) return "";
  const { holderOfPort } = await import("./interception.ts");
  return `, by ${holderOfPort(taken.port)}`;
}
