/**
 * `krun --kubeconfig` and the credential plugin that it names. In: settings. Out: a kubeconfig for kubectl, on standard output or in a
 * file; a token.
 *
 * @module
 */
import { KrunError } from "../core/errors.ts";
import { execCredential, googleKubeconfig, wholeKubeconfig } from "../core/google_kubeconfig.ts";
import { workloadIdentity } from "../core/identity.ts";
import type { KubeconfigEntry } from "../core/kubeconfig_merge.ts";
import { join, resolve } from "../core/posix_path.ts";
import type { Logger } from "../core/log.ts";
import { STATE_FOLDER } from "../core/mount_path.ts";
import { parseSettings, type Settings } from "../core/settings.ts";
import { yamlText } from "../core/yaml_text.ts";
import { writeKubeconfig } from "./kubeconfig_file.ts";
import { LazyGoogle } from "./lazy_google.ts";
import { createLogger } from "./logger.ts";
import { print } from "./output.ts";
import type { Surroundings } from "./surroundings.ts";

/** Variables by which the plugin finds its account again, from whatever shell kubectl starts it. */
const PLUGIN_ENV = ["GOOGLE_APPLICATION_CREDENTIALS", "GCE_METADATA_HOST"] as const;

/** Variables that the plugin obeys: nothing of krun's settings is about it. */
const PLUGIN_READS = [...PLUGIN_ENV, "SSL_CERT_FILE", "HTTPS_PROXY", "https_proxy", "NO_PROXY", "no_proxy"] as const;

/**
 * Prints a kubeconfig of the cluster that a start would find on Google Cloud, or puts its context into a file.
 *
 * @throws {KrunError} `ClusterNotFound` and what looking for it throws; `KubeconfigUnwritable`
 */
export async function kubeconfigCommand(outer: Surroundings, file: string | undefined): Promise<number> {
  const settings = parseSettings(outer.env);
  const { logLevel: level, logFormat: format } = settings;
  const log = createLogger({ level, format, write: outer.writeError });
  const entry = await findEntry(outer, { settings: { ...settings, clusterAskedBy: ["--kubeconfig"] }, log });
  if (file === undefined) return print(outer, yamlText(wholeKubeconfig(entry))), 0;
  const path = resolve(outer.cwd, file);
  await writeKubeconfig(path, entry);
  log.info("kubeconfig written", { file: path, context: entry.name });
  return 0;
}

/** Prints a token of krun's own account, as kubectl wants it of a plugin. @throws {KrunError} as `GoogleAccount.accessToken` */
export async function execCredentialCommand(outer: Surroundings): Promise<number> {
  const env = Object.fromEntries(PLUGIN_READS.flatMap((name) => name in outer.env ? [[name, outer.env[name]!]] : []));
  const settings = parseSettings(env);
  const log = createLogger({ level: "warn", format: "text", write: outer.writeError });
  await using google = new LazyGoogle({ ...outer, env }, { settings, log, deadlineMs: Date.now() + 10_000 });
  const { token, expiresAtMs } = await (await google.cloud()).account.accessToken();
  print(outer, execCredential(token, expiresAtMs));
  return 0;
}

async function findEntry(
  outer: Surroundings,
  { settings, log }: { settings: Settings; log: Logger },
): Promise<KubeconfigEntry> {
  const deadlineMs = settings.startTimeoutMs === 0 ? 0 : Date.now() + settings.startTimeoutMs;
  await using google = new LazyGoogle(outer, { settings, log, deadlineMs });
  const base = settings.baseDir ?? (outer.self.uid === 0 ? "/" : outer.cwd);
  // kubectl needs no namespace.
  const search = google.search(join(resolve(outer.cwd, base), STATE_FOLDER), { needsNamespace: false });
  if (search === undefined) {
    throw notMade("KUBECONFIG, KRUN_CONTEXT or KRUN_MANIFESTS names another cluster", "unset it");
  }
  const found = await search.find({});
  if (typeof found === "string") {
    const hint = settings.google.off
      ? "unset CLUSTER_NAME"
      : "set GOOGLE_APPLICATION_CREDENTIALS, PROJECT_ID and CLUSTER_LOCATION";
    throw notMade(found, hint);
  }
  await found.opened?.transport[Symbol.asyncDispose]();
  const { config } = found;
  const env = PLUGIN_ENV.flatMap((name) => {
    const value = outer.env[name];
    if (value === undefined || value === "") return [];
    return [[name, name === "GOOGLE_APPLICATION_CREDENTIALS" ? resolve(outer.cwd, value) : value]];
  });
  const { workload, podFile } = settings;
  const isNamed = [workload.namespace, workload.service, podFile].some((name) => name !== undefined);
  const entry = googleKubeconfig(config, {
    command: outer.command ?? ["krun"],
    env: Object.fromEntries(env),
    namespace: namespaceOf(settings, config.source),
  });
  return { ...entry, keepsNamespace: !isNamed };
}

function notMade(state: string, hint: string): KrunError {
  const message = `Cannot make a kubeconfig: no cluster is found on Google Cloud: ${state}`;
  return new KrunError("ClusterNotFound", message, hint);
}

/** The workload's, where it is known: kubectl takes `default` otherwise. */
function namespaceOf(
  { workload }: Settings,
  source: Parameters<typeof workloadIdentity>[1]["source"],
): string | undefined {
  try {
    return workloadIdentity(workload, { source }).namespace.value;
  } catch (error) {
    if (error instanceof KrunError && error.code === "NamespaceUnknown") return undefined;
    throw error;
  }
}
