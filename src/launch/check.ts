/**
 * `krun --check`: what a start would find and do, without starting anything or touching a file.
 *
 * @module
 */
import type { V1ConfigMap, V1Secret, V1Volume } from "@kubernetes/client-node";
import type { Cluster, ObjectKind, TokenRef } from "../core/cluster.ts";
import { containerEnvNeeds } from "../core/container_env.ts";
import { KrunError } from "../core/errors.ts";
import type { Logger } from "../core/log.ts";
import { CLOUD_PLATFORM } from "../core/google_token.ts";
import { jwtClaims } from "../core/jwt.ts";
import { mountPath } from "../core/mount_path.ts";
import type { ObjectNeed } from "../core/pod_inputs.ts";
import { parseSettings, type Settings } from "../core/settings.ts";
import { failureTexts, singleFailures, type StartFailure } from "../core/start_failure.ts";
import { distinctMounts, mountedVolumes, podContainers } from "../core/volume_mounts.ts";
import { volumeNeeds } from "../core/volume.ts";
import { type CheckedPod, checkPod } from "../pod/checked_pod.ts";
import { programFailures } from "./check_program.ts";
import { type CheckedObject, type CheckedToken, type CheckReport, checkText, type Finding } from "./check_report.ts";
import { createLogger } from "./logger.ts";
import { requireTunnelPort, tunnelFindings } from "./ways_in_findings.ts";
import { holderOfPort, procReader } from "./interception.ts";
import { LazyGoogle } from "./lazy_google.ts";
import { adviceOf, meshFindings } from "./mesh_findings.ts";
import { meshMachine } from "./mesh_machine.ts";
import { meshReach } from "./mesh_reach.ts";
import { nodeFacts } from "./node_facts.ts";
import { print } from "./output.ts";
import { type Plan, planStart } from "./plan.ts";
import { leftOutText, sourceText } from "./summary.ts";
import type { SshFindings } from "./ssh_findings.ts";
import type { Surroundings } from "./surroundings.ts";

/** Options of {@linkcode check}. */
export interface CheckOptions {
  /** The program and its arguments; empty: none was named. */
  readonly argv: readonly string[];
  /** For a person, or for machines. */
  readonly format: "text" | "json";
}

/** An object with every place that refers to it. */
interface AskedObject extends ObjectNeed {
  readonly askedBy: readonly string[];
  readonly paths: readonly string[];
}

/** A token with every place that it goes to. */
interface AskedToken {
  readonly ref: TokenRef;
  readonly askedBy: readonly string[];
  readonly paths: readonly string[];
}

/**
 * Prints the report; resolves to 0 when a start would succeed, to 1 when it would not, also when it fails before there is
 * anything to mount: a setting that cannot be read, a cluster that is not found.
 *
 * Tokens are requested as a start would, looked at and thrown away.
 */
export async function check(outer: Surroundings, options: CheckOptions): Promise<number> {
  const report = await reportOf(outer, options);
  print(outer, options.format === "json" ? `${JSON.stringify(report, null, 2)}\n` : checkText(report));
  return report.ok ? 0 : 1;
}

async function reportOf(outer: Surroundings, { argv }: CheckOptions): Promise<CheckReport> {
  await using undo = new AsyncDisposableStack();
  let settings: Settings | undefined;
  try {
    settings = parseSettings(outer.env);
    const log = createLogger({
      level: settings.logLevel,
      format: settings.logFormat,
      trace: settings.trace,
      write: outer.writeError,
    });
    const ofMesh: StartFailure[] = [];
    const google = undo.use(new LazyGoogle(outer, { settings, log, deadlineMs: 0 }));
    const plan = await planStart(outer, {
      ...{ settings, argv, log, google, keepKey: false },
      machine: meshMachine(outer),
      onMeshFailure: (failure) =>
        ofMesh.push(...singleFailures(failure).map((error) => ({ error, askedBy: "the mesh" }))),
    });
    if (plan.cluster) undo.use(plan.cluster);
    return await reportOfPlan(outer, { plan, settings, ofMesh, google, log, undo });
  } catch (error) {
    if (!(error instanceof KrunError) || error.code === "Internal") throw error;
    const verdict = verdictOf([{ error, askedBy: "" }]);
    const nothing = { starts: false, findings: [], objects: [], tokens: [], references: [] };
    return { ...verdict, ...nothing, warnings: settings?.warnings ?? [] };
  }
}

