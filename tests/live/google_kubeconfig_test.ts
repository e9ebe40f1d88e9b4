/** `krun --kubeconfig`: the real kubectl uses what it prints, with krun as its credential plugin. */
import assert from "node:assert/strict";
import { dirname, join } from "node:path";
import { liveTool } from "../../scripts/live_tools.ts";
import { GoogleRig, RigFolder } from "./google_rig.ts";

const ON_GOOGLE = { GCE_METADATA_HOST: "metadata.google.internal", WORKLOAD_NAMESPACE: "shop" };
const CONTEXT = "gke_acme-shop-prod_us-central1_prod";

/** kubectl in the network; its plugin has nothing but PATH, and whatever the kubeconfig gives it. */
async function kubectl(rig: GoogleRig, kubeconfig: string, ...args: readonly string[]) {
  const [enter = "", ...words] = [
    ...rig.network.under,
    await liveTool("kubectl"),
    `--kubeconfig=${kubeconfig}`,
    ...args,
  ];
  const env = {
    ...{ PATH: Deno.env.get("PATH")!, HOME: dirname(kubeconfig), SSL_CERT_FILE: rig.network.caFile },
    DENO_DIR: Deno.env.get("DENO_DIR") ?? join(Deno.env.get("HOME")!, ".cache", "deno"),
  };
  const { code, stdout, stderr } = await new Deno.Command(enter, { args: words, clearEnv: true, env }).output();
  const text = (bytes: Uint8Array) => new TextDecoder().decode(bytes);
  return { code, stdout: text(stdout), stderr: text(stderr) };
}

