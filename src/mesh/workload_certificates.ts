/**
 * The workload's own certificate and the roots of its mesh. In: the folder that pilot-agent writes to (OUTPUT_CERTS): `key.pem`,
 * `cert-chain.pem` and `root-cert.pem`. Out: the set, checked, and a call for each new one.
 *
 * The agent replaces one file after the other, and the TLS of Deno 2.9 takes whatever it is given: a key of another certificate
 * fails every handshake, and roots that cannot be read leave nobody verified. So nothing is used that was not checked here.
 *
 * @module
 */
import { createPrivateKey, X509Certificate } from "node:crypto";
import { certificateUris } from "../core/certificate_names.ts";
import { KrunError } from "../core/errors.ts";
import type { FileReader } from "../core/file_reader.ts";
import type { Logger } from "../core/log.ts";
import { certificateIdentity, formatSpiffeId, type SpiffeId } from "../core/spiffe_id.ts";
import { denoFiles, readFailure } from "../kube/deno_files.ts";
import { watchFolder } from "../kube/folder_watch.ts";

/** A key, the certificate it belongs to, and whom to trust. */
export interface WorkloadCertificates {
  readonly keyPem: string;
  /** The certificate, then those between it and a root. */
  readonly certPem: string;
  readonly rootPem: string;
  /** Whom the certificate names. */
  readonly identity: SpiffeId;
  readonly roots: readonly X509Certificate[];
}

/** Options of {@linkcode followWorkloadCertificates}. */
export interface FollowCertificatesOptions {
  /** The set that is in use. */
  readonly current: WorkloadCertificates;
  /** Ends the loop; the promise then resolves. */
  readonly signal: AbortSignal;
  readonly log: Logger;
  /** A new set, whole and checked. */
  onChange(certificates: WorkloadCertificates): void;
  /** How the files are read. @default {by Deno} */
  readonly files?: FileReader | undefined;
}

/** The three texts. */
type Pems = Pick<WorkloadCertificates, "keyPem" | "certPem" | "rootPem">;

/** Where the kernel tells nothing, as below /dev; the agent renews when half of a certificate's life is over. */
const POLL_MS = 5_000;

const FILES = { keyPem: "key.pem", certPem: "cert-chain.pem", rootPem: "root-cert.pem" } as const;

const BLOCK = /-----BEGIN CERTIFICATE-----[A-Za-z0-9+/=\s]+-----END CERTIFICATE-----/g;

/** Reads the set. Needs `--allow-read` for the folder. @throws {KrunError} `HboneUnavailable`, never with a file's content. */
export async function readWorkloadCertificates(folder: string, files?: FileReader): Promise<WorkloadCertificates> {
  return checked(folder, await readPems(folder, files));
}

/** Hands over each new set until the signal aborts. A set that is not right, or not yet, is waited for; the old one stays. */
export async function followWorkloadCertificates(folder: string, options: FollowCertificatesOptions): Promise<void> {
  const { signal, log, onChange, files } = options;
  let { current } = options;
  let fault: string | undefined;
  const look = async () => {
    try {
      const pems = await readPems(folder, files);
      if (isSameSet(pems, current)) return void (fault = undefined);
      const found = checked(folder, pems);
      fault = undefined;
      current = found;
      onChange(found);
      log.info("mesh certificate reloaded", { identity: formatSpiffeId(found.identity) });
    } catch (error) {
      const reason = (error as Error).message;
      if (reason !== fault && !signal.aborted) log.warn("the mesh certificate before stays in use", { reason });
      fault = reason;
    }
  };
  await watchFolder(folder, { signal, pollMs: POLL_MS, onTick: look, onState: () => {} });
}

async function readPems(folder: string, files: FileReader = denoFiles): Promise<Pems> {
  const read = (name: string) => readPem(folder, name, files);
  return {
    keyPem: await read(FILES.keyPem),
    certPem: await read(FILES.certPem),
    rootPem: await read(FILES.rootPem),
  };
}

/** @throws {KrunError} `HboneUnavailable` */
function checked(folder: string, { keyPem, certPem, rootPem }: Pems): WorkloadCertificates {
  const roots = certificatesIn(rootPem);
  if (roots === undefined) throw unusable(folder, FILES.rootPem, "it is not a list of certificates");
  const [leaf] = certificatesIn(certPem) ?? [];
  if (leaf === undefined) throw unusable(folder, FILES.certPem, "it is not a list of certificates");
  if (!belongsTo(leaf, keyPem)) throw unusable(folder, FILES.keyPem, "it is not the key of the certificate beside it");
  const identity = certificateIdentity(certificateUris(leaf.raw));
  if (identity === undefined) throw unusable(folder, FILES.certPem, "it names no workload of a mesh, as spiffe://...");
  return { keyPem, certPem, rootPem, identity, roots };
}

async function readPem(folder: string, name: string, files: FileReader): Promise<string> {
  try {
    return await files.text(`${folder}/${name}`);
  } catch (cause) {
    throw unusable(folder, name, readFailure(cause), cause);
  }
}

/** All of them, at least one; `undefined` when the text holds anything else. */
function certificatesIn(pem: string): [X509Certificate, ...X509Certificate[]] | undefined {
  const blocks = pem.match(BLOCK) ?? [];
  // The beginning of another one is what a file that is being written ends with.
  if (pem.replaceAll(BLOCK, "").includes("-----")) return undefined;
  try {
    const [first, ...more] = blocks.map((block) => new X509Certificate(block));
    return first && [first, ...more];
  } catch {
    return undefined;
  }
}

function belongsTo(leaf: X509Certificate, keyPem: string): boolean {
  try {
    return leaf.checkPrivateKey(createPrivateKey(keyPem));
  } catch {
    return false;
  }
}

function isSameSet(a: Pems, b: Pems): boolean {
  return a.keyPem === b.keyPem && a.certPem === b.certPem && a.rootPem === b.rootPem;
}

function unusable(folder: string, name: string, state: string, cause?: unknown): KrunError {
  return new KrunError(
    "HboneUnavailable",
    `Cannot use file "${folder}/${name}" for the mesh: ${state}`,
    "check that the mesh's agent runs and writes its certificates there (OUTPUT_CERTS)",
    { cause },
  );
}
