/** A folder of manifests as a cluster: the contract of every cluster, and what only a folder can do. */
import assert from "node:assert/strict";
import { join } from "node:path";
import { createLocalJWKSet, jwtVerify } from "jose";
import type { ObjectRef, TokenRef } from "../src/core/cluster.ts";
import {
  type ManifestCluster,
  type ManifestClusterOptions,
  openManifestCluster,
} from "../src/kube/manifest_cluster.ts";
import { TOKEN_ISSUER } from "../src/kube/token_issuer.ts";
import { type ContractSubject, keepsClusterContract } from "./cluster_contract.ts";
import { RecordingLog } from "./recording_log.ts";
import { waitFor } from "./wait.ts";
import { tree } from "./workspace.ts";

const NEVER_MS = 3_600_000;
const DB = { kind: "Secret", namespace: "shop", name: "db" } as const;

/** A manifest of Secret `db` of no namespace. */
function secret(password: string): string {
  return `apiVersion: v1\nkind: Secret\nmetadata: {name: db}\nstringData: {password: "${password}"}\n`;
}

/** A folder for one test: manifests, krun's state and a log. */
class Bench implements AsyncDisposable {
  readonly log = new RecordingLog();
  readonly #root = Deno.makeTempDirSync({ prefix: "krun-test-" });
  readonly manifests = join(this.#root, "k8s");
  readonly stateFolder = join(this.#root, "state");
  readonly #clusters: ManifestCluster[] = [];

  constructor(files: Readonly<Record<string, string>> = { "db.yaml": secret("one") }) {
    Deno.mkdirSync(this.manifests);
    for (const [name, text] of Object.entries(files)) this.write(name, text);
  }

  path(...parts: string[]): string {
    return join(this.#root, ...parts);
  }

  /** Writes in place, as `>` of a shell does. */
  write(name: string, text: string): void {
    Deno.writeTextFileSync(join(this.manifests, name), text);
  }

  /** Opens the cluster. Unless a test asks for it, nothing is seen by the clock: events have to show it. */
  async open(
    watching: NonNullable<ManifestClusterOptions["watching"]> = {},
    folder = this.manifests,
  ): Promise<ManifestCluster> {
    const { stateFolder, log } = this;
    const cluster = await openManifestCluster(folder, {
      stateFolder,
      log,
      watching: { checkMs: NEVER_MS, ...watching },
    });
    this.#clusters.push(cluster);
    return cluster;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const cluster of this.#clusters) await cluster[Symbol.asyncDispose]();
    await Deno.remove(this.#root, { recursive: true });
  }
}

/** Follows Secret `db` and keeps the passwords it is given; `undefined` when it is gone. */
class Passwords implements AsyncDisposable {
  readonly seen: (string | undefined)[] = [];
  readonly states: string[] = [];
  readonly #ending = new AbortController();
  readonly #ended: Promise<void>;

  constructor(cluster: ManifestCluster) {
    this.#ended = cluster.follow(DB, {
      signal: this.#ending.signal,
      deliver: (object) => {
        const password = object?.data?.password;
        this.seen.push(password === undefined ? undefined : atob(password));
      },
      onState: (state, reason) => void this.states.push(reason === undefined ? state : `${state}: ${reason.message}`),
    });
  }

  async are(password: string | undefined): Promise<void> {
    await waitFor(`password ${password}; so far ${this.seen}`, () => {
      return this.seen.length > 0 && this.seen.at(-1) === password;
    });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#ending.abort();
    await this.#ended;
  }
}

async function passwordOf(cluster: ManifestCluster, ref: ObjectRef = DB): Promise<string | undefined> {
  const password = (await cluster.get(ref))?.data?.password;
  return password === undefined ? undefined : atob(password);
}

Deno.test("ManifestCluster keeps the contract of every Cluster", async (t) => {
  await using bench = new Bench({});
  const file = ({ kind, namespace, name }: { kind: string; namespace: string; name: string }) =>
    `${kind}-${namespace}-${name}.json`;
  const subject: ContractSubject = {
    cluster: await bench.open(),
    namespace: "shop",
    otherNamespace: "bank",
    put: (object) => {
      const { kind, metadata } = object;
      const name = file({ kind: kind!, namespace: metadata!.namespace!, name: metadata!.name! });
      bench.write(name, JSON.stringify({ apiVersion: "v1", ...object }));
      return Promise.resolve();
    },
    remove: (ref) => Deno.remove(join(bench.manifests, file(ref))),
  };
  await keepsClusterContract(t, subject);
});

// Reading the folder.

Deno.test("openManifestCluster() names file and line when a manifest is broken", async () => {
  await using bench = new Bench({ "db.yaml": secret("one"), "app.yaml": "apiVersion: v1\nkind: [\n" });
  await assert.rejects(bench.open(), {
    code: "ManifestInvalid",
    message: /^Cannot read manifest ".*\/k8s\/app\.yaml" line \d, column \d+: [^\n]+$/,
  });
});

Deno.test("openManifestCluster() lists every fault when several manifests are broken", async () => {
  await using bench = new Bench({ "a.yaml": "a\n", "b.json": "{", "c.yaml": secret("one") });
  await assert.rejects(bench.open(), (error: { code?: string; message: string; details?: string }) => {
    assert.equal(error.code, "ManifestInvalid");
    assert.match(error.message, /a\.yaml/);
    assert.match(error.details ?? "", /b\.json/);
    return true;
  });
});

Deno.test("openManifestCluster() names both files when they give one object", async () => {
  await using bench = new Bench({ "a.yaml": secret("one"), "b.yaml": secret("two") });
  await assert.rejects(bench.open(), { code: "ManifestInvalid", message: /b\.yaml".*Secret "db".*a\.yaml"/ });
});

Deno.test("openManifestCluster() says what is wrong with the folder", async () => {
  await using bench = new Bench();
  await assert.rejects(bench.open({}, bench.path("none")), {
    code: "ManifestInvalid",
    message: /none": it does not exist$/,
  });
  await assert.rejects(bench.open({}, join(bench.manifests, "db.yaml")), {
    code: "ManifestInvalid",
    message: /db\.yaml": it is no folder$/,
  });
});

Deno.test("openManifestCluster() reads the files that kubectl would, and no drafts of editors", async () => {
  await using bench = new Bench({
    "db.yml": secret("one"),
    "app.json": '{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"app"}}',
    "README.md": "# not a manifest\n",
    "db.yml~": "{{{",
    ".db.yaml": "{{{",
  });
  Deno.mkdirSync(join(bench.manifests, "more.yaml"));
  Deno.writeTextFileSync(join(bench.manifests, "more.yaml", "deep.yaml"), "{{{");
  // An editor's lock: a link that leads nowhere.
  Deno.symlinkSync("user@host.1234", join(bench.manifests, "#db.yaml"));
  const cluster = await bench.open();
  assert.equal(await passwordOf(cluster), "one");
  assert(await cluster.get({ kind: "ConfigMap", namespace: "shop", name: "app" }));
});

Deno.test("ManifestCluster keeps to its folder when the working directory changes", async () => {
  await using bench = new Bench();
  const before = Deno.cwd();
  try {
    Deno.chdir(bench.path());
    const cluster = await bench.open({}, "k8s");
    Deno.chdir("/");
    await using passwords = new Passwords(cluster);
    await passwords.are("one");
    bench.write("db.yaml", secret("two"));
    await passwords.are("two");
    assert.equal(cluster.source.where, "k8s");
  } finally {
    Deno.chdir(before);
  }
});

Deno.test("openManifestCluster() says at debug which kinds it has no use for", async () => {
  await using bench = new Bench({ "app.yaml": "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: app}\n" });
  await bench.open();
  const [line, ...more] = bench.log.lines;
  assert.deepEqual(more, []);
  assert.equal(line?.level, "debug");
  assert.match(`${line?.fields.what}`, /Deployment in ".*app\.yaml"/);
});

Deno.test("ManifestCluster gives an object without a namespace to any namespace", async () => {
  await using bench = new Bench();
  const cluster = await bench.open();
  for (const namespace of ["shop", "bank"]) {
    assert.equal((await cluster.get({ ...DB, namespace }))?.metadata?.namespace, namespace);
  }
});

Deno.test("ManifestCluster implies a namespace when the folder has exactly one Namespace", async () => {
  const namespace = (name: string) => `apiVersion: v1\nkind: Namespace\nmetadata: {name: ${name}}\n`;
  await using none = new Bench();
  await using one = new Bench({ "a.yaml": namespace("shop") });
  await using two = new Bench({ "a.yaml": `${namespace("shop")}---\n${namespace("bank")}` });
  const implied = async (bench: Bench) => (await bench.open()).source.namespace;
  assert.deepEqual([await implied(none), await implied(one), await implied(two)], [undefined, "shop", undefined]);
});

// Following edits.

Deno.test("ManifestCluster sees an edit by rename, as editors save", async () => {
  await using bench = new Bench();
  await using passwords = new Passwords(await bench.open());
  await passwords.are("one");
  bench.write("db.yaml.new", secret("two"));
  Deno.renameSync(join(bench.manifests, "db.yaml.new"), join(bench.manifests, "db.yaml"));
  await passwords.are("two");
});

Deno.test("ManifestCluster sees each of many edits of one length, faster than time stamps tell them apart", async () => {
  await using bench = new Bench();
  const cluster = await bench.open();
  for (let i = 100; i < 300; i++) {
    bench.write("db.yaml", secret(`${i}`));
    assert.equal(await passwordOf(cluster), `${i}`);
  }
});

Deno.test("ManifestCluster keeps the last good objects and warns once when a file is broken", async () => {
  await using bench = new Bench();
  const cluster = await bench.open();
  await using passwords = new Passwords(cluster);
  await passwords.are("one");
  bench.write("db.yaml", 'apiVersion: v1\nkind: Secret\nmetadata: {name: db}\nstringData: {password: "tw');
  await waitFor("a warning", () => bench.log.events.length > 0);
  for (let i = 0; i < 3; i++) assert.equal(await passwordOf(cluster), "one");
  bench.write("db.yaml", secret("three"));
  await passwords.are("three");
  assert.deepEqual(passwords.seen, ["one", "three"]);
  assert.deepEqual(bench.log.events, [
    "warn manifests cannot be read, what was read before stays",
    "info manifests can be read again",
  ]);
  const [warning] = bench.log.lines;
  assert.match(`${warning?.fields.message}`, /db\.yaml" line 4, column \d+: unexpected end/);
  assert(!JSON.stringify(warning).includes("tw"), "the warning quotes the Secret");
});

Deno.test("ManifestCluster takes an empty file for one that is being written", async () => {
  await using bench = new Bench();
  const cluster = await bench.open();
  bench.write("db.yaml", "");
  assert.equal(await passwordOf(cluster), "one");
  bench.write("db.yaml", secret("two"));
  assert.equal(await passwordOf(cluster), "two");
  // The negative control: a file that says it holds nothing is believed.
  bench.write("db.yaml", "# moved\n");
  assert.equal(await passwordOf(cluster), undefined);
});

Deno.test("ManifestCluster does not believe in an absence while a file cannot be read", async () => {
  await using bench = new Bench();
  const cluster = await bench.open();
  bench.write("app.yaml", "kind: [");
  const app = { kind: "ConfigMap", namespace: "shop", name: "app" } as const;
  await assert.rejects(cluster.get(app), { code: "ManifestInvalid", message: /app\.yaml/ });
  assert.equal(await passwordOf(cluster), "one");
  await Deno.remove(join(bench.manifests, "app.yaml"));
  assert.equal(await cluster.get(app), undefined);
});

Deno.test("ManifestCluster keeps everything when an edit makes two files give one object", async () => {
  await using bench = new Bench();
  const cluster = await bench.open();
  bench.write("twin.yaml", secret("two"));
  assert.equal(await passwordOf(cluster), "one");
  await waitFor("a warning", () => bench.log.lines.some((l) => /Secret "db" is in/.test(`${l.fields.message}`)));
  Deno.removeSync(join(bench.manifests, "db.yaml"));
  assert.equal(await passwordOf(cluster), "two");
});

Deno.test("ManifestCluster delivers nothing when only a comment changed", async () => {
  await using bench = new Bench();
  const cluster = await bench.open();
  await using passwords = new Passwords(cluster);
  await passwords.are("one");
  bench.write("db.yaml", `# a comment\n${secret("one")}`);
  await passwordOf(cluster);
  bench.write("db.yaml", secret("two"));
  await passwords.are("two");
  assert.deepEqual(passwords.seen, ["one", "two"]);
});

/** Lays out a volume as the kubelet does, and swaps its version. */
function publishLikeKubelet(folder: string, { version, text }: { version: string; text: string }): void {
  Deno.mkdirSync(join(folder, `..${version}`));
  Deno.writeTextFileSync(join(folder, `..${version}`, "db.yaml"), text);
  Deno.symlinkSync(`..${version}`, join(folder, "..data_tmp"));
  Deno.renameSync(join(folder, "..data_tmp"), join(folder, "..data"));
}

Deno.test("ManifestCluster follows a ConfigMap volume of a kubelet", async () => {
  await using bench = new Bench({});
  publishLikeKubelet(bench.manifests, { version: "1", text: secret("one") });
  Deno.symlinkSync("..data/db.yaml", join(bench.manifests, "db.yaml"));
  await using passwords = new Passwords(await bench.open());
  await passwords.are("one");
  publishLikeKubelet(bench.manifests, { version: "2", text: secret("two") });
  Deno.removeSync(join(bench.manifests, "..1"), { recursive: true });
  await passwords.are("two");
  assert.deepEqual(passwords.seen, ["one", "two"]);
});

Deno.test("ManifestCluster follows a link to the folder when it is swapped", async () => {
  await using bench = new Bench();
  const [link, other] = [bench.path("current"), bench.path("other")];
  Deno.symlinkSync("k8s", link);
  Deno.mkdirSync(other);
  Deno.writeTextFileSync(join(other, "db.yaml"), secret("two"));
  await using passwords = new Passwords(await bench.open({}, link));
  await passwords.are("one");
  Deno.symlinkSync("other", `${link}.new`);
  Deno.renameSync(`${link}.new`, link);
  await passwords.are("two");
  // And then the folder that it leads to now.
  Deno.writeTextFileSync(join(other, "db.yaml"), secret("three"));
  await passwords.are("three");
});

Deno.test("ManifestCluster waits for a folder that is taken away, and follows the one that comes", async () => {
  await using bench = new Bench();
  await using passwords = new Passwords(await bench.open({ pollMs: 20 }));
  await passwords.are("one");
  Deno.renameSync(bench.manifests, bench.path("away"));
  await waitFor("a warning", () => bench.log.lines.some((l) => /does not exist/.test(`${l.fields.message}`)));
  Deno.mkdirSync(bench.path("new"));
  Deno.writeTextFileSync(bench.path("new", "db.yaml"), secret("two"));
  Deno.renameSync(bench.path("new"), bench.manifests);
  await passwords.are("two");
  bench.write("db.yaml", secret("three"));
  await passwords.are("three");
  assert(!passwords.seen.includes(undefined), "a folder that is away deletes nothing");
});

Deno.test("ManifestCluster sees a change that no event shows, in a file that lies elsewhere", async () => {
  await using bench = new Bench({});
  Deno.writeTextFileSync(bench.path("db.yaml"), secret("one"));
  Deno.symlinkSync("../db.yaml", join(bench.manifests, "db.yaml"));
  await using passwords = new Passwords(await bench.open({ checkMs: 20 }));
  await passwords.are("one");
  Deno.writeTextFileSync(bench.path("db.yaml"), secret("two"));
  await passwords.are("two");
});

Deno.test("ManifestCluster reads again and again, and says so once, when the folder cannot be watched", async () => {
  await using bench = new Bench();
  const watch = () => {
    throw new Error("inotify limit reached");
  };
  await using passwords = new Passwords(await bench.open({ watch, pollMs: 20 }));
  await passwords.are("one");
  bench.write("db.yaml", secret("two"));
  await passwords.are("two");
  bench.write("db.yaml", secret("three"));
  await passwords.are("three");
  assert.deepEqual(bench.log.events, ["warn manifests folder cannot be watched, it is read again and again"]);
  assert.equal(passwords.states.at(-1), "polling: inotify limit reached");
});

Deno.test("ManifestCluster ends every follow() when it is disposed", async () => {
  await using bench = new Bench();
  const cluster = await bench.open();
  const delivered = Promise.withResolvers<void>();
  const following = cluster.follow(DB, { signal: new AbortController().signal, deliver: () => delivered.resolve() });
  await delivered.promise;
  await cluster[Symbol.asyncDispose]();
  await following;
});

Deno.test("ManifestCluster passes on what deliver() throws", async () => {
  await using bench = new Bench();
  const cluster = await bench.open();
  const broken = new Error("full");
  const deliver = () => Promise.reject(broken);
  await assert.rejects(cluster.follow(DB, { signal: new AbortController().signal, deliver }), broken);
});

// Tokens.

const WEB: TokenRef = { namespace: "shop", serviceAccount: "default", audience: "vault", expirationSeconds: 600 };

/** Verifies as any program would: with the key set beside the tokens. */
async function verify(
  cluster: ManifestCluster,
  token: string,
  options: { audience?: string; currentDate?: Date } = {},
) {
  const keys = createLocalJWKSet(JSON.parse(await Deno.readTextFile(cluster.jwksFile)));
  return await jwtVerify(token, keys, { issuer: TOKEN_ISSUER, audience: "vault", ...options });
}

Deno.test("ManifestCluster signs tokens that an independent library verifies with jwks.json", async () => {
  await using bench = new Bench();
  const cluster = await bench.open();
  const { token, expiresAtMs } = await cluster.requestToken(WEB);
  const { payload, protectedHeader } = await verify(cluster, token);
  assert.equal(protectedHeader.alg, "ES256");
  assert.equal(payload.sub, "system:serviceaccount:shop:default");
  // The negative controls: another audience, another time, another payload, another key.
  await assert.rejects(verify(cluster, token, { audience: "bank" }), { code: "ERR_JWT_CLAIM_VALIDATION_FAILED" });
  await assert.rejects(verify(cluster, token, { currentDate: new Date(expiresAtMs + 1000) }), {
    code: "ERR_JWT_EXPIRED",
  });
  const [header, , signature] = token.split(".");
  const forged = btoa(JSON.stringify({ ...payload, sub: "system:serviceaccount:shop:admin" })).replace(/=+$/, "");
  await assert.rejects(verify(cluster, `${header}.${forged}.${signature}`), {
    code: "ERR_JWS_SIGNATURE_VERIFICATION_FAILED",
  });
  await using stranger = new Bench();
  const theirs = await (await stranger.open()).requestToken(WEB);
  await assert.rejects(verify(cluster, theirs.token), { code: "ERR_JWKS_NO_MATCHING_KEY" });
});

Deno.test("ManifestCluster keeps uid and key across restarts, and the uid without the key", async () => {
  await using bench = new Bench();
  const restart = async () => {
    const cluster = await bench.open();
    const { token } = await cluster.requestToken(WEB);
    const { payload } = await verify(cluster, token);
    return {
      cluster,
      token,
      uid: (payload["kubernetes.io"] as { serviceaccount: { uid: string } }).serviceaccount.uid,
    };
  };
  const first = await restart();
  const second = await restart();
  assert.equal(second.uid, first.uid);
  await verify(second.cluster, first.token);
  await Deno.remove(bench.stateFolder, { recursive: true });
  const third = await restart();
  assert.equal(third.uid, first.uid);
  await assert.rejects(verify(third.cluster, first.token), { code: "ERR_JWKS_NO_MATCHING_KEY" });
});

Deno.test("ManifestCluster takes the uid that the ServiceAccount's manifest gives", async () => {
  const uid = "9b2d5a0e-0000-4000-8000-000000000001";
  await using bench = new Bench({
    "sa.yaml": `apiVersion: v1\nkind: ServiceAccount\nmetadata: {name: web, uid: ${uid}}\n`,
  });
  const cluster = await bench.open();
  const { token } = await cluster.requestToken({ ...WEB, serviceAccount: "web" });
  const { payload } = await verify(cluster, token);
  assert.deepEqual(payload["kubernetes.io"], { namespace: "shop", serviceaccount: { name: "web", uid } });
});

Deno.test("ManifestCluster writes nothing into the manifests folder, and nothing at all before the first token", async () => {
  await using bench = new Bench();
  const before = tree(bench.manifests);
  const cluster = await bench.open();
  await passwordOf(cluster);
  await assert.rejects(Deno.stat(bench.stateFolder), Deno.errors.NotFound);
  await cluster.requestToken(WEB);
  assert.deepEqual(tree(bench.manifests), before);
  assert.deepEqual(tree(bench.stateFolder), ["issuer/", "issuer/jwks.json", "issuer/signing_key.json"]);
});

Deno.test("openManifestCluster() refuses a state folder inside the manifests folder, by whatever name, and none outside", async () => {
  await using bench = new Bench();
  const { log, manifests } = bench;
  Deno.symlinkSync(manifests, bench.path("link"));
  const open = async (folder: string, stateFolder: string) => {
    await using _cluster = await openManifestCluster(folder, { stateFolder, log });
  };
  const before = tree(manifests);
  const inside = [join(manifests, ".krun"), join(manifests, "not", "yet", ".krun"), bench.path("link", ".krun")];
  for (const stateFolder of [...inside, manifests]) {
    for (const folder of [manifests, bench.path("link")]) {
      await assert.rejects(open(folder, stateFolder), (error: Error & { code?: string; hint?: string }) => {
        assert.equal(error.code, "SettingInvalid");
        assert.ok(error.message.includes(`"${folder}"`) && error.message.includes(`"${stateFolder}"`), error.message);
        assert.match(`${error.hint}`, /MESH_BASE_DIR/);
        return true;
      });
    }
  }
  for (const stateFolder of [bench.path(".krun"), `${manifests}-state/.krun`]) await open(manifests, stateFolder);
  assert.deepEqual(tree(manifests), before);
});
