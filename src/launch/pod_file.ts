/**
 * The manifest that KRUN_POD names. In: its path. Out: the Pod, checked.
 *
 * @module
 */
import { KrunError } from "../core/errors.ts";
import type { FileReader } from "../core/file_reader.ts";
import { parsePodManifest, type PodManifest } from "../core/pod_manifest.ts";
import { parseJsonDocuments, type SourceDocument, SourceFault } from "../core/source_document.ts";
import { readFailure } from "../kube/deno_files.ts";
import { loadYamlParser } from "../kube/yaml_documents.ts";

/**
 * Reads a Pod, from YAML or JSON. The YAML reader is loaded for what is no JSON.
 *
 * @throws {KrunError} `PodInvalid`, with line and column where the text is neither.
 */
export async function readPodFile(path: string, files: FileReader): Promise<PodManifest> {
  const cannot = `Cannot read the Pod of KRUN_POD "${path}"`;
  const invalid = (state: string, cause?: unknown) =>
    new KrunError("PodInvalid", `${cannot}: ${state}`, "correct the file", { cause });
  let text: string;
  try {
    text = await files.text(path);
  } catch (cause) {
    throw new KrunError("PodInvalid", `${cannot}: ${readFailure(cause)}`, "give KRUN_POD a file that krun may read", {
      cause,
    });
  }
  let documents: SourceDocument[];
  try {
    documents = await documentsIn(text);
  } catch (cause) {
    if (!(cause instanceof SourceFault)) throw cause;
    const { place, reason } = cause;
    throw invalid(`${place && `${place}: `}${reason}`, cause);
  }
  if (documents.length !== 1) throw invalid(`it holds ${documents.length} documents, not one Pod`);
  return parsePodManifest(documents[0]!.value, path);
}

async function documentsIn(text: string): Promise<SourceDocument[]> {
  if (/^\s*\{/.test(text)) {
    try {
      return parseJsonDocuments(text);
    } catch (error) {
      // `{a: b}` is YAML alone; and for what is neither, YAML's fault is as good.
      if (!(error instanceof SourceFault)) throw error;
    }
  }
  return (await loadYamlParser())(text);
}
