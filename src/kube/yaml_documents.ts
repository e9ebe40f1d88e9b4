/**
 * YAML text goes in, its documents come out, each with the lines its fields stand on. The package that reads YAML is loaded
 * at the first call, so that a start without a YAML file does not pay for it.
 *
 * A plain scalar means what it means to kubectl (`y`, `on`, `0o17` and `1_000` are no text, `12:30` and `2001-01-01` are):
 * see tests/testdata/vectors/yaml_documents. Stricter than kubectl: a key given twice and a tag outside the YAML standard's
 * core are faults, not guesses.
 *
 * @module
 */
import type * as jsYaml from "js-yaml";
import { type DocumentParser, type FieldPath, type SourceDocument, SourceFault } from "../core/source_document.ts";
import { loadPackage } from "./package.ts";

type Yaml = typeof jsYaml;

const UNKNOWN_TAG = "a tag that is not known (text that begins with ! needs quotes)";

/** Loads the YAML reader. Its faults never quote the text. @throws {KrunError} `PackageMissing` */
export async function loadYamlParser(): Promise<DocumentParser> {
  const yaml = await loadPackage("js-yaml", () => import("js-yaml"));
  const schema = kubectlSchema(yaml);
  return (text) => parseYamlDocuments(text, { yaml, schema });
}

interface Reader {
  readonly yaml: Yaml;
  readonly schema: jsYaml.Schema;
}

function parseYamlDocuments(source: string, { yaml, schema }: Reader): SourceDocument[] {
  try {
    const events = yaml.parseEvents(source, {});
    const values = yaml.constructFromEvents(events, { source, schema });
    const starts = [...events.keys()].filter((i) => events[i]!.type === yaml.EVENT_ID.DOCUMENT);
    return values.map((value, index) => ({
      value,
      lineOf: (path) => lineOf({ yaml, source, events }, starts[index]! + 1, path),
    }));
  } catch (error) {
    // Its documentation asks to catch every kind of error. Message and reason may hold a piece of the text: only the place is
    // kept as it is.
    const { reason = "", mark } = error as Partial<jsYaml.YAMLException>;
    const place = mark === undefined ? [] : [mark.line + 1, mark.column + 1];
    throw new SourceFault(ownWords(reason), ...place);
  }
}

/** Told for every reason of the package that begins so. */
const OWN_WORDS: readonly (readonly [beginning: string, words: string])[] = [
  ["unidentified alias", "an alias without its anchor (text that begins with * needs quotes)"],
  ["undeclared tag handle", UNKNOWN_TAG],
  ["unknown scalar tag", UNKNOWN_TAG],
  ["unknown sequence tag", UNKNOWN_TAG],
  ["unknown mapping tag", UNKNOWN_TAG],
  ["cannot resolve a node with", UNKNOWN_TAG],
  ["tag name", UNKNOWN_TAG],
  ["tag suffix", UNKNOWN_TAG],
  ["named tag handle", UNKNOWN_TAG],
  ["cannot merge mappings", "a merge (<<) of something that is no mapping"],
];

/** Reasons of the package that hold nothing of the text: told as they are. */
const FIXED_WORDS: ReadonlySet<string> = new Set([
  "a key is empty",
  "a line break is expected",
  "a whitespace character is expected after the key-value separator within a block mapping",
  "bad indentation of a mapping entry",
  "bad indentation of a sequence entry",
  "can not read a block mapping entry; a multiline key may not be an implicit key",
  "deficient indentation",
  "duplicated mapping key",
  "end of the stream or a document separator is expected",
  "expected ':' after a mapping key",
  "expected hexadecimal character",
  "expected the node content, but found ','",
  "missed comma between flow collection entries",
  "object-based map does not support complex keys",
  "tab characters must not be used in indentation",
  "the stream contains non-printable characters",
  "unexpected end of the document within a double quoted scalar",
  "unexpected end of the document within a single quoted scalar",
  "unexpected end of the stream within a double quoted scalar",
  "unexpected end of the stream within a flow collection",
  "unexpected end of the stream within a single quoted scalar",
  "unknown escape sequence",
]);

/** A value that begins with `*` or `!` stands in the package's reason: it may be a password. */
function ownWords(reason: string): string {
  if (FIXED_WORDS.has(reason)) return reason;
  return OWN_WORDS.find(([beginning]) => reason.startsWith(beginning))?.[1] ?? "it is not valid YAML";
}

