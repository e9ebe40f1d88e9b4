/**
 * The start of a Pod: everything is asked for at once, and every volume filled as soon as what it needs is there. In: what
 * there is to mount. Out: all failures.
 *
 * @module
 */
import type { V1Container } from "@kubernetes/client-node";
import type { Clock } from "../core/clock.ts";
import { containerEnv, containerEnvNeeds, subPathExpr } from "../core/container_env.ts";
import { KrunError } from "../core/errors.ts";
import { foreseen } from "../core/internal_fault.ts";
import { exactPath, mountPath } from "../core/mount_path.ts";
import type { PlannedPod } from "../core/pod_from_settings.ts";
import type { Needs, ObjectNeed } from "../core/pod_inputs.ts";
import type { StartFailure } from "../core/start_failure.ts";
import { distinctMounts, needsEnvironment, podContainers } from "../core/volume_mounts.ts";
import type { ClaimOptions, MountedVolume } from "./mounted_volume.ts";
import type { PodSources } from "./pod_sources.ts";
import type { StartRetry } from "./start_retry.ts";

/** A base, as far as a start itself looks at it. */
export interface StartBase {
  /** Absolute path. */
  readonly base: string;
}

/** A volume as a start sees it: a {@linkcode MountedVolume}, or for a check one that is only looked at. */
export type StartVolume<Base extends StartBase> = Pick<MountedVolume, "name" | "needs" | "publish"> & {
  claim(options: ClaimOptions<Base>): void;
};

/** What a start works on. */
export interface PodStart<Base extends StartBase> {
  /** The Pod and who asked for its parts. */
  readonly planned: PlannedPod;
  /** What it is made from; nothing is loaded yet. */
  readonly sources: PodSources;
  /** Its mounted volumes; none is claimed yet. */
  readonly volumes: readonly StartVolume<Base>[];
  /** The deadline that all requests share. */
  readonly retry: StartRetry;
  /** Below which the volumes are mounted; needed when there are any. It may come while the answers travel. */
  readonly base: Base | undefined | Promise<Base | undefined>;
  /** The base as the user named it; see `basePath` of `mountPod`. */
  readonly basePath: string | undefined;
  /** See {@linkcode ClaimOptions.inPlace}. */
  readonly inPlace: boolean;
  /** For the time of the first change. */
  readonly clock: Clock;
}

/** Folders are made for no longer than this before the network has its turn. */
const CLAIM_SPAN_MS = 2;

/** One part of a start, under way; it never rejects. */
interface StartPart {
  /** The setting that asked for it. */
  readonly askedBy: string;
  readonly failures: Promise<KrunError[]>;
}

/** Carries a start out. Rejects only as `base` does; an abort of the retry's signal shows as failures. */
export async function startPod<Base extends StartBase>(start: PodStart<Base>): Promise<StartFailure[]> {
  const references = resolveReferences(start);
  const failures = await Promise.all(
    startParts(start, references).map(async ({ askedBy, failures }) =>
      (await failures).map((error) => ({ error: withNamespace(error, start.planned), askedBy }))
    ),
  );
  return [...failures.flat(), ...await references];
}

/** Asks for the object of every reference; each that fails is told by itself, with its variable. */
async function resolveReferences(
  { planned: { references }, sources, retry }: Pick<PodStart<StartBase>, "planned" | "sources" | "retry">,
): Promise<StartFailure[]> {
  const { bySecret = new Map(), faults = [] } = references ?? {};
  const resolved = await Promise.all([...bySecret].map(async ([name, { variable, optional }]) => {
    const errors = await sources.load({ objects: [{ kind: "Secret", name, optional }], tokens: [] }, retry);
    return errors.map((error): StartFailure => ({ error, askedBy: variable, isListed: true }));
  }));
  return [...faults, ...resolved.flat()];
}

/** What a part of the Pod needs, and whether what it needs of references is there: whose absence is told once. */
async function loadNeeds(
  { planned: { references }, sources, retry }: Pick<PodStart<StartBase>, "planned" | "sources" | "retry">,
  needs: Needs,
): Promise<{ failures: KrunError[]; isResolved: boolean }> {
  const isReference = ({ kind, name }: ObjectNeed) => kind === "Secret" && references?.bySecret.has(name) === true;
  const [failures, unresolved] = await Promise.all([
    sources.load({ ...needs, objects: needs.objects.filter((need) => !isReference(need)) }, retry),
    sources.load({ objects: needs.objects.filter(isReference), tokens: [] }, retry),
  ]);
  return { failures, isResolved: unresolved.length === 0 };
}

/** What is missing, or may not be read, is most often looked for in the wrong namespace: the hint says who chose that. */
function withNamespace(error: KrunError, { pod, namespaceRule: rule }: PlannedPod): KrunError {
  if (!["ObjectNotFound", "Forbidden"].includes(error.code) || rule === undefined) return error;
  const other = rule === "WORKLOAD_NAMESPACE" ? "" : ", and WORKLOAD_NAMESPACE sets another";
  const hint = `${error.hint}; namespace "${pod.metadata?.namespace}" is from ${rule}${other}`;
  const { code, message, details, missing } = error;
  const more = { ...(details !== undefined && { details }), ...(missing && { missing }) };
  return new KrunError(code, message, hint, { cause: error, ...more });
}

/**
 * Begins everything: all requests first, then, while the answers travel, the folders.
 *
 * @param references what of them fails
 */
