/**
 * Tries to log in to krun, and what became of them: for the client, and in krun's log. In: keys and certificates. Out: verdicts.
 *
 * @module
 */
import assert from "node:assert/strict";
import { join } from "node:path";
import { waitFor } from "../wait.ts";
import { type ClientEnd, type ClientOptions, keygen, type SshRig } from "./ssh_rig.ts";

/** Seconds until a test may be over: the life of what must not end meanwhile. */
const AN_HOUR = "+1h";

let tries = 0;

/** A try to log in. */
export interface Attempt extends ClientEnd {
  /** The login's lines of krun's log, one text. */
  readonly log: string;
}

/** Options of {@linkcode attempt}. */
export interface AttemptOptions extends ClientOptions {
  /** @default {"echo in"} */
  readonly command?: string;
}

/** Runs a command by ssh(1) under a login name of its own. */
export async function attempt(
  rig: SshRig,
  { command = "echo in", ...options }: AttemptOptions = {},
): Promise<Attempt> {
  const user = `try-${++tries}`;
  const end = await rig.ssh([command], { ...options, user });
  // What the client hears goes out after the line was written, and the line comes by a pipe.
  const log = await waitFor(`what krun says of ${user}`, () => {
    const lines = rig.krun.stderr.split("\n").filter((line) => line.includes(`user=${user} `)).join("\n");
    if (/ssh (?:login refused|logout) /.test(lines)) return lines;
    if (end.code === 255 && lines === "") throw new Error(`${end.stderr}\n${rig.krun.stderr.slice(-1500)}`);
  }, { timeoutMs: 10_000 });
  return { ...end, log };
}

/** The client is in. */
export async function isIn(rig: SshRig, options: AttemptOptions = {}): Promise<void> {
  const end = await attempt(rig, options);
  assert.deepEqual([end.code, end.stdout], [0, "in\n"], `${end.stderr}\n${end.log}`);
  assert.match(end.log, /Z info ssh login from=/);
}

/** The client is not in: the log says why, and the client is told nothing of that. */
export async function isRefused(rig: SshRig, reason: RegExp, options: AttemptOptions = {}): Promise<void> {
  const end = await attempt(rig, options);
  assert.match(end.log, new RegExp(`Z info ssh login refused from=.*reason=.*(?:${reason.source})`));
  assert.doesNotMatch(end.log, /ssh login from=/);
  assert.deepEqual([end.code, end.stdout], [255, ""], end.stderr);
  // But for what ssh(1) itself says of its files.
  assert.match(end.stderr, /^\S+@\S+: Permission denied \(publickey\)\.\r?\n$/m);
  assert.doesNotMatch(end.stderr, reason);
}

/** Text of a public key's file, given the path of its private half. */
export async function publicLine(key: string): Promise<string> {
  return (await Deno.readTextFile(`${key}.pub`)).trim();
}

/** What a CA is asked for. */
export interface CertificateRequest {
  /** Path of the CA's private key. */
  readonly ca: string;
  /** Path of the user's. */
  readonly key: string;
  /** @default {["web"]} */
  readonly principals?: readonly string[];
  /** As ssh-keygen's -V has it. @default {an hour} */
  readonly validity?: string;
  /** More of ssh-keygen's arguments. */
  readonly more?: readonly string[];
}

/** Has ssh-keygen(1) make a certificate; gives what `-o` of ssh(1) takes for it. */
export async function certify(name: string, request: CertificateRequest): Promise<string> {
  const { ca, key, principals = ["web"], validity = AN_HOUR, more = [] } = request;
  // ssh(1) takes no blanks in the value of an option.
  const base = join(ca, "..", name.replaceAll(/\W+/g, "-"));
  const copy = `${base}.pub`;
  await Deno.copyFile(`${key}.pub`, copy);
  const named = principals.length > 0 ? ["-n", principals.join()] : [];
  await keygen("-q", "-s", ca, "-I", `id of ${name}`, "-V", validity, ...named, ...more, copy);
  return `CertificateFile=${base}-cert.pub`;
}
