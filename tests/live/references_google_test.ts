/**
 * References to Google: Secret Manager, berglas's buckets, other clusters of GKE by their resource path, and the environment that the
 * Cloud Run API gives. Fakes of Google's servers under Google's names, two real API servers as clusters.
 */
import assert from "node:assert/strict";
import { join } from "node:path";
import { FakeSecrets, SECRET_REGION } from "../fakes/google_secrets.ts";
import { KrunProcess, runKrun } from "../krun_process.ts";
import { waitFor } from "../wait.ts";
import { exists } from "../workspace.ts";
import { type ApiServer, startApiServer } from "./api_server.ts";
import { NOBODY } from "./compiled.ts";
import { CLOUD_RUN, GoogleRig, REGION, type RigEnd, RigFolder } from "./google_rig.ts";
import { names, sh } from "./shop.ts";

/** What `GoogleRig.run` looks for in what krun says. */
const SECRET = "s3cret-of-google";

/** On Cloud Run, with no cluster. */
const ALONE = { ...CLOUD_RUN, CLUSTER_NAME: "-", KRUN_START_TIMEOUT: "10" };
const ACCOUNT = "krun@acme-shop-prod.iam.gserviceaccount.com";

/** A Google Cloud with secrets, and a second cluster. */
class SecretsRig implements AsyncDisposable {
  private constructor(
    readonly rig: GoogleRig,
    readonly secrets: FakeSecrets,
    readonly key: string,
    readonly stack: AsyncDisposableStack,
  ) {}

  static async create(): Promise<SecretsRig> {
    await using stack = new AsyncDisposableStack();
    let secrets: FakeSecrets | undefined;
    const rig = stack.use(await GoogleRig.create({ addHosts: (google) => void (secrets = new FakeSecrets(google)) }));
    const key = secrets!.makeKey();
    return new SecretsRig(rig, secrets!, key, stack.move());
  }

  /** As at first: secret `api-key`, object `bkt/db/pass`. */
  async reset(): Promise<void> {
    this.rig.reset();
    this.secrets.secrets.clear();
    this.secrets.objects.clear();
    this.secrets.runs.clear();
    this.secrets.gate = undefined;
    this.secrets.grantAll(ACCOUNT);
    this.secrets.put("api-key", SECRET);
    await this.secrets.putBerglas("bkt/db/pass", `${SECRET}-2`, { key: this.key });
  }

  async start(env: Record<string, string>, args: readonly string[]): Promise<RigEnd> {
    await using folder = await RigFolder.create();
    return await this.rig.run(folder.path, { ...ALONE, TMPDIR: folder.path, ...env }, args);
  }

  /** Paths that a host was asked for since, without the query's order. */
  asked(since: number, host: string): string[] {
    return this.rig.google.seen.slice(since).filter((one) => one.host === host).map(({ path }) => path);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stack[Symbol.asyncDispose]();
  }
}

interface Case {
  readonly name: string;
  readonly test: (rig: SecretsRig) => Promise<void>;
}

function refused({ code, stdout, stderr }: RigEnd, ...says: readonly string[]): void {
  assert.equal(code, 125, stderr);
  assert.equal(stdout, "");
  names(stderr, ...says);
}

