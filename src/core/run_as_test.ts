import assert from "node:assert/strict";
import type { V1Container, V1Pod } from "@kubernetes/client-node";
import { KrunError } from "./errors.ts";
import { containerRunAs, homeAs, type RunAs } from "./run_as.ts";

const ROOT: RunAs = { uid: 0, gid: 0, groups: [0, 1] };
const USER: RunAs = { uid: 1000, gid: 1000, groups: [1000, 27] };
const PASSWD = "root:x:0:0:root:/root:/bin/sh\nalice:x:1000:100::/home/alice:/bin/sh\nbroken\n";
const GROUP = "users:x:100:\nsudo:x:27:alice,bob\ndocker:x:999:bob\nvideo:x:44:alice\n";

const container = (securityContext: V1Container["securityContext"]): V1Container =>
  ({ name: "app", ...(securityContext ? { securityContext } : {}) }) as V1Container;
const pod = (securityContext?: object): V1Pod => ({ spec: { containers: [], securityContext } }) as unknown as V1Pod;
const as = (self: RunAs, own?: object, shared?: object) =>
  containerRunAs(container(own), { pod: pod(shared), self, passwd: PASSWD, group: GROUP });

Deno.test("containerRunAs() is krun's own user when nothing is said", () => {
  assert.deepEqual(as(ROOT), ROOT);
  assert.deepEqual(as(USER), USER);
  assert.deepEqual(as(USER, { runAsUser: 1000 }), USER);
});

Deno.test("containerRunAs() takes group and groups of another user from passwd and group", () => {
  assert.deepEqual(as(ROOT, undefined, { runAsUser: 1000 }), { uid: 1000, gid: 100, groups: [27, 44] });
  assert.deepEqual(as(ROOT, { runAsUser: 4000 }), { uid: 4000, gid: 4000, groups: [] });
});

Deno.test("containerRunAs() lets the container win over the Pod, field by field", () => {
  assert.deepEqual(as(ROOT, { runAsUser: 5 }, { runAsUser: 6, runAsGroup: 7 }), { uid: 5, gid: 7, groups: [] });
});

Deno.test("containerRunAs() lists fsGroup, then supplementalGroups, then /etc/group unless Strict", () => {
  const shared = { runAsUser: 1000, runAsGroup: 1, fsGroup: 2000, supplementalGroups: [3000, 27] };
  assert.deepEqual(as(ROOT, undefined, shared).groups, [2000, 3000, 27, 44]);
  assert.deepEqual(as(ROOT, undefined, { ...shared, supplementalGroupsPolicy: "Strict" }).groups, [2000, 3000, 27]);
});

Deno.test("homeAs() is the other user's home, else /, where krun's is what krun's own user has", () => {
  const home = (given: string | undefined, uid: number, { self = ROOT, passwd = PASSWD } = {}) =>
    homeAs(given, { uid, self, passwd });
  assert.deepEqual([home("/root", 1000), home("/root", 4000)], ["/home/alice", "/"]);
  assert.deepEqual([home("/", 1000, { self: { ...USER, uid: 4000 } })], ["/home/alice"]);
  // An image without /etc/passwd.
  assert.deepEqual([home("/root", 1000, { passwd: "" }), home("/", 1000, { passwd: "" })], ["/", "/"]);
  // Somebody has chosen it; nobody has; it is krun's own user.
  assert.deepEqual([home("/data", 1000), home(undefined, 1000), home("/root", 0)], ["/data", undefined, "/root"]);
});

Deno.test("containerRunAs() refuses root under runAsNonRoot", () => {
  assert.throws(() => as(ROOT, { runAsNonRoot: true }), (e) => e instanceof KrunError && e.code === "PodInvalid");
  assert.deepEqual(as(ROOT, { runAsNonRoot: true, runAsUser: 4000 }).uid, 4000);
  assert.deepEqual(as(ROOT, { runAsNonRoot: false }, { runAsNonRoot: true }), ROOT);
});

Deno.test("containerRunAs() refuses a change of user or group that krun may not make", () => {
  for (const [own, shared] of [[{ runAsUser: 0 }], [{ runAsGroup: 5 }], [{}, { fsGroup: 2000 }]]) {
    assert.throws(() => as(USER, own, shared), (e) => e instanceof KrunError && e.code === "RunAsDenied");
  }
  assert.deepEqual(as(USER, {}, { fsGroup: 27 }), USER);
});