async function reportOfPlan(
  outer: Surroundings,
  { plan, settings, ofMesh, google, log, undo }: {
    log: Logger;
    undo: AsyncDisposableStack;
    plan: Plan;
    settings: Settings;
    ofMesh: readonly StartFailure[];
    google: LazyGoogle;
  },
): Promise<CheckReport> {
  const { asked, tokens: wanted } = askedOf(plan, outer.cwd);
  const referring = plan.planned.references ? await import("./check_references.ts") : undefined;
  const source = referring?.openReferences(outer, { plan, settings, google, log, undo });
  const pod = await checkPod(plan.planned, plan.cluster, {
    base: plan.base,
    takesBase: plan.takesBase,
    inPlace: plan.isSideProcess,
    node: nodeFacts(),
    googleTokens: google.tokens(plan),
    referenceSource: source,
  });
  const [objects, tokens, references] = await Promise.all([
    Promise.all(asked.map((need) => checkObject({ plan, pod }, need))),
    Promise.all(wanted.map((need) => checkToken(pod, need))),
    referring && source ? referring.checkReferences(plan, { pod, source }) : [],
  ]);
  const failures = pod.failures.length > 0
    ? pod.failures
    : programFailures(outer, { plan, settings, pod, mountPaths: allPaths(plan, outer.cwd) });
  const servers = [...await serverFailures(settings), ...tunnelFailures(plan)];
  const ofGoogle = await checkGoogleAccount(plan, { settings, google });
  const ssh = await checkSsh(outer, { plan, settings });
  const reach = await meshReach(plan, procReader());
  const optional = settings.mesh.optional ? reach.failures.map(({ error }) => error.message) : [];
  const ofStart = [...failures, ...ofMesh, ...servers, ...optional.length > 0 ? [] : reach.failures];
  const verdict = verdictOf([...ofStart, ...ofGoogle.failures, ...ssh.failures]);
  const advice = adviceOf(plan, outer);
  return {
    ...verdict,
    details: [...verdict.details, ...(advice.manifests.length > 0 ? [advice.manifests.join("---\n")] : [])],
    starts: ofStart.length === 0,
    findings: [...findings(plan), ...ofGoogle.findings, ...waysInFindings(plan), ...ssh.findings, ...reach.findings],
    objects,
    tokens: tokens.map((token) => named(token, { plan, name: ofGoogle.name })),
    references,
    warnings: [...settings.warnings, ...plan.planned.warnings, ...advice.warnings, ...ssh.warnings, ...optional],
  };
}

/** As whom the program meets Google, and why it gets no tokens of the metadata server that krun is for it. */
async function checkGoogleAccount(
  plan: Plan,
  { settings, google }: { settings: Settings; google: LazyGoogle },
): Promise<{ findings: Finding[]; failures: StartFailure[]; name?: string }> {
  const isServed = settings.google.metadata !== undefined;
  if (!isServed && plan.planned.googleTokens.size === 0) return { findings: [], failures: [] };
  const cloud = await google.cloud();
  const found: { findings: Finding[]; name?: string } = { findings: [] };
  try {
    const { name, because } = await cloud.programName(plan);
    found.name = name;
    found.findings.push({ what: "program's Google account", value: name, because });
    // A mount of such a token is tried by itself.
    if (isServed) await cloud.programAccount(plan).accessToken([CLOUD_PLATFORM]);
    return { ...found, failures: [] };
  } catch (error) {
    if (!(error instanceof KrunError)) throw error;
    return { ...found, failures: isServed ? [{ error, askedBy: "KRUN_METADATA" }] : [] };
  }
}

/** A token with the name of whose it is, where that is no Kubernetes service account. */
function named(token: CheckedToken, { plan, name }: { plan: Plan; name: string | undefined }): CheckedToken {
  const isGoogles = plan.planned.googleTokens.has(token.audience);
  return name !== undefined && isGoogles ? { ...token, serviceAccount: name } : token;
}

/** Why the front door of KRUN_TUNNEL could not be opened. */
function tunnelFailures({ planned: { tunnel }, isSideProcess }: Plan): StartFailure[] {
  if (!tunnel || isSideProcess) return [];
  try {
    requireTunnelPort(tunnel, procReader());
    return [];
  } catch (error) {
    if (!(error instanceof KrunError)) throw error;
    return [{ error, askedBy: "" }];
  }
}

