/** Google Cloud from a machine that is not there: credentials of every kind, what must be set, and where the namespace comes from. */
import assert from "node:assert/strict";
import { join } from "node:path";
import { GoogleRig, REGION, type RigEnd, RigFolder } from "./google_rig.ts";
import type { Finding } from "../../src/launch/check_report.ts";
import { sh } from "./shop.ts";

const READ = sh("cat db/username");
const EMAIL = "local@acme-shop-prod.iam.gserviceaccount.com";
const PERSON = "ann@acme.example";

/** What the seed wants to be set: all but GOOGLE_APPLICATION_CREDENTIALS. */
const LOCAL = {
  PROJECT_ID: "acme-shop-prod",
  CLUSTER_LOCATION: REGION,
  WORKLOAD_NAMESPACE: "shop",
  K8S_SECRET_db: "./db",
  KRUN_START_TIMEOUT: "5",
};

const ASKED = { K8S_SECRET_db: "./db", KRUN_START_TIMEOUT: "1" };

/** A start with a credentials file of that text. */
async function startWith(rig: GoogleRig, credentials: string, env: Record<string, string> = {}): Promise<RigEnd> {
  await using folder = await RigFolder.create();
  const file = join(folder.path, "credentials.json");
  await Deno.writeTextFile(file, credentials, { mode: 0o600 });
  return await rig.run(folder.path, { ...LOCAL, GOOGLE_APPLICATION_CREDENTIALS: file, ...env }, READ);
}

function succeeds({ code, stdout, stderr }: RigEnd): void {
  assert.equal(code, 0, stderr);
  assert.equal(stdout, "alice", stderr);
}

/** An identity provider of somebody else's: its tokens, and the file that shows them to Google. */
class ForeignProvider {
  private constructor(readonly keys: CryptoKeyPair, readonly audience: string) {}

  static async create(): Promise<ForeignProvider> {
    const keys = await crypto.subtle.generateKey({ name: "ECDSA", namedCurve: "P-256" }, true, ["sign", "verify"]);
    const pool = "//iam.googleapis.com/projects/123456789012/locations/global/workloadIdentityPools/ci/providers/ci";
    return new ForeignProvider(keys as CryptoKeyPair, pool);
  }

  async jwk(): Promise<JsonWebKey[]> {
    return [{ ...await crypto.subtle.exportKey("jwk", this.keys.publicKey), alg: "ES256" } as JsonWebKey];
  }

  async token(subject: string): Promise<string> {
    const { SignJWT } = await import("jose");
    return await new SignJWT({}).setProtectedHeader({ alg: "ES256" }).setSubject(subject).setAudience(
      `https:${this.audience}`,
    )
      .setIssuedAt().setExpirationTime("10m").sign(this.keys.privateKey);
  }

  file(source: Record<string, unknown>, more: Record<string, unknown> = {}): string {
    return JSON.stringify({
      type: "external_account",
      audience: this.audience,
      subject_token_type: "urn:ietf:params:oauth:token-type:jwt",
      token_url: "https://sts.googleapis.com/v1/token",
      credential_source: source,
      ...more,
    });
  }
}

const impersonation = (email: string) =>
  `https://iamcredentials.googleapis.com/v1/projects/-/serviceAccounts/${email}:generateAccessToken`;

