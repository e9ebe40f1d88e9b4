/**
 * One cluster, context and user put into the text of a kubeconfig, all the rest of which stays as it is, byte for byte: comments,
 * order, and what krun knows nothing of. In: the text. Out: the new text.
 *
 * In block style, an entry is found by its lines; in JSON by its brackets. What is written in any other way is refused, and so is
 * whatever does not read as it should afterwards.
 *
 * @module
 */
import { isDeepStrictEqual } from "./deep_equal.ts";
import { jsonArrays } from "./json_spans.ts";
import { type Plain, yamlText } from "./yaml_text.ts";

/** The three entries of one name. */
export interface KubeconfigEntry {
  readonly name: string;
  readonly cluster: Plain;
  readonly context: Readonly<Record<string, string>>;
  readonly user: Plain;
  /** A context of that name keeps the namespace that it has: nobody has named another one. @default {false} */
  readonly keepsNamespace?: boolean;
}

/** Reads a text as one YAML document; throws what it likes. */
export type ParseYaml = (text: string) => unknown;

/** The lists of a kubeconfig, and what an entry of each is called. */
const LISTS = [["clusters", "cluster"], ["contexts", "context"], ["users", "user"]] as const;

type ListName = (typeof LISTS)[number][0];

/**
 * The text with the entry in it: in the place of one of the same name, else last in its list. `current-context` is not touched.
 *
 * @returns a text in one clause why that cannot be done, in place of the new text
 */
export function mergeKubeconfigText(
  text: string,
  entry: KubeconfigEntry,
  parse: ParseYaml,
): { readonly text: string } | string {
  const before = documentOf(text, parse);
  if (typeof before === "string") return before;
  return mergedText(text, { before, parse, entry: withNamespace(before, entry) });
}

interface Merge {
  readonly before: Document;
  readonly parse: ParseYaml;
  readonly entry: KubeconfigEntry;
}

function mergedText(text: string, { before, parse, entry }: Merge): { readonly text: string } | string {
  let merged = text;
  for (const [list, kind] of LISTS) {
    const item = { name: entry.name, [kind]: entry[kind] };
    const next = /^\s*\{/.test(merged) ? intoJson(merged, { list, item }) : intoBlock(merged, { list, item, parse });
    if (next === undefined) return `its "${list}" are written in a way that krun cannot add to`;
    merged = next;
  }
  const after = documentOf(merged, parse);
  const wanted = typeof after === "string" ? undefined : withEntry(before, entry);
  return isDeepStrictEqual(after, wanted) ? { text: merged } : "it is written in a way that krun cannot add to";
}

type Document = Readonly<Record<string, unknown>>;

/** A kubeconfig's document; else why it is none. */
function documentOf(text: string, parse: ParseYaml): Document | string {
  let document: unknown;
  try {
    document = parse(text);
  } catch {
    return "it cannot be read";
  }
  if (typeof document !== "object" || document === null || Array.isArray(document)) return "it is no kubeconfig";
  const fields = document as Document;
  return (fields.kind ?? "Config") === "Config" ? fields : "it is no kubeconfig";
}

/** The entry with the namespace that the file's own context has, where that stays. */
function withNamespace(before: Document, entry: KubeconfigEntry): KubeconfigEntry {
  const contexts = Array.isArray(before.contexts) ? before.contexts : [];
  const namespace = contexts.find((one) => one?.name === entry.name)?.context?.namespace;
  const keeps = entry.keepsNamespace === true && typeof namespace === "string";
  return keeps ? { ...entry, context: { ...entry.context, namespace } } : entry;
}

function withEntry(before: Document, entry: KubeconfigEntry): Document {
  const lists = LISTS.map(([list, kind]) => {
    const item = { name: entry.name, [kind]: entry[kind] };
    const items = (before[list] ?? []) as { name?: unknown }[];
    const at = items.findIndex(({ name }) => name === entry.name);
    return [list, at === -1 ? [...items, item] : items.with(at, item)] as const;
  });
  return { ...before, ...Object.fromEntries(lists) };
}

interface NewItem {
  readonly list: ListName;
  readonly item: Plain & { readonly name?: unknown };
}

function intoJson(text: string, { list, item }: NewItem): string | undefined {
  const array = jsonArrays(text).get(list);
  const json = JSON.stringify(item);
  if (array === undefined) {
    const open = text.indexOf("{") + 1;
    const isEmpty = /^\s*\}/.test(text.slice(open));
    return `${text.slice(0, open)}${JSON.stringify(list)}:[${json}]${isEmpty ? "" : ","}${text.slice(open)}`;
  }
  if (text.slice(array.start, array.end) === "null") {
    return `${text.slice(0, array.start)}[${json}]${text.slice(array.end)}`;
  }
  if (array.elements === undefined) return undefined;
  const same = array.elements.find(({ start, end }) => JSON.parse(text.slice(start, end))?.name === item.name);
  if (same) return text.slice(0, same.start) + json + text.slice(same.end);
  const last = array.elements.at(-1);
  const at = last?.end ?? array.start + 1;
  return `${text.slice(0, at)}${last ? "," : ""}${json}${text.slice(at)}`;
}

