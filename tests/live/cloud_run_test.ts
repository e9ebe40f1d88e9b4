/** Cloud Run's contract: its log, its names, its kinds, and krun as one container of several. */
import assert from "node:assert/strict";
import { join } from "node:path";
import { KrunProcess } from "../krun_process.ts";
import { waitFor } from "../wait.ts";
import { CLOUD_RUN, GoogleRig, RigFolder } from "./google_rig.ts";
import { freePort } from "./server_process.ts";
import { IDLE, sh } from "./shop.ts";

const ID = "0069c7a988b5d1e2f30415263748596a7b8c9d0e";
const TRACE = "4bf92f3577b34da6a3ce929d0e0e4736";

/** The entries that Cloud Logging would make of a stream: every line has to be JSON of one object. */
function entries(stderr: string): Record<string, unknown>[] {
  return stderr.trim().split("\n").map((line) => JSON.parse(line));
}

/** A Pod whose program prints what the Pod says of itself. */
const POD = JSON.stringify({
  apiVersion: "v1",
  kind: "Pod",
  metadata: { labels: { "serving.knative.dev/configuration": "mine" } },
  spec: {
    containers: [{
      name: "app",
      env: [{ name: "NAME", valueFrom: { fieldRef: { fieldPath: "metadata.name" } } }],
      volumeMounts: [{ name: "info", mountPath: "/info" }],
    }],
    volumes: [{
      name: "info",
      downwardAPI: {
        items: ["labels", "annotations"].map((path) => ({ path, fieldRef: { fieldPath: `metadata.${path}` } })),
      },
    }],
  },
});

async function podOf(rig: GoogleRig, env: Record<string, string>) {
  await using folder = await RigFolder.create();
  const file = join(folder.path, "pod.json");
  await Deno.writeTextFile(file, POD);
  const script = sh("echo $NAME; cat info/labels; echo; cat info/annotations");
  const { code, stdout, stderr } = await rig.run(folder.path, { KRUN_POD: file, ...env }, script);
  assert.equal(code, 0, stderr);
  const [name, ...lines] = stdout.trim().split("\n");
  return { name, lines };
}

