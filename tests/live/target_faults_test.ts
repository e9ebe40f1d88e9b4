/** Paths, targets and sizes that are hostile or do not fit: the real krun against the real API server. */
import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { join } from "node:path";
import { waitFor } from "../wait.ts";
import { tree } from "../workspace.ts";
import { type ApiServer, startApiServer } from "./api_server.ts";
import { names, SECRET, sh, Shop } from "./shop.ts";

let server: ApiServer;
Deno.test.beforeAll(async () => {
  server = await startApiServer();
});
Deno.test.afterAll(() => server[Symbol.asyncDispose]());

/** Paths that would leave a volume, or that no volume can have; and how krun says it. */
const TRAVERSALS: readonly [string, RegExp][] = [
  ["..", /element "\.\."/],
  ["../x", /element "\.\."/],
  ["a/../../x", /element "\.\."/],
  ["/etc/krun-x", /absolute/],
  ["..data", /two dots/],
  ["./..x", /two dots/],
  ["a\0b", /NUL/],
  [`${"d/".repeat(2048)}x`, /4096 bytes/],
  ["n".repeat(256), /255 bytes/],
  ["", /empty|required/],
];

Deno.test("krun refuses paths of a Pod that leave their volume", async (t) => {
  await using shop = await Shop.create(server);
  const mounts = [{ name: "v", mountPath: "/deep/v" }];
  const volumes: Record<string, (path: string) => object> = {
    secret: (path) => ({ name: "v", secret: { secretName: "db", items: [{ key: "password", path }] } }),
    configMap: (path) => ({ name: "v", configMap: { name: "app", items: [{ key: "level", path }] } }),
    projected: (path) => ({
      name: "v",
      projected: { sources: [{ secret: { name: "db", items: [{ key: "password", path }] } }] },
    }),
    token: (path) => ({ name: "v", projected: { sources: [{ serviceAccountToken: { path } }] } }),
    downwardAPI: (path) => ({
      name: "v",
      downwardAPI: { items: [{ path, fieldRef: { fieldPath: "metadata.name" } }] },
    }),
  };
  for (const [kind, volume] of Object.entries(volumes)) {
    await t.step(kind, async () => {
      for (const [path, says] of TRAVERSALS) {
        const { line } = await shop.refuses({ env: await shop.pod([volume(path)], mounts) });
        assert.match(line, says);
        names(line, 'volume "v" of KRUN_POD');
        assert.ok(line.length < 600, "a long path is shortened");
      }
      const env = await shop.pod([volume("ok/here")], mounts);
      const { code, stderr } = await shop.run({ args: sh("test -s deep/v/ok/here"), env });
      assert.equal(code, 0, stderr);
    });
  }
  await t.step("mountPath and subPath", async () => {
    const volume = { name: "v", configMap: { name: "app" } };
    for (const mountPath of ["/../x", "a/../../x", "/a\0b", `/${"d/".repeat(2048)}x`, "/", "/.krun/x"]) {
      await shop.refuses({ env: await shop.pod([volume], [{ name: "v", mountPath }]) });
    }
    for (const subPath of ["..", "../x", "/etc/passwd", "a/../../x", "a\0b"]) {
      await shop.refuses({ env: await shop.pod([volume], [{ name: "v", mountPath: "/v", subPath }]) });
    }
    const env = await shop.pod([volume], [{ name: "v", mountPath: "/v", subPath: "level" }]);
    assert.equal((await shop.run({ args: sh("cat v"), env })).stdout, "1");
  });
  await t.step("a setting", async () => {
    for (const path of ["../x", "./a/../../x", `./${"d/".repeat(2048)}x`]) {
      const { line } = await shop.refuses({ env: { K8S_CM_app: path } });
      names(line, "K8S_CM_app");
    }
  });
});

Deno.test("krun refuses keys that leave their volume, which only a folder of manifests can hold", async (t) => {
  await using shop = await Shop.create(server);
  const folder = join(shop.root, "k8s");
  await Deno.mkdir(folder);
  const env = { KUBECONFIG: "", KRUN_MANIFESTS: folder };
  const put = (key: string) =>
    Deno.writeTextFile(join(folder, "bad.json"), JSON.stringify(shop.secret("bad", { [key]: SECRET })));
  for (const key of ["..", "../x", "/etc/krun-x", "a/b", "..data", "a\0b", "n".repeat(4097)]) {
    await t.step(JSON.stringify(key.slice(0, 12)), async () => {
      await assert.rejects(server.create(shop.secret("bad", { [key]: SECRET })), /422/, "the API server refuses it");
      await put(key);
      await shop.refuses({ env: { ...env, K8S_SECRET_bad: "./deep/bad" } });
    });
  }
  await put("fine");
  const { code, stderr } = await shop.run({
    args: sh("test -s deep/bad/fine"),
    env: { ...env, K8S_SECRET_bad: "./deep/bad" },
  });
  assert.equal(code, 0, stderr);
});

