/**
 * One reference in the value of a variable. In: the variable's name and value. Out: which object is meant, and what becomes of it.
 *
 * ```
 * VALUE   := "$SecretKeyRef:" OBJECT | "$ConfigMapKeyRef:" OBJECT          konfig's
 *          | "berglas://" BUCKET "/" NAME | "sm://" PROJECT "/" NAME       berglas's
 *            [ "?" OPTION { "&" OPTION } ] [ "#" VERSION ]                 as in a URL: options before the version
 * OBJECT  := [ "/" ] [ CLUSTER "/" ] [ "namespaces/" NS "/" ] ("secrets" | "configmaps") "/" NAME "/keys/" KEY
 * CLUSTER := "projects/" P "/" ("zones" | "locations") "/" L "/clusters/" C | "contexts/" CONTEXT
 * OPTION  := "optional=true" | "default=" TEXT | "destination=" PATH | "destination=tempfile" | "mode=0600" | "json=.field"
 *          | "tempFile=true" (konfig's) | "location=" REGION (Secret Manager's)
 * ```
 * Percent signs are read as in a URL, after the text was divided. Sources: konfig.go of github.com/kelseyhightower/konfig,
 * pkg/berglas/reference.go of github.com/GoogleCloudPlatform/berglas; docs/references.md lists what differs.
 *
 * @module
 */
import type { ObjectKind } from "./cluster.ts";
import { KrunError } from "./errors.ts";
import { type GkeClusterName, isGoogleName, isProject } from "./google_resource.ts";
import { type JsonStep, parseJsonPath } from "./json_field.ts";
import { isDnsLabel, isDnsSubdomain } from "./object_name.ts";
import { REFERENCE_PREFIXES } from "./reference_prefix.ts";
import { printable, quoted } from "./setting_invalid.ts";

/** Where a Secret or ConfigMap is. */
export type ReferenceCluster =
  /** The workload's own cluster. */
  | { readonly kind: "own" }
  | { readonly kind: "gke"; readonly name: GkeClusterName }
  /** A context of the kubeconfig. */
  | { readonly kind: "context"; readonly context: string };

/** One key of a Secret or ConfigMap. */
export interface KubernetesKey {
  readonly system: "kubernetes";
  readonly cluster: ReferenceCluster;
  readonly kind: ObjectKind;
  /** Unset: the workload's. Always set beside a cluster that is not its own. */
  readonly namespace?: string;
  readonly name: string;
  readonly key: string;
}

/** A version of a secret in Secret Manager. */
export interface SecretVersion {
  readonly system: "secretManager";
  /** Id or number. */
  readonly project: string;
  /** Of a regional secret. */
  readonly location?: string;
  readonly name: string;
  /** A number, `latest` or an alias. */
  readonly version: string;
}

/** A secret of berglas in a bucket. */
export interface StorageSecret {
  readonly system: "storage";
  readonly bucket: string;
  readonly object: string;
  /** Unset: the live one. */
  readonly generation?: string;
}

/** What a reference names. */
export type ReferenceObject = KubernetesKey | SecretVersion | StorageSecret;

/** Where the value goes, if not into the variable itself: then the variable holds the file's path. */
export type ReferenceDestination =
  /** As it was written: relative means below the working directory. */
  | { readonly kind: "path"; readonly path: string }
  /** A new path in the folder for temporary files, whose name ends so. */
  | { readonly kind: "temporary"; readonly extension: string };

/** A reference. */
export interface Reference {
  /** The variable, for messages. */
  readonly variable: string;
  readonly object: ReferenceObject;
  readonly destination?: ReferenceDestination;
  /** Permission bits of the file. */
  readonly mode: number;
  /** Where there is no such object, key or field, the variable is not set. */
  readonly optional: boolean;
  /** The value where there is no such object, key or field. */
  readonly default?: string;
  /** The field that is taken of a JSON value. */
  readonly json?: readonly JsonStep[];
  /** For the log: what the writer may have meant otherwise. */
  readonly warnings: readonly string[];
}