function startParts<Base extends StartBase>(start: PodStart<Base>, references: Promise<StartFailure[]>): StartPart[] {
  const { planned, sources, volumes, retry } = start;
  const services = { askedBy: "enableServiceLinks", failures: sources.loadServices(retry) };
  const environments = podContainers(planned.pod).map((container) => ({
    askedBy: environmentOrigin(planned, container),
    failures: tryEnvironment(start, container, services.failures),
  }));
  const loads = volumes.map((volume) => loadNeeds(start, volume.needs));
  const known = Promise.all([references, ...environments.map(({ failures }) => failures)])
    .then((all) => all.flat().length === 0);
  const claimed = claimVolumes(start, known);
  const mounts = volumes.map((volume, i) => ({
    askedBy: volumeOrigin(planned, volume),
    failures: fillVolume(start, volume, { loaded: loads[i]!, claimed }),
  }));
  return [services, ...environments, ...mounts];
}

/** An environment is made once at the start, so that what it lacks is told with all other failures. */
async function tryEnvironment(
  start: Pick<PodStart<StartBase>, "planned" | "sources" | "retry">,
  container: V1Container,
  services: Promise<KrunError[]>,
): Promise<KrunError[]> {
  const { planned: { pod }, sources } = start;
  const { failures, isResolved } = await loadNeeds(start, containerEnvNeeds(container));
  if (!isResolved || failures.length > 0 || (await services).length > 0) return failures;
  return failureOf(
    `make the environment of container "${container.name}"`,
    () => containerEnv(container, { pod, inputs: sources }),
  );
}

/** Which volumes' places could not be taken, and why. */
type Claimed = ReadonlyMap<Pick<MountedVolume, "name">, KrunError[]>;

/**
 * Takes the places of all volumes, a few milliseconds at a time: in between the network goes on.
 *
 * @param environmentsKnown false when one cannot be made, which is told already
 */
async function claimVolumes<Base extends StartBase>(
  start: PodStart<Base>,
  environmentsKnown: Promise<boolean>,
): Promise<Claimed> {
  const { volumes, planned: { pod }, clock } = start;
  const base = await start.base;
  const failures = new Map<StartVolume<Base>, KrunError[]>();
  const claim = (volume: StartVolume<Base>) => {
    const what = `mount volume "${volume.name}"`;
    failures.set(volume, failureOf(what, () => volume.claim(claimOptions(start, volume, base))));
  };
  // The place of a subPathExpr is known only with its container's environment, which comes over the network.
  const late = volumes.filter(({ name }) => needsEnvironment(pod, name));
  let pausedMs = -Infinity;
  for (const volume of volumes.filter((volume) => !late.includes(volume))) {
    if (clock.elapsedMs() - pausedMs > CLAIM_SPAN_MS) {
      await clock.turn();
      pausedMs = clock.elapsedMs();
    }
    claim(volume);
  }
  if (late.length > 0 && await environmentsKnown) late.forEach(claim);
  return failures;
}

/** Fills a volume's places as soon as what it needs is there. */
async function fillVolume(
  { sources, clock }: Pick<PodStart<StartBase>, "sources" | "clock">,
  volume: Pick<MountedVolume, "name" | "publish">,
  before: { loaded: ReturnType<typeof loadNeeds>; claimed: Promise<Claimed> },
): Promise<KrunError[]> {
  // A mount inside another volume is a folder there that must be made before that volume is published.
  const claimed = await before.claimed;
  const loaded = await before.loaded;
  const failures = [...claimed.get(volume) ?? [], ...loaded.failures];
  if (failures.length > 0 || !loaded.isResolved || !claimed.has(volume)) return failures;
  return failureOf(`write volume "${volume.name}"`, () => volume.publish(sources, clock.nowMs()));
}

/** @throws {KrunError} as `mountPath` and `subPathExpr` */
function claimOptions<Base extends StartBase>(
  start: PodStart<Base>,
  volume: Pick<MountedVolume, "name">,
  base: Base | undefined,
): ClaimOptions<Base> {
  const { planned, sources, inPlace } = start;
  const { pod, liveFiles } = planned;
  if (!base) throw new TypeError("Cannot mount volumes: there is no base folder");
  const { basePath = base.base } = start;
  const anywhere = planned.references?.volumes.has(volume.name) ?? false;
  return {
    base,
    anywhere,
    mounts: distinctMounts(pod, volume.name, {
      place: (path) =>
        anywhere ? exactPath(path) : mountPath(path, { base: basePath, cwd: "/", aliases: planned.baseAliases }),
      expand: (expr, container) => subPathExpr(expr, containerEnv(container, { pod, inputs: sources })),
    }),
    setting: volumeOrigin(planned, volume),
    live: liveFiles.has(volume.name),
    inPlace,
  };
}

function volumeOrigin({ origins }: PlannedPod, { name }: Pick<MountedVolume, "name">): string {
  const origin = origins.get(name) ?? `volume "${name}"`;
  // A Pod has many volumes, and not every failure says in which of them it is.
  return origin === "KRUN_POD" ? `volume "${name}" of KRUN_POD` : origin;
}

function environmentOrigin({ origins }: PlannedPod, { name }: V1Container): string {
  const own = [...origins].filter(([key]) => key.startsWith(`env:${name}/`)).map(([, origin]) => origin);
  return own.length > 0 ? [...new Set(own)].join(", ") : `container "${name}"`;
}

/** What an action failed with. */
function failureOf(what: string, action: () => unknown): KrunError[] {
  try {
    action();
    return [];
  } catch (error) {
    return [foreseen(what, error)];
  }
}
