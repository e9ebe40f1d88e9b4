/**
 * The life of a Pod whose files are in place. In: what a start has made. Out: the exit status.
 *
 * Loaded while a start waits for the network (docs/decisions.md).
 *
 * @module
 */
import type { V1Container } from "@kubernetes/client-node";
import { programEnv } from "../core/app_env.ts";
import { ISTIO_PROXY } from "../core/istio_proxy.ts";
import { mayBeCalled } from "../core/pod_health.ts";
import type { Env } from "../core/pod_inputs.ts";
import type { Settings } from "../core/settings.ts";
import { signalNumber } from "../core/signals.ts";
import { mayHaveSsh } from "../core/ssh_settings.ts";
import { podContainers } from "../core/volume_mounts.ts";
import { systemClock } from "../pod/clock.ts";
import type { MountedPod } from "../pod/mounted_pod.ts";
import { Processes } from "../pod/process.ts";
import { releaseCode } from "../pod/resident_code.ts";
import { Supervisor } from "../pod/supervisor.ts";
import { ChangeReaction } from "./change_reaction.ts";
import { machineHome, machineRunAs } from "./machine_run_as.ts";
import type { MeshHealth } from "./mesh_health.ts";
import type { ProxyRun } from "./mesh_proxy.ts";
import type { Run } from "./run.ts";
import { summary } from "./summary.ts";
import type { WaysIn } from "./ways_in.ts";

/** When a start is over for good, and idleness begins. */
const RELEASE_CODE_MS = 2_000;

/** Without a program: until krun is told to stop. */
export async function keepFilesFresh(run: Run): Promise<number> {
  await using _status = await statusServer(run, undefined);
  if (run.settings.google.metadata) run.log.warn("KRUN_METADATA has no effect: there is no program");
  for (const { name } of podContainers(run.mounted.pod)) run.mounted.resolveSubPaths(name);
  run.log.info("files ready", summary(run));
  run.base?.tendMemory();
  void releaseStartCode(run.control.stop);
  await run.mounted.keepFresh({ signal: run.control.stop });
  return 0;
}

/** Until the program ends; then nothing of its process tree is left. */
export async function runContainers(run: Run): Promise<number> {
  const { log, control, mounted, plan, settings, phases, survivors } = run;
  await using metadata = await metadataServer(run);
  await using processes = new Processes({ log, ...(survivors && { run: survivors.run }) });
  const over = new AbortController();
  await using health = await meshHealth(run);
  await using ways = await waysIn(run);
  await using debug = await debugServer(run, { processes, metadata: metadata?.env });
  const proxy = await meshProxy({ ...run, health, ways });
  let told = false;
  const tell = () => {
    if (told) return;
    told = true;
    phases.end("program");
    log.info("program started", summary(run));
  };
  // Of a gateway, the proxy is the program.
  const isGateway = plan.planned.program === ISTIO_PROXY;
  if (isGateway) void proxy?.started.then(tell);
  const supervisor = new Supervisor({
    pod: mounted.pod,
    ...(run.argv.length > 0 && { program: plan.planned.program }),
    processes,
    prepare: (container) => mounted.resolveSubPaths(container.name),
    env: (container) => containerEnvironment(run, container, metadata?.env),
    runAs: (container) => machineRunAs(container, { pod: mounted.pod, self: run.outer.self }),
    onStart: (container, pid) => {
      survivors?.started(container, pid);
      if (container === plan.planned.program && !isGateway) tell();
    },
    ...(proxy && { own: new Map([[ISTIO_PROXY, proxy]]) }),
    ...((ways || debug) && {
      onStop: async (stop) => {
        debug?.stop();
        await ways?.drain(stop);
      },
    }),
    log,
    clock: systemClock,
  });
  health?.follow(() => mayBeCalled(calledContainers(run), supervisor.status()));
  await using _status = await statusServer(run, supervisor);
  control.attach(supervisor);
  const status = supervisor.run();
  ways?.openTunnel();
  const fault = proxy?.fault(over.signal).then(async (fault) => {
    if (fault !== undefined && !told) await supervisor.stop();
    return fault;
  });
  // The program first: opening the watches takes milliseconds. A start that fails meanwhile is heard here.
  await Promise.race([status, systemClock.turn()]);
  run.base?.tendMemory();
  debug?.begin();
  const reaction = new ChangeReaction({ react: () => react(settings, supervisor), clock: systemClock, log });
  const fresh = Promise.all([
    reaction.run(over.signal),
    mounted.keepFresh({ signal: over.signal, onChange: () => reaction.changed() }),
  ]);
  void releaseStartCode(over.signal);
  try {
    const code = await status;
    over.abort();
    const failure = await fault;
    if (failure !== undefined && !told) throw failure;
    return code;
  } finally {
    over.abort();
    await Promise.all([fresh, fault]);
  }
}

