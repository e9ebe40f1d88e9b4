/**
 * References as a part of the Pod. In: a planned Pod and references. Out: the Pod whose program has their values, in variables and
 * in files of volumes.
 *
 * Each reference is a Secret `$NAME` that no cluster holds, with the key `value` and, where the value goes into a file, the file's
 * path at the key `path`: from there on it is read, followed and mounted as every other Secret.
 *
 * @module
 */
import type { V1Container, V1EnvVar, V1Pod, V1Secret, V1Volume, V1VolumeMount } from "@kubernetes/client-node";
import type { Cluster } from "./cluster.ts";
import { dnsLabelOf } from "./mount_volume.ts";
import type { PlannedPod } from "./pod_from_settings.ts";
import { resolve } from "./posix_path.ts";
import { type Reference, type ReferenceDestination, referenceText } from "./reference.ts";
import { printable } from "./setting_invalid.ts";
import type { StartFailure } from "./start_failure.ts";

/** The references of a Pod. */
export interface PlannedReferences {
  /** Name of the Secret that stands for it → the reference, and where its file is. */
  readonly bySecret: ReadonlyMap<string, PlacedReference>;
  /** Those that cannot be read. */
  readonly faults: readonly StartFailure[];
  /** Volumes with their files, which are mounted at their path as it is, also outside the base. */
  readonly volumes: ReadonlySet<string>;
  /** Variables that are taken out of the environment that is handed on. */
  readonly variables: readonly string[];
}

/** A reference with the path of its file. */
export interface PlacedReference extends Reference {
  /** The object in the words of a message. */
  readonly shown: string;
  /** Absolute; unset: the value goes into the variable. */
  readonly path?: string;
}

/** Who gives what stands for references, as a cluster gives its objects. */
export type ReferenceSource = Pick<Cluster, "get" | "follow">;

/** Options of {@linkcode withReferences}. */
export interface WithReferencesOptions {
  readonly references: readonly Reference[];
  /** Those that cannot be read, by variable. */
  readonly faults: readonly StartFailure[];
  /** Absolute; relative destinations are below it. */
  readonly cwd: string;
  /** Absolute path of the folder for temporary files. */
  readonly tempFolder: string;
  /** Tells temporary files of two runs apart; letters and digits. */
  readonly runId: string;
  /** krun's own user. */
  readonly self: { readonly uid: number };
  /** There is no program: only files are of use. */
  readonly isSideProcess: boolean;
}

/** Keys of the Secret that stands for a reference. */
const VALUE = "value";
const PATH = "path";

/** Name of the Secret that stands for a variable's reference. */
export function referenceSecret(variable: string): string {
  return `$${variable}`;
}

/** The Secret that stands for a reference with that value; `undefined` where the variable is not to be set. */
export function secretOfReference(
  { variable, path }: Pick<PlacedReference, "variable" | "path">,
  value: Uint8Array | undefined,
): V1Secret | undefined {
  if (value === undefined) return undefined;
  const where = path === undefined ? {} : { [PATH]: new TextEncoder().encode(path).toBase64() };
  return { metadata: { name: referenceSecret(variable) }, data: { [VALUE]: value.toBase64(), ...where } };
}

/**
 * The Pod with its references. A variable that KRUN_POD sets is the manifest's, whatever krun's own environment says of it; nothing
 * but the program gets any.
 */
