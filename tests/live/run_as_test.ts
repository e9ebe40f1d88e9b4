/** KRUN_RUN_AS: as whom the program runs, and what it can read of what krun made. */
import assert from "node:assert/strict";
import { liveTool } from "../../scripts/live_tools.ts";
import { tree, Workspace } from "../workspace.ts";
import { type ApiServer, startApiServer } from "./api_server.ts";
import { NOBODY, rootFs } from "./compiled.ts";
import { SECRET, sh, Shop } from "./shop.ts";

let server: ApiServer;
Deno.test.beforeAll(async () => {
  server = await startApiServer();
});
Deno.test.afterAll(() => server[Symbol.asyncDispose]());

/** What a program sees of itself, and of the files of Secret `db` and a token. */
const LOOK = sh(`
  grep -E "^(Uid|Gid|Groups|CapEff)" /proc/self/status
  for file in db/password token; do stat -L -c "%a %u:%g" $file; test -s $file && head -c 4 $file && echo; done
`);

const MOUNTS = { K8S_SECRET_db: "./db", K8S_TOKEN_vault: "./token" };

function statusOf(stdout: string): Record<string, string> {
  return Object.fromEntries(
    stdout.split("\n").filter((line) => line.includes(":\t")).map((line) => {
      const [name, value] = line.split(":\t");
      return [name!, value!.trim()];
    }),
  );
}

Deno.test("KRUN_RUN_AS decides user, group and groups of the program, who can read its Secret and its token", async (t) => {
  await using shop = await Shop.create(server);
  // The program has to come to its files.
  for (const folder of [shop.root, shop.base]) await Deno.chmod(folder, 0o755);
  // Whom /etc/passwd of no machine knows, so that its group is its own number; and nobody, whom every machine knows.
  const cases: Readonly<Record<string, { uid: number; gid: number }>> = {
    "54321": { uid: 54321, gid: 54321 },
    "54321:2345": { uid: 54321, gid: 2345 },
    "65534:65534": { uid: NOBODY, gid: NOBODY },
  };
  for (const [setting, { uid, gid }] of Object.entries(cases)) {
    for (const more of [{}, { KRUN_REFRESH: "never" }]) {
      await t.step(`${setting} ${Object.keys(more)}`, async () => {
        const env = { ...MOUNTS, KRUN_RUN_AS: setting, ...more };
        const { code, stdout, stderr } = await shop.run({ args: LOOK, env });
        assert.equal(code, 0, stderr);
        const status = statusOf(stdout);
        assert.deepEqual(
          [status.Uid, status.Gid, status.Groups],
          [`${uid}\t${uid}\t${uid}\t${uid}`, `${gid}\t${gid}\t${gid}\t${gid}`, ""],
        );
        assert.match(status.CapEff!, /^0+$/);
        assert.deepEqual(stdout.split("\n").slice(4, 8), [`400 ${uid}:0`, SECRET.slice(0, 4), `600 ${uid}:0`, "eyJh"]);
      });
    }
  }
  await t.step("the original's K8S_UID", async () => {
    const { stdout, stderr } = await shop.run({ args: LOOK, env: { ...MOUNTS, K8S_UID: "54321" } });
    assert.match(stdout, /^Uid:\t54321\t/, stderr);
  });
  await t.step("the control: without it the program is root", async () => {
    const { stdout, stderr } = await shop.run({ args: LOOK, env: MOUNTS });
    assert.match(stdout, /^Uid:\t0\t/, stderr);
    assert.deepEqual(stdout.split("\n").slice(4, 8), ["400 0:0", SECRET.slice(0, 4), "600 0:0", "eyJh"]);
  });
  await t.step("another ordinary user cannot read them, however it comes there", async () => {
    // `su` would ask /etc/passwd; setpriv takes any number.
    const other = "for file in db/password token; do setpriv --reuid=1111 --clear-groups cat $file; done; exit 0";
    const { stdout, stderr } = await shop.run({ args: sh(other), env: MOUNTS });
    assert.equal(stdout, "");
    assert.equal(stderr.match(/Permission denied/g)?.length, 2, stderr);
  });
});

Deno.test("KRUN_RUN_AS gives the program its user's home, and keeps one that was chosen", async () => {
  await using workspace = await Workspace.create();
  const homeOf = async (env: Record<string, string>) => {
    const { code, stdout, stderr } = await workspace.run({ args: sh("echo $HOME"), env });
    assert.equal(code, 0, stderr);
    return stdout.trim();
  };
  assert.equal(await homeOf({ HOME: "/root", KRUN_RUN_AS: "54321" }), "/");
  assert.equal(await homeOf({ HOME: "/root", KRUN_RUN_AS: `${NOBODY}` }), "/nonexistent");
  assert.equal(await homeOf({ HOME: "/srv", KRUN_RUN_AS: "54321" }), "/srv");
  assert.equal(await homeOf({ HOME: "/root" }), "/root");
  assert.equal(await homeOf({ HOME: "/root", KRUN_RUN_AS: "54321", KRUN_REFRESH: "never" }), "/", "krun is gone");
});

