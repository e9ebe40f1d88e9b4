/**
 * Whom krun's requests trust and which way they go, kept out of the hands of Deno's own variables. In: the process's environment.
 * Out: the same, without what Deno would obey.
 *
 * @module
 */

import { KrunError } from "../core/errors.ts";

/** What is needed of the `env` of `Deno`. */
export interface ProcessEnv {
  /** All variables. */
  toObject(): Record<string, string>;
  /** Takes one out, if it is there. */
  delete(name: string): void;
  /** Adds or changes one. */
  set(name: string, value: string): void;
}

/** Deno obeys these for every server, those on loopback included, and NO_PROXY against the proxy-url of a kubeconfig. */
const PROXIES = /^(https?|all|no)_proxy$/i;

/** CAs that Deno trusts beside the one that a kubeconfig names. */
const ROOTS = ["DENO_CERT", "NODE_EXTRA_CA_CERTS", "DENO_TLS_CA_STORE"] as const;

/**
 * Makes a process follow kubectl's rules: from now on a server's certificate counts only when the CA given for it signed it,
 * and a proxy is used only when one is given. Deno's variables of proxies and CAs are taken out of the process, and its own
 * roots out of what it trusts.
 *
 * Call it before the first request of the process; later it has no effect on CAs. Child processes of `Deno.Command` get the
 * environment that is left, so copy it before. SSLKEYLOGFILE is not among them: Deno opens that file before any module runs, and
 * writes the keys of every connection there, so that krun itself refuses to start with it. It concerns every request of the process: where a request needs the public CAs,
 * give them (`caCerts` of `Deno.createHttpClient`). Needs `--allow-env`.
 *
 * @example
 * ```ts
 * import { ownNetwork } from "../mod.ts";
 * import assert from "node:assert/strict";
 *
 * const variables = new Map([["HTTPS_PROXY", "http://proxy.example:3128"], ["DENO_CERT", "/etc/ca.crt"], ["HOME", "/root"]]);
 * ownNetwork({ // In a program this is the env of Deno.
 *   toObject: () => Object.fromEntries(variables),
 *   delete: (name) => void variables.delete(name),
 *   set: (name, value) => void variables.set(name, value),
 * });
 * assert.deepEqual(Object.fromEntries(variables), { HOME: "/root", DENO_TLS_CA_STORE: "" });
 * ```
 */
export function ownNetwork(env: ProcessEnv): void {
  for (const name of [...Object.keys(env.toObject()).filter((name) => PROXIES.test(name)), ...ROOTS]) env.delete(name);
  // A list of no stores; unset would mean Mozilla's. Deno reads it when it makes its first client.
  env.set("DENO_TLS_CA_STORE", "");
}

/**
 * Refuses a process in which the runtime writes down the keys of TLS connections, by which whoever has recorded krun's traffic reads
 * its tokens. Deno (2.6.10 and 2.9.6, also in a binary) opens the file before any module runs, with the umask's mode, and no longer
 * looks at the variable then: there is nothing to take out.
 *
 * @throws {KrunError} `SettingConflict`
 */
export function refuseKeyLog(env: Readonly<Record<string, string>>): void {
  if (!env.SSLKEYLOGFILE) return;
  const message = "Cannot start with SSLKEYLOGFILE: the keys of krun's TLS connections would be written to that file";
  const hint = "unset it; for the program alone, name it as env SSLKEYLOGFILE=FILE PROGRAM";
  throw new KrunError("SettingConflict", message, hint);
}
