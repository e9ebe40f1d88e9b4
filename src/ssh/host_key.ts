/**
 * The key by which clients know the server again. In: private keys, as texts. Out: keys for the transport, and what a client writes
 * down of them.
 *
 * @module
 */
import { Buffer } from "node:buffer";
import { sshFingerprint } from "../core/ssh_public_key.ts";
import type { HostKey } from "./transport.ts";

/** `SHA256:...`, as ssh(1) shows it at the first login. */
export function hostKeyFingerprint({ publicBlob }: HostKey): string {
  return sshFingerprint(publicBlob);
}

/** The line for known_hosts (sshd(8), SSH_KNOWN_HOSTS FILE FORMAT) of a server at a port; `host` may be a placeholder. */
export function knownHostsLine({ type, publicBlob }: HostKey, { host, port }: { host: string; port: number }): string {
  const name = port === 22 ? host : `[${host}]:${port}`;
  return `${name} ${type} ${Buffer.from(publicBlob).toString("base64")}`;
}
