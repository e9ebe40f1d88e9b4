import assert from "node:assert/strict";
import { assertGolden } from "../../tests/golden.ts";
import { meshTrial } from "../../tests/meshed_pod.ts";
import { NODE } from "../../tests/planned_pod.ts";
import { containerEnv } from "../core/container_env.ts";
import { ISTIO_PROXY } from "../core/istio_proxy.ts";
import { MESH_MODES, type MeshMode } from "../core/mesh_settings.ts";
import type { Env, PodInputs } from "../core/pod_inputs.ts";
import { parseSettings } from "../core/settings.ts";
import { podContainers } from "../core/volume_mounts.ts";
import { containerEnvironment } from "./run_containers.ts";

/** krun's own environment, as a platform or a shell leaves it. */
const OUTER: Env = {
  ...{ PATH: "/mine:/usr/bin", HOME: "/home/ann", LD_PRELOAD: "/evil.so", HTTP_PROXY: "http://corp:3128" },
  ...{ KUBECONFIG: "/admin", KUBERNETES_SERVICE_HOST: "10.9.9.9", PORT: "8080", SECRET_OF_THE_PROGRAM: "s3cret" },
  ...{ GODEBUG: "x", SSL_CERT_FILE: "/evil.pem", XDS_HEADER_AUTHORIZATION: "Bearer x" },
};

/** The environments of all containers of a Pod in the mesh, whose Service account and API server are known. */
function environments(mode: MeshMode): Map<string, Env> {
  const manifest = {
    apiVersion: "v1",
    kind: "Pod",
    spec: {
      containers: [
        { name: "web", env: [{ name: "PASSWORD", value: "s3cret" }], ports: [{ containerPort: 8080 }] },
        { name: "log", command: ["log"] },
      ],
    },
  };
  const planned = meshTrial({
    mode,
    manifest,
    env: { XDS_HEADER_AUTHORIZATION: "Bearer x", KRUN_SERVICE_LINKS: "true" },
  });
  const { pod, localServices } = planned;
  const inputs: PodInputs = {
    object: () => undefined,
    token: () => assert.fail("no token is asked for"),
    services: localServices,
    node: NODE,
  };
  const mounted = {
    pod,
    env: (name: string) =>
      containerEnv(podContainers(pod).find((container) => container.name === name)!, { pod, inputs }),
  };
  const run = {
    outer: {
      args: [],
      env: OUTER,
      cwd: "/",
      pid: 1,
      self: { uid: 0, gid: 0, groups: [] },
      writeError() {},
      writeOutput() {},
    },
    plan: { planned } as Parameters<typeof containerEnvironment>[0]["plan"],
    settings: parseSettings({}),
    mounted,
  };
  return new Map(podContainers(pod).map((container) => [container.name, containerEnvironment(run, container)]));
}

Deno.test("containerEnvironment() of the mesh's agent is what tests/testdata/golden/agent_env.txt holds, in every mode", () => {
  const texts = MESH_MODES.map((mode) => {
    const lines = Object.entries(environments(mode).get(ISTIO_PROXY)!).map(([name, value]) => `${name}=${value}\n`);
    return `# ${mode}\n${lines.join("")}`;
  });
  assertGolden("agent_env.txt", texts.join("\n"));
});

Deno.test("containerEnvironment() hands the agent nothing of krun's environment, of the program's, or of an API server", () => {
  for (const mode of MESH_MODES) {
    const agent = environments(mode).get(ISTIO_PROXY)!;
    for (const name of Object.keys(OUTER).filter((name) => name !== "PATH" && !name.startsWith("XDS_HEADER_"))) {
      assert.equal(agent[name], undefined, `${mode}: ${name}`);
    }
    assert.deepEqual(Object.keys(agent).filter((name) => /^(KUBERNETES|PASSWORD)/.test(name)), [], mode);
    assert.doesNotMatch(JSON.stringify(agent), /s3cret|evil/, mode);
    assert.equal(agent.PATH, "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin");
    assert.equal(agent.XDS_HEADER_AUTHORIZATION, "Bearer x");
  }
});

Deno.test("containerEnvironment() hands the program nothing of the agent's, and what is its own, as the control", () => {
  for (const mode of MESH_MODES) {
    const all = environments(mode);
    for (const name of ["web", "log"]) {
      const env = all.get(name)!;
      const agents = Object.keys(all.get(ISTIO_PROXY)!).filter((name) =>
        !["PATH", "GRPC_XDS_BOOTSTRAP"].includes(name)
      );
      assert.deepEqual(Object.keys(env).filter((variable) => agents.includes(variable)), [], `${mode}: ${name}`);
      assert.equal(env.SECRET_OF_THE_PROGRAM, "s3cret");
      assert.equal(env.KUBERNETES_SERVICE_HOST, "10.0.0.1");
      assert.equal(env.KUBECONFIG, undefined);
    }
    assert.equal(all.get("web")?.PASSWORD, "s3cret");
  }
});