Deno.test("KRUN_RUN_AS lets kubectl below another base work as the service account, by files of that user alone", async () => {
  await using shop = await Shop.create(server);
  for (const folder of [shop.root, shop.base]) await Deno.chmod(folder, 0o755);
  const kubectl = `${shop.root}/kubectl`;
  await Deno.copyFile(await liveTool("kubectl"), kubectl);
  await Deno.chmod(kubectl, 0o755);
  const script =
    `stat -L -c "%a %u" "$KUBECONFIG"; exec ${kubectl} auth whoami -o jsonpath={.status.userInfo.username}`;
  const { code, stdout, stderr } = await shop.run({
    args: sh(script),
    env: { HOME: shop.base, KRUN_RUN_AS: "54321:54321" },
  });
  assert.equal(code, 0, stderr);
  assert.equal(stdout, `600 54321\nsystem:serviceaccount:${shop.namespace}:default`);
});

Deno.test("KRUN_RUN_AS is refused for a krun that is not root, with the reason, and is no change for its own user", async (t) => {
  await using root = await rootFs();
  const env = { WORKLOAD_NAMESPACE: "shop", KRUN_MANIFESTS: "/home/k8s", K8S_SECRET_db: "./db" };
  const secret = { apiVersion: "v1", kind: "Secret", metadata: { name: "db" }, stringData: { a: "1" } };
  await root.write("/home/k8s/db.json", secret, { uid: NOBODY });
  const run = async (runAs: string, args: readonly string[] = ["/program", "describe"]) => {
    await using krun = root.start({ args, env: { ...env, KRUN_RUN_AS: runAs }, uid: NOBODY });
    return await krun.end;
  };
  for (const runAs of ["0", "1000", "65534:0", "1000:65534"]) {
    await t.step(runAs, async () => {
      const { code, stdout, stderr } = await run(runAs);
      assert.deepEqual([code, stdout], [125, ""], stderr);
      const [uid, gid = uid] = runAs.split(":");
      const words = `as ${uid}:${gid}: krun runs as 65534:65534 and is not root`;
      assert.match(stderr, new RegExp(`^krun: Cannot run container ".*" ${words}; start krun as root`, "m"));
      assert.deepEqual(tree(`${root.path}/home`), ["k8s/", "k8s/db.json"], "nothing stays");
      const check = await run(runAs, ["--check=json", "/program", "describe"]);
      assert.equal(check.code, 1, check.stderr);
      assert.ok(check.stdout.includes(words), check.stdout);
    });
  }
  await t.step("the control: its own user and group", async () => {
    const { code, stdout, stderr } = await run("65534:65534");
    assert.equal(code, 0, stderr);
    assert.equal(JSON.parse(stdout).uid, NOBODY);
  });
});

Deno.test("KRUN_RUN_AS: another user reads the key that verifies a folder's tokens, and neither finds nor reads the one that signs", async () => {
  await using workspace = await Workspace.create();
  const look = sh(`
    cat .krun/issuer/jwks.json; echo
    for place in .krun .krun/issuer; do ls $place && echo listed; done
    cat .krun/issuer/signing_key.json && echo read
    stat -c %a .krun/issuer/jwks.json
  `);
  const seenBy = async (uid: number) => {
    const { code, stdout, stderr } = await workspace.run({ args: look, env: { KRUN_RUN_AS: `${uid}` } });
    assert.equal(code, 0, stderr);
    return stdout;
  };
  const theirs = await seenBy(12345);
  assert.match(theirs, /"keys": \[/, "the public key");
  assert.doesNotMatch(theirs, /listed|read|"d":/, "nothing else");
  assert.match(theirs, /^644$/m);
  const mine = await seenBy(0);
  assert.match(mine, /listed[^]*listed[^]*"d":[^]*read/, "the control: krun's own user can");
});

Deno.test("KRUN_RUN_AS that is no user is one clear line", async () => {
  await using workspace = await Workspace.create();
  for (const value of ["nobody", "1000:", "-1", "4294967295"]) {
    const { code, stdout, stderr } = await workspace.run({ args: ["/bin/true"], env: { KRUN_RUN_AS: value } });
    assert.deepEqual([code, stdout], [125, ""]);
    assert.match(stderr, /^krun: .*KRUN_RUN_AS.*; .*1000/m);
  }
});
