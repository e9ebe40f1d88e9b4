/**
 * The keys of a Secret or ConfigMap as files. In: an object and the items that a volume names. Out: files.
 *
 * Rules: Kubernetes v1.34 pkg/volume/secret and pkg/volume/configmap (MakePayload).
 *
 * @module
 */
import type { V1ConfigMap, V1KeyToPath, V1Secret } from "@kubernetes/client-node";
import type { ObjectKind, WatchedObject } from "./cluster.ts";
import { KrunError } from "./errors.ts";
import { lacksKey } from "./missing_key.ts";
import type { Payload, PayloadFile } from "./payload.ts";
import { cleanPayloadPath } from "./payload_path.ts";
import type { Needs } from "./pod_inputs.ts";
import { DEFAULT_FILE_MODE, NO_NEEDS, type VolumeContext } from "./volume_type.ts";

/** What a volume, or a source of a projected one, takes of one object. */
export interface ObjectSelection {
  readonly kind: ObjectKind;
  /** Empty: none, which a volume of the API allows for an optional object. */
  readonly name: string;
  /** Absent: every key. */
  readonly items: readonly V1KeyToPath[] | undefined;
  readonly defaultMode: number | undefined;
  readonly optional: boolean;
}

/** The object that a selection needs. */
export function objectNeeds({ kind, name, optional }: ObjectSelection): Needs {
  return name === "" ? NO_NEEDS : { objects: [{ kind, name, optional }], tokens: [] };
}

/**
 * The files of a selection. Without items every key is a file; with items only those, and one key may be several files.
 *
 * @throws {KrunError} `ObjectNotFound` or `KeyNotFound` unless optional, `PathInvalid`, `ManifestInvalid`.
 */
export function objectFiles(selection: ObjectSelection, context: VolumeContext): Payload {
  const { kind, name, items, optional, defaultMode = DEFAULT_FILE_MODE } = selection;
  const object = name === "" ? undefined : context.inputs.object(kind, name);
  if (object === undefined) {
    if (optional) return new Map();
    throw missingObject(selection, context);
  }
  const files = new Map<string, PayloadFile>();
  if (items === undefined) {
    for (const [key, bytes] of allKeys(kind, object)) files.set(cleanPayloadPath(key), { bytes, mode: defaultMode });
    return files;
  }
  for (const { key, path, mode = defaultMode } of items) {
    const bytes = oneKey(kind, object, key);
    if (bytes !== undefined) files.set(cleanPayloadPath(path), { bytes, mode });
    else if (!optional) throw missingKey({ kind, object, key }, selection, context);
  }
  return files;
}

const encoder = new TextEncoder();

/** Every key; where a ConfigMap has one twice, binaryData wins. */
function* allKeys(kind: ObjectKind, object: WatchedObject): Iterable<[string, Uint8Array]> {
  if (kind === "Secret") {
    for (const [key, text] of Object.entries(object.data ?? {})) yield [key, decodeBase64(text, { kind, object, key })];
    return;
  }
  const { data = {}, binaryData = {} } = object as V1ConfigMap;
  for (const [key, text] of Object.entries(data)) yield [key, encoder.encode(text)];
  for (const [key, text] of Object.entries(binaryData)) yield [key, decodeBase64(text, { kind, object, key })];
}

/** One key; where a ConfigMap has it twice, data wins. */
function oneKey(kind: ObjectKind, object: WatchedObject, key: string): Uint8Array | undefined {
  const text = own(object.data, key);
  if (kind === "Secret") return text === undefined ? undefined : decodeBase64(text, { kind, object, key });
  if (text !== undefined) return encoder.encode(text);
  const binary = own((object as V1ConfigMap).binaryData, key);
  return binary === undefined ? undefined : decodeBase64(binary, { kind, object, key });
}

/** A key of the data itself, not one that every JavaScript object has (`constructor` is a legal key). */
function own(data: Record<string, string> | undefined, key: string): string | undefined {
  return data !== undefined && Object.hasOwn(data, key) ? data[key] : undefined;
}

interface KeyPlace {
  readonly kind: ObjectKind;
  readonly object: V1Secret | V1ConfigMap;
  readonly key: string;
}

function decodeBase64(text: string, { kind, object, key }: KeyPlace): Uint8Array {
  try {
    return Uint8Array.fromBase64(text);
  } catch {
    // Without the cause: its message may quote the value.
    const name = `${object.metadata?.namespace ?? ""}/${object.metadata?.name ?? ""}`;
    throw new KrunError(
      "ManifestInvalid",
      `Cannot read key "${key}" of ${kind} "${name}": its value is not base64`,
      "encode it, or move it to stringData (Secret) or data (ConfigMap)",
    );
  }
}

function missingObject({ kind, name }: ObjectSelection, { pod, volume }: VolumeContext): KrunError {
  const place = `${pod.metadata?.namespace ?? ""}/${name}`;
  return new KrunError(
    "ObjectNotFound",
    `Cannot mount volume "${volume}" with ${kind} "${place}": the object does not exist`,
    `create the ${kind}, correct its name, or mark it optional`,
  );
}

function missingKey(
  { kind, object, key }: KeyPlace,
  { name }: ObjectSelection,
  { pod, volume }: VolumeContext,
): KrunError {
  const place = `${pod.metadata?.namespace ?? ""}/${name}`;
  const keys = [...Object.keys(object.data ?? {}), ...Object.keys((object as V1ConfigMap).binaryData ?? {})];
  return new KrunError(
    "KeyNotFound",
    `Cannot mount volume "${volume}" with ${kind} "${place}": it ${lacksKey(key, keys)}`,
    "add the key, correct its name, or mark the reference optional",
  );
}
