import assert from "node:assert/strict";
import { accessRole, accessRoles } from "./access_role.ts";

Deno.test("accessRole() binds a service account when the identity is one", () => {
  const yaml = accessRole({
    identity: "system:serviceaccount:ops:krun",
    namespace: "payments",
    verbs: ["get", "watch"],
    apiGroup: "",
    resource: "secrets",
    name: "db",
  });
  assert.equal(
    yaml,
    `apiVersion: rbac.authorization.k8s.io/v1
kind: Role
metadata: {namespace: "payments", name: "krun-secrets-db"}
rules:
- apiGroups: [""]
  resources: ["secrets"]
  resourceNames: ["db"]
  verbs: ["get", "watch"]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata: {namespace: "payments", name: "krun-secrets-db"}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: Role, name: "krun-secrets-db"}
subjects:
- {kind: ServiceAccount, namespace: "ops", name: "krun"}
`,
  );
});

Deno.test("accessRole() binds a user, names no object when none is given, and quotes what could be read otherwise", () => {
  const missing = { namespace: "a", verbs: ["list"], apiGroup: "", resource: "services" };
  const yaml = accessRole({ ...missing, identity: 'on: "x"\nkind: Evil' });
  assert.match(yaml, /name: "krun-services"/);
  assert.doesNotMatch(yaml, /resourceNames/);
  assert.match(yaml, /- \{apiGroup: rbac.authorization.k8s.io, kind: User, name: "on: \\"x\\"\\nkind: Evil"\}/);
});

Deno.test("accessRole() gives a name without a slash for a subresource", () => {
  const missing = { identity: "ann", namespace: "a", verbs: ["create"], apiGroup: "", name: "web" };
  assert.match(accessRole({ ...missing, resource: "serviceaccounts/token" }), /name: "krun-serviceaccounts-token-web"/);
});

Deno.test("accessRoles() is one Role for each user and namespace, named by what it grants", () => {
  const secret = { identity: "ann", namespace: "a", verbs: ["get"], apiGroup: "", resource: "secrets", name: "db" };
  const others = [{ ...secret, name: "ca" }, { ...secret, resource: "services", name: undefined }, secret];
  const [first = "", second = "", ...more] = accessRoles([secret, ...others, { ...secret, namespace: "b" }]);
  assert.deepEqual(more, []);
  assert.equal(second, accessRole({ ...secret, namespace: "b" }));
  assert.match(first, /resources: \["secrets"\]\n {2}resourceNames: \["ca", "db"\]\n {2}verbs: \["get"\]\n- apiGroups/);
  assert.equal(first.match(/^kind: Role$/gm)?.length, 1);
  const nameOf = (yaml = "") => /metadata: \{namespace: "a", name: "([^"]+)"/.exec(yaml)?.[1];
  assert.match(nameOf(first) ?? "", /^krun-[0-9a-f]{8}$/);
  assert.equal(nameOf(accessRoles([...others])[0]), nameOf(first), "the same rights");
  assert.notEqual(nameOf(accessRoles([secret, { ...secret, name: "tls" }])[0]), nameOf(first), "other rights");
});
