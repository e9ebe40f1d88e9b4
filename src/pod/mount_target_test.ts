import assert from "node:assert/strict";
import { join } from "node:path";
import { TestBase } from "../../tests/test_base.ts";
import { tree } from "../../tests/workspace.ts";
import type { KrunError } from "../core/errors.ts";
import type { Payload } from "../core/payload.ts";
import { isVersionName } from "../core/volume_plan.ts";
import type { BaseFolder } from "./base_folder.ts";
import { loadLibc } from "./libc.ts";
import { claimTarget, claimVolume, type TargetOptions } from "./mount_target.ts";

loadLibc();

const PLAIN: TargetOptions = { setting: "K8S_CM_app", volume: "app", secret: false, ownership: { readers: [] } };
const SECRET: TargetOptions = { setting: "K8S_SECRET_db", volume: "db", secret: true, ownership: { readers: [] } };

function payload(files: Readonly<Record<string, string>>): Payload {
  return new Map(
    Object.entries(files).map(([path, text]) => [path, { bytes: new TextEncoder().encode(text), mode: 0o644 }]),
  );
}

const DB = payload({ user: "alice", password: "1" });

/** Text and number of names in a target, without the name of the version. */
function shown(folder: string): string[] {
  return [...Deno.readDirSync(folder)].map(({ name }) => isVersionName(name) ? "..version" : name).sort();
}

function claims(base: BaseFolder, path: string, options = PLAIN): () => void {
  return () => void claimTarget(base, path, options);
}

Deno.test("claimTarget() makes a target that is absent with its parents, and all of it goes at the end", () => {
  using test = new TestBase();
  test.run((base) => {
    const target = claimTarget(base, test.at("a/b/db"), PLAIN);
    assert.equal(target.path, test.at("a/b/db"));
    assert.equal(target.publish(DB), true);
    assert.equal(target.publish(DB), false);
    assert.equal(Deno.readTextFileSync(test.at("a/b/db/user")), "alice");
    assert.deepEqual(shown(test.at("a/b/db")), ["..data", "..version", "password", "user"]);
  });
  assert.deepEqual(test.left(), []);
});

Deno.test("claimTarget() uses an empty folder that is there, and leaves it empty at the end", () => {
  using test = new TestBase();
  Deno.mkdirSync(test.at("db"), { mode: 0o751 });
  Deno.chmodSync(test.at("db"), 0o751);
  test.run((base) => claimTarget(base, test.at("db"), PLAIN).publish(DB));
  assert.deepEqual(test.left(), ["db/"]);
  assert.equal(Deno.statSync(test.at("db")).mode! & 0o7777, 0o751);
});

Deno.test("claimTarget() takes again what a killed run left, and what one with KRUN_FILES=keep left", () => {
  using test = new TestBase();
  Deno.mkdirSync(test.at("there"));
  for (const keep of [true, true, false]) {
    const base = test.open();
    for (
      const [name, options] of [["db", SECRET], ["there", PLAIN], ["a/one", { ...SECRET, single: "user" }]] as const
    ) {
      claimTarget(base, test.at(name), { ...options, volume: "v" }).publish(DB);
    }
    assert.equal(Deno.readTextFileSync(test.at("a/one")), "alice");
    base.close({ keep });
  }
  assert.deepEqual(test.left(), ["there/"]);
});

Deno.test("claimTarget() says TargetInUse and touches nothing when something is there", () => {
  const things: Record<string, (path: string, elsewhere: string) => void> = {
    "a file": (path) => Deno.writeTextFileSync(path, "x"),
    "a folder with a file": (path) => {
      Deno.mkdirSync(path);
      Deno.writeTextFileSync(join(path, "x"), "x");
    },
    "a link to nothing": (path) => Deno.symlinkSync("nothing", path),
    "a volume that krun does not know": (path) => {
      Deno.mkdirSync(join(path, "..2031_05_06_07_08_09.1"), { recursive: true });
      Deno.symlinkSync("..2031_05_06_07_08_09.1", join(path, "..data"));
    },
  };
  for (const [name, make] of Object.entries(things)) {
    for (const path of ["x", "x/deeper"]) {
      if (path === "x/deeper" && name.startsWith("a folder")) continue;
      if (path === "x/deeper" && name.startsWith("a volume")) continue;
      using test = new TestBase();
      make(test.at("x"), test.outside("elsewhere"));
      const before = test.left();
      test.run((base) => assert.throws(claims(base, test.at(path)), { code: "TargetInUse" }, `${name}: ${path}`));
      assert.deepEqual(test.left(), before, name);
    }
  }
});