Deno.test("krun uses Google credentials of every kind, off Google", async (t) => {
  await using rig = await GoogleRig.create({ metadata: false });
  const { google } = rig;
  const provider = await ForeignProvider.create();
  const setUp = () => {
    rig.reset();
    google.providers = [{
      stsAudience: provider.audience,
      tokenAudience: `https:${provider.audience}`,
      keys: () => provider.jwk(),
    }];
  };
  const federated = `principal:${provider.audience.replace(/\/providers\/.*/, "")}/subject/job-7`;
  await rig.grantKrun("shop", EMAIL);
  await rig.grantKrun("shop", PERSON);
  await rig.grantKrun("shop", federated);

  await t.step("a service account's key", async () => {
    setUp();
    google.grant(EMAIL, "container.clusters.list");
    succeeds(await startWith(rig, await google.serviceAccountKey(EMAIL)));
    assert.equal(google.count("metadata.google.internal"), 0);
  });

  await t.step("a person's log-in", async () => {
    setUp();
    google.grant(PERSON, "container.clusters.list");
    succeeds(await startWith(rig, google.userCredentials(PERSON)));
  });

  await t.step("workload identity federation, the subject's token in a file", async () => {
    setUp();
    google.grant(federated, "container.clusters.list");
    await using folder = await RigFolder.create();
    await Deno.writeTextFile(join(folder.path, "subject"), await provider.token("job-7"));
    succeeds(await startWith(rig, provider.file({ file: join(folder.path, "subject") })));
  });

  await t.step("workload identity federation with impersonation, the subject's token in JSON", async () => {
    setUp();
    google.grant(federated, `${EMAIL}/iam.serviceAccounts.getAccessToken`);
    google.grant(EMAIL, "container.clusters.list");
    await using folder = await RigFolder.create();
    await Deno.writeTextFile(join(folder.path, "subject"), JSON.stringify({ value: await provider.token("job-7") }));
    const source = { file: join(folder.path, "subject"), format: { type: "json", subject_token_field_name: "value" } };
    succeeds(await startWith(rig, provider.file(source, { service_account_impersonation_url: impersonation(EMAIL) })));
  });

  await t.step("impersonation by a person", async () => {
    setUp();
    google.grant(PERSON, `${EMAIL}/iam.serviceAccounts.getAccessToken`);
    google.grant(EMAIL, "container.clusters.list");
    const source_credentials = JSON.parse(google.userCredentials(PERSON));
    const fields = {
      type: "impersonated_service_account",
      service_account_impersonation_url: impersonation(EMAIL),
      source_credentials,
    };
    succeeds(await startWith(rig, JSON.stringify(fields)));
    // The twin: who may not stand for it learns the role.
    google.revoke(PERSON, `${EMAIL}/iam.serviceAccounts.getAccessToken`);
    const { code, stderr } = await startWith(rig, JSON.stringify(fields));
    assert.equal(code, 125);
    assert.match(
      stderr,
      /403, Permission 'iam\.serviceAccounts\.getAccessToken' denied .*grant roles\/iam\.serviceAccountTokenCreator on local@/,
    );
  });

  await t.step("impersonation through another account", async () => {
    setUp();
    const between = "between@acme-shop-prod.iam.gserviceaccount.com";
    google.grant(PERSON, `${between}/iam.serviceAccounts.implicitDelegation`);
    google.grant(between, `${EMAIL}/iam.serviceAccounts.getAccessToken`);
    google.grant(EMAIL, "container.clusters.list");
    const fields = {
      type: "impersonated_service_account",
      service_account_impersonation_url: impersonation(EMAIL),
      source_credentials: JSON.parse(google.userCredentials(PERSON)),
      delegates: [between],
    };
    succeeds(await startWith(rig, JSON.stringify(fields)));
    // The twin: without it the person may not.
    assert.equal((await startWith(rig, JSON.stringify({ ...fields, delegates: [] }))).code, 125);
  });

  await t.step("CLUSTER_NAME without CLUSTER_LOCATION, where one has that name", async () => {
    setUp();
    google.grant(EMAIL, "container.clusters.list");
    const { CLUSTER_LOCATION: _location, ...others } = LOCAL;
    await using folder = await RigFolder.create();
    const file = join(folder.path, "credentials.json");
    await Deno.writeTextFile(file, await google.serviceAccountKey(EMAIL));
    const env = { ...others, CLUSTER_NAME: "prod", GOOGLE_APPLICATION_CREDENTIALS: file };
    succeeds(await rig.run(folder.path, env, READ));
    google.clusters = [rig.cluster(), rig.cluster({ location: "europe-west1" })];
    await using second = await RigFolder.create();
    const { code, stderr } = await rig.run(second.path, env, READ);
    assert.equal(code, 125);
    assert.match(stderr, /CLUSTER_NAME=prod CLUSTER_LOCATION=europe-west1/);
  });

  await t.step("a subject's token for somebody else is refused by Google, and its words are told", async () => {
    setUp();
    await using folder = await RigFolder.create();
    await Deno.writeTextFile(join(folder.path, "subject"), (await provider.token("job-7")).slice(0, -8));
    const { code, stderr } = await startWith(rig, provider.file({ file: join(folder.path, "subject") }));
    assert.equal(code, 125);
    assert.match(stderr, /with Google credentials ".*credentials\.json" at sts\.googleapis\.com: 400, .*invalid_grant/);
  });

  await t.step("a key that was deleted", async () => {
    setUp();
    const old = await google.serviceAccountKey(EMAIL);
    await google.serviceAccountKey(EMAIL);
    const { code, stderr } = await startWith(rig, old);
    assert.equal(code, 125);
    assert.match(stderr, /Invalid JWT Signature/);
  });

  await t.step("a file that sends its credentials elsewhere is refused before anything is sent", async () => {
    setUp();
    const since = google.seen.length;
    const { code, stderr } = await startWith(
      rig,
      provider.file({ file: "/etc/hostname" }, { token_url: "https://sts.evil.example/v1/token" }),
    );
    assert.equal(code, 125);
    assert.match(stderr, /its token_url is not an address of Google's/);
    assert.equal(google.seen.length, since);
  });

  await t.step("what an executable or a file holds in place of a subject's token is told to nobody", async () => {
    setUp();
    await using folder = await RigFolder.create();
    const script = async (name: string, text: string) => {
      const path = join(folder.path, name);
      await Deno.writeTextFile(path, `#!/bin/sh\n${text}\n`, { mode: 0o755 });
      return { executable: { command: path, timeout_millis: 5000 } };
    };
    const token = join(folder.path, "subject");
    await Deno.writeTextFile(token, "s3cret.jwt.token");
    const allowed = { GOOGLE_EXTERNAL_ACCOUNT_ALLOW_EXECUTABLES: "1" };
    for (
      const [source, says] of [
        [await script("bare", "echo s3cret.jwt.token"), "their executable gave no answer of the documented form"],
        [await script("fails", `echo '{"id_token":"s3cret.jwt.token"}'; exit 1`), "their executable failed"],
        [
          { file: token, format: { type: "json", subject_token_field_name: "value" } },
          "is not the JSON that its format",
        ],
      ] as const
    ) {
      // The rig looks for s3cret in what is told.
      const { code, stderr } = await startWith(rig, provider.file(source), { ...allowed, KRUN_LOG: "debug" });
      assert.equal(code, 125);
      assert.ok(stderr.includes(says), stderr);
    }
    google.grant(federated, "container.clusters.list");
    const answer = JSON.stringify({
      ...{ version: 1, success: true, token_type: "urn:ietf:params:oauth:token-type:jwt" },
      ...{ id_token: await provider.token("job-7"), expiration_time: Math.floor(Date.now() / 1000) + 600 },
    });
    succeeds(await startWith(rig, provider.file(await script("right", `echo '${answer}'`)), allowed));
  });

  await t.step("a token endpoint that is away: its state, and what to do about it", async () => {
    setUp();
    const key = await google.serviceAccountKey(EMAIL);
    google.grant(EMAIL, "container.clusters.list");
    for (
      const [env, says] of [
        [
          { HTTPS_PROXY: "http://127.0.0.1:9" },
          /through proxy http:\/\/127\.0\.0\.1:9: .*that a proxy lets it through/,
        ],
        [{ SSL_CERT_FILE: "/etc/hostname" }, /as a file that SSL_CERT_FILE names/],
      ] as const
    ) {
      const { code, stderr } = await startWith(rig, key, { KRUN_START_TIMEOUT: "1", ...env });
      assert.equal(code, 125);
      assert.match(stderr, says);
      assert.doesNotMatch(stderr, /renew these credentials/);
    }
    google.trouble({ host: "oauth2.googleapis.com", status: 503, times: 99 });
    const { code, stderr } = await startWith(rig, key, { KRUN_START_TIMEOUT: "1" });
    assert.equal(code, 125);
    assert.match(stderr, /at oauth2\.googleapis\.com: 503, .*; try again later/);
    google.clearTroubles();
    google.trouble({ host: "oauth2.googleapis.com", status: 503, times: 4 });
    succeeds(await startWith(rig, key, { KRUN_START_TIMEOUT: "30" }));
  });

  await t.step("a token endpoint that does not answer is given up at KRUN_START_TIMEOUT", async () => {
    setUp();
    google.trouble({ host: "oauth2.googleapis.com", delayMs: 60_000, times: 99 });
    const from = performance.now();
    const { code, stderr } = await startWith(rig, await google.serviceAccountKey(EMAIL), { KRUN_START_TIMEOUT: "3" });
    assert.equal(code, 125);
    assert.match(stderr, /at oauth2\.googleapis\.com: no answer within \d+ ms/);
    // One answer may take 20 s where there is time, and the library asks three times.
    assert.ok(performance.now() - from < 18_000, `${performance.now() - from} ms`);
    google.clearTroubles();
  });

  await t.step("a key that is no PEM is told before anything is sent", async () => {
    setUp();
    const key = JSON.stringify({ ...JSON.parse(await google.serviceAccountKey(EMAIL)), private_key: "s3cret" });
    const since = google.seen.length;
    const { code, stderr } = await startWith(rig, key);
    assert.equal(code, 125);
    assert.match(stderr, /its private_key is not a key in PEM/);
    assert.equal(google.seen.length, since);
  });

  await t.step("a role that is missing is to be granted to the key's own e-mail address", async () => {
    setUp();
    const { code, stderr } = await startWith(rig, await google.serviceAccountKey(EMAIL));
    assert.equal(code, 125);
    assert.ok(stderr.includes(`grant roles/container.clusterViewer to ${EMAIL}, or correct PROJECT_ID`), stderr);
  });

  await t.step("an ID token of a person's log-in: what to set instead", async () => {
    setUp();
    google.grant(PERSON, "container.clusters.list");
    const { code, stderr } = await startWith(rig, google.userCredentials(PERSON), {
      KRUN_GOOGLE_ACCOUNT: "platform",
      GCP_ID_TOKEN_api: "https://api.example:./id",
    });
    assert.equal(code, 125);
    assert.match(
      stderr,
      /gives none to credentials of type authorized_user by themselves .*; set KRUN_GOOGLE_ACCOUNT to/,
    );
  });

  await t.step("a project alone speaks for Google too: what is missing besides", async () => {
    setUp();
    await using folder = await RigFolder.create();
    const env = { PROJECT_ID: "acme-shop-prod", K8S_SECRET_db: "./db" };
    const { code, stderr } = await rig.run(folder.path, { HOME: folder.path, ...env }, READ);
    assert.equal(code, 125);
    assert.match(
      stderr,
      /and GOOGLE_APPLICATION_CREDENTIALS, CLUSTER_LOCATION and WORKLOAD_NAMESPACE or K_SERVICE are not set/,
    );
  });

  await t.step("CLUSTER_NAME=- is one of the places that were looked at", async () => {
    setUp();
    await using folder = await RigFolder.create();
    const env = { HOME: folder.path, CLUSTER_NAME: "-", K8S_SECRET_db: "./db" };
    const { code, stderr } = await rig.run(folder.path, env, READ);
    assert.equal(code, 125);
    assert.match(stderr, /Google Cloud: left out by CLUSTER_NAME=-/);
  });

  await t.step("nothing is set: every name that is missing, at once", async () => {
    setUp();
    await using folder = await RigFolder.create();
    const { code, stderr } = await rig.run(folder.path, { CLUSTER_NAME: "prod" }, READ);
    assert.equal(code, 125);
    const names =
      "GOOGLE_APPLICATION_CREDENTIALS, CLUSTER_LOCATION, PROJECT_ID and WORKLOAD_NAMESPACE or K_SERVICE are not set";
    assert.ok(
      stderr.includes(`no metadata server answers at 169.254.169.254 within 50 ms, and ${names}; set them; gcloud `),
      stderr,
    );
  });

  await t.step("some are set: those that are not", async () => {
    setUp();
    const { PROJECT_ID: _project, WORKLOAD_NAMESPACE: _namespace, ...some } = LOCAL;
    await using folder = await RigFolder.create();
    const file = join(folder.path, "credentials.json");
    await Deno.writeTextFile(file, google.userCredentials(PERSON));
    const { code, stderr } = await rig.run(folder.path, { ...some, GOOGLE_APPLICATION_CREDENTIALS: file }, READ);
    assert.equal(code, 125);
    assert.ok(stderr.includes("and PROJECT_ID and WORKLOAD_NAMESPACE or K_SERVICE are not set"), stderr);
  });

  await t.step("K_SERVICE stands for the namespace, and is no reason to wait for a metadata server", async () => {
    setUp();
    google.grant(EMAIL, "container.clusters.list");
    const { WORKLOAD_NAMESPACE: _namespace, ...others } = LOCAL;
    await using folder = await RigFolder.create();
    const file = join(folder.path, "credentials.json");
    await Deno.writeTextFile(file, await google.serviceAccountKey(EMAIL));
    const env = { ...others, K_SERVICE: "shop-web", GOOGLE_APPLICATION_CREDENTIALS: file, KRUN_START_TIMEOUT: "60" };
    const from = performance.now();
    succeeds(await rig.run(folder.path, env, READ));
    assert.ok(performance.now() - from < 30_000);
  });

  await t.step("nothing speaks for Google: it is one of the places that were looked at", async () => {
    setUp();
    await using folder = await RigFolder.create();
    const { code, stderr } = await rig.run(folder.path, { WORKLOAD_NAMESPACE: "shop", K8S_SECRET_db: "./db" }, READ);
    assert.equal(code, 125);
    assert.match(
      stderr,
      /Cannot find a cluster: .*Google Cloud: no metadata server answers .* no setting speaks of Google Cloud/,
    );
  });

  await t.step("nothing asks for a cluster: nobody is asked, and nothing is said", async () => {
    setUp();
    await using folder = await RigFolder.create();
    const { code, stderr } = await rig.run(folder.path, {}, sh("true"));
    assert.equal(code, 0);
    assert.doesNotMatch(stderr, /Google|metadata/);
  });
});

Deno.test("krun takes the namespace from Google account or project when nothing else says one", async (t) => {
  await using rig = await GoogleRig.create();
  const { google } = rig;
  const checked = async (env: Record<string, string> = {}): Promise<{ findings: Finding[] }> => {
    await using folder = await RigFolder.create();
    const elsewhere = await rig.network.metadataElsewhere(google);
    const { stdout, stderr } = await rig.run(folder.path, {
      GCE_METADATA_HOST: elsewhere,
      CLUSTER_NAME: "prod",
      ...env,
    }, [
      ...["--check=json", "--", "/bin/true"],
    ]);
    return JSON.parse(stdout || assert.fail(stderr));
  };
  const report = async (env?: Record<string, string>) => {
    const { findings } = await checked(env);
    return findings.find(({ what }) => what === "namespace")!;
  };

  await t.step("--check also shows which cluster it is, and why", async () => {
    rig.reset();
    const { findings } = await checked();
    const found = (name: string) => findings.find(({ what }) => what === name);
    assert.deepEqual(found("cluster's choice"), {
      what: "cluster's choice",
      value: "prod",
      because: `the only one named prod in ${REGION}`,
    });
    assert.equal(found("krun's identity")?.value, google.account);
  });

  await t.step("the project's id, which has more than two parts", async () => {
    rig.reset();
    const { value, because } = await report();
    assert.deepEqual([value, because], ["shop", "the id of Google project acme-shop-prod"]);
  });

  await t.step("the project's label, where it may be seen", async () => {
    rig.reset();
    google.project.labels["mesh-namespace"] = "pay";
    google.grant(google.account!, "resourcemanager.projects.get");
    const { value, because } = await report();
    assert.deepEqual([value, because], ["pay", "label mesh-namespace of Google project acme-shop-prod"]);
  });

  await t.step("while the project's label cannot be read there is no other namespace in place of it", async () => {
    rig.reset();
    google.trouble({ host: "cloudresourcemanager.googleapis.com", status: 503, times: 99 });
    google.grant(google.account!, "resourcemanager.projects.get");
    await using folder = await RigFolder.create();
    const env = { ...ASKED, GCE_METADATA_HOST: await rig.network.metadataElsewhere(google), CLUSTER_NAME: "prod" };
    const { code, stderr } = await rig.run(folder.path, env, READ);
    assert.equal(code, 125);
    assert.match(stderr, /Cannot read project "acme-shop-prod" at cloudresourcemanager\.googleapis\.com: 503/);
    google.clearTroubles();
  });

  await t.step("the account's name goes before the project", async () => {
    google.account = "k8s-store@acme-shop-prod.iam.gserviceaccount.com";
    rig.reset();
    const { value, because } = await report();
    assert.deepEqual([value, because], ["store", `Google service account ${google.account}`]);
  });

  await t.step("a variable goes before all of them", async () => {
    rig.reset();
    const { value, because } = await report({ WORKLOAD_NAMESPACE: "shop" });
    assert.deepEqual([value, because], ["shop", "WORKLOAD_NAMESPACE"]);
  });
});
