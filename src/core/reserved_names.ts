/**
 * Variables of the original program for what krun does not have yet. They are part of the table of settings, so that each is
 * known, explained, and answered (`reserved_settings.ts`) instead of passed over.
 *
 * @module
 */
import type { Setting } from "./setting.ts";

/** The reserved part of the table. A name leaves it when krun has what the name asks for. */
export const RESERVED_SETTINGS = [
  {
    env: "CLUSTER_NAME",
    group: "reserved",
    unit: "name",
    unset: "no GKE cluster is looked up",
    says: "Name of the GKE cluster: an error unless another setting names the cluster",
    example: "prod",
    seenBy: "program",
    reserved: "Google Cloud support",
  },
  {
    env: "CLUSTER_LOCATION",
    group: "reserved",
    unit: "zone or region",
    unset: "the region of the machine",
    says: "Where CLUSTER_NAME is",
    example: "us-central1",
    seenBy: "program",
    reserved: "Google Cloud support",
  },
  {
    env: "PROJECT_ID",
    group: "reserved",
    unit: "project",
    unset: "the project of the machine",
    says: "Google Cloud project of CLUSTER_NAME; no warning, since many programs have it for themselves",
    example: "my-project",
    seenBy: "program",
    reserved: "Google Cloud support",
  },
  {
    env: "GCE_METADATA_HOST",
    group: "reserved",
    unit: "host[:port]",
    unset: "169.254.169.254",
    says:
      "Address of the metadata server, which krun asks for the ID token of --connect; no warning, since Google's libraries read it too",
    example: "127.0.0.1:8080",
    seenBy: "program",
    reserved: "Google Cloud support",
  },
  {
    env: "GOOGLE_APPLICATION_CREDENTIALS",
    group: "reserved",
    unit: "file",
    unset: "the metadata server",
    says: "Google credentials for krun, not for the program",
    example: "/etc/krun/key.json",
    seenBy: "krun",
    reserved: "Google Cloud support",
  },
  {
    env: "MESH_TENANT",
    group: "reserved",
    unit: "name, or -",
    unset: "none",
    says: "Tenant of a managed mesh",
    example: "-",
    seenBy: "program",
    reserved: "a managed mesh",
  },
  {
    env: "CA_POOL",
    group: "reserved",
    unit: "resource name",
    unset: "istiod signs",
    says: "Certificate authority pool that signs workload certificates",
    example: "projects/p/locations/l/caPools/c",
    seenBy: "program",
    reserved: "a managed mesh",
  },
  {
    env: "OSS_ISTIO",
    group: "reserved",
    unit: "any text",
    unset: "decided by the mesh",
    says: "Tokens for istiod have the audience istio-ca, which they always have; no warning",
    example: "true",
    seenBy: "program",
    reserved: "a managed mesh",
  },
  {
    env: "SSH_AUTH",
    group: "reserved",
    unit: "authorized_keys line",
    unset: "no SSH server",
    says: "Public key that may log in to the debug SSH server",
    example: "ssh-ed25519 AAAA... me",
    seenBy: "krun",
    reserved: "the SSH server",
  },
] as const satisfies readonly Setting[];
