/** Secret Manager and berglas's buckets against strict fakes; the network is tried in tests/live/references_google_test.ts. */
import assert from "node:assert/strict";
import { FakeAccount } from "../../tests/fake_account.ts";
import { FakeGoogle } from "../../tests/fakes/google_cloud.ts";
import { FakeSecrets, SECRET_REGION } from "../../tests/fakes/google_secrets.ts";
import { loadVectors } from "../../tests/vectors.ts";
import { KrunError } from "../core/errors.ts";
import { parseReference } from "../core/reference.ts";
import { BerglasSecret } from "./berglas_secret.ts";
import { GoogleAsker } from "./google_asker.ts";
import type { SecretContent } from "./polled_reader.ts";
import { SecretManagerSecret } from "./secret_manager.ts";

/** Its key takes a second to make. */
const shared = await FakeGoogle.create();

class Rig {
  private constructor(readonly google: FakeGoogle, readonly secrets: FakeSecrets, readonly asker: GoogleAsker) {}

  static create(): Rig {
    const google = shared;
    const secrets = new FakeSecrets(google);
    secrets.grantAll(google.account!);
    return new Rig(google, secrets, new GoogleAsker({ account: () => Promise.resolve(new FakeAccount(google)) }));
  }

  access(value: string, known?: string): Promise<SecretContent | "unchanged" | undefined> {
    const { object } = parseReference("V", value);
    if (object.system === "kubernetes") throw new TypeError("not of Google");
    const secret = object.system === "storage"
      ? new BerglasSecret(object, this.asker)
      : new SecretManagerSecret(object, this.asker);
    return secret.access({ signal: undefined, known });
  }

  async text(value: string): Promise<string> {
    const content = await this.access(value);
    assert.ok(typeof content === "object", `${content}`);
    return new TextDecoder().decode(content.bytes);
  }
}

async function fails(promise: Promise<unknown>, code: string, says: string): Promise<void> {
  await assert.rejects(promise, (error) => {
    assert.ok(error instanceof KrunError, String(error));
    assert.equal(error.code, code);
    assert.ok(error.message.includes(says), error.message);
    return true;
  });
}

Deno.test("SecretManagerSecret gives the newest version, a number, an alias, and a regional secret from its region's host", async () => {
  const rig = Rig.create();
  rig.secrets.put("k", "one");
  rig.secrets.put("k", "two");
  rig.secrets.secrets.get("k")!.aliases["prod"] = 1;
  rig.secrets.put(`${SECRET_REGION}/k`, "regional");
  assert.equal(await rig.text("sm://acme-shop-prod/k"), "two");
  assert.equal(await rig.text("sm://acme-shop-prod/k#1"), "one");
  assert.equal(await rig.text("sm://123456789012/k#prod"), "one");
  assert.equal(await rig.text(`sm://acme-shop-prod/k?location=${SECRET_REGION}`), "regional");
  assert.equal(await rig.access("sm://acme-shop-prod/gone"), undefined);
  assert.equal(await rig.access("sm://acme-shop-prod/k#9"), undefined);
});

Deno.test("SecretManagerSecret tells that the newest version is the one that is known", async () => {
  const rig = Rig.create();
  rig.secrets.put("k", "one");
  const content = await rig.access("sm://acme-shop-prod/k") as SecretContent;
  assert.equal(await rig.access("sm://acme-shop-prod/k", content.version), "unchanged");
  rig.secrets.put("k", "two");
  assert.notEqual(await rig.access("sm://acme-shop-prod/k", content.version), "unchanged");
});

Deno.test("SecretManagerSecret tells a secret that was deleted and made again from the one before", async () => {
  const rig = Rig.create();
  rig.secrets.put("k", "one");
  const content = await rig.access("sm://acme-shop-prod/k") as SecretContent;
  rig.secrets.secrets.delete("k");
  rig.secrets.put("k", "another");
  const later = await rig.access("sm://acme-shop-prod/k", content.version) as SecretContent;
  assert.equal(new TextDecoder().decode(later.bytes), "another");
});

Deno.test("SecretManagerSecret takes no answer without a payload for an empty value", async () => {
  const rig = Rig.create();
  const before = rig.google.hosts["secretmanager.googleapis.com"]!;
  for (const answer of [{}, { payload: null }, { payload: { data: "" } }]) {
    rig.google.hosts["secretmanager.googleapis.com"] = () => Response.json(answer);
    await fails(rig.access("sm://acme-shop-prod/k"), "GoogleApiFailed", "the answer was damaged");
  }
  rig.google.hosts["secretmanager.googleapis.com"] = before;
});

Deno.test("SecretManagerSecret refuses a payload that does not fit its checksum", async () => {
  const rig = Rig.create();
  rig.secrets.put("k", "one");
  rig.secrets.damages = true;
  await fails(rig.access("sm://acme-shop-prod/k"), "GoogleApiFailed", "the answer was damaged");
});

Deno.test("BerglasSecret decrypts the live object and a pinned generation", async () => {
  const rig = Rig.create();
  const key = rig.secrets.makeKey();
  const first = await rig.secrets.putBerglas("bkt/db/pass", "one", { key });
  await rig.secrets.putBerglas("bkt/db/pass", "two", { key });
  assert.equal(await rig.text("berglas://bkt/db/pass"), "two");
  assert.equal(await rig.text(`berglas://bkt/db/pass#${first}`), "one");
  assert.equal(await rig.text("berglas://bkt/db/pass#v2"), "two");
  assert.equal(await rig.access("berglas://bkt/gone"), undefined);
});

interface Envelope {
  readonly bucket: string;
  readonly object: string;
  /** Base64. */
  readonly kmsKey: string;
  readonly body: string;
}

