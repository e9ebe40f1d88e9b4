/**
 * The environment that a revision or an execution of Cloud Run was deployed with. In: the API's description of it. Out: variables.
 *
 * Rule: field `containers[].env[]` of v1 Revision (`spec`), v1 Execution (`spec.template.spec`) and v2 WorkerPoolRevision.
 *
 * @module
 */
import type { Env } from "./pod_inputs.ts";

/** A container as the API describes it. */
export interface DescribedContainer {
  readonly env?: readonly { readonly name?: string; readonly value?: string }[] | null;
}

/** What the API says of a revision or an execution, as far as it is looked at. */
export interface DescribedRun {
  /** v1. */
  readonly spec?: {
    readonly containers?: readonly DescribedContainer[];
    readonly template?: { readonly spec?: { readonly containers?: readonly DescribedContainer[] } };
  };
  /** v2. */
  readonly containers?: readonly DescribedContainer[];
}

/** Its containers. */
export function describedContainers({ spec, containers }: DescribedRun): readonly DescribedContainer[] {
  return spec?.containers ?? spec?.template?.spec?.containers ?? containers ?? [];
}

/**
 * The variables of this process as they were deployed: text values only, since what has a `valueFrom` came from a secret.
 *
 * Of several containers nobody says which one this is: then only a variable counts that this process has with the value that one of
 * them was given.
 *
 * @param own krun's own environment
 */
export function deployedEnv(run: DescribedRun, own: Env): Env {
  const containers = describedContainers(run).map((container) => literals(container));
  const [only, ...others] = containers;
  if (others.length === 0) return Object.fromEntries(only ?? []);
  const ours = Object.entries(own).filter(([name, value]) => containers.some((env) => env.get(name) === value));
  return Object.fromEntries(ours);
}

function literals({ env }: DescribedContainer): Map<string, string> {
  const named = (env ?? []).filter(({ name, value }) => typeof name === "string" && typeof value === "string");
  return new Map(named.map(({ name, value }) => [name!, value!]));
}