const CASES: readonly Case[] = [
  {
    name: "an existing berglas deployment, with no cluster and no library",
    test: async (rig) => {
      rig.secrets.put("api-key", `${SECRET}-new`);
      rig.secrets.put(`${SECRET_REGION}/near`, "regional");
      const since = rig.rig.google.seen.length;
      const { code, stdout, stderr } = await rig.start({
        A: "sm://acme-shop-prod/api-key",
        B: "sm://123456789012/api-key#1",
        C: "berglas://bkt/db/pass",
        D: `sm://acme-shop-prod/near?location=${SECRET_REGION}`,
        E: "sm://acme-shop-prod/api-key?destination=tempfile#1",
      }, sh('printf "%s|" "$A" "$B" "$C" "$D"; cat "$E"; stat -Lc "|%a" "$E"'));
      assert.equal(code, 0, stderr);
      assert.equal(stdout, `${SECRET}-new|${SECRET}|${SECRET}-2|regional|${SECRET}|600\n`);
      assert.deepEqual(
        rig.asked(since, "container.googleapis.com"),
        [],
        "no cluster is needed where no reference names one",
      );
    },
  },
  {
    name: "one token, one request for each version, three for a bucket's object",
    test: async (rig) => {
      const since = rig.rig.google.seen.length;
      const many = Object.fromEntries(Array.from({ length: 20 }, (_, i) => [`V${i}`, "sm://acme-shop-prod/api-key"]));
      const more = Object.fromEntries(Array.from({ length: 20 }, (_, i) => [`W${i}`, "berglas://bkt/db/pass"]));
      const { code, stderr } = await rig.start({ ...many, ...more }, ["--", "/bin/true"]);
      assert.equal(code, 0, stderr);
      assert.equal(rig.asked(since, "secretmanager.googleapis.com").length, 1);
      assert.equal(rig.asked(since, "storage.googleapis.com").length, 2);
      assert.equal(rig.asked(since, "cloudkms.googleapis.com").length, 1);
      assert.equal(rig.asked(since, "metadata.google.internal").filter((path) => path.includes("/token")).length, 1);
    },
  },
  {
    name: "200 references to 50 objects: a token, then 50 requests at once",
    test: async (rig) => {
      for (let i = 0; i < 50; i++) rig.secrets.put(`s${i}`, JSON.stringify({ a: `a${i}`, b: i }));
      const since = rig.rig.google.seen.length;
      let left = 50;
      const opened = Promise.withResolvers<void>();
      // Nobody gets an answer before all have asked.
      rig.secrets.gate = { arrived: () => void (--left === 0 && opened.resolve()), opened: opened.promise };
      const fields = ["?json=.a", "?json=.b", "", "?default=x"];
      const env = Object.fromEntries(
        Array.from({ length: 200 }, (_, i) => [`V${i}`, `sm://acme-shop-prod/s${i % 50}${fields[Math.floor(i / 50)]}`]),
      );
      const { code, stdout, stderr } = await rig.start(env, sh('echo "$V7 $V57 $V107 $V157"'));
      assert.equal(code, 0, stderr);
      assert.equal(stdout, 'a7 7 {"a":"a7","b":7} {"a":"a7","b":7}\n');
      assert.equal(rig.asked(since, "secretmanager.googleapis.com").length, 50);
      assert.equal(rig.asked(since, "metadata.google.internal").filter((path) => path.includes("/token")).length, 1);
    },
  },
  {
    name: "every failure at once, with the role to grant and to whom",
    test: async (rig) => {
      rig.secrets.put("disabled", SECRET);
      rig.secrets.secrets.get("disabled")!.versions[0]!.state = "DISABLED";
      rig.secrets.putObject("bkt/plain", SECRET, {});
      rig.rig.google.revoke(ACCOUNT, "cloudkms.cryptoKeyVersions.useToDecrypt");
      refused(
        await rig.start({
          GONE: "sm://acme-shop-prod/gone",
          OTHER: "sm://other-project/api-key",
          DISABLED: "sm://acme-shop-prod/disabled?optional=true",
          DECRYPT: "berglas://bkt/db/pass",
          PLAIN: "berglas://bkt/plain",
          NOWHERE: "berglas://bkt/nowhere",
          BAD: "sm://acme-shop-prod/a/b",
          OWN: "$SecretKeyRef:/secrets/db/keys/password",
        }, ["--", "/bin/echo", "started"]),
        'Cannot resolve GONE: secret \\"projects/acme-shop-prod/secrets/gone/versions/latest\\" does not exist; create it',
        "Cannot resolve OTHER: cannot access secret",
        `grant roles/secretmanager.secretAccessor to ${ACCOUNT}`,
        "Cannot resolve DISABLED: cannot access secret",
        "is in DISABLED state",
        `Cannot resolve DECRYPT: cannot decrypt object \\"bkt/db/pass\\" with key`,
        `grant roles/cloudkms.cryptoKeyDecrypter to ${ACCOUNT}`,
        "Cannot resolve PLAIN: cannot read object",
        "berglas-kms-key names no encryption key",
        'Cannot resolve NOWHERE: object \\"bkt/nowhere\\" does not exist',
        "Cannot resolve BAD as a reference",
        'Cannot resolve OWN from Secret \\"shop/db\\": cannot read from the workload\'s own cluster: cannot find a cluster: KRUN_MANIFESTS: not set',
      );
      rig.rig.google.revoke(ACCOUNT, "storage.objects.get");
      refused(
        await rig.start({ A: "berglas://bkt/db/pass" }, ["--", "/bin/echo"]),
        `grant roles/storage.objectViewer to ${ACCOUNT}`,
      );
    },
  },
  {
    name: "what is missing and optional, or has a default",
    test: async (rig) => {
      const { code, stdout, stderr } = await rig.start({
        A: "sm://acme-shop-prod/gone?optional=true",
        B: "berglas://bkt/gone?default=b",
        C: "sm://acme-shop-prod/gone?optional=true&destination=tempfile",
        D: "sm://acme-shop-prod/gone?default=d&destination=tempfile",
      }, sh('echo "${A-unset} $B ${C-unset} $(cat $D)"'));
      assert.equal(code, 0, stderr);
      assert.equal(stdout, "unset b unset d\n");
    },
  },
  {
    name: "an API that is busy is tried again until KRUN_START_TIMEOUT, and told when it stays so",
    test: async (rig) => {
      rig.rig.google.trouble({ host: "secretmanager.googleapis.com", status: 503, times: 2 });
      const { code, stdout, stderr } = await rig.start({ A: "sm://acme-shop-prod/api-key" }, sh('echo "$A"'));
      assert.deepEqual([code, stdout], [0, `${SECRET}\n`], stderr);
      rig.rig.google.trouble({ host: "secretmanager.googleapis.com", status: 503, times: 1000 });
      refused(
        await rig.start({ A: "sm://acme-shop-prod/api-key", KRUN_START_TIMEOUT: "1" }, ["--", "/bin/echo"]),
        "Cannot resolve A: cannot access secret",
        "503",
      );
    },
  },
  {
    name: "without a reference no API is asked and no account is looked for",
    test: async (rig) => {
      const since = rig.rig.google.seen.length;
      const { code, stdout, stderr } = await rig.start({ A: "x sm://acme-shop-prod/api-key" }, sh('echo "$A"'));
      assert.deepEqual([code, stdout], [0, "x sm://acme-shop-prod/api-key\n"], stderr);
      assert.deepEqual(rig.rig.google.seen.slice(since).filter(({ path }) => !path.includes("instance/id")), []);
    },
  },
  {
    name: "credentials of the program's own come from a reference, and krun has its own",
    test: async (rig) => {
      rig.secrets.put("adc", `{"type":"${SECRET}"}`);
      const env = { GOOGLE_APPLICATION_CREDENTIALS: "sm://acme-shop-prod/adc?destination=tempfile" };
      const { code, stdout, stderr } = await rig.start(env, sh('cat "$GOOGLE_APPLICATION_CREDENTIALS"'));
      assert.deepEqual([code, stdout], [0, `{"type":"${SECRET}"}`], stderr);
    },
  },
  {
    name: "konfig's form reaches any cluster of GKE by its path, with the platform's credentials",
    test: async (rig) => {
      const { rig: { google } } = rig;
      await using far = await startFar(rig);
      const path = `projects/${google.project.id}/locations/${REGION}/clusters`;
      const env = {
        A: `$SecretKeyRef:/${path}/far/namespaces/elsewhere/secrets/db/keys/password`,
        B: `$SecretKeyRef:/${path}/far/namespaces/elsewhere/secrets/db/keys/username?tempFile=true`,
        C: `$SecretKeyRef:/projects/${google.project.id}/zones/${REGION}/clusters/prod/namespaces/shop/secrets/db/keys/username`,
      };
      const since = google.seen.length;
      const { code, stdout, stderr } = await rig.start(env, sh('echo "$A $(cat $B) $C"'));
      assert.equal(code, 0, stderr);
      assert.equal(stdout, `${SECRET} bob alice\n`);
      const looked = rig.asked(since, "container.googleapis.com").toSorted();
      assert.deepEqual(looked, [`/v1/${path}/far`, `/v1/${path}/prod`], "each cluster is looked up once");
      refused(
        await rig.start({
          GONE: `$SecretKeyRef:/${path}/gone/namespaces/shop/secrets/db/keys/password`,
          SHUT: `$SecretKeyRef:/${path}/far/namespaces/shut/secrets/db/keys/password`,
        }, ["--", "/bin/echo"]),
        "Cannot resolve GONE from Secret",
        "cannot find cluster",
        "correct the cluster in the reference",
        "Cannot resolve SHUT from Secret",
        "cannot read Secret",
        `name: \\"${ACCOUNT}\\"`,
      );
      assert.ok(far.port > 0);
    },
  },
  {
    name: "where the cluster is the Pod's, its connection serves",
    test: async (rig) => {
      const { rig: { google } } = rig;
      const path = `projects/${google.project.id}/locations/${REGION}/clusters/prod`;
      const since = google.seen.length;
      const { code, stdout, stderr } = await rig.start({
        CLUSTER_NAME: "prod",
        A: `$SecretKeyRef:/${path}/namespaces/shop/secrets/db/keys/username`,
        B: "$SecretKeyRef:/secrets/db/keys/username",
      }, sh('echo "$A $B"'));
      assert.deepEqual([code, stdout], [0, "alice alice\n"], stderr);
      assert.equal(rig.asked(since, "container.googleapis.com").length, 1, "it is looked up once, for the Pod");
    },
  },
];

