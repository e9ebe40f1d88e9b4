import assert from "node:assert/strict";
import { join } from "node:path";
import { TestBase } from "../../tests/test_base.ts";
import { tree } from "../../tests/workspace.ts";
import type { Payload } from "../core/payload.ts";
import { loadLibc } from "./libc.ts";
import { claimEmptyDir, claimSubPath, claimVolume, type TargetOptions } from "./mount_target.ts";

loadLibc();

const OWNERSHIP = { readers: [] };
const SETTING = "KRUN_POD";
const VOLUMES: readonly TargetOptions[] = [true, false].map((secret) => ({
  ...{ setting: SETTING, volume: "v", secret, ownership: OWNERSHIP },
}));

function payload(files: Readonly<Record<string, string>>): Payload {
  return new Map(
    Object.entries(files).map(([path, text]) => [path, { bytes: new TextEncoder().encode(text), mode: 0o644 }]),
  );
}

for (const options of VOLUMES) {
  const what = options.secret ? "a volume in memory" : "a volume on disk";

  Deno.test(`claimSubPath() of ${what} shows the version of the container's start until it starts again`, () => {
    using test = new TestBase();
    test.run((base) => {
      const volume = claimVolume(base, options);
      const mount = claimSubPath(base, test.at("etc/file"), { setting: SETTING, volume, subPath: "a/file" });
      const folder = claimSubPath(base, test.at("etc/folder"), { setting: SETTING, volume, subPath: "a" });
      assert.deepEqual(tree(test.at("etc")), []);
      volume.publish(payload({ "a/file": "1" }));
      mount.resolve();
      folder.resolve();
      for (const version of ["2", "3"]) volume.publish(payload({ "a/file": version }));
      assert.equal(Deno.readTextFileSync(test.at("etc/file")), "1");
      assert.equal(Deno.readTextFileSync(test.at("etc/folder/file")), "1");
      mount.resolve();
      assert.equal(Deno.readTextFileSync(test.at("etc/file")), "3");
      assert.equal(Deno.readTextFileSync(test.at("etc/folder/file")), "1");
      folder.resolve();
      volume.publish(payload({ "a/file": "4" }));
      assert.equal([...tree(volume.store ?? volume.folder)].filter((name) => name.endsWith("/a/file")).length, 2);
    });
    assert.deepEqual(test.left(), []);
  });

  Deno.test(`claimSubPath() of ${what} makes a folder of what is absent, with the mode of the volume`, () => {
    using test = new TestBase();
    test.run((base) => {
      const volume = claimVolume(base, options);
      volume.publish(payload({ "a/file": "1" }));
      for (const subPath of ["missing.txt", "a/deep/er"]) {
        const path = test.at(subPath.replaceAll("/", "-"));
        claimSubPath(base, path, { setting: SETTING, volume, subPath }).resolve();
        assert.equal(Deno.statSync(path).isDirectory, true);
        assert.equal(Deno.statSync(path).mode! & 0o7777, 0o755);
      }
    });
    assert.deepEqual(test.left(), []);
  });
}

Deno.test("claimSubPath() says PathInvalid for a subPath that is absolute or has two dots", () => {
  using test = new TestBase();
  test.run((base) => {
    const volume = claimVolume(base, VOLUMES[0]!);
    for (const subPath of ["/etc", "..", "a/../../b", "a\0b"]) {
      assert.throws(() => claimSubPath(base, test.at("x"), { setting: SETTING, volume, subPath }), {
        code: "PathInvalid",
      });
    }
  });
});

Deno.test("claimSubPath() says PathInvalid and makes nothing when links in the volume lead out of it", () => {
  using test = new TestBase();
  const elsewhere = test.outside("elsewhere");
  Deno.mkdirSync(join(elsewhere, "there"));
  test.run((base) => {
    const volume = claimEmptyDir(base, test.at("work"), { ...VOLUMES[0]!, memory: false });
    Deno.symlinkSync(elsewhere, test.at("work/out"));
    Deno.symlinkSync("/nonexistent/krun", test.at("work/nowhere"));
    Deno.symlinkSync("../.krun", test.at("work/state"));
    ["out", "out/there", "out/absent", "nowhere", "nowhere/x", "state/x"].forEach((subPath, at) => {
      const mount = claimSubPath(base, test.at(`m${at}`), { setting: SETTING, volume, subPath });
      assert.throws(() => mount.resolve(), { code: "PathInvalid" }, subPath);
    });
  });
  assert.deepEqual(tree(elsewhere), ["there/"]);
  assert.deepEqual(test.left(), []);
});

Deno.test("claimSubPath() follows links that stay in the volume", () => {
  using test = new TestBase();
  test.run((base) => {
    const volume = claimEmptyDir(base, test.at("work"), { ...VOLUMES[0]!, memory: false });
    Deno.mkdirSync(test.at("work/real"));
    Deno.symlinkSync("real", test.at("work/link"));
    claimSubPath(base, test.at("x"), { setting: SETTING, volume, subPath: "link/new" }).resolve();
    assert.equal(Deno.readLinkSync(test.at("x")), test.at("work/real/new"));
  });
  assert.deepEqual(test.left(), []);
});

Deno.test("claimSubPath() says TargetInUse when something is there, TargetConflict when another mount is", () => {
  using test = new TestBase();
  Deno.writeTextFileSync(test.at("file"), "");
  test.run((base) => {
    const volume = claimVolume(base, VOLUMES[0]!);
    const options = { setting: SETTING, volume, subPath: "x" };
    assert.throws(() => claimSubPath(base, test.at("file"), options), { code: "TargetInUse" });
    claimSubPath(base, test.at("x"), options);
    assert.throws(() => claimSubPath(base, test.at("x"), options), { code: "TargetConflict" });
  });
});
