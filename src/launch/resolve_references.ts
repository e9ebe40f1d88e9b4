/**
 * References for other Deno programs: values alone, once. In: an environment. Out: the same with the values.
 *
 * @module
 */
import type { Cluster } from "../core/cluster.ts";
import type { Logger } from "../core/log.ts";
import type { Env } from "../core/pod_inputs.ts";

/** Options of {@linkcode resolveReferences}. */
export interface ResolveReferencesOptions {
  /** The workload's own cluster, for references that name none. @default {none: such a reference fails} */
  readonly cluster?: Cluster;
  /** The workload's namespace. @default {"default"} */
  readonly namespace?: string;
  /** Kubeconfig files, for references to a context. @default {none} */
  readonly kubeconfig?: readonly string[];
  /** Gives an access token of Google's with scope cloud-platform. @default {none: references to Google fail} */
  readonly googleAccessToken?: (signal: AbortSignal) => Promise<string>;
  /** Ends it, by a rejection with its reason. */
  readonly signal: AbortSignal;
  /** Where events of clusters go; `silentLog` for nowhere. */
  readonly log: Logger;
}

/**
 * The environment with the values of its references (`$SecretKeyRef:`, `$ConfigMapKeyRef:`, `berglas://`, `sm://`), each object read
 * once; what is optional and missing is left out. Every other value stays as it is. Nothing is written and nothing followed: a
 * reference with a destination gives its value too, which has to be text.
 *
 * Needs `--allow-net`, and `--allow-read` for kubeconfig files.
 *
 * @throws {KrunError} one error for all failures, listed in `details`; the signal's reason when it aborts.
 *
 * @example
 * ```ts
 * import { findCluster, resolveReferences, silentLog } from "../mod.ts";
 * import assert from "node:assert/strict";
 *
 * const folder = await Deno.makeTempDir();
 * await Deno.mkdir(`${folder}/k8s`);
 * await Deno.writeTextFile(`${folder}/k8s/db.yaml`, `
 * apiVersion: v1
 * kind: Secret
 * metadata: { name: db, namespace: shop }
 * stringData: { password: hunter2 }
 * `);
 * const signal = AbortSignal.timeout(5_000);
 * {
 *   await using cluster = await findCluster({ manifests: `${folder}/k8s`, stateFolder: `${folder}/state` }, { log: silentLog, signal });
 *   const env = { PASSWORD: "$SecretKeyRef:/secrets/db/keys/password", PORT: "8080" };
 *   const resolved = await resolveReferences(env, { cluster, namespace: "shop", signal, log: silentLog });
 *   assert.deepEqual(resolved, { PASSWORD: "hunter2", PORT: "8080" });
 * }
 * await Deno.remove(folder, { recursive: true });
 * ```
 */
export async function resolveReferences(env: Env, options: ResolveReferencesOptions): Promise<Env> {
  options.signal.throwIfAborted();
  // A program that has no reference need not load what resolves them.
  return await (await import("./library_references.ts")).resolveNow(env, options);
}
