/** Which cluster krun takes, and what it says when it needs one and finds none: the real krun. */
import assert from "node:assert/strict";
import { Workspace } from "../workspace.ts";

const PROGRAM = ["--", "/bin/echo", "started"];

Deno.test("krun that needs a cluster and finds none lists every attempt, and who asked, in one line", async (t) => {
  await using workspace = await Workspace.create();
  const KRUN_POD = `${workspace.root}/pod.json`;
  const metadata = { name: "web-0", namespace: "shop" };
  const pod = { apiVersion: "v1", kind: "Pod", metadata, spec: { containers: [{ name: "app" }] } };
  await Deno.writeTextFile(KRUN_POD, JSON.stringify(pod));
  // Whether this machine is Google's plays no part.
  const none = { KRUN_MANIFESTS: "", WORKLOAD_NAMESPACE: "", HOME: workspace.root, CLUSTER_NAME: "-" };
  const attempts = [
    "KRUN_MANIFESTS: not set",
    "KUBECONFIG: not set",
    "service account of a Pod: KUBERNETES_SERVICE_HOST is not set",
    `~/.kube/config: there is no "${workspace.root}/.kube/config"`,
  ];
  const cloud = "Google Cloud: left out by CLUSTER_NAME=-";
  const asking: Record<string, string>[] = [
    { K8S_SECRET_db: "./db" },
    { K8S_CM_app: "./app?optional=true" },
    { K8S_TOKEN_vault: "./token" },
    { KRUN_POD },
    { WORKLOAD_NAMESPACE: "shop" },
    { WORKLOAD_NAME: "web" },
    { WORKLOAD_SERVICE_ACCOUNT: "web" },
    { KRUN_CONTEXT: "prod" },
    { WORKLOAD_NAMESPACE: "shop", K8S_SECRET_db: "./db", K8S_SECRET_tls: "./tls" },
  ];
  for (const env of asking) {
    const names = Object.keys(env).join(", ");
    await t.step(names, async () => {
      const { code, stdout, stderr } = await workspace.run({ args: PROGRAM, env: { ...none, ...env } });
      assert.deepEqual([code, stdout], [125, ""], stderr);
      const line = stderr.split("\n").find((one) => one.startsWith("krun: "));
      const hint = "set KUBECONFIG, CLUSTER_NAME or KRUN_MANIFESTS";
      // A context is one of a kubeconfig.
      const all = "KRUN_CONTEXT" in env ? attempts : [...attempts, cloud];
      assert.equal(line, `krun: Cannot find a cluster: ${all.join("; ")} (asked for by ${names}); ${hint}`);
    });
  }
  await t.step("the control: nothing asks, and the program starts", async () => {
    const { code, stdout, stderr } = await workspace.run({ args: PROGRAM, env: none });
    assert.deepEqual([code, stdout], [0, "started\n"], stderr);
  });
});
