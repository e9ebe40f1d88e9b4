/**
 * The environment of a container. In: the container, its Pod, and the objects it refers to. Out: name → value; and the
 * texts of the container in which `$(NAME)` stands.
 *
 * @module
 */
import type { V1Container, V1EnvFromSource, V1EnvVar, V1EnvVarSource, V1Pod } from "@kubernetes/client-node";
import type { ObjectKind } from "./cluster.ts";
import { KrunError } from "./errors.ts";
import { expand, lookupIn } from "./expansion.ts";
import { envFieldValue } from "./field_path.ts";
import { lacksKey } from "./missing_key.ts";
import type { Env, Needs, ObjectNeed, PodInputs } from "./pod_inputs.ts";
import { resourceFieldValue } from "./resource_field.ts";
import { serviceEnv } from "./service_env.ts";

/** Options of {@linkcode containerEnv}. */
export interface ContainerEnvOptions {
  /** The Pod of the container, with the API server's defaults: `enableServiceLinks` must be set. */
  readonly pod: V1Pod;
  /** Holds every object that {@linkcode containerEnvNeeds} names. */
  readonly inputs: PodInputs;
}

/** One place of a container that names a Secret or ConfigMap. */
interface Reference {
  readonly kind: ObjectKind;
  readonly name: string;
  readonly optional: boolean;
}

/** A reference to one key. */
interface KeyReference extends Reference {
  readonly key: string;
}

/** What is being made, and for what. */
interface Making extends ContainerEnvOptions {
  readonly container: V1Container;
  readonly services: Env;
  /** Made so far. A Map, since a variable may be called `__proto__`. */
  readonly made: Map<string, string>;
}

/** Keeps a byte order mark, which belongs to the value. */
const UTF8 = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

/** What the Pod's author can correct; these are collected, so that one run shows them all. */
const COLLECTED: readonly string[] = ["ObjectNotFound", "KeyNotFound", "PodInvalid"];

/** Printable ASCII without `=`: gate RelaxedEnvironmentVariableValidation, on for good in v1.34. */
const VARIABLE_NAME = /^[ -<>-~]+$/;

/** `IsConfigMapKey` of k8s.io/apimachinery/pkg/util/validation; keys of Secrets are checked by it too. */
const OBJECT_KEY = /^(?!\.\.)(?!\.$)[-._a-zA-Z0-9]{1,253}$/;

/**
 * The objects that a container's environment refers to, each once, in the order of their first mention. An object is
 * optional when every reference to it is.
 */
export function containerEnvNeeds(container: V1Container): Needs {
  const objects = new Map<string, ObjectNeed>();
  for (const { kind, name, optional } of references(container)) {
    const id = `${kind}/${name}`;
    objects.set(id, { kind, name, optional: optional && (objects.get(id)?.optional ?? true) });
  }
  return { objects: [...objects.values()], tokens: [] };
}

/**
 * The environment of a container: `env` over `envFrom` over service variables, and of two of one name the later. Only
 * literal values are expanded, against what stands before them and the service variables. A reference that is optional and
 * finds no object or no key is left out, and an earlier variable of its name then stays.
 *
 * Values are bytes to the kernel and text to krun: a value that is not UTF-8 or holds a NUL is refused, not changed.
 *
 * Rule: pkg/kubelet/kubelet_pods.go `makeEnvironmentVariables` and, for what is refused, `ValidateEnv` and `ValidateEnvFrom`
 * of pkg/apis/core/validation/validation.go of Kubernetes v1.34.
 *
 * @throws {KrunError} `ObjectNotFound`, `KeyNotFound` or `PodInvalid`: the first failure, with every failure in `details` when there are
 * several; and what `inputs.object` throws, also for an optional reference, since only absence may be passed over.
 */
export function containerEnv(container: V1Container, { pod, inputs }: ContainerEnvOptions): Env {
  const services = attempt("the environment", container, () => servicesOf(pod, inputs));
  if (services instanceof KrunError) throw services;
  const making: Making = { container, pod, inputs, services, made: new Map() };
  const results = [
    ...(container.envFrom ?? []).map((source, index) =>
      attempt(`envFrom[${index}]`, container, () => addSource(making, source))
    ),
    ...(container.env ?? []).map((variable) =>
      attempt(`variable "${variable.name}"`, container, () => addVariable(making, variable))
    ),
  ];
  throwTogether(results.filter((result) => result instanceof KrunError));
  return Object.fromEntries([...Object.entries(services), ...making.made]);
}