/** A list in block style: where its key stands, and its items. */
interface Block {
  /** Line of the key. */
  readonly key: number;
  readonly indent: number;
  /** First line, and the line after the last one, of each. */
  readonly items: readonly { readonly from: number; readonly to: number }[];
}

function intoBlock(text: string, { list, item, parse }: NewItem & { parse: ParseYaml }): string | undefined {
  const lines = text.split(/(?<=\n)/);
  const newline = text.includes("\r\n") ? "\r\n" : "\n";
  const put = (indent: number) => yamlText([item], indent).replaceAll("\n", newline);
  const head = lines.findIndex((line) => new RegExp(`^(?:${list}|"${list}"|'${list}')\\s*:(?:\\s|$)`).test(line));
  if (head === -1) {
    // At the end, unless the document ends before the file does.
    if (lines.some((line, index) => /^(---|\.\.\.)(\s|$)/.test(line) && index > 0)) return undefined;
    const end = text === "" || text.endsWith("\n") ? "" : newline;
    return `${text}${end}${list}:${newline}${put(0)}`;
  }
  // What stands before a comment.
  const [, value = ""] = /^[^:]*:\s*([^#]*?)\s*(?:#.*)?$/.exec(lines[head]!.trimEnd()) ?? [];
  if (value !== "" && !["[]", "null", "~"].includes(value)) return undefined;
  const block = blockAt(lines, head);
  if (value !== "" || block.items.length === 0) {
    const key = value === "" ? lines[head]! : lines[head]!.replace(/(:\s*?)[ \t]*(?:\[\]|null|~)/, "$1");
    return spliced(lines, { from: head, to: head + 1, text: `${key.replace(/\r?\n?$/, newline)}${put(0)}` });
  }
  const same = block.items.find(({ from, to }) => nameOf(lines.slice(from, to).join(""), parse) === item.name);
  if (same) return spliced(lines, { ...same, text: put(block.indent) });
  const { to } = block.items.at(-1)!;
  const end = lines[to - 1]!.endsWith("\n") ? "" : newline;
  return spliced(lines, { from: to, to, text: `${end}${put(block.indent)}` });
}

function blockAt(lines: readonly string[], key: number): Block {
  const indentOf = (line: string) => /^ */.exec(line)![0].length;
  const isBlank = (line: string) => /^\s*(#.*)?\s*$/.test(line);
  const items: { from: number; to: number }[] = [];
  let indent = 0;
  for (let at = key + 1; at < lines.length; at++) {
    const line = lines[at]!;
    const isInside = items.length > 0 && indentOf(line) > indent;
    // A comment at the edge belongs to what comes next; one that stands further in may be a line of a text.
    if (isBlank(line) && !(isInside && line.trim() !== "")) continue;
    if (/^ *-(\s|$)/.test(line) && (items.length === 0 || indentOf(line) === indent)) {
      if (items.length === 0) indent = indentOf(line);
      items.push({ from: at, to: at + 1 });
    } else if (isInside) items.at(-1)!.to = at + 1;
    else break;
  }
  return { key, indent, items };
}

function nameOf(text: string, parse: ParseYaml): unknown {
  try {
    return (parse(text) as { name?: unknown }[])[0]?.name;
  } catch {
    return undefined;
  }
}

function spliced(lines: readonly string[], { from, to, text }: { from: number; to: number; text: string }): string {
  return lines.slice(0, from).join("") + text + lines.slice(to).join("");
}
