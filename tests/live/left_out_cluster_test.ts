/** A cluster that nothing asks for: it serves when it can, and else neither stops the program nor makes it somebody else. */
import assert from "node:assert/strict";
import { join } from "node:path";
import type { KrunEnd } from "../krun_process.ts";
import { Workspace, type WorkspaceRun } from "../workspace.ts";

/** Shows which kubeconfig a client would take. */
const SHOW = ["--", "/bin/sh", "-c", 'echo "${KUBECONFIG-unset}"'];

/** Nothing that asks for a cluster: there is only the kubeconfig of the home folder, whose server is `server`. */
async function homeRun(workspace: Workspace, server: string): Promise<(run: WorkspaceRun) => Promise<KrunEnd>> {
  const home = join(workspace.root, "home");
  await Deno.mkdir(join(home, ".kube"), { recursive: true });
  const config = {
    clusters: [{ name: "old", cluster: { server } }],
    users: [{ name: "admin", user: { token: "t" } }],
    contexts: [{ name: "old", context: { cluster: "old", user: "admin", namespace: "shop" } }],
    "current-context": "old",
  };
  await Deno.writeTextFile(join(home, ".kube", "config"), JSON.stringify(config));
  const own = { KRUN_MANIFESTS: "", WORKLOAD_NAMESPACE: "", HOME: home };
  return ({ env = {}, ...run }) => workspace.run({ ...run, env: { ...own, ...env } });
}

/** krun started without the cluster, said so, and hid the kubeconfig from the program. */
function assertLeftOut({ code, stdout, stderr }: KrunEnd, reason: RegExp): void {
  assert.equal(code, 0, stderr);
  assert.equal(stdout, "/dev/null\n", "the program must not become the user of the home folder's kubeconfig");
  assert.match(stderr, /warn .*without a service account/);
  assert.match(stderr, /info .*empty KUBECONFIG/);
  const summary = stderr.split("\n").find((line) => line.includes('cluster="none: ')) ?? "";
  assert.match(summary, /home\/\.kube\/config \(context old, cluster old\) is left out: /, stderr);
  assert.match(summary, reason);
}

