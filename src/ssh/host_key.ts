/**
 * The key by which clients know the server again. In: private keys, as texts. Out: keys for the transport, and what a client writes
 * down of them.
 *
 * @module
 */
import { Buffer } from "node:buffer";
import { sshFingerprint } from "../core/ssh_public_key.ts";
import { SshFormatError } from "../core/ssh_wire.ts";
import { ecdsaHostKey } from "./ecdsa_host_key.ts";
import { readableForm } from "./key_form.ts";
import type { Ssh2, Ssh2Key } from "./ssh2.ts";

/** A key that the server proves to be its own by. */
export interface HostKey {
  /** As `ssh-ed25519`. */
  readonly type: string;
  /** Its public part, as SSH has it. */
  readonly publicBlob: Uint8Array;
  readonly parsed: Ssh2Key;
}

/** Makes a key of type ed25519; `text` is its private half in OpenSSH's form. */
export function makeHostKey(ssh2: Pick<Ssh2, "parseKey" | "generateKeyPairSync">): { key: HostKey; text: string } {
  for (;;) {
    const text = ssh2.generateKeyPairSync("ed25519").private;
    const key = readHostKey(ssh2, text);
    // ssh2 cuts zeros from the beginning of the public half: one key in 256 is none.
    if (typeof key !== "string") return { key, text };
  }
}

/** Reads a private key in OpenSSH's or PEM form. Returns why it is none of use. Never throws. */
export function readHostKey({ parseKey }: Pick<Ssh2, "parseKey">, text: string): HostKey | string {
  try {
    const given = attempt(() => parseKey(text));
    const read = given instanceof Error ? parseKey(readableForm(text)) : given;
    if (read instanceof Error) return fault(text, given);
    const key = Array.isArray(read) ? read[0] : read;
    if (!key?.isPrivateKey()) return "it is no private key";
    if (key.type === "ssh-dss") return "DSA is not secure any more";
    const parsed = key.type.startsWith("ecdsa-") ? ecdsaHostKey(key) : key;
    const probe = parsed.sign(Buffer.from("a probe"), key.type === "ssh-rsa" ? "sha512" : undefined);
    if (probe instanceof Error) return `it does not sign: ${probe.message}`;
    return { type: key.type, publicBlob: key.getPublicSSH(), parsed };
  } catch (cause) {
    if (cause instanceof SshFormatError) return cause.message;
    // Of ssh2, or of Deno's crypto: neither says what it takes.
    return `it is none that can be used, which ssh-keygen -p may change: ${(cause as Error).message}`;
  }
}

/** ssh2 gives an error back, and throws where Deno's crypto does. */
function attempt<Result>(read: () => Result): Result | Error {
  try {
    return read();
  } catch (cause) {
    return cause as Error;
  }
}

/** A text that ssh2 does not read: why. */
function fault(text: string, error: unknown): string {
  const hasPassphrase = /^-----BEGIN ENCRYPTED |^Proc-Type: 4,ENCRYPTED/m.test(text) ||
    /no passphrase given/.test((error as Error).message);
  return hasPassphrase
    ? "it has a passphrase, which ssh-keygen -p -N '' -f FILE takes away"
    : text.includes("PRIVATE KEY-----")
    ? "it is a private key that cannot be read: cut off, or of a kind that krun does not take"
    : "it is no private key";
}

/** The keys by the algorithms that they sign with: of several keys of one kind the first. */
export function hostKeyTable(hostKeys: readonly HostKey[]): { serverHostKey: string[]; keys: Record<string, Ssh2Key> } {
  const keys: Record<string, Ssh2Key> = {};
  for (const { type, parsed } of hostKeys) {
    for (const algorithm of type === "ssh-rsa" ? ["rsa-sha2-512", "rsa-sha2-256"] : [type]) keys[algorithm] ??= parsed;
  }
  return { serverHostKey: Object.keys(keys), keys };
}

/** `SHA256:...`, as ssh(1) shows it at the first login. */
export function hostKeyFingerprint({ publicBlob }: HostKey): string {
  return sshFingerprint(publicBlob);
}

/** The line for known_hosts (sshd(8), SSH_KNOWN_HOSTS FILE FORMAT) of a server at a port; `host` may be a placeholder. */
export function knownHostsLine({ type, publicBlob }: HostKey, { host, port }: { host: string; port: number }): string {
  const name = port === 22 ? host : `[${host}]:${port}`;
  return `${name} ${type} ${Buffer.from(publicBlob).toString("base64")}`;
}