Deno.test("krun --kubeconfig makes a kubeconfig that kubectl can use", async (t) => {
  await using rig = await GoogleRig.create();
  await using folder = await RigFolder.create();
  const krun = async (args: readonly string[], env: Record<string, string> = {}) => {
    await using own = await RigFolder.create();
    return await rig.run(own.path, { ...ON_GOOGLE, ...env }, args);
  };
  const file = join(folder.path, "config");

  await t.step("printed: context, CA and plugin, no credential", async () => {
    const { code, stdout, stderr } = await krun(["--kubeconfig"]);
    assert.equal(code, 0, stderr);
    assert.doesNotMatch(stdout, /ya29|token:/);
    assert.match(stdout, new RegExp(`current-context: ${CONTEXT}`));
    await Deno.writeTextFile(file, stdout, { mode: 0o600 });
    const read = await kubectl(rig, file, "get", "secret", "db", "-o", "jsonpath={.data.username}");
    assert.equal(atob(read.stdout), "alice", read.stderr);
  });

  await t.step("it does not expire: another token is got when the first one has ended", async () => {
    rig.google.tokens.revokeAll();
    const { stdout, stderr } = await kubectl(rig, file, "get", "secret", "db", "-o", "name");
    assert.equal(stdout.trim(), "secret/db", stderr);
  });

  await t.step("with a file that is not there: it is the current context, 0600", async () => {
    const fresh = join(folder.path, "fresh");
    const { code, stderr } = await krun(["--kubeconfig", fresh]);
    assert.equal(code, 0, stderr);
    assert.equal(Deno.statSync(fresh).mode! & 0o777, 0o600);
    const { stdout } = await kubectl(rig, fresh, "config", "current-context");
    assert.equal(stdout.trim(), CONTEXT);
  });

  await t.step(
    "with kubectl's own file: one context more, all other bytes as they were, the current context too",
    async () => {
      const mine = join(folder.path, "mine");
      const before = await personsFile(rig, mine);
      const { code, stderr } = await krun([`--kubeconfig=${mine}`]);
      assert.equal(code, 0, stderr);
      const after = await Deno.readTextFile(mine);
      assert.equal(Deno.statSync(mine).mode! & 0o777, 0o600);
      // Each of krun's entries is its first line, and those that stand further in.
      const rest = after.replaceAll(new RegExp(`^- name: ${CONTEXT}\n(?: .*\n)*`, "gm"), "");
      assert.equal(rest, before);
      const contexts = await kubectl(rig, mine, "config", "get-contexts", "-o", "name");
      assert.deepEqual(contexts.stdout.trim().split("\n").sort(), ["dev", CONTEXT].sort());
      assert.equal((await kubectl(rig, mine, "config", "current-context")).stdout.trim(), "dev");
      const read = await kubectl(rig, mine, "--context", CONTEXT, "get", "secret", "db", "-o", "name");
      assert.equal(read.stdout.trim(), "secret/db", read.stderr);
      assert.equal((await krun([`--kubeconfig=${mine}`])).code, 0);
      assert.equal(await Deno.readTextFile(mine), after);
    },
  );

  await t.step("a link to the file stays a link", async () => {
    const [target, link] = [join(folder.path, "target"), join(folder.path, "link")];
    await Deno.symlink(target, link);
    await Deno.writeTextFile(target, "");
    assert.equal((await krun([`--kubeconfig=${link}`])).code, 0);
    assert.equal(Deno.lstatSync(link).isSymlink, true);
    assert.match(await Deno.readTextFile(target), new RegExp(CONTEXT));
  });

  await t.step("a file that another program is changing is left alone", async () => {
    const held = join(folder.path, "held");
    await Deno.writeTextFile(held, "kind: Config\n");
    await Deno.writeTextFile(`${held}.lock`, "");
    const { code, stderr } = await krun([`--kubeconfig=${held}`]);
    assert.equal(code, 125);
    assert.match(stderr, /another program changes it, or has left ".*held\.lock" behind/);
    assert.equal(await Deno.readTextFile(held), "kind: Config\n");
  });

  await t.step("a file in a style that it cannot add to is left alone", async () => {
    const odd = join(folder.path, "odd");
    await Deno.writeTextFile(odd, "kind: Config\nclusters: [{name: a, cluster: {server: https://x}}]\n");
    const { code, stderr } = await krun([`--kubeconfig=${odd}`]);
    assert.equal(code, 125);
    assert.match(
      stderr,
      /Cannot change kubeconfig ".*odd": its "clusters" are written in a way that krun cannot add to/,
    );
    assert.deepEqual(
      [...Deno.readDirSync(folder.path)].filter(({ name }) => /lock|\.krun$/.test(name)).map(({ name }) => name),
      ["held.lock"],
    );
  });

  await t.step("credentials in a file: the plugin finds them from whatever folder kubectl runs in", async () => {
    const email = "local@acme-shop-prod.iam.gserviceaccount.com";
    rig.google.grant(email, "container.clusters.list");
    await rig.grantKrun("shop", email);
    const key = join(folder.path, "key.json");
    await Deno.writeTextFile(key, await rig.google.serviceAccountKey(email), { mode: 0o600 });
    const { stdout, stderr } = await krun(["--kubeconfig"], { GOOGLE_APPLICATION_CREDENTIALS: key });
    assert.match(stdout, /GOOGLE_APPLICATION_CREDENTIALS/, stderr);
    await Deno.writeTextFile(file, stdout, { mode: 0o600 });
    const read = await kubectl(rig, file, "get", "secret", "db", "-o", "name");
    assert.equal(read.stdout.trim(), "secret/db", read.stderr);
  });

  await t.step("off Google no namespace is needed, and what is needed is named", async () => {
    await using off = await RigFolder.create();
    const local = "local@acme-shop-prod.iam.gserviceaccount.com";
    await using away = await GoogleRig.create({ metadata: false });
    const run = async (env: Record<string, string>) =>
      await away.run(off.path, { HOME: off.path, ...env }, ["--kubeconfig"]);
    const nothing = await run({});
    assert.equal(nothing.code, 125);
    assert.match(nothing.stderr, /set GOOGLE_APPLICATION_CREDENTIALS, PROJECT_ID and CLUSTER_LOCATION/);
    away.google.grant(local, "container.clusters.list");
    const file = join(off.path, "key.json");
    await Deno.writeTextFile(file, await away.google.serviceAccountKey(local), { mode: 0o600 });
    const env = { GOOGLE_APPLICATION_CREDENTIALS: file, PROJECT_ID: "acme-shop-prod", CLUSTER_LOCATION: "us-central1" };
    const { code, stdout, stderr } = await run(env);
    assert.equal(code, 0, stderr);
    assert.match(stdout, new RegExp(`current-context: ${CONTEXT}`));
  });

  await t.step("a member of the fleet", async () => {
    const { google } = rig;
    google.clusters = [];
    google.memberships = [rig.membership()];
    google.grant(google.account!, "gkehub.memberships.list", "gkehub.gateway.get");
    const { stdout, stderr } = await krun(["--kubeconfig"]);
    assert.match(stdout, /connectgateway_acme-shop-prod_global_prod/, stderr);
    await Deno.writeTextFile(file, stdout, { mode: 0o600 });
    const read = await kubectl(rig, file, "get", "secret", "db", "-o", "name");
    assert.equal(read.stdout.trim(), "secret/db", read.stderr);
  });

  await t.step("where a kubeconfig names the cluster there is nothing to make", async () => {
    const { code, stderr } = await krun(["--kubeconfig"], { KUBECONFIG: file });
    assert.equal(code, 125);
    assert.match(stderr, /Cannot make a kubeconfig: .*KUBECONFIG.* names another cluster; unset it/);
  });

  await t.step("CLUSTER_NAME=- leaves nothing to look for", async () => {
    const { code, stderr } = await krun(["--kubeconfig"], { CLUSTER_NAME: "-" });
    assert.equal(code, 125);
    assert.match(stderr, /left out by CLUSTER_NAME=-; unset CLUSTER_NAME/);
  });
});

/** A file as kubectl writes it, with a comment of its owner's; its text. */
async function personsFile(rig: GoogleRig, path: string): Promise<string> {
  for (
    const args of [["set-cluster", "dev", "--server=https://10.0.0.9"], ["set-credentials", "me", "--token=mine"], [
      "set-context",
      "dev",
      "--cluster=dev",
      "--user=me",
    ], ["use-context", "dev"]]
  ) {
    const { code, stderr } = await kubectl(rig, path, "config", ...args);
    assert.equal(code, 0, stderr);
  }
  await Deno.chmod(path, 0o644);
  const text = `# mine\n${await Deno.readTextFile(path)}`;
  await Deno.writeTextFile(path, text);
  return text;
}