/** The ways in besides the program's own; most runs have none. */
async function waysIn(run: Run): Promise<WaysIn | undefined> {
  const { mesh, planned } = run.plan;
  if (!planned.tunnel && !(mesh && "ports" in mesh.hbone)) return undefined;
  return new (await import("./ways_in.ts")).WaysIn(run);
}

/** The debug SSH server; it is opened once the program runs. */
async function debugServer(run: Run, { processes, metadata }: { processes: Processes; metadata: Env | undefined }) {
  const { settings: { ssh }, plan: { cluster, planned }, mounted } = run;
  const container = podContainers(mounted.pod).find(({ name }) => name === planned.program);
  if (!container || !mayHaveSsh(ssh, { hasCluster: cluster !== undefined })) return undefined;
  const { DebugServer } = await import("./debug_server.ts");
  return new DebugServer(run, { processes, container, env: () => containerEnvironment(run, container, metadata) });
}

/** The program's metadata server, where KRUN_METADATA asks for one. */
async function metadataServer(run: Run) {
  const { settings: { google: { metadata } }, google } = run;
  if (metadata === undefined || google === undefined) return undefined;
  return await (await import("./program_metadata.ts")).serveProgramMetadata(run, { address: metadata, google });
}

/** What watches the mesh's proxy; with Traffic Director there is none in mode proxyless. */
async function meshProxy(run: Run & ProxyRun) {
  const { mesh, trafficDirector } = run.plan;
  const plan = mesh ? { ...mesh, address: mesh.mesh.address } : trafficDirector;
  if (plan === undefined || plan === trafficDirector && plan.mode.mode === "proxyless") return undefined;
  const proxy = new (await import("./mesh_proxy.ts")).MeshProxy(plan, run);
  void proxy.started.then(() => run.phases.end("proxy ready"));
  return proxy;
}

/** What the agent of a workload that can be called asks, unless its ProxyConfig says whom it asks. */
async function meshHealth({ plan: { mesh } }: Run): Promise<MeshHealth | undefined> {
  if (mesh?.mesh.group === undefined || "readinessProbe" in mesh.mesh.proxyConfig) return undefined;
  return new (await import("./mesh_health.ts")).MeshHealth(mesh.ports.health);
}

/** Those that others call: what goes on running, but what krun itself has added. */
function calledContainers({ mounted: { pod }, plan: { planned } }: Run): V1Container[] {
  const { initContainers = [], containers = [] } = pod.spec ?? {};
  const running = [...initContainers.filter(({ restartPolicy }) => restartPolicy === "Always"), ...containers];
  return running.filter(({ name }) => !planned.ownContainers.has(name));
}

/** Once the watches are open, which is part of a start too. */
async function releaseStartCode(signal: AbortSignal): Promise<void> {
  await systemClock.sleep(RELEASE_CODE_MS, signal);
  if (!signal.aborted) releaseCode();
}

async function react({ onChange }: Settings, supervisor: Supervisor): Promise<void> {
  if (onChange.kind === "restart") await supervisor.restart();
  if (onChange.kind === "signal") supervisor.kill(signalNumber(onChange.signal) ?? 0);
}

/** Where the programs of krun's own containers look for others. */
const OWN_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/**
 * What a container's process sees: krun's own environment less what is krun's, and the Pod's over it. For a container that
 * krun itself has added: what it was given, and nothing else, be it krun's, the program's or a Service's.
 */
export function containerEnvironment(
  { outer, mounted, plan, settings }: Pick<Run, "outer" | "plan" | "settings"> & {
    mounted: Pick<MountedPod, "env" | "pod">;
  },
  container: V1Container,
  metadataEnv: Env = {},
): Env {
  const { ownsKubernetesEnv, ownContainers, references } = plan.planned;
  if (ownContainers.has(container.name)) {
    const names = new Set(container.env?.map(({ name }) => name));
    const given = Object.entries(mounted.env(container.name)).filter(([name]) => names.has(name));
    return { PATH: OWN_PATH, ...Object.fromEntries(given) };
  }
  const home = machineHome(container, { pod: mounted.pod, self: outer.self, home: outer.env.HOME });
  const own = home === undefined ? outer.env : { ...outer.env, HOME: home };
  return programEnv({ ...own, ...metadataEnv }, mounted.env(container.name), {
    passEnv: settings.passEnv,
    ownsKubernetesEnv,
    references: references?.variables ?? [],
  });
}

async function statusServer({ settings, mounted, plan, log }: Run, supervisor: Supervisor | undefined) {
  if (!settings.status) return { [Symbol.asyncDispose]: () => Promise.resolve() };
  const stale = () => mounted.status().volumes.some((volume) => volume.error !== undefined);
  const { serveStatus } = await import("./status_server.ts");
  return await serveStatus({
    ...settings.status,
    log,
    ready: () => (supervisor?.ready ?? true) && !stale(),
    state: () => ({
      mounts: mounted.status(),
      containers: supervisor?.status() ?? [],
      requests: plan.cluster?.counts ?? { requests: 0, errors: 0 },
      nowMs: Date.now(),
    }),
  });
}