/** Starts krun where something is mounted over a folder; nobody else sees that mount. */
const mounted = (options: string, target: string): string[] => [
  ...["unshare", "--mount", "--propagation", "private", "/bin/sh", "-c"],
  ...['mount -t tmpfs -o "$1" tmpfs "$2" && shift 2 && exec "$@"', "sh", options, target],
];

Deno.test("krun keeps the old version where the target is full, and uses a mount point in place", async () => {
  await using shop = await Shop.create(server);
  await Deno.mkdir(shop.path("small"));
  const env = { K8S_CM_app: "./small", K8S_SECRET_db: "./db" };
  await using krun = shop.start({ env, under: mounted("size=64k", shop.path("small")) });
  await krun.sees("stdout", /up/);
  const level = () => Deno.readTextFileSync(`/proc/${krun.pid}/root${shop.path("small", "level")}`);
  assert.equal(level(), "1");
  await server.replace(shop.configMap("app", { level: "x".repeat(100_000) }));
  await krun.sees("stderr", /warn volume keeps its files .*no space is left/);
  assert.equal(level(), "1");
  const touched = () => Number(Deno.statSync(`/proc/${krun.pid}/root${shop.path("small")}`).mtime);
  const before = touched();
  await waitFor("another try", () => touched() !== before);
  assert.equal(level(), "1");
  assert.equal(krun.stderr.match(/volume keeps its files/g)?.length, 1, "said once, however often it is tried");
  await server.replace(shop.configMap("app", { level: "fits" }));
  await waitFor("the next version that fits", () => level() === "fits");
  krun.kill("SIGTERM");
  assert.equal((await krun.end).code, 0, krun.stderr);
  assert.deepEqual(tree(shop.base), ["small/"]);
});

Deno.test("krun says where it cannot write, and why", async (t) => {
  await using shop = await Shop.create(server);
  await server.create(shop.configMap("big", { a: "x".repeat(100_000) }));
  await Deno.mkdir(shop.path("there"));
  const at = (name: string) => shop.path("there", name);
  await t.step("a full file system", async () => {
    const under = mounted("size=64k", shop.path("there"));
    const { line } = await shop.refuses({ env: { K8S_CM_big: "./there" }, under });
    names(line, "no space is left", "K8S_CM_big");
  });
  await t.step("a full file system, for one file of a folder below it", async () => {
    const under = mounted("size=64k", shop.path("there"));
    const { line } = await shop.refuses({ env: { K8S_CM_big: "./there/deeper" }, under });
    names(line, at("deeper"), "no space is left", "K8S_CM_big");
  });
  await t.step("a full memory file system", async () => {
    await server.create(shop.secret("large", { a: SECRET.repeat(2000) }));
    const { line } = await shop.refuses({
      env: { K8S_SECRET_large: "./large" },
      under: mounted("size=16k", "/dev/shm"),
    });
    names(line, 'no space is left in memory file system "/dev/shm"', "K8S_SECRET_large", "docker run --shm-size");
    assert.ok(!line.includes("MESH_BASE_DIR"), line);
  });
  await t.step(
    "a memory file system that others have filled: no Secret comes to lie on disk because of that",
    async () => {
      const fill = 'mount -t tmpfs -o size=16k tmpfs /dev/shm; head -c 16384 /dev/zero > /dev/shm/filler; exec "$@"';
      const { line } = await shop.refuses({
        env: { K8S_SECRET_large: "./large" },
        under: ["unshare", "--mount", "--propagation", "private", "/bin/sh", "-c", fill, "sh"],
      });
      names(line, 'no space is left in memory file system "/dev/shm"', "K8S_SECRET_large", "docker run --shm-size");
    },
  );
  await t.step("a read-only file system", async () => {
    const under = mounted("ro", shop.path("there"));
    const { line } = await shop.refuses({ env: { K8S_CM_app: "./there" }, under });
    names(line, shop.path("there"), "read-only", "K8S_CM_app");
  });
  await t.step("a folder that its attributes shut", async () => {
    // A tmpfs has attributes since Linux 6.6.
    const shut = 'mount -t tmpfs tmpfs "$1" && mkdir "$1/shut" && chattr +i "$1/shut" && shift && exec "$@"';
    const under = [
      ...["unshare", "--mount", "--propagation", "private", "/bin/sh", "-c"],
      ...[shut, "sh", shop.path("there")],
    ];
    const { line } = await shop.refuses({ env: { K8S_CM_app: "./there/shut/app" }, under });
    names(line, at("shut"), "not permitted", "chattr -i", "K8S_CM_app");
  });
  await t.step("a folder of somebody else", async () => {
    await Deno.chown(shop.path("there"), 65534, 65534);
    await Deno.chmod(shop.path("there"), 0o555);
    const under = ["setpriv", "--bounding-set=-dac_override", "--"];
    const { line } = await shop.refuses({ env: { K8S_CM_app: "./there/app" }, under });
    names(line, at("app"), "permission is denied", "K8S_CM_app");
  });
});