/**
 * The words of a program's command line with `$(NAME)` replaced by the container's final environment; unknown names stay.
 *
 * Rule: pkg/kubelet/container/helpers.go `ExpandContainerCommandAndArgs` of Kubernetes v1.34.
 */
export function expandArgv(argv: readonly string[], env: Env): string[] {
  return argv.map((word) => expand(word, lookupIn(env)));
}

/** What a container runs. */
export interface ContainerCommand {
  readonly argv: readonly [string, ...string[]];
  /** The program as the manifest spells it, for messages: `$(VAR)` in it may stand for a Secret. */
  readonly shown: string;
}

/** The command line of a container in its final environment; `undefined` when it names no program. */
export function containerCommand({ command = [], args = [] }: V1Container, env: Env): ContainerCommand | undefined {
  const words = [...command, ...args];
  const [program, ...rest] = expandArgv(words, env);
  return program === undefined ? undefined : { argv: [program, ...rest], shown: words[0]! };
}

/**
 * The command of an exec probe. It sees only the literal values of the container's own `env`, themselves unexpanded; a
 * variable with `valueFrom` counts as empty; neither `envFrom` nor service variables are seen.
 *
 * Rule: pkg/kubelet/container/helpers.go `ExpandContainerCommandOnlyStatic` of Kubernetes v1.34.
 */
export function probeCommand(command: readonly string[], container: V1Container): string[] {
  return expandArgv(command, Object.fromEntries((container.env ?? []).map(({ name, value }) => [name, value ?? ""])));
}

/**
 * A mount's `subPathExpr` with `$(NAME)` replaced by the container's final environment.
 *
 * Rule: pkg/kubelet/container/helpers.go `ExpandContainerVolumeMounts` of Kubernetes v1.34.
 *
 * @throws {KrunError} `PodInvalid` naming, sorted, every variable that is missing or empty.
 */
export function subPathExpr(expr: string, env: Env): string {
  const missing = new Set<string>();
  const lookup = lookupIn(env);
  const path = expand(expr, (name) => {
    const value = lookup(name) ?? "";
    if (value === "") missing.add(name);
    return value;
  });
  if (missing.size === 0) return path;
  throw new KrunError(
    "PodInvalid",
    `Cannot expand subPathExpr "${expr}": missing value for ${[...missing].sort().join(", ")}`,
    "give the container these variables, with a value",
  );
}

function* references(container: V1Container): Generator<Reference> {
  for (const source of container.envFrom ?? []) {
    const reference = sourceReference(source);
    if (reference) yield reference;
  }
  for (const { valueFrom } of container.env ?? []) {
    const reference = valueFrom && keyReference(valueFrom);
    if (reference) yield reference;
  }
}

function sourceReference({ configMapRef, secretRef }: V1EnvFromSource): Reference | undefined {
  const ref = configMapRef ?? secretRef;
  if (!ref?.name) return undefined;
  return { kind: configMapRef ? "ConfigMap" : "Secret", name: ref.name, optional: ref.optional ?? false };
}

function keyReference({ configMapKeyRef, secretKeyRef }: V1EnvVarSource): KeyReference | undefined {
  const ref = configMapKeyRef ?? secretKeyRef;
  if (!ref?.name) return undefined;
  return {
    kind: configMapKeyRef ? "ConfigMap" : "Secret",
    name: ref.name,
    optional: ref.optional ?? false,
    key: ref.key,
  };
}

function servicesOf(pod: V1Pod, inputs: PodInputs): Env {
  const enableServiceLinks = pod.spec?.enableServiceLinks;
  if (enableServiceLinks === undefined) throw invalid("enableServiceLinks of the Pod is unset");
  return serviceEnv(inputs.services, { namespace: pod.metadata?.namespace ?? "", enableServiceLinks });
}

function addSource(making: Making, source: V1EnvFromSource): void {
  const reference = sourceReference(source);
  if (!reference || (source.configMapRef && source.secretRef)) {
    throw invalid("it must name one of configMapRef and secretRef");
  }
  for (const [key, value] of Object.entries(dataOf(making, reference) ?? {})) {
    setVariable(making.made, `${source.prefix ?? ""}${key}`, decoded(reference.kind, value));
  }
}

