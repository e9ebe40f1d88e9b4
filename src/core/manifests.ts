/**
 * Files of manifests go in, Kubernetes objects come out, indexed by what they are. Two files that give one object contradict
 * each other and are refused together.
 *
 * @module
 */
import type { V1Service } from "@kubernetes/client-node";
import type { ObjectRef, WatchedObject } from "./cluster.ts";
import { KrunError } from "./errors.ts";
import { ManifestField, type ManifestPlace } from "./manifest_field.ts";
import { type ManifestKind, manifestKind, type ManifestObject, readManifestObject } from "./manifest_object.ts";
import { type DocumentParser, SourceFault } from "./source_document.ts";

/** A file as it was read. */
export interface ManifestFile {
  /** As a person would name it; it stands in every error. */
  readonly name: string;
  readonly bytes: Uint8Array;
}

/** One object of a manifest. */
export interface Manifest {
  readonly kind: ManifestKind;
  /** Undefined: it belongs to whatever namespace is asked for, as `kubectl apply -n` would put it there. */
  readonly namespace: string | undefined;
  readonly name: string;
  readonly object: ManifestObject;
  /** File, document and line. */
  readonly where: string;
}

/** What one file holds. */
export interface ManifestFileContent {
  readonly manifests: readonly Manifest[];
  /** Objects of kinds that krun has no use for, as `Deployment in "app.yaml" document 2`. */
  readonly ignored: readonly string[];
}

/**
 * Reads every object of a file; lists (`List`, `SecretList`) are taken apart.
 *
 * @throws {KrunError} `ManifestInvalid`, naming file, document and, where it is known, line and column.
 */
export function parseManifestFile(file: ManifestFile, parse: DocumentParser): ManifestFileContent {
  const manifests: Manifest[] = [];
  const ignored: string[] = [];
  for (const document of documentsOf(file, parse)) {
    for (const item of objectsOf(document)) {
      const kind = manifestKind(item.apiVersion, item.kind);
      if (kind === undefined) ignored.push(`${item.kind} in ${item.field.where}`);
      else manifests.push(readManifest(kind, item.field));
    }
  }
  return { manifests, ignored };
}

function readManifest(kind: ManifestKind, field: ManifestField): Manifest {
  const object = readManifestObject(kind, field);
  const { name, namespace } = object.metadata;
  return { kind, namespace: kind === "Namespace" ? undefined : namespace, name, object, where: field.where };
}

function documentsOf({ name, bytes }: ManifestFile, parse: DocumentParser): ManifestField[] {
  try {
    const text = new TextDecoder("utf-8", { fatal: true }).decode(bytes);
    return parse(text)
      .map((source, index) => ({ file: name, document: index + 1, source }))
      .map((place: ManifestPlace) => new ManifestField(place.source.value, place))
      .filter((document) => !document.isAbsent);
  } catch (error) {
    // The cause is left out: the words of a parser may quote the file, and it may hold a Secret.
    const { reason, place } = error instanceof SourceFault ? error : new SourceFault("it is not UTF-8 text");
    throw new KrunError(
      "ManifestInvalid",
      `Cannot read manifest "${name}"${place && ` ${place}`}: ${reason}`,
      "correct the file, or move it out of the folder",
    );
  }
}

interface TypedField {
  readonly apiVersion: string;
  readonly kind: string;
  readonly field: ManifestField;
}

/** The object of a document, or the items of its list. */
function objectsOf(document: ManifestField): TypedField[] {
  const { apiVersion, kind } = typeOf(document, {});
  if (!kind.endsWith("List")) return [{ apiVersion, kind, field: document }];
  if (document.get("items").isAbsent) throw document.get("items").fault("is missing", "give the list its items");
  // The API leaves apiVersion and kind out of the items of a list that names them itself, such as SecretList.
  const inherited = kind === "List" ? {} : { apiVersion, kind: kind.slice(0, -"List".length) };
  return document.get("items").items().map((field) => {
    const type = typeOf(field, inherited);
    if (type.kind.endsWith("List")) throw field.fault("is a list inside a list", "write its items into the outer list");
    return { ...type, field };
  });
}