/** A second cluster, `far`, with a Secret `elsewhere/db` that krun's account may read. */
async function startFar(rig: SecretsRig): Promise<ApiServer> {
  const { rig: { google, network, server } } = rig;
  const names = ["DNS:localhost", "IP:127.0.0.1", "IP:34.118.224.50"];
  const webhook = server.options.args!.filter((arg) => arg.startsWith("--authentication-token-webhook"));
  const far = await startApiServer({ args: webhook, certificate: { names } });
  const endpoint = await network.relay({ port: far.port, address: "34.118.224.50" });
  google.clusters = [
    ...google.clusters,
    rig.rig.cluster({ name: "far", endpoint, masterAuth: { clusterCaCertificate: btoa(far.caPem) } }),
  ];
  await far.namespace("elsewhere");
  await far.create({
    ...{ apiVersion: "v1", kind: "Secret", metadata: { namespace: "elsewhere", name: "db" } },
    stringData: { username: "bob", password: SECRET },
  });
  await far.grant("elsewhere", ACCOUNT, [{ apiGroups: [""], resources: ["secrets"], verbs: ["get", "watch"] }]);
  return far;
}

Deno.test("references to Google are in place when the program starts", async (t) => {
  await using rig = await SecretsRig.create();
  for (const { name, test } of CASES) {
    await t.step(name, async () => {
      await rig.reset();
      await test(rig);
    });
  }
});

