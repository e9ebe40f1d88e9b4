/**
 * What has no effect with KRUN_REFRESH=never. In: the settings and the one program. Out: warnings.
 *
 * @module
 */
import type { V1Container, V1PodSpec } from "@kubernetes/client-node";
import type { Settings } from "./settings.ts";

/** What a krun that stays would do with a container. */
const LASTING = ["startupProbe", "livenessProbe", "readinessProbe", "lifecycle"] as const;

/** One warning that names all that needs a krun beside the program; none in the other mode. */
export function oneShotWarnings(
  { oneShot, startupProbe, gracePeriodSeconds }: Pick<Settings, "oneShot" | "startupProbe" | "gracePeriodSeconds">,
  { program, spec }: { readonly program: V1Container; readonly spec: V1PodSpec },
): string[] {
  if (!oneShot) return [];
  const fields = LASTING.filter((field) => program[field] !== undefined)
    .map((field) => field === "startupProbe" ? startupProbe?.env ?? field : field);
  const lost = [
    ...fields,
    ...(gracePeriodSeconds === undefined ? [] : ["KRUN_GRACE_PERIOD"]),
    ...((spec.restartPolicy ?? "Never") === "Never" ? [] : [`restartPolicy ${spec.restartPolicy}`]),
  ];
  if (lost.length === 0) return [];
  return [`no effect with KRUN_REFRESH=never, where krun is gone once the program runs: ${lost.join(", ")}`];
}
