/**
 * `krun --connect`: standard input and output become a connection to a workload's port. In: the address, settings. Out: the exit
 * status, when both directions have ended.
 *
 * @module
 */
import { readConnectAddress } from "../core/connect_address.ts";
import { MESH_PATHS } from "../core/istio_proxy.ts";
import { KrunError } from "../core/errors.ts";
import { join, resolve } from "../core/posix_path.ts";
import { parseSettings, type Settings } from "../core/settings.ts";
import { MetadataServer } from "../gcp/metadata_server.ts";
import { machineRoots } from "../kube/machine_roots.ts";
import { requireRuntime } from "../kube/runtime.ts";
import { connectStdio } from "../mesh/connect.ts";
import { loadLibc } from "../pod/libc.ts";
import { anyFile } from "../pod/special_files.ts";
import { baseFolder } from "./plan.ts";
import type { Surroundings } from "./surroundings.ts";

/**
 * Connects, and copies until both ends are over. A peer of the mesh is shown the certificate of the workload that runs in the base
 * folder, or the one that PROV_CERT names.
 *
 * @throws {KrunError} `ArgumentInvalid`, `RuntimeTooOld`, `SettingInvalid`, and what {@linkcode connectStdio} throws
 */
export async function connect(outer: Surroundings, address: string): Promise<number> {
  const to = readConnectAddress(address);
  requireRuntime("2.9.0", "--connect");
  loadLibc();
  const settings = parseSettings(outer.env);
  const { hbonePeers } = settings.mesh;
  const { signal } = new AbortController();
  if (to.kind === "mesh") await requireCertificate(outer, settings);
  await connectStdio({
    address: to,
    mesh: {
      certificates: certificateFolder(outer, settings),
      // They lie in memory, below /dev.
      files: anyFile,
      ...(hbonePeers !== "none" && hbonePeers && { allow: hbonePeers }),
    },
    frontEnd: {
      // Loaded only for a front end.
      roots: to.kind === "front end" ? await machineRoots(settings.cluster.certFile) : [],
      idToken: (audience) => idToken(audience, settings, signal),
    },
    input: Deno.stdin.readable,
    output: Deno.stdout.writable,
    signal,
  });
  return 0;
}

function certificateFolder(outer: Surroundings, settings: Settings): string {
  const { ownFolder } = settings.mesh.certificates ?? {};
  if (ownFolder !== undefined) return resolve(outer.cwd, ownFolder);
  const [base] = baseFolder(outer, settings);
  return resolve(base, `.${MESH_PATHS.certificates}`);
}

/** A base folder in which no krun is in a mesh is told as what it is, rather than as a file. @throws {KrunError} `HboneUnavailable` */
async function requireCertificate(outer: Surroundings, settings: Settings): Promise<void> {
  if (settings.mesh.certificates?.ownFolder !== undefined) return;
  const file = join(certificateFolder(outer, settings), "cert-chain.pem");
  const isAbsent = await anyFile.text(file).then(() => false, (cause) => cause instanceof Deno.errors.NotFound);
  if (!isAbsent) return;
  const [base, rule] = baseFolder(outer, settings);
  throw new KrunError(
    "HboneUnavailable",
    `Cannot connect to a peer of the mesh: no krun in a mesh runs in base "${base}" (${rule}), whose workload would be the caller`,
    "set MESH_BASE_DIR to the base folder of one, or PROV_CERT to a folder with a certificate of the mesh",
  );
}

/** Of the account that this machine of Google Cloud runs as. @throws {KrunError} `GoogleCredentialsUnavailable` */
async function idToken(audience: string, { google }: Settings, signal: AbortSignal): Promise<string> {
  const metadata = new MetadataServer({ host: google.metadataHost });
  return (await metadata.token({ kind: "identity", audience }, { signal })).token;
}
