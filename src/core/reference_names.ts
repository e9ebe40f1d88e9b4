/**
 * The settings of references in the values of variables, a part of the table of settings.
 *
 * @module
 */
import type { Setting } from "./setting.ts";

/** The references' part of the table. */
export const REFERENCE_NAMES = [
  {
    env: "KRUN_REFS",
    group: "references",
    unit: "off, or names, separated by commas",
    unset: "every variable whose value is a reference",
    says:
      "Variables whose values are resolved where they are references ($SecretKeyRef:, $ConfigMapKeyRef:, berglas://, sm://); all others stay as they are",
    example: "DB_PASSWORD,TLS_KEY",
    seenBy: "krun",
  },
  {
    env: "KRUN_ENV_SOURCE",
    group: "references",
    unit: "process or cloudrun",
    unset: "process",
    says:
      "Where references are taken from: krun's own environment, or what the running revision or execution says of itself in the Cloud Run API, so that only who deploys it can name a secret",
    example: "cloudrun",
    seenBy: "krun",
  },
  {
    env: "KRUN_REFS_POLL",
    group: "references",
    unit: "seconds, or with a unit: 500ms, 90s, 5m; 0 is never",
    unset: "5m",
    says:
      "How often a file is compared with a reference to Secret Manager or Cloud Storage that names no fixed version, a tenth more or less; Secrets and ConfigMaps are watched",
    example: "90s",
    seenBy: "krun",
  },
] as const satisfies readonly Setting[];
