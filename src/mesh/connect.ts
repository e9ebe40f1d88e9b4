/**
 * `krun --connect`: this process's standard input and output become a connection to a port of a workload, as ssh wants it of a
 * ProxyCommand. In: the address. Out: bytes both ways until both have ended.
 *
 * @module
 */
import { sensitiveHeaders } from "node:http2";
import type { PeerCertificate } from "node:tls";
import { certificateUris } from "../core/certificate_names.ts";
import type { FrontEndAddress, MeshAddress } from "../core/connect_address.ts";
import { KrunError } from "../core/errors.ts";
import type { FileReader } from "../core/file_reader.ts";
import { parseIp } from "../core/ip_address.ts";
import {
  admitsPeer,
  certificateIdentity,
  formatSpiffeId,
  type PeerPattern,
  sameTrustDomain,
} from "../core/spiffe_id.ts";
import { abortable } from "../kube/abort.ts";
import { TimeLimit } from "../kube/time_limit.ts";
import { type Channel, relay } from "../net/channel.ts";
import { dial, type Dialed } from "./dial.ts";
import { StdioChannel } from "./stdio_channel.ts";
import { readWorkloadCertificates, type WorkloadCertificates } from "./workload_certificates.ts";

/** How a peer of the mesh is called. */
export interface MeshCaller {
  /** Folder with `key.pem`, `cert-chain.pem` and `root-cert.pem`: who we are, and whom we believe. */
  readonly certificates: string;
  /** How those files are read. @default {by Deno} */
  readonly files?: FileReader;
  /** Who the peer may be. @default {everyone in our own trust domain} */
  readonly allow?: readonly PeerPattern[] | undefined;
  /** Where its HBONE endpoint may listen, tried in turn. @default {[15008, 15009]} */
  readonly endpoints?: readonly number[];
}

/** How a front end is called. */
export interface FrontEndCaller {
  /** PEM; the CAs that its certificate must come from. */
  readonly roots: readonly string[];
  /** An ID token of this machine's or person's account; asked for only where the address takes one. */
  idToken(audience: string): Promise<string>;
}

/** Options of {@linkcode connectStdio}. */
export interface ConnectOptions {
  readonly address: MeshAddress | FrontEndAddress;
  readonly mesh: MeshCaller;
  readonly frontEnd: FrontEndCaller;
  readonly input: ReadableStream<Uint8Array>;
  readonly output: WritableStream<Uint8Array>;
  /** Gives up, or cuts the connection. */
  readonly signal: AbortSignal;
  /** Milliseconds until a far side has answered. @default {10_000} */
  readonly timeoutMs?: number;
}

const ENDPOINTS = [15008, 15009];
/** Either means the workload's ssh server. */
const SSH_PORTS = [22, 15022];
const TIMEOUT_MS = 10_000;
/** Enough of a refusal's words for one line. */
const REFUSAL_BYTES = 200;
/** How long they may take to come after the status. */
const REFUSAL_MS = 1_000;

/**
 * Connects, then copies until the far side has ended in order and the input is at its end, or the far side takes no more. Either
 * half may end first. Needs Deno 2.9, net permission, and read permission for the certificates.
 *
 * @throws {KrunError} `ConnectFailed`, also when the far side is cut off; `ConnectRefused`; `HboneUnavailable` for certificates
 * that cannot be used
 */
export async function connectStdio(options: ConnectOptions): Promise<void> {
  const { address, input, output, signal } = options;
  await using dialed = address.kind === "mesh"
    ? await dialPeer(address, options)
    : await dialFrontEnd(address, options);
  const stdio = new StdioChannel(input, output);
  const { back } = await relay(stdio, dialed.channel);
  if (!back) {
    const state = signal.aborted ? "it was given up" : "the connection was cut off before the far side had ended";
    throw new KrunError("ConnectFailed", `Cannot go on with ${nameOf(address)}: ${state}`, "connect again");
  }
  await Promise.all([stdio.finished, dialed.finished]);
}

/** @throws {KrunError} what the endpoint that came furthest said */
async function dialPeer(
  address: MeshAddress,
  { mesh, signal, timeoutMs = TIMEOUT_MS }: ConnectOptions,
): Promise<Dialed> {
  const own = await readWorkloadCertificates(mesh.certificates, mesh.files);
  const host = bracketed(address.host);
  // A name means nothing to the peer, which need not know all that lead to it.
  const headers = (reached: string) => ({
    ":method": "CONNECT",
    ":authority": `${bracketed(reached)}:${address.port}`,
  });
  const failures: KrunError[] = [];
  for (const endpoint of mesh.endpoints ?? ENDPOINTS) {
    const origin = `https://${host}:${endpoint}`;
    const tls = { ca: own.rootPem, cert: own.certPem, key: own.keyPem, ...verifying(own, { origin, ...mesh }) };
    try {
      return await accepted(await dial({ origin, headers, tls, timeoutMs, signal }), address, origin);
    } catch (error) {
      if (!(error instanceof KrunError) || signal.aborted) throw error;
      failures.push(error);
    }
  }
  throw failures.find(({ code }) => code === "ConnectRefused") ?? joined(failures);
}