/** How long a reference may be: a variable of Cloud Run is no longer. */
const LONGEST = 32_768;
const FILE_MODE = 0o600;

/**
 * Reads a value that `isReference` takes for a reference.
 *
 * @throws {KrunError} `ReferenceInvalid` naming variable, fault and what to write.
 */
export function parseReference(variable: string, value: string): Reference {
  return new Parser(variable, value).parse();
}

class Parser {
  readonly #variable: string;
  readonly #value: string;
  readonly #warnings: string[] = [];

  constructor(variable: string, value: string) {
    this.#variable = variable;
    this.#value = value;
  }

  parse(): Reference {
    const value = this.#value;
    // As every variable of a Pod (core/container_env.ts).
    if (!/^[ -<>-~]+$/.test(this.#variable)) {
      throw this.#invalid("its name is not one that a Pod's variable may have", "give it another name");
    }
    if (value.length > LONGEST) throw this.#invalid(`it is longer than ${LONGEST} characters`, "shorten it");
    // deno-lint-ignore no-control-regex
    if (!value.isWellFormed() || /[\0-\x1f\x7f]/.test(value)) {
      throw this.#invalid(
        "it holds a control character, or is no UTF-8",
        "write such bytes with a percent sign, as %0A",
      );
    }
    const system = Object.entries(REFERENCE_PREFIXES).find(([, prefix]) => value.startsWith(prefix));
    if (system === undefined) throw new RangeError(`Cannot read ${quoted(this.#variable)}: it is no reference`);
    const [kind, prefix] = system as [keyof typeof REFERENCE_PREFIXES, string];
    const [beforeVersion, version] = splitOnce(value.slice(prefix.length), "#");
    const [path, query] = splitOnce(beforeVersion, "?");
    const options = new Options(new URLSearchParams(query), (fault, hint) => this.#invalid(fault, hint));
    const { object, name } = this.#object(kind, path, { version: this.#decoded(version), options });
    const destination = this.#destination(kind, name, options);
    const mode = options.read("mode", readMode, "octal digits up to 0777, as 0440");
    const json = options.read("json", parseJsonPath, "the path of a field, as .password or .users[0].name");
    const fallback = options.text("default");
    const reference = {
      variable: this.#variable,
      object,
      ...(destination && { destination }),
      mode: mode ?? FILE_MODE,
      optional: options.read("optional", readBoolean, "true or false") ?? false,
      ...(fallback !== undefined && { default: fallback }),
      ...(json && { json }),
    };
    if (mode !== undefined && !destination) this.#warn("option mode has no effect without a destination");
    this.#warnOfUnknown(options.unknown(), fallback !== undefined);
    return { ...reference, warnings: this.#warnings };
  }

  /** Behind a default its rest may stand, as the name of an option: it is not told. */
  #warnOfUnknown(options: readonly string[], hasDefault: boolean): void {
    if (hasDefault && options.length > 0) {
      return this.#warn("an option is unknown and has no effect; an & in a default is written %26");
    }
    for (const option of options) this.#warn(`option ${quoted(option)} is unknown and has no effect`);
  }

  /** @returns the object, and the name after which a temporary file is called */
  #object(
    kind: keyof typeof REFERENCE_PREFIXES,
    path: string,
    { version, options }: { version: string; options: Options },
  ): { object: ReferenceObject; name: string } {
    if (kind === "storage") return this.#storage(path, version);
    if (kind === "secretManager") return this.#secretManager(path, { version, options });
    const object = this.#kubernetes(kind, path);
    return { object, name: object.key };
  }

