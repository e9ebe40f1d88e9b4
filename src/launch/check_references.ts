/**
 * What `--check` says of references: whether each would resolve, and never to what.
 *
 * @module
 */
import { type PlacedReference, referenceSecret } from "../core/reference_pod.ts";
import type { CheckedPod } from "../pod/checked_pod.ts";
import type { CheckedReference } from "./check_report.ts";
import type { Plan } from "./plan.ts";

export { openReferences } from "./references.ts";

/** A row for each reference, those that cannot be read first. */
export async function checkReferences(
  { planned: { references } }: Pick<Plan, "planned">,
  pod: CheckedPod,
): Promise<CheckedReference[]> {
  const { faults = [], bySecret = new Map<string, PlacedReference>() } = references ?? {};
  const unread = faults.map(({ askedBy, error }): CheckedReference => ({
    ...{ variable: askedBy, object: "unknown", to: "unknown", resolves: "no", problem: error.message },
  }));
  const read = await Promise.all([...bySecret.values()].map((reference) => check(reference, pod)));
  return [...unread, ...read];
}

async function check(reference: PlacedReference, pod: CheckedPod): Promise<CheckedReference> {
  const { variable, shown, optional, destination, path = "environment" } = reference;
  const to = destination?.kind === "temporary" ? "a temporary file" : path;
  const row = { variable, object: shown, to };
  const read = await pod.object({ kind: "Secret", name: referenceSecret(variable), optional });
  if ("failure" in read) return { ...row, resolves: "no", problem: read.failure.message };
  if (read.value === undefined) return { ...row, resolves: "not set" };
  return { ...row, resolves: isDefault(reference, read.value.data) ? "default" : "yes" };
}

/** The value may be what the object has as well: then either is true. */
function isDefault({ default: text }: PlacedReference, data: Readonly<Record<string, string>> = {}): boolean {
  return text !== undefined && data["value"] === new TextEncoder().encode(text).toBase64();
}