function waysInFindings(plan: Plan): Finding[] {
  const { tunnel } = plan.planned;
  const proc = procReader();
  const isInMesh = plan.mesh !== undefined || plan.trafficDirector !== undefined;
  return [...meshFindings(plan, proc), ...(tunnel ? tunnelFindings(tunnel, { proc, isInMesh }) : [])];
}

/** The debug SSH server, where anything may open it. */
async function checkSsh(
  outer: Surroundings,
  { plan, settings }: { plan: Plan; settings: Settings },
): Promise<SshFindings> {
  const nothing = { findings: [], warnings: [], failures: [] };
  if (plan.isSideProcess || settings.oneShot) return nothing;
  if (settings.ssh.off) {
    return { ...nothing, findings: [{ what: "ssh server", value: "none", because: "KRUN_SSH is -" }] };
  }
  return await (await import("./ssh_findings.ts")).sshFindings(outer, { plan, settings });
}

/** Why the status endpoint, or the program's metadata server, could not be served. */
async function serverFailures({ status, google: { metadata } }: Settings): Promise<StartFailure[]> {
  if (!status && !metadata) return [];
  const { checkAddress } = await import("./listen_address.ts");
  const failures: StartFailure[] = [];
  for (const [setting, address] of [["KRUN_STATUS", status], ["KRUN_METADATA", metadata]] as const) {
    try {
      if (address) checkAddress(address, { setting, holder: holderOfPort });
    } catch (error) {
      if (!(error instanceof KrunError)) throw error;
      failures.push({ error, askedBy: "" });
    }
  }
  return failures;
}

function verdictOf(failures: readonly StartFailure[]): Pick<CheckReport, "ok" | "problems" | "details"> {
  const { lines, details } = failureTexts(failures);
  return { ok: failures.length === 0, problems: lines, details };
}

function findings({ cluster, leftOut, identity, base, baseRule, planned, isSideProcess }: Plan): Finding[] {
  const { namespace, name, serviceAccount } = identity;
  const user = cluster?.source.user;
  const inCluster = planned.inClusterFailure;
  const noCluster = leftOut ? leftOutText(leftOut) : "nothing asks for one and none was found";
  return [
    cluster
      ? { what: "cluster", value: sourceText(cluster.source), because: cluster.endpoint?.server ?? "no API server" }
      : { what: "cluster", value: "none", because: noCluster },
    ...(cluster?.source.chosenBy === undefined
      ? []
      : [{ what: "cluster's choice", value: cluster.source.cluster ?? "", because: cluster.source.chosenBy }]),
    ...(user === undefined ? [] : [{ what: "krun's identity", value: user, because: userOf(cluster) }]),
    { what: "namespace", value: namespace.value, because: namespace.rule },
    { what: "name", value: name.value, because: name.rule },
    { what: "service account", value: serviceAccount.value, because: serviceAccount.rule },
    { what: "base", value: base, because: baseRule },
    {
      what: "program",
      value: isSideProcess ? "none" : planned.program,
      because: isSideProcess ? "side process" : `container${startedText(planned)}`,
    },
    ...(planned.hidesKubeconfig
      ? [{ what: "program's KUBECONFIG", value: "/dev/null", because: "the one of the home folder is krun's" }]
      : []),
    ...(inCluster === undefined ? [] : [{ what: "in-cluster clients", value: "will not work", because: inCluster }]),
  ];
}

/** The program of the container, as it is written; its arguments may hold what nobody is to see. */
function startedText({ pod, program }: Plan["planned"]): string {
  const { command = [], args = [] } = podContainers(pod).find(({ name }) => name === program) ?? {};
  const [first] = [...command, ...args];
  return first === undefined ? "" : `, starts ${first}`;
}

function userOf(cluster: Cluster | undefined): string {
  return cluster?.source.kind === "google" ? "Google account" : "user of the context";
}

