/**
 * The value of a reference. In: the reference and the object that was found. Out: bytes, `undefined` where the variable is not to be
 * set, or an error that quotes nothing of the value.
 *
 * @module
 */
import type { V1ConfigMap } from "@kubernetes/client-node";
import type { WatchedObject } from "./cluster.ts";
import { KrunError } from "./errors.ts";
import { jsonField } from "./json_field.ts";
import { lacksKey } from "./missing_key.ts";
import { type Reference, referenceText } from "./reference.ts";
import { printable } from "./setting_invalid.ts";

/** What stands where a reference points. */
export type FoundObject =
  /** A Secret or ConfigMap. */
  | { readonly kind: "object"; readonly object: WatchedObject }
  /** The content of a secret. */
  | { readonly kind: "bytes"; readonly bytes: Uint8Array };

/** Options of {@linkcode referenceValue}. */
export interface ReferenceValueOptions {
  /** The workload's. */
  readonly namespace: string;
}

const encoder = new TextEncoder();
const decoder = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

/** What becomes of a variable. */
export interface ReferenceValue {
  /** `undefined`: there is none, and the reference is optional. */
  readonly value: Uint8Array | undefined;
  /** It is the object's, and no default. */
  readonly isThere: boolean;
}

/**
 * The value of a reference.
 *
 * @throws {KrunError} `ObjectNotFound`, `KeyNotFound` where there is none; `ReferenceUnusable` where it is not what was asked for.
 */
export function referenceValue(
  reference: Reference,
  found: FoundObject | undefined,
  options: ReferenceValueOptions,
): ReferenceValue {
  const value = chosen(reference, found, options);
  if (value instanceof KrunError) {
    if (reference.default !== undefined) return { value: encoder.encode(reference.default), isThere: false };
    if (reference.optional) return { value: undefined, isThere: false };
    throw value;
  }
  if (!reference.destination) checkVariable(reference, value, options);
  return { value, isThere: true };
}

/** The bytes that are meant, or why there are none. */
function chosen(
  reference: Reference,
  found: FoundObject | undefined,
  { namespace }: ReferenceValueOptions,
): Uint8Array | KrunError {
  const missing = (code: "ObjectNotFound" | "KeyNotFound", state: string, hint: string) =>
    new KrunError(code, `${opening(reference)}: ${referenceText(reference.object, namespace)} ${state}`, hint);
  if (found === undefined) {
    return missing(
      "ObjectNotFound",
      "does not exist",
      "create it, correct the name, or add ?optional=true or ?default=",
    );
  }
  const whole = found.kind === "bytes" ? found.bytes : keyOf(found.object, reference, namespace);
  if (whole === undefined) {
    const keys = found.kind === "object" ? keysOf(found.object) : [];
    const key = reference.object.system === "kubernetes" ? reference.object.key : "";
    const hint = "add the key, correct its name, or add ?optional=true or ?default=";
    return missing("KeyNotFound", lacksKey(printable(key), keys), hint);
  }
  if (!reference.json) return whole;
  const field = fieldOf(whole, reference, namespace);
  if (field?.isWellFormed() === false) {
    throw unusable(reference, namespace, "that field holds half of a character, which is no text", "correct the value");
  }
  if (field !== undefined) return encoder.encode(field);
  const hint = "add the field, correct ?json=, or add ?optional=true or ?default=";
  return missing("KeyNotFound", "holds no such JSON field as ?json= names", hint);
}

function fieldOf(whole: Uint8Array, reference: Reference, namespace: string): string | undefined {
  try {
    return jsonField(decoder.decode(whole), reference.json!);
  } catch {
    throw unusable(
      reference,
      namespace,
      "its value is not JSON, and ?json= asks for a field of it",
      "leave out ?json=",
    );
  }
}

/** Bytes of a variable with its name: 32 pages (MAX_ARG_STRLEN of Linux), where a page has 4 KiB. */
const LONGEST_VARIABLE = 131_072;

/** A variable is text, execve(2) ends it at the first NUL, and takes none that is too long. */
function checkVariable(reference: Reference, value: Uint8Array, { namespace }: ReferenceValueOptions): void {
  const hint = "add ?destination=tempfile, so that the variable names a file with it";
  if (reference.variable.length + value.length + 2 > LONGEST_VARIABLE) {
    throw unusable(reference, namespace, "its value is longer than the kernel lets a variable be", hint);
  }
  if (value.includes(0)) throw unusable(reference, namespace, "its value holds a NUL, which no variable can", hint);
  try {
    decoder.decode(value);
  } catch {
    throw unusable(reference, namespace, "its value is not UTF-8 text, which a variable must be", hint);
  }
}

function keyOf(object: WatchedObject, reference: Reference, namespace: string): Uint8Array | undefined {
  if (reference.object.system !== "kubernetes") return undefined;
  const { kind, key } = reference.object;
  const text = own(object.data, key);
  if (text !== undefined && kind === "ConfigMap") return encoder.encode(text);
  const base64 = text ?? own((object as V1ConfigMap).binaryData, key);
  if (base64 === undefined) return undefined;
  try {
    return Uint8Array.fromBase64(base64);
  } catch {
    // Without the cause: its message may quote the value.
    throw unusable(reference, namespace, "its value is not base64", "correct the object");
  }
}

function keysOf(object: WatchedObject): string[] {
  return [...Object.keys(object.data ?? {}), ...Object.keys((object as V1ConfigMap).binaryData ?? {})];
}

function own(data: Readonly<Record<string, string>> | undefined, key: string): string | undefined {
  return data !== undefined && Object.hasOwn(data, key) ? data[key] : undefined;
}

/** How each message about a reference begins. */
export function opening({ variable }: Pick<Reference, "variable">): string {
  return `Cannot resolve ${printable(variable)}`;
}

function unusable(reference: Reference, namespace: string, state: string, hint: string): KrunError {
  const message = `${opening(reference)}: ${referenceText(reference.object, namespace)} cannot be used: ${state}`;
  return new KrunError("ReferenceUnusable", message, hint);
}
