/**
 * What a Google API says of a failure. In: the text of an answer. Out: its words, and the right that is missing.
 *
 * @module
 */

/** A failure in Google's form (google.rpc.Status), OAuth's (RFC 6749, section 5.2), or none. */
export interface GoogleFailure {
  /** As `PERMISSION_DENIED`, `invalid_grant`; `undefined` when the answer is of neither form. */
  readonly status: string | undefined;
  /** One line without a full stop at its end, and without tokens; never the answer as it is, which might quote what was sent. */
  readonly message: string;
  /** `SERVICE_DISABLED`, `IAM_PERMISSION_DENIED` (google.rpc.ErrorInfo). */
  readonly reason?: string;
  /** As `container.clusters.list`, where the answer names one. */
  readonly permission?: string;
}

/** Reads it. Never throws. */
export function parseGoogleFailure(text: string): GoogleFailure {
  const { error, error_description } = objectIn(text);
  if (typeof error === "string") {
    const words = typeof error_description === "string" ? oneLine(error_description) : "";
    return { status: error.slice(0, 80), message: words === "" ? oneLine(error) : `${error.slice(0, 80)}, ${words}` };
  }
  const { status, message, details } = objectOf(error);
  if (typeof message !== "string") return { status: undefined, message: "without words of Google's" };
  const info = (Array.isArray(details) ? details : []).map(objectOf).find(({ reason }) => typeof reason === "string");
  const named = objectOf(info?.metadata).permission ??
    /\b[pP]ermission '?"?([a-z]+\.[A-Za-z.]+)'?"?/.exec(message)?.[1];
  return {
    status: typeof status === "string" ? status : undefined,
    message: oneLine(message),
    ...(typeof info?.reason === "string" && { reason: info.reason }),
    ...(typeof named === "string" && { permission: named.replace(/\.$/, "") }),
  };
}

function objectIn(text: string): Readonly<Record<string, unknown>> {
  try {
    return objectOf(JSON.parse(text));
  } catch {
    return {};
  }
}

function objectOf(value: unknown): Readonly<Record<string, unknown>> {
  return typeof value === "object" && value !== null ? value as Record<string, unknown> : {};
}

/** A JWT, or an access token of Google's: an API may say which one it does not like. */
const TOKEN = /\beyJ[\w-]{8,}\.[\w.-]*|\bya29\.[\w.-]*/g;

function oneLine(text: string): string {
  const line = text.replaceAll(/\s+/g, " ").trim().replace(/\.$/, "").replaceAll(TOKEN, "(token)");
  return line.length > 300 ? `${line.slice(0, 300)}...` : line;
}

/** The smallest role of Google's own that has a right, for a hint. */
const ROLES: Readonly<Record<string, string>> = {
  "container.clusters.list": "roles/container.clusterViewer",
  "container.clusters.get": "roles/container.clusterViewer",
  "container.clusters.connect": "roles/container.viewer",
  "gkehub.memberships.list": "roles/gkehub.viewer",
  "gkehub.memberships.get": "roles/gkehub.viewer",
  "gkehub.gateway.get": "roles/gkehub.gatewayReader",
  "iam.serviceAccounts.getAccessToken": "roles/iam.workloadIdentityUser",
  "iam.serviceAccounts.getOpenIdToken": "roles/iam.workloadIdentityUser",
  "resourcemanager.projects.get": "roles/browser",
  "secretmanager.versions.access": "roles/secretmanager.secretAccessor",
  "storage.objects.get": "roles/storage.objectViewer",
  "storage.objects.list": "roles/storage.objectViewer",
  "cloudkms.cryptoKeyVersions.useToDecrypt": "roles/cloudkms.cryptoKeyDecrypter",
  "run.revisions.get": "roles/run.viewer",
  "run.executions.get": "roles/run.viewer",
  "run.workerpools.get": "roles/run.viewer",
};

/** A role that has a permission, after `grant it`. */
export function roleFor(permission: string): string {
  const role = Object.hasOwn(ROLES, permission) ? ROLES[permission] : undefined;
  return role === undefined ? `a role with ${permission}` : role;
}