function addVariable(making: Making, { name, value, valueFrom }: V1EnvVar): void {
  const { made, services } = making;
  if (value && valueFrom) throw invalid("it has both value and valueFrom");
  if (valueFrom) {
    const found = sourcedValue(making, valueFrom);
    if (found !== undefined) setVariable(made, name, found);
  } else {
    const lookup = lookupIn(services);
    setVariable(made, name, expand(value ?? "", (other) => made.get(other) ?? lookup(other)));
  }
}

/** The value of a `valueFrom`; `undefined` when it is optional and not there. */
function sourcedValue(making: Making, valueFrom: V1EnvVarSource): string | undefined {
  const { pod, inputs: { node }, container } = making;
  const { fieldRef, resourceFieldRef } = valueFrom;
  if (Object.values(valueFrom).filter(Boolean).length !== 1) {
    throw invalid("its valueFrom must name exactly one source");
  }
  if (fieldRef) return envFieldValue(fieldRef.fieldPath, { pod, node, apiVersion: fieldRef.apiVersion });
  if (resourceFieldRef) {
    return resourceFieldValue(resourceFieldRef, { pod, node, containerName: container.name, place: "env" });
  }
  if (valueFrom.fileKeyRef) {
    throw invalid("fileKeyRef needs the feature gate EnvFiles, which is off in Kubernetes 1.34");
  }
  const reference = keyReference(valueFrom);
  if (!reference) throw invalid("its valueFrom names no object");
  return keyValue(making, reference);
}

function keyValue(making: Making, reference: KeyReference): string | undefined {
  const { kind, key, optional } = reference;
  if (!OBJECT_KEY.test(key)) throw invalid(`"${key}" is not a key that a ${kind} may have`);
  const data = dataOf(making, reference);
  if (!data) return undefined;
  if (Object.hasOwn(data, key)) return decoded(kind, data[key]!);
  if (optional) return undefined;
  throw new KrunError(
    "KeyNotFound",
    `${named(making.pod, reference)} ${lacksKey(key, Object.keys(data))}`,
    "add the key, correct its name, or mark the reference optional",
  );
}

/** The object's `data`, as the API gives it; `undefined` when the object is optional and not there. */
function dataOf({ pod, inputs }: Making, reference: Reference): Readonly<Record<string, string>> | undefined {
  const object = inputs.object(reference.kind, reference.name);
  if (object) return object.data ?? {};
  if (reference.optional) return undefined;
  throw new KrunError(
    "ObjectNotFound",
    `${named(pod, reference)} does not exist`,
    "create it, correct its name, or mark the reference optional",
  );
}

function named(pod: V1Pod, { kind, name }: Reference): string {
  return `${kind} "${pod.metadata?.namespace ?? ""}/${name}"`;
}

/** The text of one value of an object: a Secret's are base64 of UTF-8. */
function decoded(kind: ObjectKind, value: string): string {
  if (kind === "ConfigMap") return value;
  const bytes = Uint8Array.from(atob(value), (character) => character.charCodeAt(0));
  try {
    return UTF8.decode(bytes);
  } catch {
    // The cause is left out: nothing about a Secret's bytes may reach a message.
    throw invalid("the value is not UTF-8 text, which a variable must be; mount it as a file");
  }
}

function setVariable(made: Map<string, string>, name: string, value: string): void {
  if (!VARIABLE_NAME.test(name)) throw invalid(`"${name}" is not a name that a variable may have`);
  // execve(2) ends a variable at the first NUL: the program would see a shorter value.
  if (value.includes("\0")) throw invalid(`the value of "${name}" holds a NUL byte, which a variable cannot`);
  made.set(name, value);
}

/** Runs one step; a failure that the Pod's author can correct is returned, with its place, the others are thrown. */
function attempt<T>(what: string, container: V1Container, step: () => T): T | KrunError {
  try {
    return step();
  } catch (error) {
    if (!(error instanceof KrunError) || !COLLECTED.includes(error.code)) throw error;
    const state = error.message.replace(/^Cannot /, "cannot ");
    return new KrunError(error.code, `Cannot make ${what} of container "${container.name}": ${state}`, error.hint);
  }
}

/** Throws the failures as one: the first one's code, hint and message; of several, all messages in `details`. */
function throwTogether(failures: readonly KrunError[]): void {
  const first = failures[0];
  if (first === undefined) return;
  if (failures.length === 1) throw first;
  throw new KrunError(first.code, `${first.message}, and ${failures.length - 1} more`, first.hint, {
    details: failures.map((failure) => failure.message).join("\n"),
  });
}

function invalid(state: string): KrunError {
  return new KrunError("PodInvalid", state, "correct env and envFrom of this container");
}
