/**
 * What a Pod refers to and what was found: the two sides between the pure rules of volumes and environment and the engine
 * that reads objects and asks for tokens.
 *
 * @module
 */
import type { V1Service } from "@kubernetes/client-node";
import type { GrantedToken, ObjectKind, TokenRef, WatchedObject } from "./cluster.ts";

/** Variable name → value. */
export type Env = Readonly<Record<string, string>>;

/** A Secret or ConfigMap that a Pod refers to, in the Pod's own namespace. */
export interface ObjectNeed {
  readonly kind: ObjectKind;
  readonly name: string;
  /** Every reference to it is optional: its absence is no failure. */
  readonly optional: boolean;
}

/** What one part of a Pod (a volume, a container's environment) needs before it can be made. */
export interface Needs {
  readonly objects: readonly ObjectNeed[];
  readonly tokens: readonly TokenRef[];
}

/** What the machine says of itself, as a Node object would. */
export interface NodeFacts {
  /** `spec.nodeName`. */
  readonly name: string;
  /** `status.hostIPs`, primary first; also the Pod's own addresses, since krun gives a Pod no network of its own. */
  readonly ips: readonly string[];
  /** Quantities by resource name: cpu, memory, ephemeral-storage. */
  readonly allocatable: Readonly<Record<string, string>>;
}

/** Everything the rules may look at. Objects and tokens that were not asked for in {@linkcode Needs} are not there. */
export interface PodInputs {
  /** `undefined`: the API server says that it does not exist. */
  object(kind: ObjectKind, name: string): WatchedObject | undefined;
  token(ref: TokenRef): GrantedToken;
  /** For service variables: those of the Pod's namespace, and `kubernetes` of namespace `default`. */
  readonly services: readonly V1Service[];
  readonly node: NodeFacts;
}
