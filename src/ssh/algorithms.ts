/**
 * The algorithms of SSH's transport that krun has. In: which ciphers a client has. Out: what it is offered.
 *
 * @module
 */
import { SSH_ALGORITHMS } from "../core/ssh_algorithm.ts";
import type { ClientCiphers } from "../core/ssh_kexinit.ts";
import type { Ssh2 } from "./ssh2.ts";

/**
 * What OpenSSH of the last ten years, Go's and Python's libraries have, without SHA-1, CBC and compression. Not ecdh-sha2-nistp521:
 * Deno has no exchange of keys on that curve.
 */
const KEX = [
  "curve25519-sha256",
  "curve25519-sha256@libssh.org",
  "ecdh-sha2-nistp256",
  "ecdh-sha2-nistp384",
  "kex-strict-s-v00@openssh.com",
];
const GCM = ["aes128-gcm@openssh.com", "aes256-gcm@openssh.com"];
const CIPHERS = [...GCM, "aes128-ctr", "aes192-ctr", "aes256-ctr"];
const MACS = ["hmac-sha2-256-etm@openssh.com", "hmac-sha2-512-etm@openssh.com"];

/** Algorithms of a login's signature. */
export const SIGNATURES: readonly string[] = [...new Set(SSH_ALGORITHMS.map(({ signature }) => signature))];

/**
 * What a client is offered, in ssh2's form. GCM is the faster one both ways (gcm_input.ts, gcm_output.ts), but a client takes the first of its
 * own list, which OpenSSH's CTR was until 10.0: who has GCM is offered nothing else.
 *
 * @param client unset: it has not said what it has
 */
export function offerTo(
  client: ClientCiphers | undefined,
  { KexInit, serverHostKey }: Pick<Ssh2, "KexInit"> & { readonly serverHostKey: readonly string[] },
): object {
  const direction = (has: readonly string[] = []) => ({
    cipher: has.some((cipher) => GCM.includes(cipher)) ? GCM : CIPHERS,
    ...{ mac: MACS, compress: ["none"], lang: [] },
  });
  return new KexInit({ kex: KEX, serverHostKey, cs: direction(client?.toServer), sc: direction(client?.fromServer) });
}
