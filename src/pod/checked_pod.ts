/**
 * What a start of a Pod would meet. In: a planned Pod and a cluster. Out: every failure of a start, and what was read; nothing
 * is made. The order and the rules are those of a start itself: `pod_start.ts` runs on volumes that are only looked at.
 *
 * @module
 */
import type { Cluster, GrantedToken, TokenRef, WatchedObject } from "../core/cluster.ts";
import { containerEnv } from "../core/container_env.ts";
import { KrunError } from "../core/errors.ts";
import { silentLog } from "../core/log.ts";
import type { GoogleTokens } from "../core/google_token.ts";
import type { PlannedPod } from "../core/pod_from_settings.ts";
import type { Env, NodeFacts, ObjectNeed } from "../core/pod_inputs.ts";
import type { ReferenceSource } from "../core/reference_pod.ts";
import type { StartFailure } from "../core/start_failure.ts";
import { mountedVolumes, podContainers } from "../core/volume_mounts.ts";
import { systemClock } from "./clock.ts";
import { startPod } from "./pod_start.ts";
import { PodSources } from "./pod_sources.ts";
import { SeenBase } from "./seen_base.ts";
import { SeenVolume } from "./seen_volume.ts";
import { StartRetry } from "./start_retry.ts";

/** Options of {@linkcode checkPod}. */
export interface CheckPodOptions {
  /** The base folder, absolute. */
  readonly base: string;
  /** A start would lock it and write in it. */
  readonly takesBase: boolean;
  /** The bytes would lie in the mount path itself. */
  readonly inPlace: boolean;
  readonly node: NodeFacts;
  /** As in `PodSourcesOptions`. */
  readonly googleTokens?: GoogleTokens | undefined;
  /** As in `PodSourcesOptions`. */
  readonly referenceSource?: ReferenceSource | undefined;
}

/** What was read: a value, or why there is none. */
export type Read<Value> = { readonly value: Value } | { readonly failure: KrunError };

/** A Pod that was looked at. */
export interface CheckedPod {
  /** Empty when its files and environments could be made. */
  readonly failures: readonly StartFailure[];
  /** An object that the Pod refers to; the value `undefined`: it does not exist. */
  object(need: ObjectNeed): Promise<Read<WatchedObject | undefined>>;
  /** A token that the Pod asks for. */
  token(ref: TokenRef): Promise<Read<GrantedToken>>;
  /** The environment of a container. @throws {KrunError} as `containerEnv` */
  env(containerName: string): Env;
}

/**
 * Reads everything that a start would read, each once and without a retry, and looks at every place. Requests tokens.
 *
 * @throws {KrunError} `PodInvalid` for a volume of a kind that krun has not.
 */
export async function checkPod(
  planned: PlannedPod,
  cluster: Cluster | undefined,
  { base, takesBase, inPlace, node, googleTokens, referenceSource }: CheckPodOptions,
): Promise<CheckedPod> {
  const { pod } = planned;
  const clock = systemClock;
  const signal = new AbortController().signal;
  using retry = new StartRetry({ deadlineMs: 0, signal, clock, random: Math.random, log: silentLog });
  const sources = new PodSources(planned, cluster, {
    ...{ log: silentLog, node, clock, random: Math.random },
    ...{ googleTokens, referenceSource },
  });
  const volumes = mountedVolumes(pod).map((volume) => new SeenVolume(volume, pod));
  const { seen, failures: ofBase } = takesBase ? seeBase(base) : { seen: undefined, failures: [] };
  const failures = await startPod({
    ...{ planned, sources, volumes, retry, inPlace, clock, basePath: base },
    base: { base, seen },
  });
  const read = async <Value>(needs: Parameters<PodSources["load"]>[0], value: () => Value): Promise<Read<Value>> => {
    // What the start has asked for is not asked for again.
    const [failure] = await sources.load(needs, retry);
    return failure ? { failure } : { value: value() };
  };
  return {
    failures: [...ofBase, ...failures],
    object: (need) => read({ objects: [need], tokens: [] }, () => sources.object(need.kind, need.name)),
    token: (ref) => read({ objects: [], tokens: [ref] }, () => sources.token(ref)),
    env: (name) => {
      const container = podContainers(pod).find((each) => each.name === name)!;
      return containerEnv(container, { pod, inputs: sources });
    },
  };
}

/** Looks at a base folder as a start would find it; why that start would fail. */
export function seeBase(base: string): { seen: SeenBase | undefined; failures: StartFailure[] } {
  try {
    return { seen: new SeenBase(base), failures: [] };
  } catch (error) {
    if (!(error instanceof KrunError)) throw error;
    return { seen: undefined, failures: [{ error, askedBy: "" }] };
  }
}
