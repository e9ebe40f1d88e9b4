/** The program's own identity at Google: tokens in files, workload identity federation, and the metadata server that it sees. */
import assert from "node:assert/strict";
import { join } from "node:path";
import { liveTool } from "../../scripts/live_tools.ts";
import { KrunProcess } from "../krun_process.ts";
import { waitFor } from "../wait.ts";
import { CLOUD_RUN, GoogleRig, REGION, type RigEnd, RigFolder } from "./google_rig.ts";
import { IDLE, sh } from "./shop.ts";

const WEB = "web@acme-shop-prod.iam.gserviceaccount.com";
const API = "https://api-123456789012.us-central1.run.app";
const TOKENS = { GCP_ACCESS_TOKEN: "./access", GCP_ID_TOKEN_api: `${API}:./id`, KRUN_START_TIMEOUT: "5" };
const READ = sh("stat -Lc %a access id; cat access; echo; cat id");
const POOL = "acme-shop-prod.svc.id.goog";
const PROVIDER = `https://container.googleapis.com/v1/projects/acme-shop-prod/locations/${REGION}/clusters/prod`;
const OWN_POOL = "projects/123456789012/locations/global/workloadIdentityPools/on-prem/providers/k8s";

/** What the program found in its two files. */
async function filesOf(rig: GoogleRig, { code, stdout, stderr }: RigEnd) {
  assert.equal(code, 0, stderr);
  const [accessMode, idMode, access = "", id = ""] = stdout.split("\n");
  assert.deepEqual([accessMode, idMode], ["600", "600"]);
  const { identity, scopes } = rig.google.tokens.worth(access) ?? assert.fail(`no token: ${stdout}`);
  const { email } = await rig.google.tokens.verify(id, API);
  return { identity, scopes, email };
}

/** GKE's cluster with a workload identity pool, and Google believing the API server's service account tokens. */
function federate(rig: GoogleRig): void {
  rig.reset();
  const { google, server } = rig;
  const keys = async () => (await (await server.request("/openid/v1/jwks")).json()).keys;
  google.clusters = [rig.cluster({ workloadIdentityConfig: { workloadPool: POOL } })];
  google.providers = [
    { stsAudience: `identitynamespace:${POOL}:${PROVIDER}`, tokenAudience: POOL, keys },
    { stsAudience: `//iam.googleapis.com/${OWN_POOL}`, tokenAudience: `https://iam.googleapis.com/${OWN_POOL}`, keys },
  ];
}

async function annotate(rig: GoogleRig, email: string | null): Promise<void> {
  const metadata = { namespace: "shop", name: "default", annotations: { "iam.gke.io/gcp-service-account": email } };
  await rig.server.patch({ apiVersion: "v1", kind: "ServiceAccount", metadata });
}

const STAND_FOR = [`${WEB}/iam.serviceAccounts.getAccessToken`, `${WEB}/iam.serviceAccounts.getOpenIdToken`];

/** The API server's own kubeconfig, with its address in the network. */
async function adminKubeconfig({ server, address }: GoogleRig, folder: string): Promise<string> {
  const kubeconfig = JSON.parse(await Deno.readTextFile(server.adminKubeconfig));
  kubeconfig.clusters[0].cluster.server = `https://${address}`;
  const file = join(folder, "kubeconfig");
  await Deno.writeTextFile(file, JSON.stringify(kubeconfig));
  return file;
}

/** A start in a folder of its own. */
async function start(rig: GoogleRig, env: Record<string, string>, args = READ): Promise<RigEnd> {
  await using folder = await RigFolder.create();
  return await rig.run(folder.path, { HOME: folder.path, ...env }, args);
}

