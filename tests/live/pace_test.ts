/** How long krun waits: the pauses of a crash loop, the grace of a stop; with the real krun, whose timers are cut short. */
import assert from "node:assert/strict";
import { waitFor } from "../wait.ts";
import { Workspace } from "../workspace.ts";

const sh = (script: string): string[] => ["--", "/bin/sh", "-c", script];

/** It tells of its timers, and does not wait as long. */
const preload = "short_timers.ts";

/** The milliseconds of the timers that krun tells of in a text. */
function timers(text: string): number[] {
  return [...text.matchAll(/^timer ([\d.]+)$/gm)].map(([, ms]) => Number(ms));
}

Deno.test("krun restarts a container that ends again and again after pauses that grow as the kubelet's do", async (t) => {
  for (
    const [policy, status, restarts] of [["Always", 0, true], ["OnFailure", 3, true], ["OnFailure", 0, false]] as const
  ) {
    await t.step(`${policy}, exit status ${status}`, async () => {
      await using workspace = await Workspace.create();
      const containers = [{ name: "app", command: ["/bin/sh", "-c", `echo pass; exit ${status}`] }];
      const spec = { restartPolicy: policy, containers };
      const metadata = { name: "web-0", namespace: "shop" };
      const KRUN_POD = `${workspace.root}/pod.json`;
      await Deno.writeTextFile(KRUN_POD, JSON.stringify({ apiVersion: "v1", kind: "Pod", metadata, spec }));
      await using krun = workspace.start({ preload, args: [], env: { KRUN_POD, KRUN_LOG_FORMAT: "json" } });
      if (!restarts) {
        const { code, stdout, stderr } = await krun.end;
        assert.deepEqual([code, stdout], [0, "pass\n"], stderr);
        return;
      }
      // Each timer follows its log line at once; the token keeper's own, also of 10 s, stand elsewhere.
      const pauses =
        () => [...krun.stderr.matchAll(/^\{.*"event":"container restarts".*"seconds":([1-9]\d*).*\}\ntimer (\d+)$/gm)];
      await waitFor("seven pauses", () => pauses().length >= 7);
      const expected = [10, 20, 40, 80, 160, 300, 300];
      assert.deepEqual(pauses().slice(0, 7).map(([, seconds]) => Number(seconds)), expected);
      assert.deepEqual(pauses().slice(0, 7).map(([, , ms]) => Number(ms) / 1000), expected);
      await waitFor("the run after the last of them", () => krun.stdout.split("pass\n").length > 8);
    });
  }
});

Deno.test("krun kills a program that ignores SIGTERM after the grace period, less than 10 s on Cloud Run", async (t) => {
  const service = { K_SERVICE: "shop-web", K_REVISION: "shop-web-00001-abc" };
  const cases: [string, Record<string, string>, (ms: number) => boolean][] = [
    ["the default", {}, (ms) => ms > 20_000 && ms <= 30_000],
    ["a setting", { KRUN_GRACE_PERIOD: "20" }, (ms) => ms > 10_000 && ms <= 20_000],
    ["a Cloud Run service", service, (ms) => ms < 10_000],
    ["a Cloud Run job", { CLOUD_RUN_JOB: "nightly" }, (ms) => ms < 10_000],
    ["a Cloud Run worker pool", { CLOUD_RUN_WORKER_POOL: "consumers" }, (ms) => ms < 10_000],
    ["a shorter one on Cloud Run", { ...service, KRUN_GRACE_PERIOD: "7" }, (ms) => ms <= 7_000],
    ["a longer one on Cloud Run", { ...service, KRUN_GRACE_PERIOD: "20" }, (ms) => ms < 10_000],
    ["K_SERVICE alone, which is the workload's name", { K_SERVICE: "shop-web" }, (ms) => ms > 20_000],
  ];
  for (const [name, env, isRight] of cases) {
    await t.step(name, async () => {
      await using workspace = await Workspace.create();
      const args = sh("trap 'echo told' TERM; echo up; while :; do sleep 0.05; done");
      // Without a cluster krun has no other timers of that length.
      const nowhere = { CLUSTER_NAME: "-", GCE_METADATA_HOST: "127.0.0.1:9" };
      const alone = { KRUN_MANIFESTS: "", WORKLOAD_NAMESPACE: "", HOME: workspace.root, ...nowhere };
      await using krun = workspace.start({ preload, args, env: { ...alone, ...env } });
      await krun.sees("stdout", /up/);
      assert.deepEqual(timers(krun.stderr), [], "none but that of the stop");
      krun.kill("SIGTERM");
      const { code, stdout, stderr } = await krun.end;
      assert.equal(code, 137, stderr);
      const told = timers(stderr);
      assert.ok(told.length === 1 && isRight(told[0]!), `${told}\n${stdout}\n${stderr}`);
      const isCut = name === "a longer one on Cloud Run";
      assert.equal(/grace period of 20 s becomes 8 s/.test(stderr), isCut, stderr);
    });
  }
});