/** The peer's name is in its SPIFFE id, not in its address. */
function verifying(
  own: WorkloadCertificates,
  { origin, allow = sameTrustDomain(own.identity) }: { origin: string; allow?: readonly PeerPattern[] | undefined },
): { checkServerIdentity(host: string, certificate: PeerCertificate): Error | undefined } {
  return {
    checkServerIdentity(_host, { raw }) {
      const id = certificateIdentity(certificateUris(raw));
      if (id !== undefined && admitsPeer(allow, id)) return undefined;
      const who = id === undefined ? "nobody of a mesh" : formatSpiffeId(id);
      return new KrunError(
        "ConnectFailed",
        `Cannot connect to ${origin}: its certificate names ${who}`,
        "check the address, or allow that identity",
      );
    },
  };
}

function joined([first, ...more]: readonly KrunError[]): KrunError {
  const message = [first!, ...more].map(({ message }) => message).join("; ");
  return new KrunError(first!.code, message, first!.hint, { cause: first });
}

async function dialFrontEnd(address: FrontEndAddress, options: ConnectOptions): Promise<Dialed> {
  const { frontEnd, signal, timeoutMs = TIMEOUT_MS } = options;
  const { origin, port } = address;
  const token = address.takesIdToken ? await idToken(frontEnd, origin) : undefined;
  const headers = () => ({
    ":method": "POST",
    ":path": `/_hbone/${port}`,
    "content-type": "application/octet-stream",
    ...(token === undefined ? {} : { authorization: `Bearer ${token}` }),
    [sensitiveHeaders]: ["authorization"],
  });
  return await accepted(
    await dial({ origin, headers, tls: { ca: [...frontEnd.roots] }, timeoutMs, signal }),
    address,
    origin,
  );
}

/** A token that can be sent. It is in no message, and neither is what its giver says. */
async function idToken(frontEnd: FrontEndCaller, audience: string): Promise<string> {
  const failed = (state: string, cause?: unknown) =>
    new KrunError(
      "ConnectFailed",
      `Cannot get an ID token for ${audience}: ${state}`,
      "give krun an account of Google's that may call the service",
      { cause },
    );
  const token = await frontEnd.idToken(audience).catch((cause) => {
    throw cause instanceof KrunError ? cause : failed("its source failed", cause);
  });
  if (!/^[\x21-\x7e]+$/.test(token)) throw failed("what its source gave is no token");
  return token;
}

/** The stream, when the far side lets it through. @throws {KrunError} `ConnectRefused` with the far side's first line. */
async function accepted(dialed: Dialed, address: MeshAddress | FrontEndAddress, origin: string): Promise<Dialed> {
  if (dialed.status === 200) return dialed;
  await using _refused = dialed;
  const said = await firstLine(dialed.channel);
  throw new KrunError(
    "ConnectRefused",
    `Cannot reach ${nameOf(address)}: ${origin} answers ${dialed.status}${said && `, ${said}`}`,
    hintFor(dialed.status, address),
  );
}

async function firstLine(channel: Channel): Promise<string> {
  const limit = new TimeLimit(REFUSAL_MS, undefined);
  const bytes = await abortable(channel.read(), limit.signal).catch(() => undefined);
  limit.clear();
  return new TextDecoder().decode(bytes?.subarray(0, REFUSAL_BYTES)).split("\n")[0]!.trim();
}

function hintFor(status: number, { kind, port }: MeshAddress | FrontEndAddress): string {
  if ([404, 502, 503].includes(status) && SSH_PORTS.includes(port)) {
    return "give krun at the far side somebody who may log in: SSH_AUTH, or Secret sshdebug";
  }
  if (status === 503 || status === 502) return "see whether the program at the far side runs";
  if (status === 404) return "name a port that the far side has";
  return kind === "mesh"
    ? "let this workload in by HBONE_ALLOW at the far side, and name one of its own hosts"
    : "let this account call the service (roles/run.invoker on Cloud Run)";
}

function nameOf(address: MeshAddress | FrontEndAddress): string {
  return `port ${address.port} of ${address.kind === "mesh" ? address.host : address.origin}`;
}

function bracketed(host: string): string {
  return parseIp(host)?.family === 6 ? `[${host}]` : host;
}
