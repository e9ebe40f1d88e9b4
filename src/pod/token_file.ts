/**
 * One service account token in one file, for a program that needs nothing else of a Pod.
 *
 * @module
 */
import type { Clock } from "../core/clock.ts";
import type { Cluster, TokenRef } from "../core/cluster.ts";
import { KrunError } from "../core/errors.ts";
import type { Logger } from "../core/log.ts";
import { basename, dirname, join } from "../core/posix_path.ts";
import { systemFailure } from "../core/system_failure.ts";
import { TokenKeeper } from "./token_keeper.ts";

/** Options of {@linkcode keepToken}. */
export interface KeepTokenOptions {
  /** The file; its folder must exist. It is replaced by rename, so a reader sees one whole token at any time. */
  readonly path: string;
  /** Permission bits, whatever the umask is. @default {0o600} */
  readonly mode?: number;
  /** Ends it. A file that was written stays: a program may still be reading it. */
  readonly signal: AbortSignal;
  /** Told of renewals and of what hinders them, never of a token. */
  readonly log: Logger;
  /** Called each time the file is new. */
  onWritten?(): void;
  /** For tests. @default {the machine's} */
  readonly clock?: Clock;
  /** A number from 0 to below 1, for jitter. @default {Math.random} */
  readonly random?: () => number;
}

/**
 * Writes a service account token to a file and renews it until the signal aborts.
 *
 * Renews past 80 % of the granted life or 24 h, up to 9 s early by chance, as kubelet does. A failed renewal keeps the old
 * file and is tried again with back-off. Owns the file and `.<name>.krun` beside it. Needs `--allow-write` for the folder.
 *
 * @throws {KrunError} when the first request or the first write fails: as {@linkcode Cluster.requestToken}, and
 * `TargetUnwritable`, `NoSpace`. The signal's reason when it aborts before the first token is there; a later abort resolves.
 *
 * @example
 * ```ts
 * import { findCluster } from "../kube/find_cluster.ts";
 * import { keepToken } from "./token_file.ts";
 * import assert from "node:assert/strict";
 *
 * const folder = await Deno.makeTempDir();
 * await Deno.mkdir(`${folder}/k8s`);
 * const log = { error: console.error, warn: console.error, info() {}, debug() {} };
 * await using cluster = await findCluster({ manifests: `${folder}/k8s`, stateFolder: `${folder}/state` }, { log });
 *
 * const stop = new AbortController();
 * await keepToken(
 *   cluster,
 *   { namespace: "shop", serviceAccount: "default", audience: "vault", expirationSeconds: 3600 },
 *   { path: `${folder}/token`, signal: stop.signal, log, onWritten: () => stop.abort() },
 * );
 * assert.equal((await Deno.readTextFile(`${folder}/token`)).split(".").length, 3);
 * await Deno.remove(folder, { recursive: true });
 * ```
 */
export async function keepToken(cluster: Cluster, ref: TokenRef, options: KeepTokenOptions): Promise<void> {
  const { path, mode = 0o600, signal } = options;
  const keeper = new TokenKeeper(cluster, ref, options);
  const write = (token: string) => {
    replaceFile(path, token, mode);
    options.onWritten?.();
  };
  signal.throwIfAborted();
  const { token } = await keeper.first(signal);
  signal.throwIfAborted();
  write(token);
  await keeper.keep({ signal, onRenewed: (renewed) => write(renewed.token) });
}

function replaceFile(path: string, text: string, mode: number): void {
  const temporary = join(dirname(path), `.${basename(path)}.krun`);
  try {
    removeIfThere(temporary); // left by a run that was killed
    Deno.writeTextFileSync(temporary, text, { createNew: true, mode: 0o600 });
    Deno.chmodSync(temporary, mode);
    Deno.renameSync(temporary, path);
  } catch (cause) {
    if (!(cause instanceof Error)) throw cause;
    const full = "code" in cause && cause.code === "ENOSPC";
    const hint = full ? "make room on its file system" : "give a path in a folder that this user may write";
    const message = `Cannot write token file "${path}": ${systemFailure(cause)}`;
    throw new KrunError(full ? "NoSpace" : "TargetUnwritable", message, hint, { cause });
  }
}

function removeIfThere(path: string): void {
  try {
    Deno.removeSync(path);
  } catch (error) {
    if (!(error instanceof Deno.errors.NotFound)) throw error;
  }
}
