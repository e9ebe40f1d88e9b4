/**
 * The kinds that a folder of manifests may hold: fields of a manifest go in, the object that the API would give for it comes
 * out. What the API server would refuse is refused here, as far as krun reads it (pkg/apis/core/validation of v1.34).
 *
 * @module
 */
import type {
  V1ConfigMap,
  V1Namespace,
  V1ObjectMeta,
  V1Secret,
  V1Service,
  V1ServiceAccount,
  V1ServicePort,
} from "@kubernetes/client-node";
import type { ManifestField } from "./manifest_field.ts";
import { isDataKey, isDnsLabel, isDnsSubdomain } from "./object_name.ts";

/** What a manifest becomes. */
export type ManifestObject = V1Secret | V1ConfigMap | V1ServiceAccount | V1Service | V1Namespace;

/** A kind that a folder of manifests may hold; all are of apiVersion `v1`. */
export type ManifestKind = "Secret" | "ConfigMap" | "ServiceAccount" | "Service" | "Namespace";

/** How one kind is read. */
interface KindRules {
  /** Fields beside apiVersion, kind, metadata and status; others are misspelt. */
  readonly fields: readonly string[];
  readonly name: NameForm;
  /** What the object has besides apiVersion, kind and metadata. */
  read(manifest: ManifestField): Omit<ManifestObject, "metadata">;
}

interface NameForm {
  readonly holds: (name: string) => boolean;
  readonly says: string;
}

const SUBDOMAIN: NameForm = {
  holds: isDnsSubdomain,
  says: "at most 253 lower case letters, digits, - and .",
};
const LABEL: NameForm = { holds: isDnsLabel, says: "at most 63 lower case letters, digits and -" };
/** RFC 1035: as a label, and a letter first. */
const SERVICE_LABEL: NameForm = {
  holds: (name) => isDnsLabel(name) && /^[a-z]/.test(name),
  says: "a letter, then at most 62 lower case letters, digits and -",
};

const KINDS: Readonly<Record<ManifestKind, KindRules>> = {
  Secret: { fields: ["type", "immutable", "data", "stringData"], name: SUBDOMAIN, read: readSecret },
  ConfigMap: { fields: ["immutable", "data", "binaryData"], name: SUBDOMAIN, read: readConfigMap },
  ServiceAccount: {
    fields: ["secrets", "imagePullSecrets", "automountServiceAccountToken"],
    name: SUBDOMAIN,
    read: () => ({}),
  },
  Service: { fields: ["spec"], name: SERVICE_LABEL, read: readService },
  Namespace: { fields: ["spec"], name: LABEL, read: () => ({}) },
};

/** The sum of all values of a Secret or ConfigMap: `MaxSecretSize` in pkg/apis/core/types.go. */
const MAX_DATA_BYTES = 1024 * 1024;
/** The sum of all annotations: `TotalAnnotationSizeLimitB` in apimachinery. */
const MAX_ANNOTATION_BYTES = 256 * 1024;

/** The kind that krun reads; `undefined` for any other. */
export function manifestKind(apiVersion: string, kind: string): ManifestKind | undefined {
  return apiVersion === "v1" && Object.hasOwn(KINDS, kind) ? kind as ManifestKind : undefined;
}

/**
 * The object that the API would give for a manifest: `stringData` merged into `data`, base64 in its canonical form, keys
 * sorted. Its `metadata` holds name, namespace where written, uid, labels and annotations.
 *
 * @throws {KrunError} `ManifestInvalid` where the API server would refuse it.
 */
export function readManifestObject(
  kind: ManifestKind,
  manifest: ManifestField,
): ManifestObject & { metadata: V1ObjectMeta & { name: string } } {
  const rules = KINDS[kind];
  const known = ["apiVersion", "kind", "metadata", "status", ...rules.fields];
  for (const [name, field] of manifest.entries()) {
    if (!known.includes(name)) throw field.fault(`is no field of a ${kind}`, `use one of ${rules.fields.join(", ")}`);
  }
  const metadata = readMetadata(manifest.get("metadata"), rules.name);
  return { apiVersion: "v1", kind, metadata, ...rules.read(manifest) };
}

function readMetadata(metadata: ManifestField, form: NameForm): V1ObjectMeta & { name: string } {
  const name = readName(metadata.get("name"), form);
  if (name === undefined) throw metadata.get("name").fault("is missing", "give the object a name");
  const namespace = readName(metadata.get("namespace"), LABEL);
  const uid = metadata.get("uid").text();
  const labels = metadata.get("labels").texts();
  const annotations = metadata.get("annotations").texts();
  checkSize(metadata.get("annotations"), annotations.map(([key, value]) => key + value), MAX_ANNOTATION_BYTES);
  return {
    name,
    ...(namespace === undefined ? {} : { namespace }),
    ...(uid === undefined ? {} : { uid }),
    ...(labels.length === 0 ? {} : { labels: Object.fromEntries(labels) }),
    ...(annotations.length === 0 ? {} : { annotations: Object.fromEntries(annotations) }),
  };
}

