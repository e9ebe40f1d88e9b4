/** Google Cloud with the compiled krun, which has an older runtime and its packages in one file. */
import assert from "node:assert/strict";
import { join } from "node:path";
import { liveTool } from "../../scripts/live_tools.ts";
import { useBinary } from "../krun_process.ts";
import { compiledKrun } from "./compiled.ts";
import { CLOUD_RUN, GoogleRig, REGION, RigFolder } from "./google_rig.ts";
import { sh } from "./shop.ts";

const EMAIL = "local@acme-shop-prod.iam.gserviceaccount.com";

Deno.test("the compiled krun finds its cluster on Google Cloud, and uses credentials in files", async (t) => {
  useBinary(await compiledKrun());
  await using rig = await GoogleRig.create();
  await rig.grantKrun("shop", EMAIL);
  await using folder = await RigFolder.create();
  const key = join(folder.path, "key.json");
  await Deno.writeTextFile(key, await rig.google.serviceAccountKey(EMAIL), { mode: 0o600 });
  const local = {
    ...{ GOOGLE_APPLICATION_CREDENTIALS: key, PROJECT_ID: "acme-shop-prod", CLUSTER_LOCATION: REGION },
    ...{ CLUSTER_NAME: "prod", WORKLOAD_NAMESPACE: "shop", KRUN_START_TIMEOUT: "10" },
  };
  const start = async (env: Record<string, string>, args: readonly string[]) => {
    rig.google.grant(EMAIL, "container.clusters.list");
    await using own = await RigFolder.create();
    return await rig.run(own.path, env, args);
  };

  await t.step("Cloud Run: metadata, GKE, API server, token, Secret, and Google's own token", async () => {
    const env = { ...CLOUD_RUN, K8S_SECRET_db: "./db", GCP_ACCESS_TOKEN: "./access" };
    const { code, stdout, stderr } = await start(env, sh("cat db/username; echo; cat access"));
    assert.equal(code, 0, stderr);
    const [name, token = ""] = stdout.split("\n");
    assert.equal(name, "alice");
    assert.ok(rig.google.tokens.worth(token));
  });

  await t.step("no keys of TLS connections are written down, by this runtime neither", async () => {
    const keys = join(folder.path, "keys");
    const { code, stderr } = await start({ ...CLOUD_RUN, K8S_SECRET_db: "./db", SSLKEYLOGFILE: keys }, sh("true"));
    assert.equal(code, 125, stderr);
    assert.match(stderr, /Cannot start with SSLKEYLOGFILE/);
    assert.equal(await Deno.readTextFile(keys).catch(() => ""), "");
  });

  await t.step("a service account's key, by the library that is in the binary", async () => {
    const { code, stdout, stderr } = await start({ ...local, K8S_SECRET_db: "./db" }, sh("cat db/username"));
    assert.deepEqual([code, stdout], [0, "alice"], stderr);
  });

  await t.step("a metadata server for the program", async () => {
    const client = new URL("../programs/google_client.py", import.meta.url).pathname;
    const env = { ...local, KRUN_METADATA: "127.0.0.1:0" };
    const { code, stdout, stderr } = await start(env, ["--", await liveTool("google-auth-python"), client]);
    assert.equal(code, 0, stdout + stderr);
    assert.equal(rig.google.tokens.worth(JSON.parse(stdout).accessToken)?.identity, EMAIL);
  });

  await t.step("a kubeconfig whose plugin is the binary", async () => {
    const { code, stdout, stderr } = await start(local, ["--kubeconfig"]);
    assert.equal(code, 0, stderr);
    assert.match(
      stdout,
      new RegExp(`command: "?${RegExp.escape(await compiledKrun())}"?\n *args:\n *- "?--exec-credential`),
    );
    const { stdout: credential } = await start(local, ["--exec-credential"]);
    assert.ok(rig.google.tokens.worth(JSON.parse(credential).status.token));
  });
});
