/**
 * What `--check` found, and its text for a person. In: the report. Out: a table. It holds names, never contents.
 *
 * @module
 */
import type { ObjectKind } from "../core/cluster.ts";

/** A value and why it is so. */
export interface Finding {
  readonly what: string;
  readonly value: string;
  readonly because: string;
}

/** An object that would be mounted or read. */
export interface CheckedObject {
  readonly kind: ObjectKind;
  readonly name: string;
  readonly askedBy: string;
  /** Final paths; empty for one that only an environment refers to. */
  readonly paths: readonly string[];
  readonly found: boolean;
  readonly keys: readonly string[];
  /** Whether krun's identity may get and watch it, in the API server's words. */
  readonly access: string;
  /** krun's identity may not read it. */
  readonly forbidden?: boolean;
  /** Why it could not be read. One that does not exist is told in the report's `problems`, unless it is optional. */
  readonly problem?: string;
}

/** A token that would be mounted. */
export interface CheckedToken {
  readonly serviceAccount: string;
  readonly audience: string;
  readonly askedBy: string;
  readonly paths: readonly string[];
  readonly claims: Readonly<Record<string, unknown>>;
  readonly secondsLeft?: number;
  readonly problem?: string;
}

/** A variable that is a reference. It holds no value. */
export interface CheckedReference {
  readonly variable: string;
  /** What it names. */
  readonly object: string;
  /** `environment`, or the path of its file; that of a temporary file is another one at each start. */
  readonly to: string;
  /** `yes`, `default`, `not set` (it is optional), or `no`. */
  readonly resolves: "yes" | "default" | "not set" | "no";
  /** Why it does not. */
  readonly problem?: string;
}

/** Everything `--check` found. */
export interface CheckReport {
  readonly ok: boolean;
  /** A start would succeed; without `ok` the program would then lack what a setting asks for. */
  readonly starts: boolean;
  readonly findings: readonly Finding[];
  readonly objects: readonly CheckedObject[];
  readonly tokens: readonly CheckedToken[];
  readonly references: readonly CheckedReference[];
  /** Why a start would fail, each with what to do about it. */
  readonly problems: readonly string[];
  /** YAML to apply: the Role and RoleBinding that would end a 403, what the mesh lacks. */
  readonly details: readonly string[];
  readonly warnings: readonly string[];
}

/** Rows as columns of equal width, two spaces apart. */
function table(rows: readonly (readonly string[])[]): string[] {
  const widths = (rows[0] ?? []).map((_, column) => Math.max(...rows.map((row) => (row[column] ?? "").length)));
  return rows.map((row) => `  ${row.map((cell, i) => cell.padEnd(widths[i] ?? 0)).join("  ")}`.trimEnd());
}

function section(title: string, rows: readonly (readonly string[])[]): string[] {
  return rows.length === 0 ? [] : [title, ...table(rows), ""];
}

/** What could not be read may exist. */
function keysCell({ found, keys, forbidden, problem }: CheckedObject): string {
  if (found) return keys.join(",") || "no keys";
  return forbidden ? "may not be read" : problem === undefined ? "missing" : "not read";
}

function objectRow(object: CheckedObject): string[] {
  return [
    `${object.kind}/${object.name}`,
    object.paths.join(" ") || "environment",
    keysCell(object),
    object.access,
    object.askedBy,
  ];
}

/** Claims that say what a token is good for; the rest is in the JSON report. */
function tokenRow({ serviceAccount, audience, claims, paths, secondsLeft, askedBy }: CheckedToken): string[] {
  const aud = Array.isArray(claims["aud"]) ? claims["aud"].join(",") : audience;
  const left = secondsLeft === undefined ? "none" : `${secondsLeft} s left`;
  return [
    String(claims["sub"] ?? serviceAccount),
    `aud ${aud || "the API server's own"}`,
    paths.join(" "),
    left,
    askedBy,
  ];
}

const LACKS = "the program would start, and lack what a setting asks for";

/** The report for a person at a terminal; ends with one line that says whether a start would succeed. */
export function checkText(report: CheckReport): string {
  return [
    ...section("DETECTED", report.findings.map(({ what, value, because }) => [what, value, because])),
    ...section("OBJECTS", report.objects.map(objectRow)),
    ...section("TOKENS", report.tokens.map(tokenRow)),
    ...section(
      "REFERENCES",
      report.references.map(({ variable, object, to, resolves }) => [variable, object, to, `resolves: ${resolves}`]),
    ),
    ...section("WARNINGS", report.warnings.map((warning) => [warning])),
    ...section("PROBLEMS", report.problems.map((problem) => [problem])),
    // Not indented: a Role is to be applied as it is printed.
    ...report.details.flatMap((text) => [text.trimEnd(), ""]),
    report.ok ? "ok: a start would succeed" : `not ok: ${report.starts ? LACKS : "a start would fail"}`,
    "",
  ].join("\n");
}
