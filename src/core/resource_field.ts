/**
 * `resourceFieldRef`: how much of a resource a container may use. In: the selector, the Pod, the node. Out: a whole number
 * as text.
 *
 * @module
 */
import type { V1Container, V1Pod, V1ResourceFieldSelector } from "@kubernetes/client-node";
import { KrunError } from "./errors.ts";
import type { NodeFacts } from "./pod_inputs.ts";
import { divideUp, formatQuantity, parseQuantity, type Quantity } from "./quantity.ts";

/** Options of {@linkcode resourceFieldValue}. */
export interface ResourceFieldOptions {
  /** The Pod whose containers the selector may name. */
  readonly pod: V1Pod;
  /** The node it runs on: its `allocatable` stands in for missing limits. */
  readonly node: NodeFacts;
  /** The container whose environment is made: what a selector without `containerName` means. Unused for a volume. */
  readonly containerName?: string;
  /** Where the value goes: the rules for missing limits differ. */
  readonly place: "env" | "volume";
}

const RESOURCE = /^(limits|requests)\.(cpu|memory|ephemeral-storage|hugepages-.+)$/;

/** Resources that a node lends out: a missing limit means all of what is allocatable. */
const LENT = ["cpu", "memory", "ephemeral-storage"];

/** Resources that `spec.resources` of a Pod can limit (gate PodLevelResources, on). */
const POD_LEVEL = ["cpu", "memory"];

const CPU_DIVISORS = ["1", "1m"];
const OTHER_DIVISORS = ["1", "1k", "1M", "1G", "1T", "1P", "1E", "1Ki", "1Mi", "1Gi", "1Ti", "1Pi", "1Ei"];

/** Billionths in a thousandth and in one. */
const MILLI = 1_000_000n;
const ONE = 1_000_000_000n;

/**
 * Value of a `resourceFieldRef`: `ceil(value / divisor)`, cpu counted in thousandths on both sides.
 *
 * Divisor `"0"`, which the API server gives for an unset one, means 1. A missing or zero limit of cpu, memory or
 * ephemeral-storage is the node's allocatable; for a variable a limit of the whole Pod goes before that, and a *named* init
 * container gets neither. A missing request is 0. The division is exact; the kubelet's, in floating point, differs above
 * 2^53.
 *
 * Rule: pkg/api/v1/resource/helpers.go, pkg/kubelet/kubelet_resources.go `defaultPodLimitsForDownwardAPI` and, for what is
 * refused, `validateContainerResourceFieldSelector` of pkg/apis/core/validation/validation.go of Kubernetes v1.34.
 *
 * @throws {KrunError} `PodInvalid` for an unknown resource, container or divisor, or a quantity that cannot be read.
 */
export function resourceFieldValue(selector: V1ResourceFieldSelector, options: ResourceFieldOptions): string {
  const [, side, resource] = RESOURCE.exec(selector.resource) ?? [];
  if (side === undefined || resource === undefined) throw refused(selector, "it is not a resource that can be shown");
  const container = containerOf(selector, options);
  const quantity = side === "limits"
    ? limitOf(resource, container, { selector, options })
    : parseQuantity(container.resources?.requests?.[resource] ?? 0);
  const unit = resource === "cpu" ? MILLI : ONE;
  const value = divideUp(quantity.nanos, unit);
  return `${divideUp(value, divideUp(divisorOf(selector, resource).nanos, unit))}`;
}

function containerOf(
  selector: V1ResourceFieldSelector,
  { pod, containerName, place }: ResourceFieldOptions,
): V1Container {
  const name = selector.containerName || (place === "env" ? containerName : undefined);
  if (name === undefined) throw refused(selector, "containerName is missing, which a volume needs");
  const container = [...pod.spec?.containers ?? [], ...pod.spec?.initContainers ?? []].find((c) => c.name === name);
  if (container === undefined) throw refused(selector, `the Pod has no container "${name}"`);
  return container;
}

interface Asked {
  readonly selector: V1ResourceFieldSelector;
  readonly options: ResourceFieldOptions;
}

function limitOf(resource: string, container: V1Container, { selector, options }: Asked): Quantity {
  const { pod, node, place } = options;
  const limit = parseQuantity(container.resources?.limits?.[resource] ?? 0);
  if (limit.nanos !== 0n || !LENT.includes(resource)) return limit;
  const regular = pod.spec?.containers.some((c) => c.name === container.name) ?? false;
  // The kubelet merges allocatable into the regular containers and the one it starts, not into the other init containers.
  if (place === "env" && selector.containerName && !regular) return limit;
  const podLimit = place === "env" && POD_LEVEL.includes(resource)
    ? pod.spec?.resources?.limits?.[resource]
    : undefined;
  const whole = parseQuantity(podLimit ?? 0);
  return whole.nanos === 0n ? parseQuantity(node.allocatable[resource] ?? 0) : whole;
}

function divisorOf(selector: V1ResourceFieldSelector, resource: string): Quantity {
  const divisor = parseQuantity(selector.divisor ?? 0);
  if (divisor.nanos === 0n) return parseQuantity(1);
  const allowed = resource === "cpu" ? CPU_DIVISORS : OTHER_DIVISORS;
  if (!allowed.includes(formatQuantity(divisor))) {
    throw refused(selector, `divisor "${selector.divisor}" is not one of ${allowed.join(", ")}`);
  }
  return divisor;
}

function refused({ resource }: V1ResourceFieldSelector, state: string): KrunError {
  return new KrunError(
    "PodInvalid",
    `Cannot resolve resourceFieldRef "${resource}": ${state}`,
    "use limits or requests of cpu, memory, ephemeral-storage or hugepages-<size>, of a container of this Pod",
  );
}