Deno.test("an ordinary user in a folder where nothing can be written gets files all the same, and nothing stays", async (t) => {
  await using rig = await SecretsRig.create();
  await rig.reset();
  await using folder = await RigFolder.create();
  await Deno.chmod(folder.path, 0o1777);
  await using shut = await RigFolder.create();
  await Deno.chmod(shut.path, 0o755);
  const caFile = join(shut.path, "ca.pem");
  await Deno.copyFile(rig.rig.network.caFile, caFile);
  await Deno.chmod(caFile, 0o644);
  const { under = [], ...options } = rig.rig.krun({
    args: sh('cat "$A"; stat -Lc " %a %u" "$A"'),
    cwd: shut.path,
    env: {
      ...ALONE,
      SSL_CERT_FILE: caFile,
      TMPDIR: folder.path,
      A: "sm://acme-shop-prod/api-key?destination=tempfile",
    },
  });
  const asNobody = ["setpriv", `--reuid=${NOBODY}`, `--regid=${NOBODY}`, "--clear-groups"];
  const run = () => runKrun({ ...options, under: [...under, ...asNobody] });
  const own = join(folder.path, `krun-${NOBODY}`);
  await t.step("beside temporary files", async () => {
    const { code, stdout, stderr } = await run();
    assert.deepEqual([code, stdout], [0, `${SECRET} 600 ${NOBODY}\n`], stderr);
    assert.deepEqual([...Deno.readDirSync(folder.path)], []);
  });
  await t.step("and nowhere where that name is somebody else's", async () => {
    await Deno.mkdir(own);
    const { code, stderr } = await run();
    assert.equal(code, 125, stderr);
    names(stderr, "TargetUnwritable");
    await Deno.remove(own);
    await Deno.symlink("/", own);
    assert.equal((await run()).code, 125);
    await Deno.remove(own);
  });
});