Deno.test("krun gives the program Google tokens", async (t) => {
  await using rig = await GoogleRig.create();
  const { google, server } = rig;
  const krun = google.account!;
  const workload = `serviceAccount:${POOL}[shop/default]`;
  const readAccounts = () =>
    server.grant("shop", krun, [{ apiGroups: [""], resources: ["serviceaccounts"], verbs: ["get"] }]);

  await t.step("of the machine's account, with no cluster at all", async () => {
    rig.reset();
    const end = await start(rig, { ...CLOUD_RUN, CLUSTER_NAME: "-", ...TOKENS });
    assert.deepEqual(await filesOf(rig, end), {
      identity: krun,
      scopes: ["https://www.googleapis.com/auth/cloud-platform", "https://www.googleapis.com/auth/userinfo.email"],
      email: krun,
    });
  });

  await t.step("with the scopes that are asked for, and no others", async () => {
    rig.reset();
    const env = { ...CLOUD_RUN, CLUSTER_NAME: "-", GCP_ACCESS_TOKEN: "./access?scopes=devstorage.read_only" };
    const { stdout, stderr } = await start(rig, env, sh("cat access"));
    assert.deepEqual(
      google.tokens.worth(stdout)?.scopes,
      ["https://www.googleapis.com/auth/devstorage.read_only"],
      stderr,
    );
  });

  await t.step("of a service account that krun may not read: the Role that would allow it", async () => {
    federate(rig);
    const { code, stderr } = await start(rig, { ...CLOUD_RUN, ...TOKENS });
    assert.equal(code, 125);
    assert.match(stderr, /"code":"Forbidden"/);
    assert.match(stderr, /KRUN_GOOGLE_ACCOUNT/);
    assert.match(stderr, /serviceaccounts/);
  });

  await readAccounts();

  await t.step("of the Google account that the workload's service account stands for", async () => {
    federate(rig);
    await annotate(rig, WEB);
    google.grant(workload, ...STAND_FOR);
    const found = await filesOf(rig, await start(rig, { ...CLOUD_RUN, ...TOKENS }));
    assert.deepEqual(found, { identity: WEB, scopes: ["https://www.googleapis.com/auth/cloud-platform"], email: WEB });
  });

  await t.step("with the project's number in PROJECT_ID as with its id", async () => {
    federate(rig);
    google.grant(workload, ...STAND_FOR);
    const end = await start(rig, { ...CLOUD_RUN, ...TOKENS, PROJECT_ID: google.project.number });
    assert.equal((await filesOf(rig, end)).identity, WEB);
    const metadata = { ...CLOUD_RUN, PROJECT_ID: google.project.number, KRUN_METADATA: "127.0.0.1:0" };
    const { stdout, stderr } = await start(rig, metadata, [
      "--",
      "/usr/bin/env",
      "python3",
      program("metadata_get.py"),
    ]);
    assert.match(stdout, /^200 acme-shop-prod$/m, stderr);
  });

  await t.step("of an account that it may not stand for: which role is missing, for whom", async () => {
    federate(rig);
    const { code, stderr } = await start(rig, { ...CLOUD_RUN, ...TOKENS });
    assert.equal(code, 125);
    assert.match(stderr, /Permission 'iam\.serviceAccounts\.get\w+' denied/);
    assert.ok(stderr.includes(`grant roles/iam.workloadIdentityUser on ${WEB} to ${workload}`), stderr);
  });

  await t.step("of the federated identity itself where it stands for nobody, which has no ID tokens", async () => {
    federate(rig);
    await annotate(rig, null);
    const { GCP_ID_TOKEN_api: _id, ...access } = TOKENS;
    const { stdout } = await start(rig, { ...CLOUD_RUN, ...access }, sh("cat access"));
    assert.equal(google.tokens.worth(stdout)?.identity, workload);
    const { code, stderr } = await start(rig, { ...CLOUD_RUN, ...TOKENS });
    assert.equal(code, 125);
    assert.match(stderr, /Google gives none to a federated identity/);
  });

  await t.step("of whom KRUN_GOOGLE_ACCOUNT names: krun itself, or another account", async () => {
    federate(rig);
    const platform = await filesOf(rig, await start(rig, { ...CLOUD_RUN, ...TOKENS, KRUN_GOOGLE_ACCOUNT: "platform" }));
    assert.equal(platform.identity, krun);
    google.grant(workload, ...STAND_FOR);
    const named = await filesOf(rig, await start(rig, { ...CLOUD_RUN, ...TOKENS, KRUN_GOOGLE_ACCOUNT: WEB }));
    assert.equal(named.identity, WEB);
  });

  await t.step("through a pool of somebody's own, for a cluster that a kubeconfig names", async () => {
    federate(rig);
    await annotate(rig, WEB);
    const pool = OWN_POOL.replace(/\/providers\/.*/, "");
    const member = `principal://iam.googleapis.com/${pool}/subject/system:serviceaccount:shop:default`;
    await using folder = await RigFolder.create();
    const file = await adminKubeconfig(rig, folder.path);
    const env = { KUBECONFIG: file, WORKLOAD_NAMESPACE: "shop", KRUN_WORKLOAD_PROVIDER: OWN_POOL, ...TOKENS };
    const refused = await start(rig, env);
    assert.ok(refused.stderr.includes(`grant roles/iam.workloadIdentityUser on ${WEB} to ${member}`), refused.stderr);
    google.grant(member, ...STAND_FOR);
    assert.equal((await filesOf(rig, await start(rig, env))).identity, WEB);
    const { code, stderr } = await start(rig, { ...env, KRUN_WORKLOAD_PROVIDER: "", KRUN_GOOGLE_ACCOUNT: "workload" });
    assert.equal(code, 125);
    assert.match(stderr, /set KRUN_WORKLOAD_PROVIDER/);
  });

  await t.step("a passing fault never makes them another account's", async (t) => {
    const { GCP_ID_TOKEN_api: _id, ...access } = TOKENS;
    const env = { ...CLOUD_RUN, ...access, KRUN_START_TIMEOUT: "2" };
    const read = sh("cat access");
    const setUp = async () => {
      federate(rig);
      await annotate(rig, WEB);
      google.grant(workload, ...STAND_FOR);
    };
    const refused = async (...says: readonly string[]) => {
      const { code, stdout, stderr } = await start(rig, env, read);
      assert.deepEqual([code, stdout], [125, ""], stderr);
      for (const words of says) assert.ok(stderr.includes(words), `${words} in ${stderr}`);
    };
    const asPlatform = "set KRUN_GOOGLE_ACCOUNT=platform if they are to be krun's own";

    await t.step("GKE is away", async () => {
      await setUp();
      google.trouble({ host: "container.googleapis.com", status: 503, times: 99 });
      await refused("the cluster says whose tokens GCP_ACCESS_TOKEN asks for", asPlatform);
      const { stdout, stderr } = await start(rig, { ...env, KRUN_GOOGLE_ACCOUNT: "platform" }, read);
      assert.equal(google.tokens.worth(stdout)?.identity, krun, stderr);
    });
    await t.step("GKE comes back within KRUN_START_TIMEOUT", async () => {
      await setUp();
      google.trouble({ host: "container.googleapis.com", status: 503, times: 3 });
      const { stdout, stderr } = await start(rig, { ...env, KRUN_START_TIMEOUT: "30" }, read);
      assert.equal(google.tokens.worth(stdout)?.identity, WEB, stderr);
    });
    await t.step("krun may not list clusters", async () => {
      await setUp();
      google.revoke(krun, "container.clusters.list", "container.clusters.get");
      await refused("grant roles/container.clusterViewer", asPlatform);
    });
    await t.step("the cluster is away", async () => {
      await setUp();
      google.clusters = [rig.cluster({ endpoint: "34.118.224.8", workloadIdentityConfig: { workloadPool: POOL } })];
      await refused("34.118.224.8");
    });
    await t.step("the control: a project without clusters has nobody else's", async () => {
      await setUp();
      google.clusters = [];
      const { stdout, stderr } = await start(rig, env, read);
      assert.equal(google.tokens.worth(stdout)?.identity, krun, stderr);
    });
  });

  await t.step("that are renewed before they end", async () => {
    rig.reset();
    google.tokens.lifeSeconds = 20;
    await using folder = await RigFolder.create();
    const env = { ...CLOUD_RUN, CLUSTER_NAME: "-", GCP_ACCESS_TOKEN: "./access", MESH_BASE_DIR: folder.path };
    await using krun = new KrunProcess(rig.krun({ args: IDLE, cwd: folder.path, env }));
    await krun.sees("stdout", /up/);
    const token = () => Deno.readTextFileSync(join(folder.path, "access"));
    const first = token();
    const second = await waitFor("the next token", () => token() === first ? undefined : token());
    assert.ok(google.tokens.worth(second));
    const { mode } = Deno.statSync(join(folder.path, "access"));
    assert.equal(mode! & 0o777, 0o600);
    google.tokens.lifeSeconds = 3600;
  });

  await t.step("and --check shows them without a start", async () => {
    rig.reset();
    const env = { ...CLOUD_RUN, CLUSTER_NAME: "-", ...TOKENS };
    const { code, stdout, stderr } = await start(rig, env, ["--check", "--", "/bin/true"]);
    assert.equal(code, 0, stdout + stderr);
    assert.match(stdout, /google ID token for https:\/\/api-123456789012/);
    assert.doesNotMatch(stdout, /ya29/);
  });
});