  #kubernetes(kind: ObjectKind, path: string): KubernetesKey {
    const parts = path.replace(/^\//, "").split("/").map((part) => this.#decoded(part));
    const word = kind === "Secret" ? "secrets" : "configmaps";
    const example = `${REFERENCE_PREFIXES[kind]}/${word}/NAME/keys/KEY`;
    const { cluster, namespace, rest } = this.#place(parts, { kind, example });
    const [resource, name = "", keys, ...key] = rest;
    const isWord = cluster.kind === "gke" || resource === word && keys === "keys";
    if (!isWord) throw this.#invalid(`it has not the form .../${word}/NAME/keys/KEY`, `write for example ${example}`);
    if (!isDnsSubdomain(name)) throw this.#invalid(`${quoted(name)} is not the name of a ${kind}`, "correct it");
    const wholeKey = key.join("/");
    if (wholeKey === "") throw this.#invalid("it names no key", `write for example ${example}`);
    if (resource !== word || keys !== "keys") {
      this.#warn(
        `${REFERENCE_PREFIXES[kind].slice(0, -1)} reads a ${kind}, whatever ${quoted(`${resource}`)} stands for`,
      );
    }
    const object = { system: "kubernetes" as const, cluster, kind, name, key: wholeKey };
    return { ...object, ...(namespace !== undefined && { namespace }) };
  }

  /** Cluster and namespace. After a GKE cluster what stands at a place decides, as in konfig, and not the word before it. */
  #place(
    parts: readonly string[],
    { kind, example }: { kind: ObjectKind; example: string },
  ): { cluster: ReferenceCluster; namespace?: string; rest: readonly string[] } {
    const [first, second = ""] = parts;
    if (first === "namespaces") {
      return { cluster: { kind: "own" }, namespace: this.#namespace(second), rest: parts.slice(2) };
    }
    if (first === "contexts") {
      const namespace = parts[2] === "namespaces" ? parts[3] : undefined;
      if (second === "") throw this.#invalid("it names no context", "write /contexts/NAME/namespaces/NS/...");
      if (namespace === undefined) {
        const hint = "write /contexts/NAME/namespaces/NS/secrets/NAME/keys/KEY, a slash in the context's name as %2F";
        throw this.#invalid("it does not name namespace, object and key", hint);
      }
      const cluster = { kind: "context" as const, context: second };
      return { cluster, namespace: this.#namespace(namespace), rest: parts.slice(4) };
    }
    if (first !== "projects") return { cluster: { kind: "own" }, rest: parts };
    const [, project = "", place, location = "", clusters, name = "", , namespace] = parts;
    if ((place !== "zones" && place !== "locations") || clusters !== "clusters") {
      const whole = `${REFERENCE_PREFIXES[kind]}/projects/P/locations/L/clusters/C/namespaces/NS/...`;
      throw this.#invalid("it names no cluster of GKE", `write for example ${whole}, or ${example}`);
    }
    if (!isProject(project) || !isGoogleName(location) || !isGoogleName(name)) {
      throw this.#invalid("project, location or cluster is no name that one can have", "correct it");
    }
    if (namespace === undefined || parts.length < 12) throw this.#noNamespace();
    const cluster = { kind: "gke" as const, name: { project, location, cluster: name } };
    return { cluster, namespace: this.#namespace(namespace), rest: parts.slice(8) };
  }

  #namespace(name: string): string {
    if (isDnsLabel(name)) return name;
    throw this.#invalid(`${quoted(name)} is not the name of a namespace`, "correct it");
  }

  #noNamespace(): KrunError {
    return this.#invalid("it does not name namespace, object and key", "write .../namespaces/NS/secrets/NAME/keys/KEY");
  }

  #secretManager(
    path: string,
    { version, options }: { version: string; options: Options },
  ): { object: SecretVersion; name: string } {
    const [project, name = ""] = splitOnce(this.#decoded(path), "/");
    const example = "write for example sm://my-project/my-secret#3";
    if (!isProject(project)) throw this.#invalid(`${quoted(project)} is not the id or number of a project`, example);
    if (!/^[\w-]{1,255}$/.test(name)) throw this.#invalid(`${quoted(name)} is not the name of a secret`, example);
    // Not quoted: it may be the rest of a default.
    if (!/^[\w-]{0,63}$/.test(version)) {
      const hint = version.includes("?")
        ? "write the options before the version"
        : `${example}, a # in an option as %23`;
      throw this.#invalid("what stands behind # is not a version or an alias", hint);
    }
    const location = options.read("location", (text) => isGoogleName(text) ? text : undefined, "a region");
    const place = location === undefined ? {} : { location };
    return { object: { system: "secretManager", project, ...place, name, version: version || "latest" }, name };
  }

  #storage(path: string, version: string): { object: StorageSecret; name: string } {
    const [bucket, object = ""] = splitOnce(this.#decoded(path.replace(/^\//, "")), "/");
    const example = "write for example berglas://my-bucket/my-secret";
    if (!/^[A-Za-z0-9][A-Za-z0-9._-]{1,220}[A-Za-z0-9]$/.test(bucket)) {
      throw this.#invalid(`${quoted(bucket)} is not the name of a bucket`, example);
    }
    if (/^\.{0,2}$/.test(object) || object.length > 1024 || /[\0\r\n]/.test(object)) {
      throw this.#invalid("it names no object that a bucket can have", example);
    }
    const generation = goInteger(version);
    if (version !== "" && generation === undefined) {
      this.#warn("what stands behind # is not a generation, so that the newest is read");
    }
    const isPinned = generation !== undefined && generation > 0n;
    return {
      object: { system: "storage", bucket, object, ...(isPinned && { generation: `${generation}` }) },
      name: object,
    };
  }

  #destination(
    kind: keyof typeof REFERENCE_PREFIXES,
    name: string,
    options: Options,
  ): ReferenceDestination | undefined {
    const temporary = { kind: "temporary" as const, extension: extensionOf(name) };
    const path = options.text("destination") ?? "";
    const tempFile = kind === "Secret" || kind === "ConfigMap" ? options.text("tempFile") ?? "" : "";
    const isTemporary = !["", "false", "0"].includes(tempFile);
    if (isTemporary && path !== "") throw this.#invalid("it has both tempFile and destination", "leave one out");
    if (isTemporary || path === "tempfile" || path === "tmpfile") return temporary;
    if (path === "") {
      if (options.has("destination")) this.#warn("its destination is empty, so that the value goes into the variable");
      return undefined;
    }
    const last = path.split("/").at(-1);
    if (path.includes("\0") || last === "" || last === "." || last === "..") {
      throw this.#invalid("its destination is a folder, or holds a NUL", "name one file");
    }
    if (/^\/+(?:proc|sys)\//.test(path)) {
      throw this.#invalid("its destination is where the kernel has no files of anybody's", "name a file elsewhere");
    }
    return { kind: "path", path };
  }

  #decoded(text: string): string {
    try {
      return decodeURIComponent(text);
    } catch {
      throw this.#invalid("a percent sign in it begins no UTF-8", "write a percent sign as %25");
    }
  }

  #warn(text: string): void {
    this.#warnings.push(`${printable(this.#variable)}: ${text}`);
  }

  #invalid(fault: string, hint: string): KrunError {
    // The value is not quoted: it may hold what is a secret after all, as behind ?default=.
    const message = `Cannot resolve ${printable(this.#variable)} as a reference: ${fault}`;
    const otherwise = "or set KRUN_REFS to the variables that are to be resolved, or to off";
    return new KrunError("ReferenceInvalid", message, `${hint}, ${otherwise}`);
  }
}