Deno.test("krun keeps Cloud Run's contract", async (t) => {
  await using rig = await GoogleRig.create();

  await t.step("log lines are Cloud Logging's, with severity and trace", async () => {
    const env = {
      ...CLOUD_RUN,
      PROJECT_ID: "acme-shop-prod",
      TRACEPARENT: `00-${TRACE}-00f067aa0ba902b7-01`,
      KRUN_LOG: "debug",
    };
    await using folder = await RigFolder.create();
    const { stderr } = await rig.run(folder.path, { ...env, KRUN_TYPO: "x" }, sh("true"));
    const all = entries(stderr);
    assert.deepEqual([...new Set(all.map(({ severity }) => severity))].sort(), ["DEBUG", "INFO", "WARNING"]);
    for (const entry of all) {
      assert.match(String(entry.time), /^\d{4}-\d\d-\d\dT[\d:.]+Z$/);
      assert.ok(String(entry.message).length > 0);
      assert.equal(entry["logging.googleapis.com/trace"], `projects/acme-shop-prod/traces/${TRACE}`);
      assert.equal(entry["logging.googleapis.com/trace_sampled"], true);
      assert.equal(entry.level, undefined);
    }
  });

  await t.step("a failure is one entry too, also of settings that cannot be read", async () => {
    await using folder = await RigFolder.create();
    for (const env of [{ KRUN_LOG: "loud" }, { K8S_SECRET_gone: "./gone" }]) {
      const { code, stderr } = await rig.run(folder.path, { ...CLOUD_RUN, ...env }, sh("true"));
      assert.equal(code, 125);
      const { severity, code: named, hint } = entries(stderr).at(-1)!;
      assert.equal(severity, "ERROR");
      assert.ok(named && hint, stderr);
    }
    // The twin: elsewhere a line is for a person.
    const { stderr } = await rig.run(folder.path, { KRUN_LOG: "loud" }, sh("true"));
    assert.match(stderr, /^krun: Cannot read setting/);
  });

  await t.step("a service's instance is a Pod of its own: name, labels, annotation", async () => {
    const { name, lines } = await podOf(rig, CLOUD_RUN);
    assert.equal(name, `shop-web-00001-abc-${ID.slice(-8)}`);
    for (
      const line of [
        'serving.knative.dev/service="shop-web"',
        'serving.knative.dev/revision="shop-web-00001-abc"',
        'serving.knative.dev/configuration="mine"',
        `run.googleapis.com/instance-id="${ID}"`,
      ]
    ) assert.ok(lines.includes(line), lines.join("\n"));
  });

  await t.step("a job's task, and namespace and name from the job", async () => {
    const job = {
      CLOUD_RUN_JOB: "shop-report",
      CLOUD_RUN_EXECUTION: "shop-report-x7k2p",
      CLOUD_RUN_TASK_INDEX: "3",
      CLOUD_RUN_TASK_ATTEMPT: "1",
    };
    const { name, lines } = await podOf(rig, job);
    assert.equal(name, "shop-report-x7k2p-3");
    assert.ok(lines.includes('run.googleapis.com/execution="shop-report-x7k2p"'), lines.join("\n"));
    assert.ok(lines.includes('run.googleapis.com/task-attempt="1"'));
  });

  await t.step("a worker pool", async () => {
    const { name, lines } = await podOf(rig, {
      CLOUD_RUN_WORKER_POOL: "shop-pull",
      CLOUD_RUN_WORKER_POOL_REVISION: "shop-pull-00002-xyz",
    });
    assert.equal(name, `shop-pull-00002-xyz-${ID.slice(-8)}`);
    assert.ok(lines.includes('run.googleapis.com/worker-pool="shop-pull"'), lines.join("\n"));
  });

  await t.step("PORT reaches the program, and so do the platform's names", async () => {
    await using folder = await RigFolder.create();
    const { stdout } = await rig.run(
      folder.path,
      CLOUD_RUN,
      sh('echo "$PORT $K_SERVICE $K_REVISION $K_CONFIGURATION"'),
    );
    assert.equal(stdout, "8080 shop-web shop-web-00001-abc shop-web\n");
  });

  await t.step("a metadata server that says nothing of the instance holds up no start", async () => {
    const id = rig.google.metadata["instance/id"];
    rig.google.metadata["instance/id"] = undefined;
    const { name } = await podOf(rig, CLOUD_RUN);
    assert.equal(name, "web");
    rig.google.metadata["instance/id"] = id;
  });

  await t.step(
    "as a sidecar: files in a shared memory volume, ready when they are there, gone after SIGTERM",
    async () => {
      const shared = await Deno.makeTempDir({ dir: "/dev/shm", prefix: "krun-shared-" });
      await Deno.chmod(shared, 0o755);
      const port = freePort();
      const env = {
        ...{ K_SERVICE: "shop-web", K_REVISION: "shop-web-00001-abc", MESH_BASE_DIR: shared },
        ...{
          K8S_SECRET_db: "./db",
          GCP_ACCESS_TOKEN: "./google-token",
          KRUN_RUN_AS: "1000:1000",
          KRUN_STATUS: `0.0.0.0:${port}`,
        },
      };
      {
        await using folder = await RigFolder.create();
        await using krun = new KrunProcess(rig.krun({ args: [], cwd: folder.path, env }));
        // What another container with `dependsOn` waits for: krun's startup probe.
        const probe = [...rig.network.under, "python3", "-c", PROBE, `${port}`];
        await waitFor("the startup probe", async () => {
          const { stdout } = await new Deno.Command(probe[0]!, { args: probe.slice(1), stderr: "null" }).output();
          return new TextDecoder().decode(stdout).trim() === "200";
        });
        const asReader = ["--reuid=1000", "--regid=1000", "--clear-groups", "cat", join(shared, "db", "username")];
        const { stdout } = await new Deno.Command("setpriv", { args: asReader }).output();
        assert.equal(new TextDecoder().decode(stdout), "alice");
        assert.ok(rig.google.tokens.worth(Deno.readTextFileSync(join(shared, "google-token"))));
        const stranger = await new Deno.Command("setpriv", {
          args: ["--reuid=1001", ...asReader.slice(1)],
          stderr: "null",
        }).output();
        assert.equal(stranger.success, false);
        const from = performance.now();
        krun.kill("SIGTERM");
        assert.equal((await krun.end).code, 0);
        assert.ok(performance.now() - from < 10_000);
      }
      const left = [...Deno.readDirSync(shared)].map(({ name }) => name);
      assert.deepEqual(left, [".krun"]);
      assert.deepEqual([...Deno.readDirSync(join(shared, ".krun"))].map(({ name }) => name), ["cluster.json"]);
      await Deno.remove(shared, { recursive: true });
    },
  );

  await t.step("with a program it stops within the platform's 10 s", async () => {
    await using folder = await RigFolder.create();
    await using krun = new KrunProcess(
      rig.krun({ args: IDLE, cwd: folder.path, env: { MESH_BASE_DIR: folder.path, ...CLOUD_RUN } }),
    );
    await krun.sees("stdout", /up/);
    krun.kill("SIGTERM");
    assert.equal((await krun.end).code, 0);
  });
});

/** Prints the status of /readyz. */
const PROBE = `
import sys, urllib.request, urllib.error
try:
    print(urllib.request.urlopen(f"http://127.0.0.1:{sys.argv[1]}/readyz", timeout=5).status)
except urllib.error.HTTPError as error:
    print(error.code)
`;
