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

/** As the injector leaves a Pod behind, with what is not its own. */
function injectedPod(template: "sidecar" | "grpc-agent"): V1Pod {
  const probers = {
    "/app-health/web/readyz": { httpGet: { path: "/ok", port: 8080, scheme: "HTTP" }, timeoutSeconds: 1 },
    "/app-health/web/livez": { tcpSocket: { port: 8080 }, timeoutSeconds: 3 },
    "/app-health/web/startupz": { grpc: { port: 9000, service: "" } },
    "/app-lifecycle/web/prestopz": { httpGet: { path: "/bye", port: 8080 } },
  };
  const rewritten = (path: string) => ({
    httpGet: { path, port: 15020, scheme: "HTTP" },
    timeoutSeconds: 3,
    periodSeconds: 7,
  });
  const web = {
    name: "web",
    env: [{ name: "OWN", value: "1" }],
    volumeMounts: [{ name: "db", mountPath: "/db" }],
    readinessProbe: rewritten("/app-health/web/readyz"),
    livenessProbe: rewritten("/app-health/web/livez"),
    startupProbe: rewritten("/app-health/web/startupz"),
    lifecycle: {
      preStop: { httpGet: { path: "/app-lifecycle/web/prestopz", port: 15020 } },
      postStart: { exec: { command: ["x"] } },
    },
  };
  const grpc = {
    env: [
      { name: "GRPC_XDS_EXPERIMENTAL_SECURITY_SUPPORT", value: "true" },
      { name: "GRPC_XDS_BOOTSTRAP", value: "/etc/istio/proxy/grpc-bootstrap.json" },
    ],
    volumeMounts: [{ name: "istio-xds", mountPath: "/etc/istio/proxy" }],
  };
  const isGrpc = template === "grpc-agent";
  const metrics = { scrape: "true", path: "", port: "9090" };
  return {
    metadata: {
      annotations: {
        "example.org/x": "1",
        "istio.io/rev": "default",
        "prometheus.io/path": "/stats/prometheus",
        "prometheus.io/port": "15020",
        "prometheus.io/scrape": "true",
        "sidecar.istio.io/status": JSON.stringify({ volumes: isGrpc ? ["istio-xds"] : ["istio-token"] }),
      },
    },
    spec: {
      containers: [
        isGrpc
          ? { ...web, env: [...web.env, ...grpc.env], volumeMounts: [...web.volumeMounts, ...grpc.volumeMounts] }
          : web,
        {
          name: "istio-proxy",
          env: [
            { name: "ISTIO_KUBE_APP_PROBERS", value: JSON.stringify(probers) },
            { name: "ISTIO_PROMETHEUS_ANNOTATIONS", value: JSON.stringify(metrics) },
          ],
          volumeMounts: [{ name: "db", mountPath: "/db" }],
        },
      ],
      volumes: [{ name: "db", emptyDir: {} }, { name: isGrpc ? "istio-xds" : "istio-token", emptyDir: {} }],
    },
  };
}

Deno.test("withoutInjected() gives back probes, hooks, metrics and mounts as they were before the injector", () => {
  for (const template of ["sidecar", "grpc-agent"] as const) {
    const { metadata, spec } = withoutInjected(injectedPod(template));
    const [web] = spec!.containers;
    assert.deepEqual(web?.readinessProbe, {
      httpGet: { path: "/ok", port: 8080, scheme: "HTTP" },
      timeoutSeconds: 3,
      periodSeconds: 7,
    });
    assert.deepEqual(web?.livenessProbe, { tcpSocket: { port: 8080 }, timeoutSeconds: 3, periodSeconds: 7 });
    assert.deepEqual(web?.startupProbe, { grpc: { port: 9000, service: "" }, timeoutSeconds: 3, periodSeconds: 7 });
    assert.deepEqual(web?.lifecycle, {
      preStop: { httpGet: { path: "/bye", port: 8080 } },
      postStart: { exec: { command: ["x"] } },
    });
    assert.deepEqual(web?.env, [{ name: "OWN", value: "1" }], template);
    assert.deepEqual(web?.volumeMounts, [{ name: "db", mountPath: "/db" }], template);
    assert.deepEqual(spec?.volumes?.map(({ name }) => name), ["db"], template);
    assert.deepEqual(metadata?.annotations, {
      "example.org/x": "1",
      "prometheus.io/port": "9090",
      "prometheus.io/scrape": "true",
    });
  }
});

Deno.test("withoutInjected() leaves a probe that the injector has said nothing of, and what only looks like its own", () => {
  const pod = injectedPod("sidecar");
  const [web, proxy] = pod.spec!.containers;
  proxy!.env = [{ name: "ISTIO_KUBE_APP_PROBERS", value: "{" }];
  web!.env = [{ name: "GRPC_XDS_EXPERIMENTAL_SECURITY_SUPPORT", value: "true" }];
  pod.metadata!.annotations!["prometheus.io/port"] = "9090";
  const { metadata, spec } = withoutInjected(pod);
  assert.deepEqual(spec?.containers[0], web);
  assert.equal(metadata?.annotations?.["prometheus.io/path"], "/stats/prometheus");
  assert.equal(metadata?.annotations?.["prometheus.io/port"], "9090");
});

Deno.test("withoutInjected() gives back the Pod itself where nothing was injected", () => {
  const pod: V1Pod = { spec: { containers: [{ name: "web" }] } };
  assert.equal(withoutInjected(pod), pod);
});