function typeOf(
  object: ManifestField,
  inherited: { apiVersion?: string; kind?: string },
): { apiVersion: string; kind: string } {
  const [apiVersion, kind] = (["apiVersion", "kind"] as const).map((name) => {
    const text = object.get(name).text() || inherited[name];
    if (text !== undefined) return text;
    throw object.get(name).fault("is missing", "write apiVersion and kind, or move the file out of the folder");
  });
  return { apiVersion: apiVersion!, kind: kind! };
}

/** An object of the folder with its version. */
interface Indexed {
  readonly manifest: Manifest;
  readonly resourceVersion: string;
}

/**
 * The objects of a folder at one moment. Each has a `resourceVersion`, a number that grows with each change of any object and
 * stays where the content stays, so that an edited comment is no new version.
 */
export class ManifestIndex {
  readonly #entries = new Map<string, Indexed>();
  readonly #version: number;

  /**
   * @param previous The moment before, for the versions.
   * @throws {KrunError} `ManifestInvalid` when two manifests give one object, naming both places.
   */
  constructor(manifests: Iterable<Manifest>, previous?: ManifestIndex) {
    const before = previous === undefined ? new Map<string, Indexed>() : previous.#entries;
    let version = previous === undefined ? 0 : previous.#version;
    for (const manifest of manifests) {
      const key = keyOf(manifest.kind, manifest.namespace, manifest.name);
      const twin = this.#entries.get(key);
      if (twin !== undefined) throw twice(manifest, twin.manifest);
      const last = before.get(key);
      const unchanged = last !== undefined && sameContent(last.manifest, manifest);
      this.#entries.set(key, {
        manifest,
        resourceVersion: unchanged ? last.resourceVersion : String(++version),
      });
    }
    // Kept although objects may be gone: one that comes back must not get the version it had.
    this.#version = version;
  }

  /**
   * One object, its namespace filled in.
   *
   * @throws {KrunError} `ManifestInvalid` when one manifest names this namespace, another names none, and both give the object.
   */
  find(kind: ManifestKind, { namespace, name }: Omit<ObjectRef, "kind">): ManifestObject | undefined {
    const named = this.#entries.get(keyOf(kind, namespace, name));
    const anywhere = this.#entries.get(keyOf(kind, undefined, name));
    if (named !== undefined && anywhere !== undefined) throw twice(anywhere.manifest, named.manifest);
    const found = named ?? anywhere;
    return found && placed(found, namespace);
  }

  /** A Secret or ConfigMap. @throws as `find`. */
  object(ref: ObjectRef): WatchedObject | undefined {
    return this.find(ref.kind, ref) as WatchedObject | undefined;
  }

  /** The Services of a namespace, by name. @throws as `find`. */
  services(namespace: string): V1Service[] {
    const names = [...this.#entries.values()]
      .filter(({ manifest }) => manifest.kind === "Service" && [undefined, namespace].includes(manifest.namespace))
      .map(({ manifest }) => manifest.name);
    return [...new Set(names)].sort().map((name) => this.find("Service", { namespace, name }) as V1Service);
  }

  /** Names of the Namespace objects. */
  get namespaces(): string[] {
    return [...this.#entries.values()].filter((e) => e.manifest.kind === "Namespace").map((e) => e.manifest.name);
  }

  /** True when nothing differs: every object is there in the same version. */
  equals(other: ManifestIndex): boolean {
    return this.#entries.size === other.#entries.size &&
      [...this.#entries].every(([key, entry]) => other.#entries.get(key)?.resourceVersion === entry.resourceVersion);
  }
}

function keyOf(kind: ManifestKind, namespace: string | undefined, name: string): string {
  return `${kind}/${namespace ?? ""}/${name}`;
}

function placed({ manifest, resourceVersion }: Indexed, namespace: string): ManifestObject {
  return { ...manifest.object, metadata: { ...manifest.object.metadata, namespace, resourceVersion } };
}

/** Objects are made with their fields in one order and their keys sorted, so the same content is the same text. */
function sameContent(a: Manifest, b: Manifest): boolean {
  return a === b || JSON.stringify(a.object) === JSON.stringify(b.object);
}

function twice({ kind, name, where }: Manifest, twin: Manifest): KrunError {
  return new KrunError(
    "ManifestInvalid",
    `Cannot read manifest ${where}: ${kind} "${name}" is in ${twin.where} too`,
    "keep one of the two, or give them different namespaces",
  );
}