Deno.test("claimTarget() names the setting, the path and what it found when a target is in use", () => {
  using test = new TestBase();
  Deno.mkdirSync(test.at("db"));
  Deno.writeTextFileSync(test.at("db/precious"), "");
  test.run((base) =>
    assert.throws(claims(base, test.at("db"), SECRET), ({ message }: KrunError) => {
      for (const part of ["K8S_SECRET_db", test.at("db"), "precious"]) assert.ok(message.includes(part), message);
      return true;
    })
  );
});

Deno.test("claimTarget() follows links that stay below the base", () => {
  using test = new TestBase();
  Deno.mkdirSync(test.at("run"));
  Deno.mkdirSync(test.at("var"));
  Deno.symlinkSync("../run", test.at("var/run"));
  test.run((base) => {
    const target = claimTarget(base, test.at("var/run/secrets/db"), PLAIN);
    target.publish(DB);
    assert.equal(target.folder, test.at("run/secrets/db"));
    assert.equal(Deno.readTextFileSync(test.at("var/run/secrets/db/user")), "alice");
  });
  assert.deepEqual(test.left(), ["run/", "var/", "var/run -> ../run"]);
});

Deno.test("claimTarget() says PathInvalid and makes nothing when links lead out of the base", () => {
  using test = new TestBase();
  const elsewhere = test.outside("elsewhere");
  Deno.symlinkSync(elsewhere, test.at("out"));
  for (const options of [PLAIN, { ...PLAIN, single: "user" }]) {
    for (const path of ["out", "out/db", "out/a/b"]) {
      test.run((base) => assert.throws(claims(base, test.at(path), options), { code: "PathInvalid" }, path));
    }
  }
  assert.deepEqual(tree(elsewhere), []);
});

Deno.test("claimTarget() says TargetConflict naming both when two mounts ask for one path, by whatever name", () => {
  using test = new TestBase();
  Deno.symlinkSync(".", test.at("alias"));
  test.run((base) => {
    claimTarget(base, test.at("db"), PLAIN).publish(DB);
    claimTarget(base, test.at("one"), { ...SECRET, single: "user" }).publish(DB);
    for (const path of ["db", "alias/db", "one", "alias/one"]) {
      for (const single of [{}, { single: "user" }]) {
        assert.throws(claims(base, test.at(path), { ...PLAIN, setting: "K8S_CM_2", ...single }), (error: KrunError) => {
          assert.equal(error.code, "TargetConflict", path);
          assert.match(error.message, /K8S_CM_2/);
          assert.match(error.message, /K8S_CM_app|K8S_SECRET_db/);
          return true;
        });
      }
    }
  });
});

Deno.test("claimTarget() makes a mount below another a folder in it, in whatever order they are claimed", () => {
  for (const order of [["cfg", "cfg/certs"], ["cfg/certs", "cfg"]]) {
    using test = new TestBase();
    test.run((base) => {
      const targets = order.map((name) => claimTarget(base, test.at(name), PLAIN));
      for (const target of targets) target.publish(payload({ user: "alice", certs: "hidden", "certs2/x": "y" }));
      assert.equal(Deno.readTextFileSync(test.at("cfg/certs/user")), "alice");
      assert.equal(Deno.readTextFileSync(test.at("cfg/certs2/x")), "y");
    });
    assert.deepEqual(test.left(), []);
  }
});

Deno.test("claimTarget() says TargetConflict when a mount is inside the files of another", () => {
  using test = new TestBase();
  test.run((base) => {
    claimTarget(base, test.at("cfg"), PLAIN).publish(payload({ "a/x": "1", b: "2" }));
    assert.throws(claims(base, test.at("cfg/a/deeper")), { code: "TargetConflict" });
    assert.throws(claims(base, test.at("cfg/a")), { code: "TargetConflict" });
    assert.throws(claims(base, test.at(".krun/volumes/x")), { code: "TargetConflict" });
  });
});

Deno.test("claimTarget() mounts one file in a folder of another mount, over a key of that name too, in whatever order", () => {
  const FILE = { ...SECRET, single: "password" };
  for (const name of ["x/more", "x/user"]) {
    for (const order of [[PLAIN, FILE], [FILE, PLAIN]]) {
      using test = new TestBase();
      test.run((base) => {
        const targets = order.map((options) => claimTarget(base, test.at(options === FILE ? name : "x"), options));
        for (const target of targets) target.publish(DB);
        assert.equal(Deno.readTextFileSync(test.at(name)), "1", name);
        assert.equal(Deno.readTextFileSync(test.at("x/password")), "1");
        for (const target of targets) target.publish(payload({ user: "bob", password: "2" }));
        assert.equal(Deno.readTextFileSync(test.at(name)), "2", name);
      });
      assert.deepEqual(test.left(), []);
    }
  }
});

