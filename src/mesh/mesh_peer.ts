/**
 * Who is at the other end of a TLS connection of the mesh. In: the connection after its handshake. Out: the identity that is
 * admitted, or why nobody is.
 *
 * @module
 */
import { X509Certificate } from "node:crypto";
import type { DetailedPeerCertificate, TLSSocket } from "node:tls";
import { certificateUris } from "../core/certificate_names.ts";
import { admitsPeer, certificateIdentity, formatSpiffeId, type PeerPattern } from "../core/spiffe_id.ts";

/** What a peer is judged by. */
export interface PeerRule {
  readonly allow: readonly PeerPattern[];
  readonly roots: readonly X509Certificate[];
  /** Milliseconds since the epoch. */
  readonly nowMs: number;
}

/** Someone who is let in, or the reason why not. */
export type PeerVerdict = { readonly identity: string } | { readonly refusal: string; readonly identity?: string };

/** What is asked of a connection. */
export type PeerSocket = Pick<TLSSocket, "authorized" | "getPeerCertificate" | "isSessionReused">;

/** More certificates than anyone has between a workload and a root. */
const LONGEST_CHAIN = 8;

/** Judges the peer of a connection whose handshake has verified its certificate. Never throws. */
export function judgePeer(socket: PeerSocket, rule: PeerRule): PeerVerdict {
  return new MeshPeer(socket).judge(rule);
}

/**
 * The peer of one connection, to be judged when the connection begins, and again for whatever is asked on it later: its certificate
 * may have come to its end by then, and its root may be gone.
 *
 * A resumed TLS session skips the verification of the handshake, and Deno 2.9.6 resumes sessions that were verified with roots since
 * taken away, or by any other server of the process; it has no option against it. So the chain of such a session is verified here
 * from the beginning.
 */
export class MeshPeer {
  readonly #chain: readonly X509Certificate[] | undefined;
  readonly #authorized: boolean;
  /** Roots by which the chain is known to verify; of a handshake, those that are in force at the first judgement. */
  #verifiedBy: readonly X509Certificate[] | undefined;
  readonly #isResumed: boolean;

  constructor(socket: PeerSocket) {
    this.#authorized = socket.authorized;
    this.#isResumed = socket.isSessionReused();
    try {
      this.#chain = peerChain(socket);
    } catch {
      // TLS and node read certificates by different code: what only the first one understands names nobody.
      this.#chain = undefined;
    }
  }

  /** When the first of its certificates that is no root ends, milliseconds since the epoch. */
  get endsMs(): number {
    const issued = (this.#chain ?? []).filter((certificate) => !certificate.checkIssued(certificate));
    return Math.min(...issued.map(({ validTo }) => Date.parse(validTo)));
  }

  /** Never throws. */
  judge(rule: PeerRule): PeerVerdict {
    try {
      return this.#judge(rule);
    } catch {
      return { refusal: "a certificate that cannot be read" };
    }
  }

  #judge({ allow, roots, nowMs }: PeerRule): PeerVerdict {
    if (this.#chain === undefined) return { refusal: "a certificate that cannot be read" };
    const [leaf] = this.#chain;
    if (leaf === undefined || !this.#authorized) return { refusal: "no certificate that was verified" };
    if (!this.#verifies(roots, nowMs)) return { refusal: this.#staleness };
    const id = certificateIdentity(certificateUris(leaf.raw));
    if (id === undefined) return { refusal: "the certificate names no workload of a mesh" };
    const identity = formatSpiffeId(id);
    return admitsPeer(allow, id) ? { identity } : { refusal: "not in the allow list", identity };
  }

  get #staleness(): string {
    const what = this.#isResumed && this.#verifiedBy === undefined ? "a resumed session whose" : "a connection whose";
    return `${what} certificate no longer verifies`;
  }

  #verifies(roots: readonly X509Certificate[], nowMs: number): boolean {
    if (this.#verifiedBy === undefined && !this.#isResumed) this.#verifiedBy = roots;
    else if (this.#verifiedBy !== roots || nowMs >= this.endsMs) {
      if (!leadsToRoot(this.#chain!, roots, nowMs)) return false;
      this.#verifiedBy = roots;
    }
    return true;
  }
}

/** The peer's certificate, then its issuer's, and so on. A root is its own issuer. */
function peerChain(socket: PeerSocket): X509Certificate[] {
  const chain: X509Certificate[] = [];
  let at: Partial<DetailedPeerCertificate> | undefined = socket.getPeerCertificate(true);
  while (at?.raw && chain.length < LONGEST_CHAIN) {
    chain.push(new X509Certificate(at.raw));
    at = at.issuerCertificate === at ? undefined : at.issuerCertificate;
  }
  return chain;
}

/**
 * Whether each certificate is in its time and was signed by the next, and one of them by a root. What else a chain must be (key
 * usage, constraints) was verified by the handshake that the session began with.
 */
export function leadsToRoot(
  chain: readonly X509Certificate[],
  roots: readonly X509Certificate[],
  nowMs: number,
): boolean {
  for (const [at, certificate] of chain.entries()) {
    if (!(Date.parse(certificate.validFrom) <= nowMs && nowMs < Date.parse(certificate.validTo))) return false;
    if (roots.some((root) => isIssuedBy(certificate, root))) return true;
    const issuer = chain[at + 1];
    if (!issuer?.ca || !isIssuedBy(certificate, issuer)) return false;
  }
  return false;
}

function isIssuedBy(certificate: X509Certificate, issuer: X509Certificate): boolean {
  return certificate.checkIssued(issuer) && certificate.verify(issuer.publicKey);
}
