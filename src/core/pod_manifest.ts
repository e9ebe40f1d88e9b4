/**
 * A whole Pod as somebody wrote it (KRUN_POD): parsed data goes in, a Pod comes out that krun can run, or a `PodInvalid` that
 * names the field.
 *
 * @module
 */
import type { V1Container, V1Pod, V1PodSpec } from "@kubernetes/client-node";
import { KrunError } from "./errors.ts";
import { podShape } from "./pod_shape.ts";
import { ShapeFault, withoutNulls } from "./shape.ts";

/** A Pod that was read. */
export interface PodManifest {
  /** As written, without defaults. */
  readonly pod: V1Pod;
  /** One line each, for the log: fields that have no effect. */
  readonly warnings: readonly string[];
}

/**
 * Reads the parsed text of a Pod's manifest; `where` is the file as a person would name it.
 *
 * Unknown fields are refused, as the API server does with `fieldValidation=Strict`; known ones that krun cannot make true are
 * named in one warning.
 *
 * @throws {KrunError} `PodInvalid` naming the path of the field.
 */
export function parsePodManifest(data: unknown, where: string): PodManifest {
  const ignoredFields = new Set<string>();
  try {
    const found = withoutNulls(data);
    checkKind(found);
    podShape(found, { path: "", onIgnored: (path) => ignoredFields.add(path.replaceAll(/\[\d+\]/g, "")) });
    const pod = found as V1Pod;
    checkPod(pod.spec!);
    return { pod, warnings: ignoredFields.size === 0 ? [] : [noEffect(where, ignoredFields)] };
  } catch (error) {
    if (!(error instanceof ShapeFault)) throw error;
    throw new KrunError(
      "PodInvalid",
      `Cannot read Pod "${where}": ${error.message}`,
      "correct this field of the manifest",
      {
        cause: error,
      },
    );
  }
}

function noEffect(where: string, fields: ReadonlySet<string>): string {
  return `these fields of the Pod in ${where} have no effect: ${[...fields].join(", ")}`;
}

/** Whoever gives a Deployment gets told what to do with it. */
function checkKind(data: unknown): void {
  const kind = typeof data === "object" && data !== null && "kind" in data ? data.kind : undefined;
  if (kind === undefined || kind === "Pod") return;
  throw new ShapeFault("kind", `is ${JSON.stringify(kind)}, not "Pod": of a workload, give its template as a Pod`);
}

/** What fields say of each other: pkg/apis/core/validation/validation.go (v1.34.4), as far as krun relies on it. */
function checkPod(spec: V1PodSpec): void {
  if (spec.containers.length === 0) throw new ShapeFault("spec.containers", "is empty");
  const volumes = (spec.volumes ?? []).map(({ name }) => name);
  checkUnique(volumes, (index) => `spec.volumes[${index}].name`);
  const initContainers = spec.initContainers ?? [];
  for (const [index, container] of initContainers.entries()) {
    const path = `spec.initContainers[${index}]`;
    checkMounts(container, { path, volumes });
    checkInitContainer(container, path);
  }
  for (const [index, container] of spec.containers.entries()) {
    const path = `spec.containers[${index}]`;
    checkMounts(container, { path, volumes });
    if (container.restartPolicy !== undefined) {
      throw new ShapeFault(`${path}.restartPolicy`, "is set, and only an init container may have one");
    }
  }
  const names = [...initContainers, ...spec.containers].map(({ name }) => name);
  checkUnique(names, (index) => {
    const regular = index - initContainers.length;
    return regular < 0 ? `spec.initContainers[${index}].name` : `spec.containers[${regular}].name`;
  });
}

function checkInitContainer(container: V1Container, path: string): void {
  const { restartPolicy } = container;
  if (restartPolicy === "Always") return;
  if (restartPolicy !== undefined) throw new ShapeFault(`${path}.restartPolicy`, "must be Always, or not be set");
  for (const field of ["startupProbe", "livenessProbe", "readinessProbe", "lifecycle"] as const) {
    if (container[field]) throw new ShapeFault(`${path}.${field}`, "needs restartPolicy Always in an init container");
  }
}

function checkMounts(container: V1Container, { path, volumes }: { path: string; volumes: readonly string[] }): void {
  const mounts = container.volumeMounts ?? [];
  for (const [index, mount] of mounts.entries()) {
    const at = `${path}.volumeMounts[${index}]`;
    if (!volumes.includes(mount.name)) {
      throw new ShapeFault(`${at}.name`, `names ${JSON.stringify(mount.name)}, which is no volume`);
    }
    if (mount.mountPath === "") throw new ShapeFault(`${at}.mountPath`, "is empty");
    if (mount.subPath && mount.subPathExpr) throw new ShapeFault(at, "has subPath and subPathExpr");
    const subPath = mount.subPath || mount.subPathExpr || "";
    if (subPath.startsWith("/") || subPath.split("/").includes("..")) {
      throw new ShapeFault(at, "has a subPath that is absolute or holds ..");
    }
  }
  checkUnique(mounts.map(({ mountPath }) => mountPath), (index) => `${path}.volumeMounts[${index}].mountPath`);
}

function checkUnique(values: readonly string[], pathOf: (index: number) => string): void {
  const second = values.findIndex((value, index) => values.indexOf(value) !== index);
  if (second >= 0) {
    throw new ShapeFault(pathOf(second), `is ${JSON.stringify(values[second])}, which another has already`);
  }
}