Deno.test("krun touches no target that is something else", async (t) => {
  await using shop = await Shop.create(server);
  await Deno.writeTextFile(shop.path("file"), "mine");
  await Deno.mkdir(shop.path("full"));
  await Deno.writeTextFile(shop.path("full", "mine"), "mine");
  await Deno.mkdir(shop.path("empty"));
  await Deno.symlink("/etc", shop.path("link"));
  for (const path of ["./file", "./full", "./link", "./file/below", "./file?key=level", "./full?key=level"]) {
    await t.step(path, async () => {
      const { line } = await shop.refuses({ env: { K8S_CM_app: path } });
      names(line, "K8S_CM_app");
      assert.equal(shop.read("file") + shop.read("full", "mine"), "minemine");
    });
  }
  await t.step("a mount point with something in it", async () => {
    const script = 'mount -t tmpfs tmpfs "$1" && touch "$1/mine" && shift && exec "$@"';
    const under = ["unshare", "--mount", "--propagation", "private", "/bin/sh", "-c", script, "sh", shop.path("empty")];
    const { line } = await shop.refuses({ env: { K8S_CM_app: "./empty" }, under });
    names(line, shop.path("empty"), "K8S_CM_app");
  });
  await t.step("the control: an empty folder, which stays", async () => {
    const before = tree(shop.base);
    const { code, stderr } = await shop.run({ args: sh("test -s empty/level"), env: { K8S_CM_app: "./empty" } });
    assert.equal(code, 0, stderr);
    assert.deepEqual(tree(shop.base), before);
  });
});

Deno.test("krun mounts 1 MiB of random bytes, bit for bit", async () => {
  await using shop = await Shop.create(server);
  const bytes = new Uint8Array(1_048_576);
  for (let at = 0; at < bytes.length; at += 65_536) crypto.getRandomValues(bytes.subarray(at, at + 65_536));
  const data = { bytes: bytes.toBase64() };
  await server.create({ ...shop.secret("big", {}), data });
  await server.create({ ...shop.configMap("bin", {}), binaryData: { bytes: bytes.subarray(0, 700_000).toBase64() } });
  const { code, stdout, stderr } = await shop.run({
    args: sh("sha256sum big/bytes bin/bytes"),
    env: { K8S_SECRET_big: "./big", K8S_CM_bin: "./bin" },
  });
  assert.equal(code, 0, stderr);
  const digest = (part: Uint8Array) => createHash("sha256").update(part).digest("hex");
  assert.deepEqual(stdout.trim().split("\n"), [
    `${digest(bytes)}  big/bytes`,
    `${digest(bytes.subarray(0, 700_000))}  bin/bytes`,
  ]);
});

Deno.test("krun mounts 500 objects at once, and keeps the 500th fresh", async () => {
  await using shop = await Shop.create(server);
  const env: Record<string, string> = {};
  const made = Array.from({ length: 500 }, (_, i) => {
    env[`K8S_CM_m${i}`] = `c${i}:./m/${i}`;
    return server.create(shop.configMap(`c${i}`, { value: `${i}` }));
  });
  await Promise.all(made);
  await using krun = shop.start({ env });
  await krun.sees("stdout", /up/);
  for (let i = 0; i < 500; i++) assert.equal(shop.read("m", `${i}`, "value"), `${i}`);
  await server.replace(shop.configMap("c499", { value: "new" }));
  await waitFor("the change of the 500th", () => shop.read("m", "499", "value") === "new");
  krun.kill("SIGTERM");
  assert.equal((await krun.end).code, 0, krun.stderr);
  assert.deepEqual(tree(shop.base), []);
});