Deno.test("claimTarget() says TargetConflict naming both and makes nothing when one mount is below a file of another", () => {
  const file = { ...SECRET, single: "user" };
  const inside = { ...PLAIN, setting: "K8S_CM_in" };
  for (const below of [inside, { ...inside, single: "user" }]) {
    for (const name of ["x/y", "x/deep/y"]) {
      for (const fileFirst of [true, false]) {
        using test = new TestBase();
        test.run((base) => {
          const both = [claims(base, test.at("x"), file), claims(base, test.at(name), below)];
          const [first, second] = fileFirst ? both : both.toReversed();
          first!();
          assert.throws(second!, ({ code, message, hint }: KrunError) => {
            assert.equal(code, "TargetConflict", message);
            for (const part of ["K8S_SECRET_db", "K8S_CM_in"]) assert.ok(message.includes(part), message);
            assert.match(hint, /give K8S_\w+ or K8S_\w+ another path/);
            return true;
          });
        });
        assert.deepEqual(test.left(), []);
      }
    }
  }
});

Deno.test("claimTarget() leaves a target that holds a file of somebody else, without krun's own", () => {
  using test = new TestBase();
  test.run((base) => {
    claimTarget(base, test.at("a/db"), SECRET).publish(DB);
    Deno.writeTextFileSync(test.at("a/db/notes"), "");
    Deno.symlinkSync("notes", test.at("a/db/link"));
  });
  assert.deepEqual(test.left(), ["a/", "a/db/", "a/db/link -> notes", "a/db/notes"]);
});

Deno.test("claimTarget() puts a secret into memory, linked from the target, and nothing else there", () => {
  using test = new TestBase();
  test.run((base) => {
    const [db, app] = [claimTarget(base, test.at("db"), SECRET), claimTarget(base, test.at("app"), PLAIN)];
    for (const target of [db, app]) target.publish(DB);
    assert.deepEqual([db.inMemory, app.inMemory], [true, false]);
    assert.deepEqual(shown(test.at("db")), ["..data", "password", "user"]);
    assert.ok(Deno.readLinkSync(test.at("db/..data")).startsWith(`${test.memory}/krun-`));
    assert.equal(Deno.readTextFileSync(test.at("db/user")), "alice");
    assert.ok(!Deno.readLinkSync(test.at("app/..data")).startsWith("/"));
  });
  assert.deepEqual(test.left(), []);
});

Deno.test("claimTarget() keeps the bytes in the target of a side process, open to whoever its modes let in", () => {
  using test = new TestBase();
  test.run((base) => {
    const target = claimTarget(base, test.at("db"), { ...SECRET, inPlace: true });
    target.publish(DB);
    assert.equal(target.inMemory, false);
    assert.deepEqual(shown(test.at("db")), ["..data", "..version", "password", "user"]);
    assert.equal(Deno.statSync(test.at("db/..data")).mode! & 0o7777, 0o755);
  });
  assert.deepEqual(tree(test.memory), []);
});

Deno.test("claimTarget() shuts a secret on disk to other users where there is no memory", () => {
  using test = new TestBase();
  Deno.removeSync(test.memory);
  test.run((base) => {
    const target = claimTarget(base, test.at("db"), SECRET);
    target.publish(DB);
    assert.equal(target.inMemory, false);
    assert.equal(Deno.statSync(test.at("db/..data")).mode! & 0o7777, 0o700);
  });
  Deno.mkdirSync(test.memory);
});

Deno.test("claimTarget() with single makes one file that stays fresh", () => {
  for (const inPlace of [false, true]) {
    using test = new TestBase();
    test.run((base) => {
      const target = claimTarget(base, test.at("etc/pw"), { ...SECRET, inPlace, single: "password" });
      target.publish(DB);
      assert.equal(Deno.readTextFileSync(test.at("etc/pw")), "1");
      assert.ok(!Deno.readLinkSync(test.at("etc/pw")).startsWith("/"), "another container may see it elsewhere");
      assert.equal(target.publish(payload({ password: "2" })), true);
      assert.equal(Deno.readTextFileSync(test.at("etc/pw")), "2");
      const inKrun = Deno.readLinkSync(test.at("etc/pw")).startsWith("../.krun/volumes/db/");
      assert.equal(inKrun, !inPlace);
    });
    assert.deepEqual(test.left(), []);
  }
});

