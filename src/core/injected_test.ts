import assert from "node:assert/strict";
import type { V1Pod } from "@kubernetes/client-node";
import { withoutInjected } from "./injected.ts";

Deno.test("withoutInjected() leaves out the containers of Istio's injector and the volumes that only they mount", () => {
  const mount = (name: string) => ({ name, mountPath: `/${name}` });
  const pod: V1Pod = {
    metadata: { name: "web" },
    spec: {
      initContainers: [{ name: "istio-init" }, {
        name: "istio-proxy",
        volumeMounts: [mount("istio-token"), mount("shared")],
      }, {
        name: "setup",
      }],
      containers: [{ name: "web", volumeMounts: [mount("shared"), mount("db")] }],
      volumes: ["istio-token", "shared", "db", "unused"].map((name) => ({ name, emptyDir: {} })),
    },
  };
  const { spec, metadata } = withoutInjected(pod);
  assert.deepEqual(metadata, pod.metadata);
  assert.deepEqual(spec?.initContainers?.map(({ name }) => name), ["setup"]);
  assert.deepEqual(spec?.containers.map(({ name }) => name), ["web"]);
  assert.deepEqual(spec?.volumes?.map(({ name }) => name), ["shared", "db", "unused"]);
});

Deno.test("withoutInjected() gives back the Pod itself where nothing was injected", () => {
  const pod: V1Pod = { spec: { containers: [{ name: "web" }] } };
  assert.equal(withoutInjected(pod), pod);
});
