/** Who the workload is, what it is called and which Services it is told of, each end to end with the real krun. */
import assert from "node:assert/strict";
import { Workspace } from "../workspace.ts";

const sh = (script: string): string[] => ["--", "/bin/sh", "-c", script];

/** A value and the rule that decided it. */
type Decision = readonly [value: string, rule: string];

/** What variables say, and what becomes of it. */
interface Workload {
  readonly env: Readonly<Record<string, string>>;
  readonly namespace: Decision;
  readonly name: Decision;
  readonly serviceAccount?: Decision;
}

const BY_SERVICE = "K_SERVICE";
const WORKLOADS: readonly Workload[] = [
  { env: { K_SERVICE: "shop" }, namespace: ["shop", BY_SERVICE], name: ["shop", "the namespace, by K_SERVICE"] },
  { env: { K_SERVICE: "shop-web" }, namespace: ["shop", BY_SERVICE], name: ["web", BY_SERVICE] },
  { env: { K_SERVICE: "shop-web-api" }, namespace: ["shop", BY_SERVICE], name: ["web-api", BY_SERVICE] },
  { env: { K_SERVICE: "v1--shop" }, namespace: ["shop", BY_SERVICE], name: ["shop", "the namespace, by K_SERVICE"] },
  { env: { K_SERVICE: "v1-beta--shop-web" }, namespace: ["shop", BY_SERVICE], name: ["web", BY_SERVICE] },
  {
    env: { K_SERVICE: "v1--team-a-web", WORKLOAD_NAMESPACE: "team-a" },
    namespace: ["team-a", "WORKLOAD_NAMESPACE"],
    name: ["web", BY_SERVICE],
  },
  {
    env: { K_SERVICE: "v1--shop-web", WORKLOAD_NAME: "api", WORKLOAD_SERVICE_ACCOUNT: "robot" },
    namespace: ["shop", BY_SERVICE],
    name: ["api", "WORKLOAD_NAME"],
    serviceAccount: ["robot", "WORKLOAD_SERVICE_ACCOUNT"],
  },
  {
    env: { WORKLOAD_NAMESPACE: "team-a" },
    namespace: ["team-a", "WORKLOAD_NAMESPACE"],
    name: ["team-a", "the namespace, by WORKLOAD_NAMESPACE"],
  },
];

Deno.test("K_SERVICE says namespace and name where no variable of their own does, and --check which rule decided", async (t) => {
  await using workspace = await Workspace.create();
  const objects = [
    { kind: "Secret", metadata: { name: "db", namespace: "shop" }, stringData: { of: "shop" } },
    { kind: "Secret", metadata: { name: "db", namespace: "team-a" }, stringData: { of: "team-a" } },
    { kind: "ServiceAccount", metadata: { name: "robot", namespace: "shop" } },
  ];
  const list = { apiVersion: "v1", kind: "List", items: objects.map((object) => ({ apiVersion: "v1", ...object })) };
  await Deno.remove(workspace.manifest("Secret", "db"));
  await Deno.writeTextFile(`${workspace.manifests}/all.json`, JSON.stringify(list));
  for (const { env, namespace, name, serviceAccount = ["default", "the default"] } of WORKLOADS) {
    await t.step(JSON.stringify(env), async () => {
      const own = { WORKLOAD_NAMESPACE: "", K8S_SECRET_db: "./db", K8S_TOKEN_x: "./token", ...env };
      const checked = await workspace.run({ args: ["--check=json", "--", "/bin/true"], env: own });
      assert.equal(checked.code, 0, checked.stdout);
      const findings: { what: string; value: string; because: string }[] = JSON.parse(checked.stdout).findings;
      const found = (what: string) => findings.filter((f) => f.what === what).map((f) => [f.value, f.because]);
      assert.deepEqual(found("namespace"), [namespace]);
      assert.deepEqual(found("name"), [name]);
      assert.deepEqual(found("service account"), [serviceAccount]);

      const script =
        "cat db/of; echo; cat var/run/secrets/kubernetes.io/serviceaccount/namespace; echo; cut -d. -f2 token";
      const { code, stdout, stderr } = await workspace.run({ args: sh(script), env: own });
      assert.equal(code, 0, stderr);
      const [secretOf, inFile, claims] = stdout.split("\n");
      assert.deepEqual([secretOf, inFile], [namespace[0], namespace[0]]);
      const { sub } = JSON.parse(atob(claims!.replaceAll("-", "+").replaceAll("_", "/")));
      assert.equal(sub, `system:serviceaccount:${namespace[0]}:${serviceAccount[0]}`);
      assert.match(
        stderr,
        new RegExp(` namespace=${namespace[0]} name=${name[0]} serviceAccount=${serviceAccount[0]} `),
      );
    });
  }
});

