/**
 * What krun gives up once it no longer needs it. It confines mistakes, not attackers: docs/security.md.
 *
 * @module
 */
import type { Logger } from "../core/log.ts";
import { relative } from "../core/posix_path.ts";

/** Options of {@linkcode dropPermissions}. */
export interface DropOptions {
  /** krun's own user. Root keeps everything: its base is `/`. */
  readonly uid: number;
  /** Absolute. */
  readonly base: string;
  /** Absolute; the relative entry of the write grant means this folder. */
  readonly cwd: string;
  /** Files that are written outside of that folder. @default {none} */
  readonly outside?: readonly string[];
  readonly log: Logger;
}

/**
 * Gives up FFI and writing outside the working directory, for a krun of an ordinary user. Call it when libc is loaded: its
 * symbols go on working.
 *
 * The binary's grant is the list `/` and `.`; revoking `/` leaves `.`. A base outside the working directory keeps the whole
 * write grant, since starting anew there would cost a second start (docs/decisions.md), and says so. Under a general grant
 * (`-A`) nothing can be given up for good.
 */
export function dropPermissions({ uid, base, cwd, outside = [], log }: DropOptions): void {
  if (uid === 0) return;
  // Only a general grant answers for every path at once.
  if (Deno.permissions.querySync({ name: "write" }).state === "granted") {
    log.debug("permissions kept", { reason: "krun runs under a general grant" });
    return;
  }
  Deno.permissions.revokeSync({ name: "ffi" });
  if (outside.length > 0) {
    const reason = "a reference's file is outside the working directory";
    log.info("write permission kept", { reason, files: outside.join(" ") });
    return;
  }
  if (isOutside(base, cwd)) {
    log.debug("write permission kept", { reason: "the base is outside the working directory", base });
    return;
  }
  Deno.permissions.revokeSync({ name: "write", path: "/" });
}

/** Whether a path is outside of a folder; both are absolute. */
export function isOutside(path: string, folder: string): boolean {
  const inside = relative(folder, path);
  return inside === ".." || inside.startsWith("../");
}
