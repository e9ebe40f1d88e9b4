/**
 * References in the values of krun's own environment: which there are, and who resolves them. Loaded by those starts alone that have
 * one.
 *
 * @module
 */
import { KrunError } from "../core/errors.ts";
import { DEFAULT_SCOPES } from "../core/google_token.ts";
import type { Logger } from "../core/log.ts";
import type { Env } from "../core/pod_inputs.ts";
import type { PlannedPod } from "../core/pod_from_settings.ts";
import { join } from "../core/posix_path.ts";
import { proxySettings } from "../core/proxy_choice.ts";
import { parseReference, type Reference } from "../core/reference.ts";
import { withReferences } from "../core/reference_pod.ts";
import { isReference } from "../core/reference_prefix.ts";
import { mayResolve } from "../core/reference_settings.ts";
import { printable } from "../core/setting_invalid.ts";
import type { Settings } from "../core/settings.ts";
import type { StartFailure } from "../core/start_failure.ts";
import { machineRoots } from "../kube/machine_roots.ts";
import { systemClock } from "../pod/clock.ts";
import { anyFile } from "../pod/special_files.ts";
import { OpenClusters } from "../refs/reference_clusters.ts";
import { referenceReader } from "../refs/reference_reader.ts";
import { References } from "../refs/references.ts";
import type { LazyGoogle } from "./lazy_google.ts";
import type { Plan } from "./plan.ts";
import type { Surroundings } from "./surroundings.ts";

/** The references that a start found. */
export interface FoundReferences {
  readonly references: readonly Reference[];
  /** Those that cannot be read. */
  readonly faults: readonly StartFailure[];
  readonly warnings: readonly string[];
}

/** Options of {@linkcode findReferences}. */
export interface FindReferencesOptions {
  readonly settings: Settings;
  readonly google: LazyGoogle | undefined;
  readonly deadlineMs?: number | undefined;
  readonly signal?: AbortSignal | undefined;
}

/**
 * The references of the source that KRUN_ENV_SOURCE names. What is none there stays as it is.
 *
 * @throws {KrunError} what asking the Cloud Run API throws
 */
export async function findReferences(outer: Surroundings, options: FindReferencesOptions): Promise<FoundReferences> {
  const { references: settings } = options.settings;
  if (settings.source === "process") {
    const found = parsed(outer.env, settings.variables);
    if (found.references.some(needsGoogle)) fetchToken(options);
    return { ...found, warnings: [] };
  }
  const env = await deployed(outer, options);
  const variables = Object.keys(env).sort().filter((name) => isReference(env[name]!) && mayResolve(name, settings));
  const untrusted = settings.variables.filter((name) => !variables.includes(name));
  const warnings = untrusted.map((name) =>
    `${printable(name)} is not resolved: it was not deployed with that value, says the Cloud Run API`
  );
  return { ...parsed(env, variables), warnings };
}

function needsGoogle({ object }: Reference): boolean {
  return object.system !== "kubernetes" || object.cluster.kind === "gke";
}

/** Beside the rest of the planning; whoever needs it gets it then, or learns why there is none. */
function fetchToken({ google, signal }: FindReferencesOptions): void {
  google?.cloud().then(({ account }) =>
    Promise.all([account.accessToken(DEFAULT_SCOPES, { signal }), account.email({ signal })])
  ).catch(() => {});
}

function parsed(env: Env, variables: readonly string[]): Pick<FoundReferences, "references" | "faults"> {
  const references: Reference[] = [];
  const faults: StartFailure[] = [];
  for (const variable of variables) {
    try {
      references.push(parseReference(variable, env[variable]!));
    } catch (error) {
      if (!(error instanceof KrunError)) throw error;
      faults.push({ error, askedBy: variable, isListed: true });
    }
  }
  return { references, faults };
}

async function deployed(
  outer: Surroundings,
  { settings: { platform }, google, deadlineMs, signal }: FindReferencesOptions,
): Promise<Env> {
  if (google === undefined) throw new TypeError("Cannot ask the Cloud Run API: nobody gives an account");
  const [{ cloudRunEnv }, { account, metadata }] = await Promise.all([
    import("../refs/cloud_run_env.ts"),
    google.cloud(),
  ]);
  // In the past nothing is tried again, but there is an answer to wait for.
  const limit = deadlineMs !== undefined && deadlineMs > Date.now() ? { deadlineMs } : {};
  return await cloudRunEnv({ platform, process: outer.env, account, metadata, signal, ...limit });
}

/** The Pod with its references. */
export function planReferences(
  planned: PlannedPod,
  { references, faults, warnings }: FoundReferences,
  { outer, settings, isSideProcess }: {
    readonly outer: Surroundings;
    readonly settings: Settings;
    readonly isSideProcess: boolean;
  },
): PlannedPod {
  const made = withReferences(planned, {
    ...{ references, faults, isSideProcess },
    cwd: outer.cwd,
    tempFolder: settings.references.tempFolder,
    runId: crypto.randomUUID().replaceAll("-", "").slice(0, 16),
    self: outer.self,
  });
  return { ...made, warnings: [...made.warnings, ...warnings] };
}

/** Options of {@linkcode openReferences}. */
export interface OpenReferencesOptions {
  readonly plan: Pick<Plan, "cluster" | "leftOut" | "identity" | "planned">;
  readonly settings: Settings;
  readonly google: LazyGoogle;
  readonly log: Logger;
  /** Takes what must be closed at the end. */
  readonly undo: AsyncDisposableStack;
}

/** Who resolves the references of a plan. */
export function openReferences(outer: Surroundings, options: OpenReferencesOptions): References {
  const { plan, settings, google, log, undo } = options;
  const { cluster: { kubeconfig, home, certFile } } = settings;
  const cloud = () => google.cloud();
  const clusters = undo.use(
    new OpenClusters({
      own: plan.cluster,
      noOwn: plan.leftOut?.reason,
      google: cloud,
      settings: settings.google,
      kubeconfig: kubeconfig ?? [join(home ?? "/", ".kube", "config")],
      ...{ log, files: anyFile, proxy: proxySettings(outer.env), pluginEnv: outer.env },
      roots: () => machineRoots(certFile),
    }),
  );
  const namespace = plan.identity.namespace.value;
  return new References({
    references: [...plan.planned.references?.bySecret.values() ?? []],
    namespace,
    log,
    canonical: (object) => clusters.canonical(object, namespace),
    reader: referenceReader({
      ...{ clusters, namespace, pollMs: settings.references.pollMs, clock: systemClock },
      account: async () => (await cloud()).account,
    }),
  });
}
