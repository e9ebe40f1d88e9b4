/** What a person reads of a start that fails for one reason in several places, and of a Pod with several mounts. */
import assert from "node:assert/strict";
import { Workspace } from "./workspace.ts";

const PROGRAM = ["--", "/bin/echo", "started"];

/** A kubeconfig whose server refuses connections. */
async function closedServer(workspace: Workspace): Promise<string> {
  const closed = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  closed.close();
  const kubeconfig = workspace.path("..", "kubeconfig");
  const config = {
    clusters: [{ name: "away", cluster: { server: `http://127.0.0.1:${closed.addr.port}` } }],
    users: [{ name: "ann", user: { token: "t" } }],
    contexts: [{ name: "away", context: { cluster: "away", user: "ann", namespace: "shop" } }],
    "current-context": "away",
  };
  await Deno.writeTextFile(kubeconfig, JSON.stringify(config));
  return kubeconfig;
}

Deno.test("krun tells one failure that several objects met once, with all of them and who asked", async () => {
  await using workspace = await Workspace.create();
  const env = {
    ...{ KRUN_MANIFESTS: "", KUBECONFIG: await closedServer(workspace), KRUN_START_TIMEOUT: "0" },
    ...{ K8S_SECRET_db: "./db", K8S_CM_app: "./app", K8S_TOKEN_vault: "./token" },
  };
  const { code, stderr } = await workspace.run({ args: PROGRAM, env });
  assert.equal(code, 125);
  const [line = "", ...details] = stderr.slice(stderr.indexOf("krun: ")).trimEnd().split("\n");
  for (const part of ['Secret "shop/db"', 'ConfigMap "shop/app"', 'service account "shop/default"']) {
    assert.equal(line.split(part).length, 2, `${part} once in ${line}`);
  }
  for (const setting of ["K8S_SECRET_db", "K8S_CM_app", "K8S_TOKEN_vault"]) assert.ok(line.includes(setting), line);
  assert.equal(line.split("refused").length, 2, line);
  assert.deepEqual(details, []);
  const report = JSON.parse((await workspace.run({ args: ["--check=json", ...PROGRAM], env })).stdout);
  assert.equal(report.problems.length, 1, report.problems.join("\n"));
});

Deno.test("krun tells the one fault of an environment in one line", async () => {
  await using workspace = await Workspace.create();
  const env = [{ name: "PASSWORD", valueFrom: { secretKeyRef: { name: "db", key: "pasword" } } }];
  const pod = {
    apiVersion: "v1",
    kind: "Pod",
    metadata: { name: "web" },
    spec: { containers: [{ name: "app", env }] },
  };
  await Deno.writeTextFile(workspace.path("..", "pod.json"), JSON.stringify(pod));
  const { stderr } = await workspace.run({ args: PROGRAM, env: { KRUN_POD: "../pod.json" } });
  assert.match(stderr, /^krun: .*has no key "pasword" \(it has "password", "username"\) .*\n$/m);
  assert.equal(stderr.split('"pasword"').length, 2, stderr);
});

Deno.test("krun says which rule chose the namespace in which an object is missing", async () => {
  await using workspace = await Workspace.create();
  const own = await workspace.run({ args: PROGRAM, env: { K8S_SECRET_nope: "./nope" } });
  assert.match(own.stderr, /^krun: .*Secret "shop\/nope".*; .*; namespace "shop" is from WORKLOAD_NAMESPACE$/m);
  const env = { K8S_SECRET_nope: "./nope", WORKLOAD_NAMESPACE: "", K_SERVICE: "other-api" };
  const other = await workspace.run({ args: PROGRAM, env });
  assert.match(other.stderr, /; namespace "other" is from K_SERVICE, and WORKLOAD_NAMESPACE sets another$/m);
});

Deno.test("krun names who asked for several mounts once", async () => {
  await using workspace = await Workspace.create();
  const volumeMounts = ["a", "b"].map((name) => ({ name, mountPath: `/${name}` }));
  const token = { serviceAccountToken: { audience: "vault", path: "token" } };
  const volumes = volumeMounts.map(({ name }) => ({ name, projected: { sources: [token] } }));
  const containers = [{ name: "app", volumeMounts }];
  const pod = { apiVersion: "v1", kind: "Pod", metadata: { name: "web" }, spec: { volumes, containers } };
  await Deno.writeTextFile(workspace.path("..", "pod.json"), JSON.stringify(pod));
  const env = { KRUN_POD: "../pod.json" };
  const { stderr } = await workspace.run({ args: PROGRAM, env });
  assert.ok(stderr.includes(`KRUN_POD=${workspace.path("a")}+${workspace.path("b")}, the service account=`), stderr);
  const report = JSON.parse((await workspace.run({ args: ["--check=json", ...PROGRAM], env })).stdout);
  const askedBy = report.tokens.map((row: { askedBy: string }) => row.askedBy);
  assert.deepEqual(askedBy, ["KRUN_POD", "the service account"]);
});
