/**
 * Who reads the object of a reference: one for each system. In: clusters and an account. Out: readers.
 *
 * @module
 */
import type { Clock } from "../core/clock.ts";
import { BerglasSecret } from "./berglas_secret.ts";
import { GoogleAsker, type GoogleAskerOptions } from "./google_asker.ts";
import { KubernetesReader, type ReferenceClusters } from "./kubernetes_reader.ts";
import { PolledReader } from "./polled_reader.ts";
import type { ReferencesOptions } from "./references.ts";
import { SecretManagerSecret } from "./secret_manager.ts";

/** Options of {@linkcode referenceReader}. */
export interface ReferenceReaderOptions extends GoogleAskerOptions {
  readonly clusters: ReferenceClusters;
  /** The workload's. */
  readonly namespace: string;
  /** Milliseconds between two looks at a secret that nobody tells of; 0: no second one. */
  readonly pollMs: number;
  readonly clock: Clock;
  /** A number from 0 to below 1. @default {Math.random} */
  readonly random?: () => number;
}

/** Makes readers. A new system is a line here, and one in `core/reference.ts`. */
export function referenceReader(options: ReferenceReaderOptions): ReferencesOptions["reader"] {
  const google = new GoogleAsker(options);
  const { clock, random = Math.random } = options;
  return ({ object }, { isPolled }) => {
    if (object.system === "kubernetes") return new KubernetesReader(object, options);
    const secret = object.system === "storage"
      ? new BerglasSecret(object, google)
      : new SecretManagerSecret(object, google);
    return new PolledReader(secret, { pollMs: isPolled ? options.pollMs : 0, clock, random });
  };
}
