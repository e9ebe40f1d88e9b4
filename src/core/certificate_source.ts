/**
 * Where the workload's certificate comes from, and whose word the agent takes for istiod and its certificate authority. In: the
 * agent's own variables, what the Pod mounts. Out: the agent's environment, and the volumes that hold its keys.
 *
 * Without any of it the agent asks istiod, or the authority that CA_ADDR names, for a certificate with a token of the workload's
 * service account. Source: pilot/cmd/pilot-agent/options/security.go and pkg/istio-agent/agent.go of Istio 1.31; the choices were
 * tried with that agent.
 *
 * @module
 */
import type { V1Pod } from "@kubernetes/client-node";
import { KrunError } from "./errors.ts";
import type { Mesh } from "./mesh.ts";
import { jsonObject } from "./mesh_objects.ts";
import type { MeshVariables } from "./mesh_settings.ts";
import { resolve } from "./posix_path.ts";
import { readBoolean, readChoice } from "./setting_value.ts";
import { podContainers } from "./volume_mounts.ts";

/** Folder in which GKE has a workload's certificate: private_key.pem, certificates.pem, ca_certificates.pem. */
export const WORKLOAD_FILES = "/var/run/secrets/workload-spiffe-credentials";

/** Where an agent without any of these settings looks for its own certificate, below its working directory. */
const CERTS_FOLDER = "/etc/certs";

/** Where krun has istiod's root certificate, as the agent says it. */
const ROOT_FILE = "./var/run/secrets/istio/root-cert.pem";

/** An authority that speaks Istio's own protocol, or files that Google's GKE (or whoever does as it) has made. */
const PROVIDERS = ["Citadel", "GkeWorkloadCertificate"] as const;

/** What variables say of certificates. */
export interface CertificateSettings {
  /** CA_PROVIDER. */
  readonly provider?: (typeof PROVIDERS)[number] | undefined;
  /** FILE_MOUNTED_CERTS: the files of /etc/certs are the workload's certificate. */
  readonly mountedFiles: boolean;
  /** PROV_CERT: folder of a certificate that the agent shows istiod and the authority, in place of a token. */
  readonly ownFolder?: string | undefined;
  /** CA_ROOT_CA: a file, or `SYSTEM`. */
  readonly caRoot?: string | undefined;
  /** XDS_ROOT_CA: a file, or `SYSTEM`. */
  readonly xdsRoot?: string | undefined;
}

/** Reads them; `undefined`: none is set. @throws {KrunError} `SettingInvalid`, `SettingConflict` */
export function readCertificates(
  { text, read }: Pick<MeshVariables, "text" | "read">,
): CertificateSettings | undefined {
  const settings = {
    provider: read("CA_PROVIDER", (setting) => readChoice(setting, PROVIDERS)),
    mountedFiles: read("FILE_MOUNTED_CERTS", readBoolean) ?? false,
    ownFolder: text("PROV_CERT"),
    caRoot: text("CA_ROOT_CA"),
    xdsRoot: text("XDS_ROOT_CA"),
  };
  const files = settings.mountedFiles ? "FILE_MOUNTED_CERTS" : usesGke(settings) ? "CA_PROVIDER" : undefined;
  if (settings.ownFolder !== undefined && files !== undefined) {
    throw new KrunError(
      "SettingConflict",
      `Cannot choose the workload's certificate: PROV_CERT and ${files} each name files for it`,
      `unset PROV_CERT or ${files}`,
    );
  }
  return Object.values(settings).some((value) => value !== undefined && value !== false) ? settings : undefined;
}

function usesGke(settings: CertificateSettings | undefined): boolean {
  return settings?.provider === "GkeWorkloadCertificate";
}

/**
 * Refuses an authority of Google's (meshca.googleapis.com): the agent that can be had does not speak its protocol, and ends at
 * once. Files need no authority.
 *
 * @throws {KrunError} `MeshUnavailable`
 */
