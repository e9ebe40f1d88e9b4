/**
 * One field of a manifest with its place, so that whoever reads it can say where a fault lies. Plain data of a parsed file
 * goes in, typed values come out, or a `ManifestInvalid` that names file, document, line and field.
 *
 * @module
 */
import { KrunError } from "./errors.ts";
import type { FieldPath, SourceDocument } from "./source_document.ts";

/** Which document a field belongs to. */
export interface ManifestPlace {
  /** The file as a person would name it. */
  readonly file: string;
  /** Position of the document in its file, from 1. */
  readonly document: number;
  readonly source: SourceDocument;
}

/** A field of a manifest, present or not. Reading it never changes it. */
export class ManifestField {
  constructor(
    readonly value: unknown,
    readonly place: ManifestPlace,
    readonly path: FieldPath = [],
  ) {}

  /** True for a field that is not written, or written without a value: the API takes both for absent. */
  get isAbsent(): boolean {
    return this.value === undefined || this.value === null;
  }

  /** Where it stands: `"k8s/db.yaml" document 2 line 7`. */
  get where(): string {
    const { file, document, source } = this.place;
    const line = source.lineOf(this.path);
    return `"${file}" document ${document}${line === undefined ? "" : ` line ${line}`}`;
  }

  /** The error that names this field's place. `state` must not quote a value: it may be a Secret's. */
  fault(state: string, hint: string): KrunError {
    const name = fieldName(this.path);
    return new KrunError(
      "ManifestInvalid",
      `Cannot read manifest ${this.where}: ${name === "" ? "the object" : name} ${state}`,
      hint,
    );
  }

  /** A field of this object; absent when this field is. @throws {KrunError} `ManifestInvalid` when this is no object. */
  get(name: string): ManifestField {
    const fields = this.object();
    return this.#child(name, Object.hasOwn(fields, name) ? fields[name] : undefined);
  }

  /** The fields of this object; none when absent. @throws {KrunError} `ManifestInvalid` when it is no object. */
  entries(): [string, ManifestField][] {
    return Object.entries(this.object()).map(([name, value]) => [name, this.#child(name, value)]);
  }

  /** The items of this list; none when absent. @throws {KrunError} `ManifestInvalid` when it is no list. */
  items(): ManifestField[] {
    if (this.isAbsent) return [];
    if (!Array.isArray(this.value)) throw this.fault(`is ${typeName(this.value)}, not a list`, "write a list");
    return this.value.map((item, index) => this.#child(index, item));
  }

  /** Its text; `undefined` when absent. @throws {KrunError} `ManifestInvalid` when it is anything else. */
  text(): string | undefined {
    if (this.isAbsent) return undefined;
    if (typeof this.value === "string") return this.value;
    throw this.fault(`is ${typeName(this.value)}, not text`, "put the value in quotes");
  }

  /** Its truth value; `undefined` when absent. @throws {KrunError} `ManifestInvalid` when it is anything else. */
  flag(): boolean | undefined {
    if (this.isAbsent) return undefined;
    if (typeof this.value === "boolean") return this.value;
    throw this.fault(`is ${typeName(this.value)}, not a boolean`, "write true or false, without quotes");
  }

  /** Its whole number; `undefined` when absent. @throws {KrunError} `ManifestInvalid` when it is anything else. */
  integer(): number | undefined {
    if (this.isAbsent) return undefined;
    if (Number.isInteger(this.value)) return this.value as number;
    throw this.fault(`is ${typeName(this.value)}, not a whole number`, "write a whole number, without quotes");
  }

  /** Its fields' texts, sorted by name as the API gives them; a field without a value is the empty text. @throws as `text`. */
  texts(): [string, string][] {
    return this.entries().map(([name, field]): [string, string] => [name, field.text() ?? ""]).sort(byName);
  }

  /** @throws {KrunError} `ManifestInvalid` when it is no object. */
  object(): Readonly<Record<string, unknown>> {
    if (this.isAbsent) return {};
    if (typeof this.value === "object" && !Array.isArray(this.value)) return this.value as Record<string, unknown>;
    throw this.fault(`is ${typeName(this.value)}, not an object`, "write it as a mapping of names to values");
  }

  #child(step: string | number, value: unknown): ManifestField {
    return new ManifestField(value, this.place, [...this.path, step]);
  }
}

function byName([a]: [string, string], [b]: [string, string]): number {
  return a < b ? -1 : a > b ? 1 : 0;
}

function typeName(value: unknown): string {
  if (Array.isArray(value)) return "a list";
  switch (typeof value) {
    case "object":
      return "an object";
    case "string":
      return "text";
    case "number":
      return "a number";
    default:
      return `a ${typeof value}`;
  }
}

/** `items[2].data["tls.crt"]`. */
function fieldName(path: FieldPath): string {
  return path.map((step, index) => {
    if (typeof step === "number") return `[${step}]`;
    if (!/^[\w-]+$/.test(step)) return `[${JSON.stringify(step)}]`;
    return index === 0 ? step : `.${step}`;
  }).join("");
}
