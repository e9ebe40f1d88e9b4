/** How the end of a program is kept: hooks at SIGTERM, and the grace period of one that a killed krun left. The real krun. */
import assert from "node:assert/strict";
import { join } from "node:path";
import { waitFor } from "../wait.ts";
import { Workspace } from "../workspace.ts";

const sh = (script: string): string[] => ["--", "/bin/sh", "-c", script];

/** Writes a Pod of one container, named `app`, with these hooks; the setting that hands it to krun. */
async function pod(workspace: Workspace, lifecycle: object): Promise<{ KRUN_POD: string }> {
  const file = join(workspace.root, "pod.json");
  const metadata = { name: "web-0", namespace: "shop" };
  const spec = { restartPolicy: "Never", containers: [{ name: "app", lifecycle }] };
  await Deno.writeTextFile(file, JSON.stringify({ apiVersion: "v1", kind: "Pod", metadata, spec }));
  return { KRUN_POD: file };
}

/** Says `up`, and at SIGTERM whether the hook has been there. */
const PROGRAM = sh("trap 'test -e hook && echo after-hook; exit 4' TERM; echo up; while :; do sleep 0.02; done");

Deno.test("krun runs the preStop hook of a container at SIGTERM, and tells the program only then", async (t) => {
  await t.step("exec, in the container's environment", async () => {
    await using workspace = await Workspace.create();
    const command = [
      "/bin/sh",
      "-c",
      'test -e go || { touch asked; until test -e go; do sleep 0.02; done; }; echo "$OF" > hook',
    ];
    const env = { ...await pod(workspace, { preStop: { exec: { command } } }), OF: "the program" };
    await using krun = workspace.start({ args: PROGRAM, env });
    await krun.sees("stdout", /up/);
    krun.kill("SIGTERM");
    await waitFor("the hook", () => Deno.statSync(workspace.path("asked")));
    await Deno.writeTextFile(workspace.path("go"), "");
    const { code, stdout, stderr } = await krun.end;
    assert.deepEqual([code, stdout], [4, "up\nafter-hook\n"], stderr);
    assert.equal(workspace.read("hook"), "the program\n");
  });
  await t.step("httpGet, whatever it answers", async () => {
    await using workspace = await Workspace.create();
    const asked: string[] = [];
    await using server = Deno.serve({ hostname: "127.0.0.1", port: 0, onListen() {} }, async (request) => {
      asked.push(`${new URL(request.url).pathname} ${request.headers.get("user-agent")}`);
      await Deno.writeTextFile(workspace.path("hook"), "");
      return new Response("", { status: 500 });
    });
    const env = await pod(workspace, { preStop: { httpGet: { port: server.addr.port, path: "/stop" } } });
    await using krun = workspace.start({ args: PROGRAM, env });
    await krun.sees("stdout", /up/);
    assert.deepEqual(asked, [], "not before SIGTERM");
    krun.kill("SIGTERM");
    const { code, stdout, stderr } = await krun.end;
    assert.deepEqual([code, stdout], [4, "up\nafter-hook\n"], stderr);
    assert.deepEqual(asked, ["/stop kube-lifecycle/1.34"]);
    assert.doesNotMatch(stderr, /hook/);
  });
  await t.step("one that fails is told in plain words, and the program is stopped all the same", async () => {
    await using workspace = await Workspace.create();
    const port = (() => {
      using listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
      return listener.addr.port;
    })();
    await using krun = workspace.start({
      args: PROGRAM,
      env: await pod(workspace, { preStop: { httpGet: { port } } }),
    });
    await krun.sees("stdout", /up/);
    krun.kill("SIGTERM");
    const { code, stderr } = await krun.end;
    assert.equal(code, 4, stderr);
    assert.match(stderr, / warn .*preStop.*connection refused/);
  });
});

Deno.test("a program that outlived a killed krun gets the Pod's grace period at the next start", async (t) => {
  // It tells of its end only after more than a moment.
  const slowly = "trap 'for i in 1 2 3 4 5; do sleep 0.02; done; echo done > ../ended; exit 0' TERM";
  for (const [grace, isTold] of [["100s", true], ["0s", false]] as const) {
    await t.step(`KRUN_GRACE_PERIOD=${grace}`, async () => {
      await using workspace = await Workspace.create();
      {
        // The shell may tell of a child that was ended, and nobody reads that any more.
        const args = sh(`exec 2>/dev/null; ${slowly}; echo up; while :; do sleep 0.02; done`);
        await using krun = workspace.start({ args, env: { K8S_SECRET_db: "./db" } });
        await krun.sees("stdout", /up/);
        await krun.murder();
      }
      const env = { K8S_SECRET_db: "./db", KRUN_GRACE_PERIOD: grace };
      const { code, stdout, stderr } = await workspace.run({ args: sh("test -e ../ended && echo told; exit 0"), env });
      assert.deepEqual([code, stdout], [0, isTold ? "told\n" : ""], stderr);
      assert.match(stderr, /warn stopping what a killed krun left running/);
    });
  }
});
