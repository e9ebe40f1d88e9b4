import assert from "node:assert/strict";
import type { V1Container, V1Pod, V1VolumeMount } from "@kubernetes/client-node";
import { distinctMounts, mountedVolumes, needsEnvironment, podContainers } from "./volume_mounts.ts";

function container(name: string, ...volumeMounts: V1VolumeMount[]): V1Container {
  return { name, volumeMounts };
}

function pod(volumes: string[], containers: V1Container[], initContainers: V1Container[] = []): V1Pod {
  return { spec: { volumes: volumes.map((name) => ({ name, emptyDir: {} })), containers, initContainers } };
}

const place = (path: string) => path;
const plain = { place, expand: () => assert.fail("nothing to expand") };

Deno.test("mountedVolumes() leaves a volume out when no container mounts it (kubelet.md 2.1)", () => {
  const found = mountedVolumes(pod(["used", "unused"], [container("app", { name: "used", mountPath: "/a" })]));
  assert.deepEqual(found.map(({ name }) => name), ["used"]);
});

Deno.test("mountedVolumes() gives hostPath volumes first, since what is mounted inside one is made in it", () => {
  const volumes = [{ name: "inside", emptyDir: {} }, { name: "host", hostPath: { path: "/srv" } }];
  const app = container("app", { name: "inside", mountPath: "/srv/a" }, { name: "host", mountPath: "/srv" });
  assert.deepEqual(mountedVolumes({ spec: { volumes, containers: [app] } }).map(({ name }) => name), [
    "host",
    "inside",
  ]);
});

Deno.test("distinctMounts() makes one of equal mounts of several containers, init containers first", () => {
  const mount = { name: "v", mountPath: "/a" };
  const app = container("app", mount, { ...mount, mountPath: "/b" });
  assert.deepEqual(distinctMounts(pod(["v"], [app], [container("init", mount)]), "v", plain), [
    { path: "/a", subPath: "", containers: ["init", "app"] },
    { path: "/b", subPath: "", containers: ["app"] },
  ]);
});

Deno.test("distinctMounts() keeps mounts apart when path or subPath differ", () => {
  const app = container("app", { name: "v", mountPath: "/a", subPath: "x" }, { name: "v", mountPath: "/a" });
  assert.deepEqual(distinctMounts(pod(["v"], [app]), "v", plain), [
    { path: "/a", subPath: "x", containers: ["app"] },
    { path: "/a", subPath: "", containers: ["app"] },
  ]);
});

Deno.test("distinctMounts() expands subPathExpr for each container when their environments differ", () => {
  const mount = { name: "v", mountPath: "/e", subPathExpr: "$(N)" };
  const expand = (expr: string, { name }: V1Container) => `${expr}-${name.slice(0, 1)}`;
  const both = pod(["v"], [container("app", mount), container("also", mount), container("other", mount)]);
  assert.deepEqual(distinctMounts(both, "v", { place, expand }), [
    { path: "/e", subPath: "$(N)-a", containers: ["app", "also"] },
    { path: "/e", subPath: "$(N)-o", containers: ["other"] },
  ]);
});

Deno.test("distinctMounts() makes one of two spellings of one final path", () => {
  const app = container("app", { name: "v", mountPath: "a" });
  const other = container("other", { name: "v", mountPath: "/base/a" });
  const options = { ...plain, place: (path: string) => path.startsWith("/base/") ? path : `/base/${path}` };
  assert.deepEqual(distinctMounts(pod(["v"], [app, other]), "v", options), [
    { path: "/base/a", subPath: "", containers: ["app", "other"] },
  ]);
});

Deno.test("needsEnvironment() is true only when a mount of that volume has a subPathExpr", () => {
  const app = container("app", { name: "v", mountPath: "/e", subPathExpr: "$(N)" }, { name: "w", mountPath: "/w" });
  assert.equal(needsEnvironment(pod(["v", "w"], [app]), "v"), true);
  assert.equal(needsEnvironment(pod(["v", "w"], [app]), "w"), false);
});

Deno.test("podContainers() gives init containers first, and nothing for an empty Pod", () => {
  assert.deepEqual(podContainers({}), []);
  const both = podContainers(pod([], [container("app")], [container("init")]));
  assert.deepEqual(both.map(({ name }) => name), ["init", "app"]);
});