for (const { id, why, input, expect } of loadVectors<Envelope, string>("berglas_envelope")) {
  Deno.test(`BerglasSecret decrypts what Python has encrypted (tests/programs/berglas_envelope.py): ${id}: ${why}`, async () => {
    const rig = Rig.create();
    const key = rig.secrets.makeKey("independent", Uint8Array.fromBase64(input.kmsKey));
    rig.secrets.putObject(`${input.bucket}/${input.object}`, input.body, { "berglas-kms-key": key });
    const content = await rig.access(
      `berglas://${input.bucket}/${encodeURIComponent(input.object)}?destination=tempfile`,
    );
    assert.deepEqual((content as SecretContent).bytes, Uint8Array.fromBase64(expect));
  });
}

Deno.test("BerglasSecret reads the content of the very generation whose attributes it has seen", async () => {
  const rig = Rig.create();
  const key = rig.secrets.makeKey();
  const other = rig.secrets.makeKey("other");
  await rig.secrets.putBerglas("bkt/pass", "one", { key });
  const handler = rig.google.hosts["storage.googleapis.com"]!;
  rig.google.hosts["storage.googleapis.com"] = async (request) => {
    const answer = await handler(request);
    // Somebody writes it anew, with another key, between the two.
    if (!request.url.includes("alt=media")) await rig.secrets.putBerglas("bkt/pass", "two", { key: other });
    return answer;
  };
  assert.equal(await rig.text("berglas://bkt/pass"), "one");
});

Deno.test("BerglasSecret tries again where the live object was replaced in between, and does not call it missing", async () => {
  const rig = Rig.create();
  const generation = await rig.secrets.putBerglas("bkt/pass", "one", { key: rig.secrets.makeKey() });
  const handler = rig.google.hosts["storage.googleapis.com"]!;
  rig.google.hosts["storage.googleapis.com"] = async (request) => {
    const answer = await handler(request);
    // An unversioned bucket keeps nothing of it.
    if (!request.url.includes("alt=media")) rig.secrets.objects.delete("bkt/pass");
    return answer;
  };
  await fails(rig.access("berglas://bkt/pass"), "GoogleApiFailed", "it was replaced while it was read");
  await rig.secrets.putBerglas("bkt/pass", "two", { key: rig.secrets.makeKey() });
  assert.equal(await rig.access(`berglas://bkt/pass#${generation}`), undefined, "a pinned one is gone");
  rig.google.hosts["storage.googleapis.com"] = handler;
});

Deno.test("BerglasSecret reads no object of a size that none of berglas's has", async () => {
  const rig = Rig.create();
  rig.secrets.putObject("bkt/huge", "A".repeat(9_000_000), { "berglas-kms-key": rig.secrets.makeKey() });
  const before = rig.google.seen.length;
  await fails(rig.access("berglas://bkt/huge"), "ReferenceUnusable", "it has 9000000 bytes, more than 8388608");
  assert.equal(rig.google.seen.length, before + 1, "the attributes alone");
});

Deno.test("BerglasSecret asks for attributes alone when the generation is the one that is known", async () => {
  const rig = Rig.create();
  const key = rig.secrets.makeKey();
  await rig.secrets.putBerglas("bkt/pass", "one", { key });
  const { version } = await rig.access("berglas://bkt/pass") as SecretContent;
  const before = rig.google.seen.length;
  assert.equal(await rig.access("berglas://bkt/pass", version), "unchanged");
  assert.deepEqual(rig.google.seen.slice(before).map(({ path }) => path), ["/storage/v1/b/bkt/o/pass"]);
});

Deno.test("BerglasSecret refuses a copy under another name, and one that was written with the bucket's name", async () => {
  const rig = Rig.create();
  const key = rig.secrets.makeKey();
  await rig.secrets.putBerglas("bkt/copy", "one", { key, aad: "pass" });
  await rig.secrets.putBerglas("bkt/whole", "one", { key, aad: "bkt/whole" });
  await fails(rig.access("berglas://bkt/copy"), "GoogleApiFailed", "400");
  await fails(rig.access("berglas://bkt/whole"), "GoogleApiFailed", "400");
});

Deno.test("BerglasSecret says what is wrong with an object, and quotes nothing of it", async () => {
  const rig = Rig.create();
  const key = rig.secrets.makeKey();
  await rig.secrets.putBerglas("bkt/pass", "hunter2", { key });
  const { body, metadata } = rig.secrets.objects.get("bkt/pass")![0]!;
  const [wrapped, sealed] = body.split(":");
  const damaged = `${wrapped}:${sealed!.slice(0, 20)}${sealed![20] === "A" ? "B" : "A"}${sealed!.slice(21)}`;
  for (
    const [object, text, fields, says] of [
      ["no-key", body, {}, "berglas-kms-key names no encryption key"],
      ["evil-key", body, { "berglas-kms-key": `${key}:decrypt?x=` }, "names no encryption key"],
      ["one-part", "hunter2", metadata, "has not the two parts"],
      ["no-base64", `hunter2:hunter2`, metadata, "not base64"],
      ["pass", damaged, metadata, "does not fit its key"],
    ] as const
  ) {
    rig.secrets.putObject(`bkt/${object}`, text, fields);
    const failing = rig.access(`berglas://bkt/${object}`);
    await fails(failing, "ReferenceUnusable", says);
    await assert.rejects(failing, (error: Error) => !`${error.message} ${error.cause}`.includes("hunter2"));
  }
});

Deno.test("BerglasSecret encodes an object's name as the JSON API wants it", async () => {
  const rig = Rig.create();
  const key = rig.secrets.makeKey();
  await rig.secrets.putBerglas("bkt/a b/ü!'()*?#%", "odd", { key });
  assert.equal(await rig.text("berglas://bkt/a b/%C3%BC!'()*%3F%23%25"), "odd");
});
