/**
 * What `--check` says of references: whether each would resolve, and never to what.
 *
 * @module
 */
import { type PlacedReference, referenceSecret } from "../core/reference_pod.ts";
import type { CheckedPod } from "../pod/checked_pod.ts";
import type { References } from "../refs/references.ts";
import type { CheckedReference } from "./check_report.ts";
import type { Plan } from "./plan.ts";

export { openReferences } from "./references.ts";

/** What was read of them, and by whom. */
export interface ReadReferences {
  readonly pod: CheckedPod;
  readonly source: References;
}

/** A row for each reference, those that cannot be read first. */
export async function checkReferences(
  { planned: { references } }: Pick<Plan, "planned">,
  read: ReadReferences,
): Promise<CheckedReference[]> {
  const { faults = [], bySecret = new Map<string, PlacedReference>() } = references ?? {};
  const unread = faults.map(({ askedBy, error }): CheckedReference => ({
    ...{ variable: askedBy, object: "unknown", to: "unknown", resolves: "no", problem: error.message },
  }));
  return [...unread, ...await Promise.all([...bySecret.values()].map((reference) => check(reference, read)))];
}

async function check(reference: PlacedReference, { pod, source }: ReadReferences): Promise<CheckedReference> {
  const { variable, shown, optional, destination, path = "environment" } = reference;
  const to = destination?.kind === "temporary" ? "a temporary file" : path;
  const row = { variable, object: shown, to };
  const name = referenceSecret(variable);
  const read = await pod.object({ kind: "Secret", name, optional });
  if ("failure" in read) return { ...row, resolves: "no", problem: read.failure.message };
  if (read.value === undefined) return { ...row, resolves: "not set" };
  return { ...row, resolves: source.isDefault({ name }) ? "default" : "yes" };
}
