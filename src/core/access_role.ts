/**
 * The Role and RoleBinding that would allow what was refused, as YAML for `kubectl apply -f -`.
 *
 * @module
 */

/** What is missing, as RBAC names it. */
export interface MissingAccess {
  /** Name of the user as the API server sees it; a service account is `system:serviceaccount:<namespace>:<name>`. */
  readonly identity: string;
  readonly namespace: string;
  readonly verbs: readonly string[];
  /** `""` for the core group. */
  readonly apiGroup: string;
  /** Plural, with its subresource: `serviceaccounts/token`. */
  readonly resource: string;
  /** Only this one object; unset: all of the namespace. */
  readonly name?: string | undefined;
}

/** The two objects that would grant it. Every value is quoted, so that no name can be read as anything else. */
export function accessRole({ identity, namespace, verbs, apiGroup, resource, name }: MissingAccess): string {
  const quoted = JSON.stringify;
  const list = (values: readonly string[]) => `[${values.map((v) => quoted(v)).join(", ")}]`;
  const role = ["krun", resource.replace("/", "-"), ...(name === undefined ? [] : [name])].join("-");
  const metadata = `metadata: {namespace: ${quoted(namespace)}, name: ${quoted(role)}}`;
  return [
    "apiVersion: rbac.authorization.k8s.io/v1",
    "kind: Role",
    metadata,
    "rules:",
    `- apiGroups: ${list([apiGroup])}`,
    `  resources: ${list([resource])}`,
    ...(name === undefined ? [] : [`  resourceNames: ${list([name])}`]),
    `  verbs: ${list(verbs)}`,
    "---",
    "apiVersion: rbac.authorization.k8s.io/v1",
    "kind: RoleBinding",
    metadata,
    `roleRef: {apiGroup: rbac.authorization.k8s.io, kind: Role, name: ${quoted(role)}}`,
    "subjects:",
    `- ${subject(identity)}`,
    "",
  ].join("\n");
}

function subject(identity: string): string {
  const [system, kind, namespace, name] = identity.split(":");
  if (system === "system" && kind === "serviceaccount" && namespace && name) {
    return `{kind: ServiceAccount, namespace: ${JSON.stringify(namespace)}, name: ${JSON.stringify(name)}}`;
  }
  return `{apiGroup: rbac.authorization.k8s.io, kind: User, name: ${JSON.stringify(identity)}}`;
}
