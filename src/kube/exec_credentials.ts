/**
 * Credentials from a program: the `exec` users of a kubeconfig, by the protocol ExecCredential
 * (https://kubernetes.io/docs/reference/config-api/client-authentication.v1/). The program is started when there is no
 * credential yet, when the last one has expired, and when the server refuses it.
 *
 * What client-node has for this starts the program without KUBERNETES_EXEC_INFO, does not run it again after a 401, takes
 * 400 ms and 86 MB to load, and does not load on Deno 2.6.10.
 *
 * @module
 */
import type { ClusterConfig, ExecConfig } from "../core/cluster_config.ts";
import { KrunError } from "../core/errors.ts";
import { abortable } from "./abort.ts";
import { credentialsOf } from "./api_error.ts";
import { type Credential, type Credentials, type CredentialsOptions, pemOf } from "./credentials.ts";
import { denoFiles, readFailure } from "./deno_files.ts";
import { headerFault } from "./transport.ts";

/** Options of {@linkcode ExecCredentials}. */
export interface ExecCredentialsOptions extends CredentialsOptions {
  readonly exec: ExecConfig;
  /** What the user has besides: a certificate may come from the kubeconfig and the token from the program. */
  readonly own: Credentials;
  /** Milliseconds since the epoch. @default {Date.now} */
  readonly nowMs?: () => number;
}

interface Held {
  readonly credential: Credential;
  /** Milliseconds since the epoch; unset: as long as the server takes it. */
  readonly expiresAtMs: number | undefined;
}

/** One program, run once at a time, its credential kept until it expires. */
export class ExecCredentials implements Credentials {
  readonly #config: ClusterConfig;
  readonly #options: ExecCredentialsOptions;
  #held: Held | undefined;
  #running: Promise<Held> | undefined;

  constructor(config: ClusterConfig, options: ExecCredentialsOptions) {
    this.#config = config;
    this.#options = options;
  }

  async current(signal?: AbortSignal): Promise<Credential> {
    const { nowMs = Date.now } = this.#options;
    const held = this.#held;
    if (held && (held.expiresAtMs === undefined || nowMs() < held.expiresAtMs)) return held.credential;
    return (await abortable(this.#renewed(), signal)).credential;
  }

  async refused(used: Credential, signal?: AbortSignal): Promise<boolean> {
    if (this.#held?.credential === used) this.#held = undefined;
    return await this.current(signal) !== used;
  }

  /** Requests that start at once share one run. */
  #renewed(): Promise<Held> {
    return this.#running ??= this.#run().finally(() => this.#running = undefined);
  }

  async #run(): Promise<Held> {
    const { exec, own } = this.#options;
    const { headers, certificate } = await own.current();
    const status = this.#statusIn(await this.#output());
    const token = textIn(status, "token");
    const state = headerFault(token ?? "");
    if (state !== undefined) throw this.#fault(`the token it gave cannot be sent: ${state}`);
    const cert = textIn(status, "clientCertificateData");
    const key = textIn(status, "clientKeyData");
    if ((cert === undefined) !== (key === undefined)) throw this.#fault("it gave a certificate or a key, not both");
    if (token === undefined && cert === undefined) throw this.#fault("it gave neither a token nor a certificate");
    const expires = textIn(status, "expirationTimestamp");
    const expiresAtMs = expires === undefined ? undefined : Date.parse(expires);
    if (Number.isNaN(expiresAtMs)) throw this.#fault(`its expirationTimestamp is not a time`);
    this.#options.log.debug("credential plugin has run", { command: exec.command, expires });
    const lines = token === undefined ? headers : [...headers, ["authorization", `Bearer ${token}`] as const];
    const pair = cert !== undefined && key !== undefined ? { cert, key } : certificate;
    return this.#held = { credential: { headers: lines, certificate: pair }, expiresAtMs };
  }

  async #output(): Promise<string> {
    const { exec, env, lifetime } = this.#options;
    if (exec.interactiveMode === "Always") {
      throw this.#fault("it wants to ask at a terminal (interactiveMode Always), and the terminal is the program's");
    }
    const info = { KUBERNETES_EXEC_INFO: JSON.stringify(this.#execInfo()) };
    let output: Deno.CommandOutput;
    try {
      output = await new Deno.Command(exec.command, {
        args: [...exec.args],
        // What is no UTF-8 cannot be handed on by Deno, and would be something else.
        env: { ...wellFormed(env), ...exec.env, ...info },
        clearEnv: env !== undefined,
        stdin: "null",
        // The program's own words, such as a page to open for a log-in, are for the person, at once.
        stderr: "inherit",
        signal: lifetime,
      }).output();
    } catch (cause) {
      const missing = cause instanceof Deno.errors.NotFound;
      throw this.#fault(missing ? "the program does not exist" : `it cannot be started: ${readFailure(cause)}`, cause);
    }
    lifetime.throwIfAborted();
    if (!output.success) throw this.#fault(`it ended with status ${output.code}`);
    return new TextDecoder().decode(output.stdout);
  }

  /** What the program is told (spec of ExecCredential). */
  #execInfo(): unknown {
    const { exec, files = denoFiles } = this.#options;
    const { server, ca, tlsServerName, insecureSkipTlsVerify, proxyUrl } = this.#config;
    const cluster = {
      "server": server,
      ...(tlsServerName === undefined ? {} : { "tls-server-name": tlsServerName }),
      ...(insecureSkipTlsVerify ? { "insecure-skip-tls-verify": true } : {}),
      ...(ca ? { "certificate-authority-data": btoa(pemOf(ca, files)) } : {}),
      ...(proxyUrl === undefined ? {} : { "proxy-url": proxyUrl }),
      ...(exec.clusterConfig === undefined ? {} : { config: exec.clusterConfig }),
    };
    const spec = { ...(exec.provideClusterInfo ? { cluster } : {}), interactive: false };
    return { kind: "ExecCredential", apiVersion: exec.apiVersion, spec };
  }

  #statusIn(text: string): Record<string, unknown> {
    let parsed: Record<string, unknown>;
    try {
      parsed = JSON.parse(text);
    } catch {
      // The parser would quote what it was given: a token.
      throw this.#fault("what it printed is not JSON");
    }
    const { kind, apiVersion, status } = parsed ?? {};
    if (kind !== "ExecCredential") throw this.#fault("what it printed is no ExecCredential");
    const wanted = this.#options.exec.apiVersion;
    if (apiVersion !== wanted) throw this.#fault(`it speaks ${String(apiVersion)}, and the kubeconfig says ${wanted}`);
    if (typeof status !== "object" || status === null) throw this.#fault("it gave no status");
    return status as Record<string, unknown>;
  }

  #fault(state: string, cause?: unknown): KrunError {
    const { exec } = this.#options;
    const message = `Cannot get a credential from plugin "${exec.command}" for ${
      credentialsOf(this.#config.source)
    }: ${state}`;
    const hint = exec.installHint?.replaceAll(/\s+/g, " ").trim() ?? "make the plugin work by hand, with kubectl";
    return new KrunError("CredentialsUnavailable", message, hint, { cause });
  }
}

function wellFormed(env: Readonly<Record<string, string>> = {}): Record<string, string> {
  return Object.fromEntries(Object.entries(env).filter((variable) => variable.every((text) => text.isWellFormed())));
}

function textIn(status: Record<string, unknown>, key: string): string | undefined {
  const value = status[key];
  return typeof value === "string" && value !== "" ? value : undefined;
}