interface Client {
  readonly accessToken: string;
  readonly projectId: string;
  readonly email: string;
  readonly idToken: string;
}

const program = (name: string) => new URL(`../programs/${name}`, import.meta.url).pathname;

Deno.test("krun serves a metadata server for its program alone", async (t) => {
  await using rig = await GoogleRig.create({ metadata: false });
  const { google } = rig;
  const workload = `serviceAccount:${POOL}[shop/default]`;
  // Off Google: krun has a key, the program nothing but its service account.
  const local = "local@acme-shop-prod.iam.gserviceaccount.com";
  await using keys = await RigFolder.create();
  const key = join(keys.path, "key.json");
  await Deno.writeTextFile(key, await google.serviceAccountKey(local), { mode: 0o600 });
  const env = {
    GOOGLE_APPLICATION_CREDENTIALS: key,
    ...{ PROJECT_ID: "acme-shop-prod", CLUSTER_LOCATION: REGION, WORKLOAD_NAMESPACE: "shop", CLUSTER_NAME: "prod" },
    ...{ KRUN_METADATA: "127.0.0.1:15988", KRUN_START_TIMEOUT: "5" },
  };
  await rig.grantKrun("shop", local);
  await rig.server.grant("shop", local, [{ apiGroups: [""], resources: ["serviceaccounts"], verbs: ["get"] }]);
  await annotate(rig, WEB);
  const setUp = () => {
    federate(rig);
    google.grant(local, "container.clusters.list");
    google.grant(workload, ...STAND_FOR);
  };

  for (
    const [name, tool, file] of [
      ["google-auth-library of node", "google-auth-node", "google_client.cjs"],
      ["google-auth of Python", "google-auth-python", "google_client.py"],
    ] as const
  ) {
    await t.step(`${name} finds its project, its account and its tokens there`, async () => {
      setUp();
      const { code, stdout, stderr } = await start(rig, env, ["--", await liveTool(tool), program(file)]);
      assert.equal(code, 0, stdout + stderr);
      const { accessToken, projectId, email, idToken }: Client = JSON.parse(stdout);
      assert.equal(projectId, "acme-shop-prod");
      assert.equal(google.tokens.worth(accessToken)?.identity, WEB);
      assert.ok([WEB, "default"].includes(email), email);
      assert.equal((await google.tokens.verify(idToken, "https://api.example")).email, WEB);
    });
  }

  await t.step("a process that is not of the Pod gets nothing", async () => {
    setUp();
    await using folder = await RigFolder.create();
    await using krun = new KrunProcess(
      rig.krun({ args: IDLE, cwd: folder.path, env: { MESH_BASE_DIR: folder.path, ...env } }),
    );
    await krun.sees("stdout", /up/);
    const [enter = "", ...words] = [...rig.network.under, "python3", program("metadata_get.py"), "127.0.0.1:15988"];
    const { stdout } = await new Deno.Command(enter, { args: words, stderr: "inherit" }).output();
    assert.match(new TextDecoder().decode(stdout), /^403 This metadata server is that of another program/);
    await krun.sees("stderr", /a process that is not of the Pod has asked for metadata/);
  });

  await t.step("the program's own calls obey the rules of the real one", async () => {
    setUp();
    const { stdout, stderr } = await start(rig, env, ["--", "/usr/bin/env", "python3", program("metadata_get.py")]);
    const [plain, bare, forwarded] = stdout.trim().split("\n");
    assert.equal(plain, "200 acme-shop-prod", stderr);
    assert.match(bare!, /^403 Missing Metadata-Flavor/);
    assert.match(forwarded!, /^403 Requests through a proxy/);
  });

  await t.step("a failure at Google is told to the program as a server's, and once in the log", async () => {
    setUp();
    google.revoke(workload, ...STAND_FOR);
    const script = [
      "--",
      "/usr/bin/env",
      "python3",
      program("metadata_get.py"),
      "",
      "instance/service-accounts/default/token",
    ];
    const { stdout, stderr } = await start(rig, env, script);
    assert.match(stdout, /^500 /);
    assert.match(stderr, /the program gets no answer from its metadata server/);
    const hint = `hint="grant roles/iam.workloadIdentityUser on ${WEB} to ${workload}"`;
    assert.ok(stderr.includes(hint), stderr);
  });

  await t.step("what the program would learn by its first request is in the log at its start", async () => {
    setUp();
    google.revoke(workload, ...STAND_FOR);
    await using folder = await RigFolder.create();
    const options = { args: IDLE, cwd: folder.path, env: { MESH_BASE_DIR: folder.path, ...env } };
    await using krun = new KrunProcess(rig.krun(options));
    await krun.sees("stderr", /there are no Google tokens for the program yet.*hint="grant roles/);
  });

  await t.step("--check says who the program is at Google, and why it is nobody", async () => {
    setUp();
    const check = ["--check", "--", "/bin/true"];
    const known = await start(rig, env, check);
    assert.equal(known.code, 0, known.stdout);
    assert.match(known.stdout, new RegExp(`program's Google account +${WEB} +annotation iam\\.gke\\.io/`));
    google.revoke(workload, ...STAND_FOR);
    const { code, stdout } = await start(rig, env, check);
    assert.equal(code, 1);
    assert.ok(stdout.includes(`grant roles/iam.workloadIdentityUser on ${WEB} to ${workload}`), stdout);
    assert.match(stdout, /asked for by KRUN_METADATA/);
    assert.match(stdout, /^not ok: the program would start, and lack what a setting asks for$/m);
  });

  await t.step("the project is the credentials' own where nothing else says it", async () => {
    setUp();
    const { PROJECT_ID: _project, CLUSTER_LOCATION: _location, CLUSTER_NAME: _name, ...others } = env;
    const more = { KUBECONFIG: await adminKubeconfig(rig, keys.path), KRUN_GOOGLE_ACCOUNT: "platform" };
    const args = ["--", "/usr/bin/env", "python3", program("metadata_get.py")];
    const { stdout, stderr } = await start(rig, { ...others, ...more }, args);
    assert.match(stdout, /^200 acme-shop-prod$/m, stderr);
  });
});