/** The types of plain scalars as kubectl's reader, sigs.k8s.io/yaml, tells them apart (seen with kubectl 1.34.4). */
function kubectlSchema(yaml: Yaml): jsYaml.Schema {
  const number = (tag: string) =>
    yaml.defineScalarTag<number>(tag, {
      implicit: true,
      resolve: (source) => plainNumber(source) ?? yaml.NOT_RESOLVED,
      identify: (value) => typeof value === "number",
    });
  const map: typeof yaml.mapTag = {
    ...yaml.mapTag,
    addPair: (pairs, key, value) => key === null ? "a key is empty" : yaml.mapTag.addPair(pairs, key, value),
  };
  return yaml.FAILSAFE_SCHEMA.withTags(
    yaml.nullCoreTag,
    yaml.boolYaml11Tag,
    number(yaml.intCoreTag.tagName),
    number(yaml.floatCoreTag.tagName),
    yaml.mergeTag,
    map,
  );
}

const NUMBER =
  /^([-+]?)(0[xX][0-9a-fA-F]+|0[bB][01]+|0[oO][0-7]+|(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][-+]?[0-9]+)?)$/;
const NOT_FINITE = /^(?:[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN))$/;

/** `undefined` when the plain scalar is text. */
function plainNumber(source: string): number | undefined {
  if (NOT_FINITE.test(source)) return NaN;
  const [, sign, digits] = NUMBER.exec(source.startsWith("_") ? "" : source.replaceAll("_", "")) ?? [];
  if (digits === undefined) return undefined;
  // A leading zero is octal in YAML 1.1, which Number() does not know.
  const size = Number(/^0[0-7]+$/.test(digits) ? `0o${digits.slice(1)}` : digits);
  if (!Number.isFinite(size)) return undefined;
  return sign === "-" ? -size : size;
}

interface Parsed {
  readonly yaml: Yaml;
  readonly source: string;
  readonly events: readonly jsYaml.Event[];
}

function lineOf(parsed: Parsed, root: number, path: FieldPath): number | undefined {
  let at: number | undefined = root;
  let nearest = root;
  for (const step of path) {
    at = at === undefined ? undefined : childAt(parsed, at, step);
    if (at === undefined) break;
    nearest = at;
    // The key's line is what a person looks for; the value may begin further down.
    if (typeof step === "string") at = at + 1;
  }
  const offset = offsetOf(parsed.events[nearest]);
  return offset === undefined ? undefined : parsed.source.slice(0, offset).split(/\r\n|\r|\n/).length;
}

/** Index of a mapping's key or of a list's item; `undefined` when it is not written there (an alias, a merged key). */
function childAt({ yaml, source, events }: Parsed, parent: number, step: string | number): number | undefined {
  const { MAPPING, SEQUENCE, SCALAR, POP } = yaml.EVENT_ID;
  const kind = events[parent]?.type;
  if (kind !== MAPPING && kind !== SEQUENCE) return undefined;
  let position = 0;
  for (let i = parent + 1; events[i] !== undefined && events[i]!.type !== POP; position++) {
    const event = events[i]!;
    if (kind === SEQUENCE && position === step) return i;
    if (kind === MAPPING && event.type === SCALAR && yaml.getScalarValue(source, event) === step) return i;
    i = endOfNode(yaml, events, i);
    if (kind === MAPPING) i = endOfNode(yaml, events, i);
  }
  return undefined;
}

/** Index after a node with everything in it. */
function endOfNode({ EVENT_ID }: Yaml, events: readonly jsYaml.Event[], start: number): number {
  let depth = 0;
  let i = start;
  do {
    const type = events[i++]?.type;
    if (type === EVENT_ID.MAPPING || type === EVENT_ID.SEQUENCE) depth++;
    if (type === EVENT_ID.POP) depth--;
  } while (depth > 0 && i < events.length);
  return i;
}

function offsetOf(event: jsYaml.Event | undefined): number | undefined {
  if (event === undefined) return undefined;
  if ("start" in event) return event.start;
  if ("valueStart" in event && event.valueStart >= 0) return event.valueStart;
  if ("anchorStart" in event && event.anchorStart >= 0) return event.anchorStart;
  return undefined;
}
