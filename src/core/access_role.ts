/**
 * The Role and RoleBinding that would allow what was refused, as YAML for `kubectl apply -f -`.
 *
 * @module
 */

/** What is missing, as RBAC names it. */
export interface MissingAccess {
  /** Name of the user as the API server sees it; a service account is `system:serviceaccount:<namespace>:<name>`. */
  readonly identity: string;
  /** Of the objects. */
  readonly namespace: string;
  /** What may not be done. */
  readonly verbs: readonly string[];
  /** `""` for the core group. */
  readonly apiGroup: string;
  /** Plural, with its subresource: `serviceaccounts/token`. */
  readonly resource: string;
  /** Only this one object; unset: all of the namespace. */
  readonly name?: string | undefined;
}

/** The two objects that would grant it. Every value is quoted, so that no name can be read as anything else. */
export function accessRole(missing: MissingAccess): string {
  const { resource, name } = missing;
  return roleText(["krun", resource.replace("/", "-"), ...(name === undefined ? [] : [name])].join("-"), [missing]);
}

/** The objects that would grant all of them: one Role with its binding for each user and namespace. */
export function accessRoles(missing: readonly MissingAccess[]): string[] {
  const parts = Map.groupBy(missing, ({ identity, namespace }) => JSON.stringify([identity, namespace]));
  return [...parts.values()].map((part) => {
    const rights = merged(part);
    // Named by what it grants: another start that lacks something else must not take this back.
    return rights.length === 1 && rights[0]!.names.length < 2
      ? accessRole(part[0]!)
      : roleText(`krun-${fingerprint(JSON.stringify(rights))}`, part);
  });
}

/** Rights to the same kind of object, all of them or those with the names. */
interface Right extends Pick<MissingAccess, "apiGroup" | "resource" | "verbs"> {
  readonly names: readonly string[];
}

function merged(missing: readonly MissingAccess[]): Right[] {
  const named = ({ name }: MissingAccess) => name !== undefined;
  const kinds = Map.groupBy(missing, (one) => JSON.stringify([one.apiGroup, one.resource, one.verbs, named(one)]));
  return [...kinds.values()].map((kind) => {
    const [{ apiGroup, resource, verbs }] = kind as [MissingAccess, ...MissingAccess[]];
    return { apiGroup, resource, verbs, names: [...new Set(kind.flatMap(({ name }) => name ?? []))].sort() };
  });
}

/** Eight digits that differ where the texts do (FNV-1a). */
function fingerprint(text: string): string {
  let hash = 0x811c9dc5;
  for (const byte of new TextEncoder().encode(text)) hash = Math.imul(hash ^ byte, 0x01000193);
  return (hash >>> 0).toString(16).padStart(8, "0");
}

function roleText(role: string, missing: readonly MissingAccess[]): string {
  const [{ identity, namespace }] = missing as [MissingAccess, ...MissingAccess[]];
  const quoted = JSON.stringify;
  const list = (values: readonly string[]) => `[${values.map((v) => quoted(v)).join(", ")}]`;
  const metadata = `metadata: {namespace: ${quoted(namespace)}, name: ${quoted(role)}}`;
  return [
    "apiVersion: rbac.authorization.k8s.io/v1",
    "kind: Role",
    metadata,
    "rules:",
    ...merged(missing).flatMap(({ apiGroup, resource, verbs, names }) => [
      `- apiGroups: ${list([apiGroup])}`,
      `  resources: ${list([resource])}`,
      ...(names.length === 0 ? [] : [`  resourceNames: ${list(names)}`]),
      `  verbs: ${list(verbs)}`,
    ]),
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
