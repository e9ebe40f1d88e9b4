/**
 * The variables of Google Cloud, a part of the table of settings. Names without KRUN_ are the original program's, Google's own,
 * or issue 5's.
 *
 * @module
 */
import type { Setting } from "./setting.ts";

/** Google Cloud's part of the table. */
export const GOOGLE_NAMES = [
  {
    env: "CLUSTER_NAME",
    group: "google",
    unit: "name, or -",
    unset: "the cluster that the order of choice leaves, see docs/google_cloud.md",
    says:
      "GKE cluster, or member of the project's fleet; goes before a ~/.kube/config, contradicts a KUBECONFIG; - looks up none",
    example: "prod",
    seenBy: "program",
  },
  {
    env: "CLUSTER_LOCATION",
    group: "google",
    unit: "zone or region",
    unset: "the machine's region goes before others",
    says: "Where the cluster is; without a metadata server it has to be set, unless CLUSTER_NAME is",
    example: "us-central1",
    seenBy: "program",
  },
  {
    env: "PROJECT_ID",
    group: "google",
    unit: "project id",
    unset: "the machine's project",
    says: "Project of the cluster, unless MESH names one; without a metadata server it has to be set",
    example: "my-project",
    seenBy: "program",
  },
  {
    env: "KRUN_GKE_ENDPOINT",
    group: "google",
    unit: "public, private, dns or gateway",
    unset: "the first that is open: public, dns, private",
    says: "Address of the cluster's control plane; gateway is Connect Gateway, for members of a fleet",
    example: "dns",
    seenBy: "krun",
  },
  {
    env: "GOOGLE_APPLICATION_CREDENTIALS",
    group: "google",
    unit: "file",
    unset: "the metadata server",
    says:
      "Google credentials for krun, not for the program: a service account's key, workload identity federation, impersonation, or a person's",
    example: "/etc/krun/key.json",
    seenBy: "krun",
  },
  {
    env: "GCE_METADATA_HOST",
    group: "google",
    unit: "host[:port]",
    unset: "169.254.169.254",
    says: "Address of the metadata server, as Google's libraries have it; no other Google endpoint can be redirected",
    example: "127.0.0.1:8080",
    seenBy: "program",
  },
  {
    env: "GCP_ACCESS_TOKEN",
    group: "google",
    unit: "path[?scopes=]",
    unset: "no file",
    says: "Keeps a Google access token in one file of mode 0600; scopes are separated by commas",
    example: "./google-token",
    seenBy: "krun",
  },
  {
    env: "GCP_ID_TOKEN_<audience>",
    group: "google",
    unit: "[audience:]path",
    unset: "no file",
    says: "Keeps a Google ID token for that audience in one file of mode 0600",
    example: "https://api-123456789.us-central1.run.app:./api.jwt",
    seenBy: "krun",
  },
  {
    env: "KRUN_METADATA",
    group: "google",
    unit: "loopback address:port",
    unset: "off",
    says:
      "Serves a metadata server there for the program, which finds it by GCE_METADATA_HOST: Google's libraries then work off Google",
    example: "127.0.0.1:15988",
    seenBy: "krun",
  },
  {
    env: "KRUN_GOOGLE_ACCOUNT",
    group: "google",
    unit: "e-mail of a Google service account, platform or workload",
    unset: "workload where the cluster has a workload identity pool, or KRUN_WORKLOAD_PROVIDER is set; else platform",
    says:
      "As whom the program gets Google tokens: as its Kubernetes service account, which may stand for a Google one; as krun; or as that account",
    example: "web@my-project.iam.gserviceaccount.com",
    seenBy: "krun",
  },
  {
    env: "KRUN_WORKLOAD_PROVIDER",
    group: "google",
    unit: "resource name",
    unset: "the cluster's own, where it is a GKE cluster or a member of a fleet",
    says: "Provider of a workload identity pool that believes the cluster's service account tokens",
    example: "projects/123456789/locations/global/workloadIdentityPools/my-pool/providers/my-provider",
    seenBy: "krun",
  },
] as const satisfies readonly Setting[];