/** The options of one reference; each is read once. */
class Options {
  readonly #params: URLSearchParams;
  readonly #invalid: (fault: string, hint: string) => KrunError;
  readonly #known = new Set<string>();

  constructor(params: URLSearchParams, invalid: (fault: string, hint: string) => KrunError) {
    this.#params = params;
    this.#invalid = invalid;
  }

  /** Its text. @throws {KrunError} when it is there twice */
  text(name: string): string | undefined {
    this.#known.add(name);
    const [first, ...more] = this.#params.getAll(name);
    if (more.length > 0) throw this.#invalid(`its option ${name} is there twice`, "leave one out");
    return first;
  }

  /** Its value. @throws {KrunError} when it has none of that form */
  read<T>(name: string, reader: (text: string) => T | undefined, wanted: string): T | undefined {
    const text = this.text(name);
    if (text === undefined) return undefined;
    const value = reader(text);
    if (value === undefined) throw this.#invalid(`its option ${name} is ${quoted(text)}, not ${wanted}`, "correct it");
    return value;
  }

  /** Whether it is there. */
  has(name: string): boolean {
    return this.#params.has(name);
  }

  /** Names of the others. */
  unknown(): string[] {
    return [...new Set(this.#params.keys())].filter((name) => !this.#known.has(name));
  }
}

function splitOnce(text: string, separator: string): [string, string] {
  const at = text.indexOf(separator);
  return at < 0 ? [text, ""] : [text.slice(0, at), text.slice(at + separator.length)];
}

function readMode(text: string): number | undefined {
  const mode = parseInt(text, 8);
  return /^[0-7]{1,4}$/.test(text) && mode <= 0o777 ? mode : undefined;
}

function readBoolean(text: string): boolean | undefined {
  return text === "true" ? true : text === "false" ? false : undefined;
}

/** As Go's filepath.Ext, where the name of a file can end so. */
function extensionOf(name: string): string {
  return /\.[A-Za-z0-9_-]{1,16}$/.exec(name.split("/").at(-1) ?? "")?.[0] ?? "";
}

const LARGEST_GENERATION = 2n ** 63n - 1n;

/** As Go's `strconv.ParseInt(text, 0, 64)`; `undefined` when the text is none. */
function goInteger(text: string): bigint | undefined {
  const [, sign, digits = ""] = /^([+-]?)(.*)$/s.exec(text) ?? [];
  if (!/^(?:0x(?:_?[0-9a-f])+|0b(?:_?[01])+|0o?(?:_?[0-7])+|0|[1-9](?:_?[0-9])*)$/i.test(digits)) return undefined;
  const plain = digits.replaceAll("_", "").toLowerCase();
  const value = BigInt(/^0[0-7]+$/.test(plain) ? `0o${plain.slice(1)}` : plain) * (sign === "-" ? -1n : 1n);
  return value <= LARGEST_GENERATION && value >= -LARGEST_GENERATION - 1n ? value : undefined;
}

/** Equal for references to one object, however many keys or fields of it they name. */
export function referenceObjectId(object: ReferenceObject): string {
  if (object.system !== "kubernetes") return JSON.stringify(object);
  const { cluster, kind, namespace, name } = object;
  return JSON.stringify({ cluster, kind, namespace, name });
}

/** Whether the object can never be another one: a version's number, a generation. */
export function isPinned(object: ReferenceObject): boolean {
  if (object.system === "secretManager") return /^\d+$/.test(object.version);
  return object.system === "storage" && object.generation !== undefined;
}

/** The object in the words of a message. */
export function referenceText(object: ReferenceObject, namespace: string): string {
  switch (object.system) {
    case "kubernetes":
      return `${object.kind} "${object.namespace ?? namespace}/${object.name}"${clusterText(object.cluster)}`;
    case "secretManager":
      return `secret "${secretPath(object)}"`;
    case "storage":
      return `object "${object.bucket}/${object.object}"${
        object.generation ? ` of generation ${object.generation}` : ""
      }`;
  }
}

function clusterText(cluster: ReferenceCluster): string {
  if (cluster.kind === "own") return "";
  if (cluster.kind === "context") return ` of context "${printable(cluster.context)}"`;
  const { project, location, cluster: name } = cluster.name;
  return ` of cluster "projects/${project}/locations/${location}/clusters/${name}"`;
}

/** Resource name of a secret's version. */
export function secretPath({ project, location, name, version }: SecretVersion): string {
  const place = location === undefined ? "" : `/locations/${location}`;
  return `projects/${project}${place}/secrets/${name}/versions/${version}`;
}