function readName(field: ManifestField, { holds, says }: NameForm): string | undefined {
  const name = field.text();
  if (name === undefined || name === "") return undefined;
  if (holds(name)) return name;
  throw field.fault("is not a name that Kubernetes allows", `use ${says}`);
}

function readSecret(manifest: ManifestField): Partial<V1Secret> {
  const data = manifest.get("data");
  const stringData = manifest.get("stringData");
  checkKeys(data);
  checkKeys(stringData);
  const written = data.texts().map(([key, text]): [string, Uint8Array] => [key, decode(data.get(key), text)]);
  // stringData wins over data of the same key: `Convert_v1_Secret_To_core_Secret` of pkg/apis/core/v1/conversion.go.
  const bytes = new Map(written);
  for (const [key, text] of stringData.texts()) bytes.set(key, new TextEncoder().encode(text));
  checkSize(data.isAbsent ? stringData : data, [...bytes.values()], MAX_DATA_BYTES);
  const sorted = [...bytes.keys()].sort().map((key): [string, string] => [key, bytes.get(key)!.toBase64()]);
  return {
    type: manifest.get("type").text() || "Opaque",
    ...readImmutable(manifest),
    ...(sorted.length === 0 ? {} : { data: Object.fromEntries(sorted) }),
  };
}

function readConfigMap(manifest: ManifestField): Partial<V1ConfigMap> {
  const data = manifest.get("data");
  const binaryData = manifest.get("binaryData");
  checkKeys(data);
  checkKeys(binaryData);
  const texts = data.texts();
  const binaries = binaryData.texts().map(([key, text]): [string, Uint8Array] => {
    const field = binaryData.get(key);
    if (Object.hasOwn(data.object(), key)) {
      throw field.fault("is in data too", "keep the key in one of the two");
    }
    return [key, decode(field, text)];
  });
  const values = [...texts.map(([, text]) => text), ...binaries.map(([, bytes]) => bytes)];
  checkSize(data.isAbsent ? binaryData : data, values, MAX_DATA_BYTES);
  return {
    ...readImmutable(manifest),
    ...(texts.length === 0 ? {} : { data: Object.fromEntries(texts) }),
    ...(binaries.length === 0
      ? {}
      : { binaryData: Object.fromEntries(binaries.map(([key, bytes]) => [key, bytes.toBase64()])) }),
  };
}

function readImmutable(manifest: ManifestField): { immutable?: boolean } {
  const immutable = manifest.get("immutable").flag();
  return immutable === undefined ? {} : { immutable };
}

/** The part of a Service that tells how it is reached. */
function readService(manifest: ManifestField): V1Service {
  const spec = manifest.get("spec");
  const clusterIP = spec.get("clusterIP").text();
  const externalName = spec.get("externalName").text();
  const selector = spec.get("selector").texts();
  return {
    spec: {
      type: spec.get("type").text() || "ClusterIP",
      ...(clusterIP === undefined ? {} : { clusterIP }),
      ...(externalName === undefined ? {} : { externalName }),
      ...(selector.length === 0 ? {} : { selector: Object.fromEntries(selector) }),
      ports: spec.get("ports").items().map(readPort),
    },
  };
}

function readPort(item: ManifestField): V1ServicePort {
  const port = item.get("port").integer();
  if (port === undefined || port < 1 || port > 65535) {
    throw item.get("port").fault("is not a port", "write a number from 1 to 65535");
  }
  const name = item.get("name").text();
  const protocol = item.get("protocol").text() || "TCP";
  if (!["TCP", "UDP", "SCTP"].includes(protocol)) {
    throw item.get("protocol").fault("is not a protocol", "write TCP, UDP or SCTP");
  }
  return { ...(name === undefined ? {} : { name }), port, protocol };
}

function checkKeys(map: ManifestField): void {
  for (const [key, field] of map.entries()) {
    if (isDataKey(key)) continue;
    throw field.fault(
      "is not a key that Kubernetes allows",
      "use letters, digits, -, _ and ., at most 253, not beginning with two dots",
    );
  }
}

/** Go's base64.StdEncoding: line ends are skipped, padding must be there, unused bits of the last character are ignored. */
function decode(field: ManifestField, text: string): Uint8Array {
  const joined = text.replace(/[\r\n]/g, "");
  const digits = joined.replace(/={1,2}$/, "");
  if (joined.length % 4 !== 0 || /[^A-Za-z0-9+/]/.test(digits)) {
    throw field.fault("is not base64", "encode the value with `base64`, or write it as it is in stringData");
  }
  return Uint8Array.fromBase64(joined);
}

function checkSize(field: ManifestField, values: readonly (string | Uint8Array)[], limit: number): void {
  let total = 0;
  for (const value of values) {
    total += typeof value === "string" ? new TextEncoder().encode(value).length : value.length;
    if (total > limit) {
      throw field.fault(`is larger than ${limit} bytes in all`, "make it smaller: the API refuses it too");
    }
  }
}
