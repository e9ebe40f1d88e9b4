/**
 * Texts that describe a mesh: YAML or JSON of Istio's, environment files, or what MESH names. In: text, a URL. Out: data.
 *
 * @module
 */
import { KrunError } from "../core/errors.ts";
import { meshEnvOfDocument, meshEnvOfLines } from "../core/mesh_env.ts";
import type { MeshFound } from "../core/mesh.ts";
import { type DocumentParser, parseJsonDocuments, SourceFault } from "../core/source_document.ts";
import { loadYamlParser } from "../kube/yaml_documents.ts";

/** The first document of a YAML or JSON text. @throws {KrunError} `MeshUnknown`, which quotes nothing of it; `PackageMissing` */
export async function parseText(text: string, where: string): Promise<unknown> {
  const parse: DocumentParser = /^\s*\{/.test(text) ? parseJsonDocuments : await loadYamlParser();
  try {
    return parse(text)[0]?.value;
  } catch (cause) {
    if (!(cause instanceof SourceFault)) throw cause;
    const state = [cause.place, cause.reason].filter((part) => part !== "").join(", ");
    throw new KrunError(
      "MeshUnknown",
      `Cannot read ${where}: ${state}`,
      "correct it; XDS_ADDR=- starts without a mesh",
    );
  }
}

/** Options of {@linkcode readDescription}. */
export interface ReadDescriptionOptions {
  /** CAs that verify a server. */
  roots(): Promise<readonly string[]>;
  readonly signal: AbortSignal;
}

/** How long a server may take to describe a mesh, milliseconds. */
const ANSWER_MS = 10_000;

/**
 * The values that MESH names. Needs `--allow-read` for a file, `--allow-net` for a server.
 *
 * @throws {KrunError} `MeshUnknown`
 */
export async function readDescription(url: URL, options: ReadDescriptionOptions): Promise<MeshFound["description"]> {
  const where = `MESH=${withoutKeys(url)}`;
  const text = await read(url, options).catch((cause) => {
    options.signal.throwIfAborted();
    const state = cause instanceof Error ? cause.message : String(cause);
    throw unreadable(where, state.replaceAll(url.href, withoutKeys(url)));
  });
  const values = meshEnvOfLines(text) ?? meshEnvOfDocument(await parseText(text, where));
  return { values, where };
}

async function read(url: URL, { roots, signal }: ReadDescriptionOptions): Promise<string> {
  if (url.protocol === "file:") return await Deno.readTextFile(url);
  using client = Deno.createHttpClient({ caCerts: [...await roots()] });
  const limit = AbortSignal.any([signal, AbortSignal.timeout(ANSWER_MS)]);
  const response = await fetch(url, { client, signal: limit, headers: { "user-agent": "krun" } });
  const text = await response.text();
  if (!response.ok) throw new Error(`the answer is ${response.status}`);
  return text;
}

/** A URL for a person to read: a query may be a signature that lets everybody in, as a password does. */
function withoutKeys(url: URL): string {
  return url.protocol === "file:" ? url.href : url.origin + url.pathname;
}

function unreadable(where: string, state: string): KrunError {
  return new KrunError(
    "MeshUnknown",
    `Cannot read ${where}: ${state}`,
    "correct MESH, or what it names; XDS_ADDR=- starts without a mesh",
  );
}
