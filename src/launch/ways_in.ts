/**
 * The ways to a running program besides its own ports: the HBONE endpoint for peers of the mesh, and the front door of KRUN_TUNNEL. In:
 * the plan of a run. Out: servers that live as long as the program, and let nobody new in once it is to stop.
 *
 * Loaded only for a run that has one of them (docs/decisions.md).
 *
 * @module
 */
import { KrunError } from "../core/errors.ts";
import { type HbonePlan, pastEnvoyText } from "../core/hbone_plan.ts";
import { sshPort } from "../core/ssh_settings.ts";
import { isTunnelOpen, tunnelAddressText, type TunnelPlan } from "../core/tunnel.ts";
import { DescriptorBudget } from "../mesh/descriptor_budget.ts";
import type { HboneServer } from "../mesh/hbone_server.ts";
import type { TunnelServer } from "../mesh/tunnel_server.ts";
import { systemClock } from "../pod/clock.ts";
import type { StopBeginning } from "../pod/container.ts";
import { loadLibc } from "../pod/libc.ts";
import { stopHandshakes, waitingToBeAccepted } from "../pod/listening_socket.ts";
import { anyFile } from "../pod/special_files.ts";
import { callersShare } from "./callers_share.ts";
import { procReader } from "./interception.ts";
import type { Run } from "./run.ts";
import { PAST_THE_MESH, plannedHbone, requireTunnelPort } from "./ways_in_findings.ts";

/** How often it is looked whether the program accepts, milliseconds. */
const POLL_MS = 50;

/** After so long without a program behind it, a front door that is not open is worth a word, milliseconds. */
const PATIENCE_MS = 30_000;

/** What {@linkcode WaysIn} looks at. */
export type WaysInRun = Pick<Run, "log" | "settings" | "plan" | "control">;

/** Both of them, for one run. Disposing it cuts what is still open. */
export class WaysIn implements AsyncDisposable {
  readonly #run: WaysInRun;
  /** Of each of them: callers of one keep nobody out of the other. */
  readonly #mostDescriptors: number;
  readonly #over = new AbortController();
  #hbone: HboneServer | undefined;
  #tunnel: TunnelServer | undefined;
  #opening: Promise<void> = Promise.resolve();
  #loading: Promise<typeof import("../mesh/hbone_server.ts")> | undefined;

  /** @throws {KrunError} `HboneUnavailable` where the front door could not be opened now */
  constructor(run: WaysInRun) {
    this.#run = run;
    const { planned: { tunnel } } = run.plan;
    this.#mostDescriptors = callersShare(run);
    if (tunnel) requireTunnelPort(tunnel, procReader());
  }

  /** Loads what the HBONE endpoint is made of, beside the start of the mesh's proxy, which takes longer. */
  prepareHbone(): void {
    if (!plannedHbone(this.#run.plan.mesh)) return;
    this.#loading = import("../mesh/hbone_server.ts");
    this.#loading.catch(() => {}); // It is heard by openHbone().
  }

  /**
   * Opens the HBONE endpoint, once the mesh's proxy has the workload's certificates. Where it cannot be had that is told, and is
   * a failure only if somebody has asked for it by HBONE_ALLOW.
   *
   * @throws {KrunError} `HboneUnavailable`
   */
  async openHbone(): Promise<void> {
    const { plan: { mesh }, settings, log } = this.#run;
    const plan = plannedHbone(mesh);
    if (!mesh || !plan || this.#hbone) return;
    const { serveHbone } = await (this.#loading ?? import("../mesh/hbone_server.ts"));
    try {
      this.#hbone = await serveHbone({
        ...this.#listening(plan),
        note: mesh.mode.mode === "proxyless" ? undefined : pastEnvoyText(plan),
        certificates: mesh.places.certificates,
        // They lie in memory, below /dev.
        files: anyFile,
        clock: systemClock,
      });
    } catch (cause) {
      if (!(cause instanceof KrunError) || settings.mesh.hbonePeers !== undefined) throw cause;
      log.warn("peers of the mesh cannot call by HBONE", { reason: cause.message, hint: cause.hint });
    }
  }

  /** Nobody new is let in from now on; resolves when the program has all that was. Never rejects. */
  async drain({ over, othersRun }: StopBeginning): Promise<void> {
    const servers = [this.#hbone, this.#tunnel].filter((server) => server !== undefined);
    const libc = loadLibc();
    for (const { port } of servers) stopHandshakes(libc, port);
    const waiting = (port: number) => waitingToBeAccepted(libc, port);
    const options = { over, clock: systemClock, programRuns: othersRun, waiting };
    await Promise.all(servers.map((server) => server.drain(options)));
  }

  /**
   * Opens the front door as soon as the program accepts connections: a platform takes an open port for a program that is ready.
   * A front door that cannot be had ends the run.
   */
  openTunnel(): void {
    const { plan: { planned: { tunnel } }, control } = this.#run;
    if (!tunnel) return;
    this.#opening = this.#openTunnel(tunnel).catch((cause) => control.fail(cause));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#over.abort();
    await this.#opening;
    await Promise.all([this.#hbone?.[Symbol.asyncDispose](), this.#tunnel?.[Symbol.asyncDispose]()]);
  }

  async #openTunnel(plan: TunnelPlan): Promise<void> {
    const { serveTunnel } = await import("../mesh/tunnel_server.ts");
    await this.#untilAccepts(plan.program.port);
    if (this.#isOver) return;
    const { ports, program, address } = plan;
    const listening = { ...this.#listening({ ports }), ...(address !== undefined && { hostname: address }) };
    this.#tunnel = await serveTunnel({ ...listening, program, sshPort: sshPort(this.#run.settings.ssh) });
    const { log, plan: { mesh, trafficDirector } } = this.#run;
    if ((mesh || trafficDirector) && isTunnelOpen(plan)) {
      log.warn(`the tunnel is open to others: ${PAST_THE_MESH}`, {
        address: tunnelAddressText(plan),
        hint:
          "let nobody reach it but a front end that ends TLS; KRUN_TUNNEL_ADDRESS=127.0.0.1 keeps it on this machine",
      });
    }
    // A stop that came meanwhile has not seen it.
    if (this.#isOver) await this.#tunnel[Symbol.asyncDispose]();
  }

  get #isOver(): boolean {
    return this.#over.signal.aborted || this.#run.control.stop.aborted;
  }

  async #untilAccepts(port: number): Promise<void> {
    const { log, control } = this.#run;
    const over = AbortSignal.any([this.#over.signal, control.stop]);
    const sinceMs = systemClock.elapsedMs();
    for (let told = false; !over.aborted && !await accepts(port);) {
      if (!told && systemClock.elapsedMs() - sinceMs > PATIENCE_MS) {
        log.warn("the tunnel waits for the program, which does not accept connections", { port });
        told = true;
      }
      await systemClock.sleep(POLL_MS, over);
    }
  }

  /** What both listen by. */
  #listening<Plan extends Pick<HbonePlan, "ports">>(plan: Plan) {
    const addresses = Deno.networkInterfaces();
    const hostname = addresses.some(({ family }) => family === "IPv6") ? "::" : "0.0.0.0";
    return { ...plan, hostname, log: this.#run.log, descriptors: new DescriptorBudget(this.#mostDescriptors) };
  }
}

async function accepts(port: number): Promise<boolean> {
  try {
    (await Deno.connect({ hostname: "127.0.0.1", port })).close();
    return true;
  } catch {
    return false;
  }
}
