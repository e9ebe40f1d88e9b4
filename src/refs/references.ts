/**
 * Resolves references: what a Pod's engine reads and follows as Secrets `$NAME`. In: references, and who reads their objects. Out:
 * Secrets with their values, or errors that name variable, object, reason and remedy, and quote nothing.
 *
 * @module
 */
import type { V1Secret } from "@kubernetes/client-node";
import type { FollowOptions, ObjectRef } from "../core/cluster.ts";
import { KrunError, type KrunErrorOptions } from "../core/errors.ts";
import type { Logger } from "../core/log.ts";
import { isPinned, type ReferenceObject, referenceObjectId } from "../core/reference.ts";
import {
  type PlacedReference,
  referenceSecret,
  type ReferenceSource,
  secretOfReference,
} from "../core/reference_pod.ts";
import { type FoundObject, opening, referenceValue } from "../core/reference_value.ts";
import { type ObjectReader, ReferencedObject } from "./referenced_object.ts";

/** Options of {@linkcode References}. */
export interface ReferencesOptions {
  readonly references: readonly PlacedReference[];
  /** The workload's. */
  readonly namespace: string;
  /** The same object in other words, so that all that name it share one request. @default {as it is written} */
  readonly canonical?: (object: ReferenceObject) => ReferenceObject;
  /** Who reads the object of a reference; one is made for each object. `isPolled`: it is to be followed without a watch. */
  reader(reference: PlacedReference, options: { readonly isPolled: boolean }): ObjectReader;
  /** Told of a value that stays although the object has it no more. */
  readonly log: Logger;
}

/** A reference and its object. */
interface Resolved {
  readonly reference: PlacedReference;
  readonly object: ReferencedObject;
}

/** The references of one Pod. */
export class References implements ReferenceSource {
  readonly #options: ReferencesOptions;
  readonly #bySecret: ReadonlyMap<string, Resolved>;
  /** Names of the Secrets whose value was once one of the object, and no default. */
  readonly #wasThere = new Set<string>();

  /** Reads nothing yet. */
  constructor(options: ReferencesOptions) {
    this.#options = options;
    const { canonical = (object) => object } = options;
    const byObject = Map.groupBy(options.references, ({ object }) => referenceObjectId(canonical(object)));
    this.#bySecret = new Map([...byObject.values()].flatMap((references) => {
      const [first] = references;
      // A variable keeps its value; of a file there may be a newer one.
      const isPolled = !isPinned(first!.object) && references.some(({ path }) => path !== undefined);
      const object = new ReferencedObject(options.reader(first!, { isPolled }));
      return references.map((reference) => [referenceSecret(reference.variable), { reference, object }] as const);
    }));
  }

  /** The Secret of a variable's value; `undefined`: it is optional, and there is none. @throws {KrunError} naming the variable */
  async get({ name }: ObjectRef, { signal }: { signal?: AbortSignal } = {}): Promise<V1Secret | undefined> {
    const { reference, object } = this.#resolved(name);
    try {
      return secretOfReference(reference, this.#value(reference, await object.read(signal)));
    } catch (error) {
      if (error instanceof KrunError) throw ofVariable(reference, error);
      throw error;
    }
  }

  /**
   * Follows it until the signal aborts. What was there once and is missing later leaves the last value, also where the reference is
   * optional or has a default: those are for a start.
   */
  async follow({ name }: ObjectRef, { signal, deliver, onState }: FollowOptions): Promise<void> {
    const { reference, object } = this.#resolved(name);
    const { optional: _optional, default: _default, ...strict } = reference;
    let told: string | undefined;
    await object.follow(signal, {
      onState: (state, reason) => onState?.(state, reason),
      deliver: async (found) => {
        try {
          const later = this.#wasThere.has(name) ? { ...strict, optional: false } : reference;
          const secret = secretOfReference(reference, this.#value(later, found));
          told = undefined;
          await deliver(secret);
        } catch (error) {
          if (!(error instanceof KrunError)) throw error;
          if (told === error.message) return;
          told = error.message;
          this.#options.log.warn("a reference keeps its last value", {
            variable: reference.variable,
            reason: error.message,
          });
        }
      },
    });
  }

  /** Whether the value of a Secret that was read is the reference's default, or missing, instead of the object's. */
  isDefault({ name }: Pick<ObjectRef, "name">): boolean {
    return !this.#wasThere.has(name);
  }

  #resolved(name: string): Resolved {
    const resolved = this.#bySecret.get(name);
    if (resolved) return resolved;
    throw new KrunError("Internal", `Cannot resolve "${name}": nobody asked for it`, "report this as a fault of krun");
  }

  #value(reference: PlacedReference, found: FoundObject | undefined): Uint8Array | undefined {
    const { value, isThere } = referenceValue(reference, found, { namespace: this.#options.namespace });
    if (isThere) this.#wasThere.add(referenceSecret(reference.variable));
    return value;
  }
}

/** A failure of a place, as the variable met it. */
function ofVariable(reference: PlacedReference, error: KrunError): KrunError {
  const begin = opening(reference);
  if (error.message.startsWith(`${begin}:`)) return error;
  const { code, message, hint, transient, retryAfterMs } = error;
  const from = message.includes(reference.shown) ? "" : ` from ${reference.shown}`;
  return new KrunError(code, `${begin}${from}: ${message.replace(/^Cannot /, "cannot ")}`, hint, {
    cause: error,
    transient,
    ...(retryAfterMs !== undefined && { retryAfterMs }),
    ...rightsOf(reference, error),
  });
}

/** What would grant a right that is missing: for another cluster than the Pod's it is told by itself, with that cluster's name. */
function rightsOf(
  { object, shown }: PlacedReference,
  { details, missing }: KrunError,
): Pick<KrunErrorOptions, "details" | "missing"> {
  if (details === undefined) return {};
  const isOwn = object.system !== "kubernetes" || object.cluster.kind === "own";
  if (missing && !isOwn) return { details: `# In the cluster of ${shown}:\n${details}---` };
  return { details, ...(missing && { missing }) };
}