Deno.test("claimTarget() with single takes several files of one volume, and one in a folder of the volume", () => {
  using test = new TestBase();
  test.run((base) => {
    for (const single of ["user", "x/y"]) {
      claimTarget(base, test.at(`at-${single.at(-1)}`), { ...SECRET, single }).publish(
        payload({ user: "u", "x/y": "z" }),
      );
    }
    assert.equal(Deno.readTextFileSync(test.at("at-r")), "u");
    assert.equal(Deno.readTextFileSync(test.at("at-y")), "z");
  });
  assert.deepEqual(test.left(), []);
});

Deno.test("claimTarget() with single says TargetInUse when anything is there, an empty folder too", () => {
  using test = new TestBase();
  Deno.mkdirSync(test.at("folder"));
  Deno.writeTextFileSync(test.at("file"), "x");
  Deno.symlinkSync("file", test.at("link"));
  const before = test.left();
  test.run((base) => {
    for (const path of ["folder", "file", "link"]) {
      assert.throws(claims(base, test.at(path), { ...SECRET, single: "user" }), { code: "TargetInUse" }, path);
    }
  });
  assert.deepEqual(test.left(), before);
});

Deno.test("claimTarget() with single does not write over what somebody has put in the place of the link", () => {
  using test = new TestBase();
  test.run((base) => {
    const target = claimTarget(base, test.at("pw"), { ...SECRET, single: "password" });
    target.publish(DB);
    Deno.removeSync(test.at("pw"));
    Deno.writeTextFileSync(test.at("pw"), "mine");
    assert.throws(() => target.publish(payload({ password: "2" })), { code: "TargetUnwritable" });
  });
  assert.deepEqual(test.left(), ["pw"]);
});

Deno.test("claimVolume() makes a volume below the state folder that other users can reach when they are named", () => {
  for (const [readers, mode] of [[[], 0o700], [[Deno.uid()!], 0o711]] as const) {
    using test = new TestBase();
    test.run((base) => {
      const volume = claimVolume(base, { ...SECRET, ownership: { readers } });
      volume.publish(DB);
      assert.equal(volume.path, test.at(".krun/volumes/db"));
      assert.equal(Deno.statSync(test.at(".krun")).mode! & 0o7777, mode);
    });
    assert.deepEqual(test.left(), []);
  }
});

Deno.test("claimTarget() says TargetUnwritable when the file system refuses the folder, and what was made goes at the end", () => {
  using test = new TestBase();
  test.run((base) => {
    assert.throws(claims(base, test.at(`made/${"n".repeat(256)}`)), { code: "TargetUnwritable" });
  });
  assert.deepEqual(test.left(), []);
});

Deno.test("claimTarget() puts one file outside the base where that is asked for, takes it back, and refuses it else", () => {
  using test = new TestBase();
  const outside = test.outside("elsewhere");
  const path = join(outside, "deep", "key");
  const file: TargetOptions = { ...SECRET, single: "password" };
  test.run((base) => {
    assert.throws(claims(base, path, file), { code: "PathInvalid" });
    claimTarget(base, path, { ...file, anywhere: true }).publish(DB);
    assert.equal(Deno.readTextFileSync(path), "1");
  });
  assert.deepEqual(tree(outside), []);
});

Deno.test("claimTarget() takes what is outside the base from nobody, and not from krun's own folder", () => {
  using test = new TestBase();
  const outside = test.outside("elsewhere");
  Deno.writeTextFileSync(join(outside, "mine"), "mine");
  const file: TargetOptions = { ...SECRET, single: "password", anywhere: true };
  test.run((base) => {
    assert.throws(claims(base, join(outside, "mine"), file), { code: "TargetInUse" });
    assert.throws(claims(base, join(base.stateFolder, "key"), file), { code: "TargetConflict" });
    claimTarget(base, join(outside, "one"), file).publish(DB);
    assert.throws(claims(base, join(outside, "one"), file), { code: "TargetConflict" });
  });
  assert.deepEqual(tree(outside), ["mine"]);
});

Deno.test("what a killed run left outside the base goes at the next start", () => {
  using test = new TestBase();
  const outside = test.outside("elsewhere");
  const file: TargetOptions = { ...SECRET, single: "password", anywhere: true };
  const base = test.open();
  claimTarget(base, join(outside, "key"), file).publish(DB);
  base.close({ keep: true });
  assert.deepEqual(tree(outside).length, 1);
  test.run(() => {});
  assert.deepEqual(tree(outside), []);
});