Deno.test("files of references that are not pinned are polled, and pinned ones never", async () => {
  await using rig = await SecretsRig.create();
  await rig.reset();
  rig.secrets.put("only-once", SECRET);
  const generation = rig.secrets.objects.get("bkt/db/pass")![0]!.generation;
  await using folder = await RigFolder.create();
  const at = (name: string) => join(folder.path, name);
  const script =
    "trap 'echo \"hup $(cat $A) $(cat $B)\"' HUP; trap 'exit 0' TERM; echo up; while :; do sleep 0.05; done";
  const env = {
    ...{
      ...ALONE,
      MESH_BASE_DIR: folder.path,
      KRUN_REFS_POLL: "300ms",
      KRUN_ON_CHANGE: "signal:HUP",
      KRUN_LOG: "debug",
    },
    A: `sm://acme-shop-prod/api-key?destination=${at("a")}`,
    B: `berglas://bkt/db/pass?destination=${at("b")}`,
    PINNED: `sm://acme-shop-prod/api-key?destination=${at("pinned")}#1`,
    GENERATION: `berglas://bkt/db/pass?destination=${at("generation")}#${generation}`,
    VARIABLE: "sm://acme-shop-prod/only-once",
  };
  await using krun = new KrunProcess(rig.rig.krun({ args: sh(script), cwd: folder.path, env }));
  await krun.sees("stdout", /up/);
  const since = rig.rig.google.seen.length;
  rig.secrets.put("api-key", "rotated");
  await waitFor("the new version", () => Deno.readTextFileSync(at("a")) === "rotated" || undefined);
  await krun.sees("stdout", /hup rotated s3cret-of-google-2/);
  await rig.secrets.putBerglas("bkt/db/pass", "turned", { key: rig.key });
  await waitFor("the new generation", () => Deno.readTextFileSync(at("b")) === "turned" || undefined);
  await krun.sees("stdout", /hup rotated turned/);
  rig.secrets.objects.set("bkt/db/pass", rig.secrets.objects.get("bkt/db/pass")!.slice(0, 1));
  await waitFor("the file to follow back", () => Deno.readTextFileSync(at("b")) === `${SECRET}-2` || undefined);
  rig.secrets.secrets.delete("api-key");
  await krun.sees("stderr", /a reference keeps its last value/);
  assert.equal(Deno.readTextFileSync(at("a")), "rotated");
  const paths = rig.rig.google.seen.slice(since).map(({ path }) => path);
  assert.deepEqual(
    paths.filter((path) => /versions\/1:access|only-once|[?&]generation=.*$/.test(path) && !path.includes("alt=media")),
    [],
  );
  assert.equal(Deno.readTextFileSync(at("pinned")), SECRET);
  krun.kill("SIGTERM");
  assert.equal((await krun.end).code, 0, krun.stderr);
  for (const name of ["a", "b", "pinned", "generation"]) assert.ok(!exists(at(name)), name);
  for (const secret of [SECRET, "rotated", "turned", "ya29."]) assert.ok(!krun.stderr.includes(secret), krun.stderr);
});