export function requireKnownAuthority(
  settings: CertificateSettings | undefined,
  { address, caAddress }: Pick<Mesh, "address" | "caAddress">,
): void {
  const authority = caAddress ?? address;
  if (!authority.value.includes("googleapis.com") || usesGke(settings) || settings?.mountedFiles) return;
  throw new KrunError(
    "MeshUnavailable",
    `Cannot join the mesh: its certificate authority ${authority.value} (${authority.rule}) is Google's, whose protocol the mesh agent does not have`,
    "set CA_PROVIDER=GkeWorkloadCertificate and mount its files, or set CA_ADDR to another authority",
  );
}

/** What the agent's paths are resolved against. */
export interface CertificatePlace {
  readonly pod: V1Pod;
  /** The agent's working directory, which is the base. */
  readonly root: string;
}

/** The agent's variables. Paths are as the agent takes them: relative ones are below its working directory. */
export function certificateEnv(
  settings: CertificateSettings | undefined,
  { mesh, ...place }: CertificatePlace & { readonly mesh: Mesh },
): Record<string, string> {
  const { ownFolder, caRoot, mountedFiles = false } = settings ?? {};
  const path = (given: string) => given === "SYSTEM" ? given : agentPath(given, place);
  const istiod = mesh.root.kind === "system" ? "SYSTEM" : mesh.root.kind === "file" ? mesh.root.path : undefined;
  const [xds, ca] = [istiod ?? forgottenRoot(settings, { mesh, ...place }), caRoot ?? istiod];
  return {
    ...(usesGke(settings) && { CA_PROVIDER: "GkeWorkloadCertificate" }),
    ...(mountedFiles && { FILE_MOUNTED_CERTS: "true" }),
    ...(ownFolder !== undefined && { PROV_CERT: path(ownFolder) }),
    ...(xds !== undefined && { XDS_ROOT_CA: path(xds) }),
    ...(ca !== undefined && { CA_ROOT_CA: path(ca) }),
  };
}

/** With ready-made files the agent forgets where istiod's root certificate is, unless the mesh's own metadata says it. */
function forgottenRoot(
  settings: CertificateSettings | undefined,
  { mesh, ...place }: CertificatePlace & { readonly mesh: Mesh },
): string | undefined {
  if (!bringsWorkloadFiles(settings, place)) return undefined;
  const { ISTIO_META_TLS_CLIENT_ROOT_CERT: named } = jsonObject(mesh.proxyConfig.proxyMetadata);
  return named === undefined ? ROOT_FILE : undefined;
}

/** Whether somebody brings the files of the folder where GKE has the workload's certificate: then krun makes none there. */
export function bringsWorkloadFiles(settings: CertificateSettings | undefined, place: CertificatePlace): boolean {
  return usesGke(settings) || volumesAt([WORKLOAD_FILES], place).length > 0;
}

/** Volumes that the Pod mounts where the agent reads its keys: they are for the agent's user. */
export function keyVolumes(settings: CertificateSettings | undefined, place: CertificatePlace): string[] {
  const { ownFolder, mountedFiles } = settings ?? {};
  return volumesAt([
    WORKLOAD_FILES,
    ...mountedFiles ? [CERTS_FOLDER] : [],
    ...ownFolder === undefined ? [] : [ownFolder],
  ], place);
}

/** A path of the user's: one that krun mounts is below the base, where the agent is; any other is what it says. */
function agentPath(path: string, place: CertificatePlace): string {
  const { root } = place;
  if (!path.startsWith("/") || root === "/" || path.startsWith(`${root}/`)) return path;
  return volumesAt([path], place).length > 0 ? `.${path}` : path;
}

/** Names of the volumes that are mounted at one of the paths, around it or inside it; each once. */
function volumesAt(paths: readonly string[], { pod, root }: CertificatePlace): string[] {
  const below = (path: string) => {
    const isInside = root !== "/" && path.startsWith(`${root}/`);
    return `${resolve("/", isInside ? path.slice(root.length) : path)}/`;
  };
  const wanted = paths.map(below);
  const touches = (mount: string) => wanted.some((path) => path.startsWith(mount) || mount.startsWith(path));
  const mounts = podContainers(pod).flatMap((container) => container.volumeMounts ?? []);
  return [...new Set(mounts.filter(({ mountPath }) => touches(below(mountPath))).map(({ name }) => name))];
}
