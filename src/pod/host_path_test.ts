import assert from "node:assert/strict";
import { join } from "node:path";
import { TestBase } from "../../tests/test_base.ts";
import { tree } from "../../tests/workspace.ts";
import { loadLibc } from "./libc.ts";
import { claimHostPath } from "./mount_target.ts";

loadLibc();

Deno.test("claimHostPath() links a path of the machine, and removes the link only", () => {
  using test = new TestBase();
  const host = test.outside("host");
  Deno.mkdirSync(join(host, "sub"));
  test.run((base) => {
    const options = { setting: "KRUN_POD", volume: "v", hostPath: { path: host, type: "Directory" } };
    claimHostPath(base, test.at("mnt/host"), { ...options, subPath: "" });
    claimHostPath(base, test.at("mnt/sub"), { ...options, subPath: "sub" });
    assert.deepEqual(tree(test.at("mnt")), [`host -> ${host}`, `sub -> ${host}/sub`]);
    Deno.writeTextFileSync(test.at("mnt/sub/file"), "x");
  });
  assert.deepEqual(test.left(), []);
  assert.deepEqual(tree(host), ["sub/", "sub/file"]);
});

Deno.test("claimHostPath() does nothing when the mount is the path itself", () => {
  using test = new TestBase();
  Deno.mkdirSync(test.at("data"));
  Deno.writeTextFileSync(test.at("data/file"), "x");
  test.run((base) => {
    const hostPath = { path: test.at("data") };
    claimHostPath(base, test.at("data"), { setting: "KRUN_POD", volume: "v", hostPath, subPath: "" });
  });
  assert.deepEqual(test.left(), ["data/", "data/file"]);
});

Deno.test("claimHostPath() says PodInvalid naming the volume when the path is not what its type says", () => {
  using test = new TestBase();
  const host = test.outside("host");
  Deno.writeTextFileSync(join(host, "file"), "");
  const refused = [
    { path: join(host, "absent") },
    { path: join(host, "absent"), type: "DirectoryOrCreate" },
    { path: join(host, "file"), type: "Directory" },
    { path: host, type: "File" },
    { path: join(host, "file"), type: "Socket" },
    { path: "/dev/null", type: "BlockDevice" },
    { path: host, type: "Other" },
    { path: "relative" },
    { path: `${host}/../host` },
  ];
  const accepted = [{ path: join(host, "file"), type: "FileOrCreate" }, { path: "/dev/null", type: "CharDevice" }, {
    path: "/",
  }];
  test.run((base) => {
    const claim = (hostPath: { path: string; type?: string }, at: number) =>
      claimHostPath(base, test.at(`m${at}`), { setting: "KRUN_POD", volume: "v", hostPath, subPath: "" });
    for (const hostPath of refused) {
      assert.throws(() => claim(hostPath, 0), { code: "PodInvalid", message: /"v"/ }, JSON.stringify(hostPath));
    }
    accepted.forEach((hostPath, at) => claim(hostPath, at + 1));
  });
  assert.deepEqual(test.left(), []);
});

Deno.test("claimHostPath() says PathInvalid when a subPath is absent or leads out", () => {
  using test = new TestBase();
  const host = test.outside("host");
  Deno.symlinkSync("/etc", join(host, "out"));
  test.run((base) => {
    for (const subPath of ["absent", "out", "../base"]) {
      const options = { setting: "KRUN_POD", volume: "v", hostPath: { path: host }, subPath };
      assert.throws(() => claimHostPath(base, test.at("m"), options), { code: "PathInvalid" }, subPath);
    }
  });
});