Deno.test("with KRUN_ENV_SOURCE=cloudrun only the running revision's own spec names a secret", async (t) => {
  await using rig = await SecretsRig.create();
  const revision = `${REGION}/namespaces/acme-shop-prod/revisions/${CLOUD_RUN.K_REVISION}`;
  const A = "sm://acme-shop-prod/api-key";
  const containers = (
    env: Record<string, string>,
  ) => [{ env: Object.entries(env).map(([name, value]) => ({ name, value })) }];
  const trusted = { KRUN_ENV_SOURCE: "cloudrun" };
  const script = sh('echo "$A|$B"');
  const setUp = async () => {
    await rig.reset();
    rig.rig.google.grant(ACCOUNT, "run.revisions.get", "run.executions.get", "run.workerpools.get");
    rig.secrets.runs.set(revision, { spec: { containers: containers({ A, PLAIN: "x" }) } });
    // What was deployed later, and does not run here.
    rig.secrets.runs.set(`${REGION}/namespaces/acme-shop-prod/services/${CLOUD_RUN.K_SERVICE}`, {
      spec: { template: { spec: { containers: containers({ A: "sm://acme-shop-prod/newer" }) } } },
    });
  };
  await t.step("what was not deployed stays as it is, with a warning", async () => {
    await setUp();
    const since = rig.rig.google.seen.length;
    const { code, stdout, stderr } = await rig.start({ ...trusted, A, B: "sm://acme-shop-prod/forged" }, script);
    assert.equal(code, 0, stderr);
    assert.equal(stdout, `${SECRET}|sm://acme-shop-prod/forged\n`);
    names(stderr, "B is not resolved: it was not deployed with that value");
    assert.deepEqual(rig.asked(since, `${REGION}-run.googleapis.com`), [
      `/apis/serving.knative.dev/v1/namespaces/acme-shop-prod/revisions/${CLOUD_RUN.K_REVISION}`,
    ]);
  });
  await t.step("the control: by default the process's environment counts", async () => {
    await setUp();
    rig.secrets.put("forged", "f");
    const { stdout } = await rig.start({ A, B: "sm://acme-shop-prod/forged" }, script);
    assert.equal(stdout, `${SECRET}|f\n`);
  });
  await t.step("what was deployed counts, whatever the process has", async () => {
    await setUp();
    const { stdout, stderr } = await rig.start({ ...trusted, A: "sm://acme-shop-prod/forged" }, script);
    assert.equal(stdout, `${SECRET}|\n`, stderr);
  });
  await t.step("in the right region", async () => {
    await setUp();
    rig.rig.google.metadata["instance/region"] = "projects/123456789012/regions/europe-west1";
    rig.secrets.runs.set(revision.replace(REGION, "europe-west1"), { spec: { containers: containers({ A }) } });
    rig.secrets.runs.delete(revision);
    const { stdout, stderr } = await rig.start({ ...trusted, A }, script);
    rig.rig.google.metadata["instance/region"] = `projects/123456789012/regions/${REGION}`;
    assert.equal(stdout, `${SECRET}|\n`, stderr);
  });
  await t.step("of a job its execution, of a worker pool its revision", async () => {
    await setUp();
    const none = { K_SERVICE: "", K_REVISION: "", K_CONFIGURATION: "" };
    rig.secrets.runs.set(`${REGION}/namespaces/acme-shop-prod/executions/nightly-x7k2p`, {
      spec: { template: { spec: { containers: containers({ A }) } } },
    });
    const job = { ...none, CLOUD_RUN_JOB: "nightly", CLOUD_RUN_EXECUTION: "nightly-x7k2p", CLOUD_RUN_TASK_INDEX: "0" };
    assert.equal((await rig.start({ ...trusted, ...job, A }, script)).stdout, `${SECRET}|\n`);
    rig.secrets.runs.set(`projects/acme-shop-prod/locations/${REGION}/workerPools/pool/revisions/pool-1`, {
      containers: containers({ A }),
    });
    const pool = { ...none, CLOUD_RUN_WORKER_POOL: "pool", CLOUD_RUN_WORKER_POOL_REVISION: "pool-1" };
    assert.equal((await rig.start({ ...trusted, ...pool, A }, script)).stdout, `${SECRET}|\n`);
  });
  await t.step("without the right it refuses, and says which role it needs", async () => {
    await setUp();
    rig.rig.google.revoke(ACCOUNT, "run.revisions.get");
    refused(await rig.start({ ...trusted, A }, script), "grant roles/run.viewer to", "GoogleForbidden");
    refused(
      await rig.start({ ...trusted, A, K_SERVICE: "", K_REVISION: "" }, script),
      "which revision or execution of Cloud Run this is",
    );
  });
});