Deno.test("krun leaves out a cluster that refuses connections when nothing asks for one, and hides its kubeconfig", async () => {
  await using workspace = await Workspace.create();
  const closed = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  closed.close();
  const run = await homeRun(workspace, `http://127.0.0.1:${closed.addr.port}`);
  assertLeftOut(await run({ args: SHOW }), /refused/i);
  const handed = await run({ args: SHOW, env: { KRUN_PASS_ENV: "KUBECONFIG" } });
  assert.equal(handed.stdout, "unset\n", "the control: KRUN_PASS_ENV says that the program is to have krun's own");
  const check = await run({ args: ["--check", ...SHOW] });
  assert.equal(check.code, 0, check.stdout);
  assert.match(check.stdout, /cluster +none +.*is left out: /);
  assert.match(check.stdout, /program's KUBECONFIG +\/dev\/null/);
});

Deno.test("krun leaves out a cluster that is silent when nothing asks for one, after 5 s", async () => {
  await using workspace = await Workspace.create();
  using listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  const run = await homeRun(workspace, `http://127.0.0.1:${listener.addr.port}`);
  // The kernel takes the connection; nobody ever answers.
  assertLeftOut(await run({ args: SHOW }), /no answer within 5 s/);
});

Deno.test("krun leaves out a cluster without the service account when nothing asks for one", async () => {
  await using workspace = await Workspace.create();
  const status = { kind: "Status", apiVersion: "v1", status: "Failure", reason: "NotFound", code: 404, message: "no" };
  await using server = Deno.serve(
    { hostname: "127.0.0.1", port: 0, onListen: () => {} },
    () => Response.json(status, { status: 404 }),
  );
  const run = await homeRun(workspace, `http://127.0.0.1:${server.addr.port}`);
  assertLeftOut(await run({ args: SHOW }), /service account/);
});

Deno.test("krun leaves out a cluster whose context names no namespace when nothing asks for one", async () => {
  await using workspace = await Workspace.create();
  const run = await homeRun(workspace, "https://api.example:6443");
  const kubeconfig = join(workspace.root, "home", ".kube", "config");
  const text = await Deno.readTextFile(kubeconfig);
  await Deno.writeTextFile(kubeconfig, text.replace(',"namespace":"shop"', ""));
  assertLeftOut(await run({ args: SHOW }), /it names no namespace/);
  const asked = await run({ args: SHOW, env: { KUBECONFIG: kubeconfig } });
  assert.equal(asked.code, 125, "the control: KUBECONFIG asks for it");
  assert.match(asked.stderr, /Cannot find the workload's namespace/);
});

Deno.test("krun leaves out a cluster that nothing asks for where the base cannot be taken for its token", async () => {
  await using workspace = await Workspace.create();
  const spec = { expirationSeconds: 3600 };
  const token = {
    spec,
    status: { token: "e30.e30.c2ln", expirationTimestamp: new Date(Date.now() + 3.6e6).toISOString() },
  };
  await using server = Deno.serve({ hostname: "127.0.0.1", port: 0, onListen: () => {} }, () => Response.json(token));
  const run = await homeRun(workspace, `http://127.0.0.1:${server.addr.port}`);
  // The base of root is /, here a read-only one.
  const under = ["unshare", "--mount", "sh", "-c", 'mount -o remount,ro,bind / && exec "$@"', "sh"];
  assertLeftOut(await run({ args: SHOW, env: { MESH_BASE_DIR: "" }, under }), /Cannot use base folder/);
  const asked = await run({ args: SHOW, env: { MESH_BASE_DIR: workspace.folder }, under });
  assert.equal(asked.code, 125, "the control: MESH_BASE_DIR asks for that base");
});

Deno.test("krun leaves out a kubeconfig of the home folder that it cannot use when nothing asks for a cluster", async (t) => {
  await using workspace = await Workspace.create();
  const run = await homeRun(workspace, "https://api.example:6443");
  const kubeconfig = join(workspace.root, "home", ".kube", "config");
  const faulty = async (reason: RegExp, env: Record<string, string> = {}) => {
    const { code, stdout, stderr } = await run({ args: SHOW, env });
    assert.equal(code, 0, stderr);
    assert.equal(stdout, "/dev/null\n", "the program must not take the kubeconfig for its own");
    assert.match(stderr, /warn .*without a service account/);
    const summary = stderr.split("\n").find((line) => line.includes('cluster="none: ')) ?? "";
    assert.match(summary, reason, stderr);
    assert.doesNotMatch(stderr, /s3cr3t/);
    const check = await run({ args: ["--check", ...SHOW], env });
    assert.equal(check.code, 0, check.stdout);
    assert.match(check.stdout, /cluster +none +.*is left out: /);
  };
  const asked = async (env: Record<string, string>, says: RegExp) => {
    const { code, stdout, stderr } = await run({ args: SHOW, env });
    assert.deepEqual([code, stdout], [125, ""], stderr);
    assert.match(stderr, says);
  };
  await t.step("the proxy to it is no URL", async () => {
    await faulty(/is left out: Cannot read setting .*HTTPS_PROXY/, { HTTPS_PROXY: "http://me:s3cr3t@[::bad" });
  });
  await t.step("it is malformed", async () => {
    await Deno.writeTextFile(kubeconfig, "clusters: [\n  : s3cr3t: :\n");
    await faulty(/is left out: Cannot read kubeconfig .*home\/\.kube\/config/);
  });
  await t.step("the control: whatever names it, or a workload, asks for it", async () => {
    await asked({ KUBECONFIG: kubeconfig }, /^krun: Cannot read kubeconfig /m);
    await asked({ WORKLOAD_NAMESPACE: "shop" }, /^krun: Cannot read kubeconfig /m);
  });
});

Deno.test("krun asks a cluster that it merely found for one token, and the program gets that one", async () => {
  await using workspace = await Workspace.create();
  const asked: string[] = [];
  await using server = Deno.serve({ hostname: "127.0.0.1", port: 0, onListen: () => {} }, (request) => {
    asked.push(`${request.method} ${new URL(request.url).pathname}`);
    const expirationTimestamp = new Date(Date.now() + 3_600_000).toISOString();
    const status = { token: `token-${asked.length}`, expirationTimestamp };
    return Response.json({ kind: "TokenRequest", spec: { expirationSeconds: 3607 }, status }, { status: 201 });
  });
  const run = await homeRun(workspace, `http://127.0.0.1:${server.addr.port}`);
  const { code, stdout, stderr } = await run({
    args: ["--", "/bin/sh", "-c", "cat var/run/secrets/kubernetes.io/serviceaccount/token"],
    // Else it looks for the Secret of the debug SSH server too, some time after the start.
    env: { KRUN_SSH: "-" },
  });
  assert.equal(code, 0, stderr);
  assert.equal(stdout, "token-1");
  assert.deepEqual(asked, ["POST /api/v1/namespaces/shop/serviceaccounts/default/token"]);
});

Deno.test("krun changes no KUBECONFIG when no cluster is found", async () => {
  await using workspace = await Workspace.create();
  const env = { KRUN_MANIFESTS: "", WORKLOAD_NAMESPACE: "", HOME: workspace.root };
  const { stdout, stderr } = await workspace.run({ args: SHOW, env });
  assert.equal(stdout, "unset\n", stderr);
  assert.doesNotMatch(stderr, /KUBECONFIG/);
});
