/**
 * Reads kubeconfig files. In: their paths, in the order of KUBECONFIG. Out: the cluster and user of one context.
 *
 * @module
 */
import type { ClusterConfig } from "../core/cluster_config.ts";
import { KrunError } from "../core/errors.ts";
import { type KubeconfigDocument, mergeKubeconfigs, selectContext } from "../core/kubeconfig.ts";
import type { FileReader } from "../core/file_reader.ts";
import { resolve } from "../core/posix_path.ts";
import { SourceFault } from "../core/source_document.ts";
import { denoFiles, readFailure } from "./deno_files.ts";
import { loadYamlParser } from "./yaml_documents.ts";

/** Options of {@linkcode loadKubeconfig}. */
export interface LoadKubeconfigOptions {
  /** Name of a context. @default {the `current-context`} */
  readonly context?: string | undefined;
  /** @default {Deno's} */
  readonly files?: FileReader | undefined;
}

/**
 * Reads and merges kubeconfig files by kubectl's rules and chooses a context. A file that does not exist is passed over, as
 * kubectl does, unless none exists. For YAML that is not JSON, a reader is loaded.
 *
 * Needs `--allow-read` for the files. What they name (certificates, token files) is not read here.
 *
 * @throws {KrunError} `KubeconfigInvalid` naming file, context and user.
 */
export async function loadKubeconfig(
  paths: readonly string[],
  { context, files = denoFiles }: LoadKubeconfigOptions = {},
): Promise<ClusterConfig> {
  const documents: KubeconfigDocument[] = [];
  for (const path of paths) {
    const file = resolve(Deno.cwd(), path);
    const text = await readIfThere(file, files);
    if (text !== undefined) documents.push({ file, document: await parse(file, text) });
  }
  if (documents.length > 0) return selectContext(mergeKubeconfigs(documents), context);
  const message = `Cannot read kubeconfig "${paths.join(":")}": no such file`;
  throw new KrunError("KubeconfigInvalid", message, "set KUBECONFIG to a file that exists, or unset it");
}

async function readIfThere(file: string, files: FileReader): Promise<string | undefined> {
  try {
    return await files.text(file);
  } catch (cause) {
    if (cause instanceof Deno.errors.NotFound) return undefined;
    const state = readFailure(cause);
    throw new KrunError("KubeconfigInvalid", `Cannot read kubeconfig "${file}": ${state}`, "make it readable", {
      cause,
    });
  }
}

async function parse(file: string, text: string): Promise<unknown> {
  try {
    // JSON is YAML, so this only spares loading the reader.
    if (text.trimStart().startsWith("{")) return JSON.parse(text);
  } catch {
    // `{a: b}` is YAML alone.
  }
  const parseYaml = await loadYamlParser();
  try {
    return parseYaml(text)[0]?.value;
  } catch (error) {
    if (!(error instanceof SourceFault)) throw error;
    const { place, reason } = error;
    const message = `Cannot read kubeconfig "${file}"${place && ` ${place}`}: ${reason}`;
    throw new KrunError("KubeconfigInvalid", message, "correct that file");
  }
}