/** Every object and token that the Pod refers to, with who asks for it and where it goes. */
function askedOf({ planned, base }: Plan, cwd: string): { asked: AskedObject[]; tokens: AskedToken[] } {
  const { pod, origins, localObjects } = planned;
  const objects = new Map<string, AskedObject>();
  const tokens = new Map<string, AskedToken>();
  const addObject = (need: ObjectNeed, askedBy: string, paths: readonly string[]) => {
    const id = `${need.kind}/${need.name}`;
    if (localObjects.has(id) || planned.references?.bySecret.has(need.name)) return;
    const known = objects.get(id);
    objects.set(id, {
      ...need,
      optional: need.optional && (known?.optional ?? true),
      askedBy: [...new Set([...(known?.askedBy ?? []), askedBy])],
      paths: [...(known?.paths ?? []), ...paths],
    });
  };
  for (const volume of mountedVolumes(pod)) {
    const askedBy = origins.get(volume.name) ?? volume.name;
    const paths = pathsOf(volume, { planned, base, cwd });
    const needs = volumeNeeds(volume, pod);
    for (const need of needs.objects) addObject(need, askedBy, paths);
    for (const ref of needs.tokens) {
      const known = tokens.get(JSON.stringify(ref));
      tokens.set(JSON.stringify(ref), {
        ref,
        askedBy: [...new Set([...(known?.askedBy ?? []), askedBy])],
        paths: [...(known?.paths ?? []), ...paths],
      });
    }
  }
  for (const container of podContainers(pod)) {
    for (const need of containerEnvNeeds(container).objects) addObject(need, `environment of "${container.name}"`, []);
  }
  return { asked: [...objects.values()], tokens: [...tokens.values()] };
}

/** Every path at which something is mounted. */
function allPaths({ planned, base }: Plan, cwd: string): string[] {
  return mountedVolumes(planned.pod).flatMap((volume) => pathsOf(volume, { planned, base, cwd }));
}

/** A subPathExpr is shown as it is written: its variables have values only at a start. */
function pathsOf(volume: V1Volume, { planned, base, cwd }: Pick<Plan, "planned" | "base"> & { cwd: string }) {
  const { pod, references } = planned;
  const isExact = references?.volumes.has(volume.name) ?? false;
  const place = (path: string) => isExact ? path : mountPath(path, { base, cwd, aliases: planned.baseAliases });
  try {
    return distinctMounts(pod, volume.name, { place, expand: (expr) => expr }).map(({ path }) => path);
  } catch (error) {
    if (error instanceof KrunError) return []; // The check of the Pod tells it.
    throw error;
  }
}

async function checkObject({ plan, pod }: { plan: Plan; pod: CheckedPod }, need: AskedObject): Promise<CheckedObject> {
  const { kind, name, paths } = need;
  const row = { kind, name, askedBy: need.askedBy.join(", "), paths };
  const namespace = plan.identity.namespace.value;
  const [access, read] = await Promise.all([
    plan.cluster ? accessText(plan.cluster, { kind, name, namespace }) : "unknown",
    pod.object(need),
  ]);
  if ("failure" in read) {
    const { code, message } = read.failure;
    return { ...row, found: false, keys: [], access, forbidden: code === "Forbidden", problem: message };
  }
  return { ...row, found: read.value !== undefined, keys: read.value ? keysOf(read.value) : [], access };
}

function keysOf(object: V1Secret & V1ConfigMap): string[] {
  return [...Object.keys(object.data ?? {}), ...Object.keys(object.binaryData ?? {})].sort();
}

async function accessText(
  cluster: Cluster,
  { kind, name, namespace }: { kind: ObjectKind; name: string; namespace: string },
): Promise<string> {
  const resource = kind === "Secret" ? "secrets" : "configmaps";
  const verdicts = await Promise.all((["get", "watch"] as const).map(async (verb) => {
    const verdict = await cluster.access({ verb, resource, namespace, name }).catch(() => undefined);
    return `${verb} ${verdict === undefined ? "unknown" : verdict.allowed ? "yes" : "no"}`;
  }));
  return verdicts.join(", ");
}

async function checkToken(pod: CheckedPod, { ref, askedBy, paths }: AskedToken): Promise<CheckedToken> {
  const { serviceAccount, audience } = ref;
  const row = { serviceAccount, audience, askedBy: askedBy.join(", "), paths };
  const read = await pod.token(ref);
  if ("failure" in read) return { ...row, claims: {}, problem: read.failure.message };
  const { token, expiresAtMs } = read.value;
  return { ...row, claims: jwtClaims(token) ?? {}, secondsLeft: Math.round((expiresAtMs - Date.now()) / 1000) };
}