export function withReferences(planned: PlannedPod, options: WithReferencesOptions): PlannedPod {
  const { references, faults, isSideProcess } = options;
  const program = planned.pod.spec!.containers.find(({ name }) => name === planned.program)!;
  const isOthers = (variable: string) =>
    ["KRUN_POD", "KRUN_TUNNEL"].includes(planned.origins.get(`env:${planned.program}/${variable}`) ?? "");
  const own = references.filter(({ variable }) => !isOthers(variable));
  const used = own.filter(({ destination }) => destination !== undefined || !isSideProcess);
  const unused = own.filter((reference) => !used.includes(reference)).map(({ variable }) =>
    `${printable(variable)} is not resolved: there is no program, and it names no destination`
  );
  const namespace = planned.pod.metadata?.namespace ?? "";
  const placed = used.map((reference): PlacedReference => ({
    ...reference,
    shown: referenceText(reference.object, namespace),
    ...placeOf(reference, options),
  }));
  const parts = filesOf(planned.pod, placed);
  const user = program.securityContext?.runAsUser ?? planned.pod.spec?.securityContext?.runAsUser ?? options.self.uid;
  return {
    ...planned,
    pod: podWith(planned, { placed, parts }),
    origins: new Map([
      ...planned.origins,
      ...placed.map(({ variable }) => [`env:${planned.program}/${variable}`, variable] as const),
      ...parts.map(({ volume, variable }) => [volume.name, variable] as const),
    ]),
    liveFiles: new Set([...planned.liveFiles, ...parts.map(({ volume }) => volume.name)]),
    volumeUsers: new Map([...planned.volumeUsers, ...parts.map(({ volume }) => [volume.name, user] as const)]),
    references: {
      bySecret: new Map(placed.map((reference) => [referenceSecret(reference.variable), reference] as const)),
      faults: faults.filter(({ askedBy }) => !isOthers(askedBy)),
      volumes: new Set(parts.map(({ volume }) => volume.name)),
      variables: references.map(({ variable }) => variable),
    },
    warnings: [...planned.warnings, ...used.flatMap(({ warnings }) => warnings), ...unused],
  };
}

function placeOf(
  { variable, destination }: Reference,
  { cwd, tempFolder, runId }: WithReferencesOptions,
): { path?: string } {
  if (destination === undefined) return {};
  return { path: pathOf(variable, destination, { cwd, tempFolder, runId }) };
}

function pathOf(
  variable: string,
  destination: ReferenceDestination,
  { cwd, tempFolder, runId }: Pick<WithReferencesOptions, "cwd" | "tempFolder" | "runId">,
): string {
  if (destination.kind === "path") return resolve(cwd, destination.path);
  const name = variable.replaceAll(/[^A-Za-z0-9_-]/g, "_").slice(0, 100);
  return resolve(resolve(cwd, tempFolder), `krun-${runId}-${name}${destination.extension}`);
}

/** A file of a reference. */
interface ReferenceFile {
  readonly variable: string;
  readonly volume: V1Volume;
  readonly mount: V1VolumeMount;
}

function filesOf(pod: V1Pod, placed: readonly PlacedReference[]): ReferenceFile[] {
  const taken = new Set((pod.spec?.volumes ?? []).map(({ name }) => name));
  return placed.flatMap(({ variable, path, mode, optional }) => {
    if (path === undefined) return [];
    const plain = dnsLabelOf(`reference-${variable}`, 58);
    let name = plain;
    for (let n = 2; taken.has(name); n++) name = `${plain}-${n}`;
    taken.add(name);
    const items = [{ key: VALUE, path: VALUE }];
    const secret = { secretName: referenceSecret(variable), items, defaultMode: mode, optional };
    return [{
      variable,
      volume: { name, secret },
      mount: { name, mountPath: path, readOnly: true, subPath: VALUE },
    }];
  });
}

function podWith(
  { pod, program }: PlannedPod,
  { placed, parts }: { placed: readonly PlacedReference[]; parts: readonly ReferenceFile[] },
): V1Pod {
  const { volumes = [], containers } = pod.spec!;
  const env = placed.map(({ variable: name, path, optional }): V1EnvVar => {
    const secretKeyRef = { name: referenceSecret(name), key: path === undefined ? VALUE : PATH, optional };
    return { name, valueFrom: { secretKeyRef } };
  });
  const names = new Set(env.map(({ name }) => name));
  const withParts = (container: V1Container): V1Container => {
    if (container.name !== program) return container;
    const others = (container.env ?? []).filter(({ name }) => !names.has(name));
    const mounts = [...container.volumeMounts ?? [], ...parts.map(({ mount }) => mount)];
    return { ...container, env: [...others, ...env], volumeMounts: mounts };
  };
  const all = [...volumes, ...parts.map(({ volume }) => volume)];
  return { ...pod, spec: { ...pod.spec!, volumes: all, containers: containers.map(withParts) } };
}
