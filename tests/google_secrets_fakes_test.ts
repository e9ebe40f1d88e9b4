/** The fakes of Secret Manager, Storage, KMS and Cloud Run themselves: each refuses what Google refuses. */
import assert from "node:assert/strict";
import { crc32c } from "../src/core/crc32c.ts";
import { askFake } from "./fake_account.ts";
import { FakeGoogle } from "./fakes/google_cloud.ts";
import { FakeSecrets, SECRET_REGION } from "./fakes/google_secrets.ts";

const PLATFORM = "https://www.googleapis.com/auth/cloud-platform";
const KRUN = "krun@acme-shop-prod.iam.gserviceaccount.com";
const SECRETS = "secretmanager.googleapis.com";
const STORAGE = "storage.googleapis.com";
const KMS = "cloudkms.googleapis.com";

/** Its key takes a second to make. */
const shared = await FakeGoogle.create();

class Rig {
  readonly secrets: FakeSecrets;
  readonly #token: string;

  static create(): Rig {
    const google = shared;
    google.revokeAll();
    return new Rig(google);
  }

  private constructor(readonly google: FakeGoogle) {
    this.secrets = new FakeSecrets(google);
    this.#token = google.tokens.access(KRUN, [PLATFORM]).token;
  }

  async ask(host: string, path: string, { body, token = this.#token }: { body?: unknown; token?: string } = {}) {
    const response = await askFake(this.google, { host, path, body, token });
    const text = await response.text();
    return { status: response.status, text, json: () => JSON.parse(text) };
  }
}

Deno.test("the fake Secret Manager gives a version to who may have it, at the right host", async () => {
  const rig = Rig.create();
  const { secrets, google } = rig;
  secrets.put("api-key", "one");
  secrets.put("api-key", "two");
  secrets.put(`${SECRET_REGION}/api-key`, "regional");
  secrets.secrets.get("api-key")!.aliases["prod"] = 1;
  const path = (version: string, name = "api-key") =>
    `/v1/projects/acme-shop-prod/secrets/${name}/versions/${version}:access`;
  assert.equal((await rig.ask(SECRETS, path("latest"))).status, 403);
  google.grant(KRUN, "secretmanager.versions.access");
  const value = async (host: string, path: string) => {
    const { name, payload } = (await rig.ask(host, path)).json();
    const bytes = Uint8Array.fromBase64(payload.data);
    assert.equal(Number(payload.dataCrc32c), crc32c(bytes));
    return [name, new TextDecoder().decode(bytes)];
  };
  assert.deepEqual(await value(SECRETS, path("latest")), ["projects/123456789012/secrets/api-key/versions/2", "two"]);
  assert.deepEqual((await value(SECRETS, path("1")))[1], "one");
  assert.deepEqual((await value(SECRETS, path("prod")))[1], "one");
  assert.deepEqual((await value(SECRETS, path("1").replace("acme-shop-prod", "123456789012")))[1], "one");
  const regional = path("1").replace("/secrets/", `/locations/${SECRET_REGION}/secrets/`);
  const regionalHost = `secretmanager.${SECRET_REGION}.rep.googleapis.com`;
  assert.deepEqual((await value(regionalHost, regional))[1], "regional");
  secrets.secrets.get("api-key")!.versions[0]!.state = "DISABLED";
  for (
    const [why, status, host, path_, options] of [
      ["gone", 404, SECRETS, path("1", "gone"), {}],
      ["no such version", 404, SECRETS, path("7"), {}],
      ["disabled", 400, SECRETS, path("1"), {}],
      ["a regional secret at the global host", 400, SECRETS, regional, {}],
      ["a global secret at the regional host", 400, regionalHost, path("2"), {}],
      ["another project", 403, SECRETS, path("2").replace("acme-shop-prod", "other"), {}],
      ["another method", 404, SECRETS, path("2"), { body: {} }],
      ["another verb", 404, SECRETS, path("2").replace(":access", ""), {}],
      ["a parameter", 400, SECRETS, `${path("2")}?alt=media`, {}],
      ["no token", 401, SECRETS, path("2"), { token: "x" }],
    ] as const
  ) assert.equal((await rig.ask(host, path_, options)).status, status, why);
});

Deno.test("the fake Storage gives attributes and content of one generation, and says nothing to who may not list", async () => {
  const rig = Rig.create();
  const first = rig.secrets.putObject("bkt/db/pass (1)", "one", { a: "b" });
  const second = rig.secrets.putObject("bkt/db/pass (1)", "two", {});
  const path = (query = "", name = "db%2Fpass%20%281%29") => `/storage/v1/b/bkt/o/${name}${query}`;
  assert.equal((await rig.ask(STORAGE, path())).status, 403);
  rig.google.grant(KRUN, "storage.objects.get");
  assert.equal((await rig.ask(STORAGE, path("", "gone"))).status, 403, "who may not list does not learn what is there");
  rig.google.grant(KRUN, "storage.objects.list");
  assert.equal((await rig.ask(STORAGE, path("", "gone"))).status, 404);
  assert.equal((await rig.ask(STORAGE, path())).json().generation, second);
  assert.deepEqual((await rig.ask(STORAGE, path(`?generation=${first}`))).json().metadata, { a: "b" });
  assert.equal((await rig.ask(STORAGE, path(`?alt=media&generation=${first}`))).text, "one");
  assert.equal((await rig.ask(STORAGE, path("?alt=media"))).text, "two");
  for (
    const [why, status, path_] of [
      ["a slash that is not encoded", 404, path("", "db/pass")],
      ["no such generation", 404, path("?generation=7")],
      ["a generation that is none", 400, path("?generation=v2")],
      ["a parameter", 400, path("?x=1")],
    ] as const
  ) assert.equal((await rig.ask(STORAGE, path_)).status, status, why);
});

Deno.test("the fake KMS decrypts with the right key, additional data and checksums alone", async () => {
  const rig = Rig.create();
  const { secrets } = rig;
  const key = secrets.makeKey();
  await secrets.putBerglas("bkt/pass", "s3cret", { key });
  const [wrapped = ""] = secrets.objects.get("bkt/pass")![0]!.body.split(":");
  const body = { ciphertext: wrapped, additionalAuthenticatedData: btoa("pass") };
  const decrypt = async (changed: Record<string, unknown>, path = `/v1/${key}:decrypt`) =>
    await rig.ask(KMS, path, { body: { ...body, ...changed } });
  assert.equal((await decrypt({})).status, 403);
  rig.google.grant(KRUN, "cloudkms.cryptoKeyVersions.useToDecrypt");
  const { plaintext, plaintextCrc32c } = (await decrypt({})).json();
  assert.equal(Uint8Array.fromBase64(plaintext).length, 32);
  assert.equal(Number(plaintextCrc32c), crc32c(Uint8Array.fromBase64(plaintext)));
  const other = secrets.makeKey("other");
  for (
    const [why, status, answer] of [
      ["another name", 400, decrypt({ additionalAuthenticatedData: btoa("copy") })],
      ["with the bucket", 400, decrypt({ additionalAuthenticatedData: btoa("bkt/pass") })],
      ["another key", 400, decrypt({}, `/v1/${other}:decrypt`)],
      ["no such key", 404, decrypt({}, `/v1/${key}x:decrypt`)],
      ["a damaged request", 400, decrypt({ ciphertextCrc32c: "1" })],
      ["an unknown field", 400, decrypt({ aad: "x" })],
      ["a missing field", 400, rig.ask(KMS, `/v1/${key}:decrypt`, { body: {} })],
      ["another verb", 404, decrypt({}, `/v1/${key}:encrypt`)],
      ["by GET", 404, rig.ask(KMS, `/v1/${key}:decrypt`)],
    ] as const
  ) assert.equal((await answer).status, status, why);
});

Deno.test("the fake Cloud Run describes a revision at its region's own host alone", async () => {
  const rig = Rig.create();
  const rest = "namespaces/acme-shop-prod/revisions/web-00001";
  rig.secrets.runs.set(`us-central1/${rest}`, { spec: {} });
  const path = `/apis/serving.knative.dev/v1/${rest}`;
  assert.equal((await rig.ask("us-central1-run.googleapis.com", path)).status, 403);
  rig.google.grant(KRUN, "run.revisions.get", "run.workerpools.get");
  assert.deepEqual((await rig.ask("us-central1-run.googleapis.com", path)).json(), { spec: {} });
  assert.equal((await rig.ask("europe-west1-run.googleapis.com", path)).status, 404);
  assert.equal((await rig.ask("run.googleapis.com", path)).status, 404);
  assert.equal((await rig.ask("us-central1-run.googleapis.com", path.replace("v1", "v1alpha1"))).status, 404);
  assert.equal(
    (await rig.ask("us-central1-run.googleapis.com", path.replace("serving.knative.dev", "run.googleapis.com"))).status,
    404,
  );
  const pool = "projects/acme-shop-prod/locations/us-central1/workerPools/p/revisions/r";
  rig.secrets.runs.set(pool, { containers: [] });
  assert.equal((await rig.ask("run.googleapis.com", `/v2/${pool}`)).status, 200);
});