Deno.test("krun warns of an unknown setting, with the nearest name, and of a LABEL_ that is none, and starts all the same", async () => {
  await using workspace = await Workspace.create();
  const fieldRef = (label: string) => ({ fieldRef: { fieldPath: `metadata.labels['${label}']` } });
  const env = ["app", "bad"].map((label) => ({ name: `SEEN_${label}`, valueFrom: fieldRef(label) }));
  const metadata = { name: "web-0", namespace: "shop" };
  const KRUN_POD = `${workspace.root}/pod.json`;
  const pod = { apiVersion: "v1", kind: "Pod", metadata, spec: { containers: [{ name: "app", env }] } };
  await Deno.writeTextFile(KRUN_POD, JSON.stringify(pod));
  const { code, stdout, stderr } = await workspace.run({
    args: sh('echo "$SEEN_app,$SEEN_bad"'),
    env: {
      ...{ KRUN_POD, KRUN_GRACE_PERIOT: "5", K8S_SECRT_db: "./db", KRUN_XYZZY: "1" },
      ...{ LABEL_app: "shop", LABEL_bad: "no label!", "LABEL_a..b/": "x" },
    },
  });
  assert.deepEqual([code, stdout], [0, "shop,\n"], stderr);
  const warnings = stderr.split("\n").filter((line) => / warn /.test(line));
  const warned = (...parts: string[]) => warnings.filter((line) => parts.every((part) => line.includes(part))).length;
  assert.equal(warned("KRUN_GRACE_PERIOT", "the nearest is KRUN_GRACE_PERIOD"), 1, stderr);
  assert.equal(warned("K8S_SECRT_db", "the nearest is K8S_SECRET_<name>"), 1, stderr);
  assert.equal(warned("KRUN_XYZZY", "krun --help"), 1, stderr);
  assert.equal(warned("LABEL_bad", "no label!"), 1, stderr);
  assert.equal(warned("LABEL_a..b/"), 1, stderr);
  assert.equal(warnings.length, 5, stderr);
});

Deno.test("krun tells the program of the namespace's Services where enableServiceLinks or KRUN_SERVICE_LINKS says so", async (t) => {
  await using workspace = await Workspace.create();
  const port = { name: "http-web", port: 80, protocol: "TCP" };
  await workspace.put({ kind: "Service", name: "my-svc", spec: { clusterIP: "10.0.0.7", ports: [port] } });
  const KRUN_POD = `${workspace.root}/pod.json`;
  const cases: { name: string; enableServiceLinks?: boolean | "no Pod"; setting?: string; isTold: boolean }[] = [
    { name: "variables alone", enableServiceLinks: "no Pod", isTold: false },
    { name: "variables and the setting", enableServiceLinks: "no Pod", setting: "true", isTold: true },
    { name: "a Pod that says nothing", isTold: true },
    { name: "a Pod that says no", enableServiceLinks: false, isTold: false },
    { name: "a Pod that says no, and the setting", enableServiceLinks: false, setting: "true", isTold: true },
    { name: "a Pod that says nothing, and the setting's no", setting: "false", isTold: false },
  ];
  for (const { name, enableServiceLinks, setting, isTold } of cases) {
    await t.step(name, async () => {
      const spec = { enableServiceLinks, containers: [{ name: "app" }] };
      const pod = { apiVersion: "v1", kind: "Pod", metadata: { name: "web-0", namespace: "shop" }, spec };
      await Deno.writeTextFile(KRUN_POD, JSON.stringify(pod));
      const env = {
        K8S_SECRET_db: "./db",
        ...(enableServiceLinks !== "no Pod" && { KRUN_POD }),
        ...(setting !== undefined && { KRUN_SERVICE_LINKS: setting }),
      };
      const { code, stdout, stderr } = await workspace.run({ args: sh("env"), env });
      assert.equal(code, 0, stderr);
      const seen = stdout.split("\n").filter((line) => line.startsWith("MY_SVC_"));
      if (!isTold) return assert.deepEqual(seen, []);
      for (
        const line of [
          "MY_SVC_PORT=tcp://10.0.0.7:80",
          "MY_SVC_PORT_80_TCP_ADDR=10.0.0.7",
          "MY_SVC_SERVICE_HOST=10.0.0.7",
          "MY_SVC_SERVICE_PORT_HTTP_WEB=80",
        ]
      ) assert.ok(seen.includes(line), `${line} in\n${stdout}`);
    });
  }
});
