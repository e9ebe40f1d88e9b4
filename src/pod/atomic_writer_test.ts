import assert from "node:assert/strict";
import { join } from "node:path";
import { loadVectors } from "../../tests/vectors.ts";
import type { Payload, PayloadFile } from "../core/payload.ts";
import { cleanPayloadPath } from "../core/payload_path.ts";
import { ownedFolder } from "../core/volume_ownership.ts";
import { isVersionName, planVolume, publishes } from "../core/volume_plan.ts";
import { AtomicWriter, type AtomicWriterOptions } from "./atomic_writer.ts";
import { Folder } from "./folder.ts";
import { loadLibc } from "./libc.ts";
import { effectiveUser, ERRNO, FileError } from "./libc_files.ts";
import { VolumeFolder } from "./volume_folder.ts";

loadLibc();

type TextPayload = Readonly<
  Record<string, { readonly text?: string; readonly base64?: string; readonly mode: string }>
>;

/** For each version whether it is published, or the code of its failure. */
type Outcome = boolean | string;

const NOBODY = { readers: [] };

/** Where the versions lie: both layouts have to pass every case. */
const LAYOUTS = ["in the target", "in a store"] as const;

/** Cases of which every step is tried as the last one of a writer: every kind of change is among them. */
const CRASHED =
  /kitchen-sink|MultipleUpdates.(update-2|add-2|remove-1)|TestUpdate.(update|delete-all|add-and)|^3\.3|^fault/;

for (const { id, why, input, expect } of loadVectors<readonly TextPayload[], readonly Outcome[]>("atomic_writer")) {
  for (const layout of LAYOUTS) {
    Deno.test(`AtomicWriter ${id}, versions ${layout}: ${why}`, () => {
      using volume = new TestVolume(layout);
      input.forEach((version, at) => {
        const outcome = expect[at];
        if (typeof outcome === "string") {
          // A payload with such a path cannot be made, so a writer never sees one.
          return assert.throws(() => payloadOf(version), { code: outcome });
        }
        assert.equal(volume.write(payloadOf(version)), outcome);
        volume.assertHolds(payloadOf(version));
      });
    });

    if (!CRASHED.test(id)) continue;
    Deno.test(`AtomicWriter survives a kill at every step of ${id}, versions ${layout}`, () => {
      const versions = input.map(payloadOf);
      versions.forEach((next, at) => crashEverywhere(layout, { before: versions.slice(0, at), next }));
    });
  }
}

/** For each n: carries out the first n steps, looks at it as a reader does, and lets the next writer go on from there. */
function crashEverywhere(layout: typeof LAYOUTS[number], { before, next }: { before: Payload[]; next: Payload }): void {
  for (let steps = 0;; steps++) {
    using volume = new TestVolume(layout);
    for (const version of before) volume.write(version);
    const plan = volume.plan(next);
    volume.apply(plan.slice(0, steps));
    const swapped = publishes(plan.slice(0, steps));
    if (swapped || before.length > 0) volume.assertInForce(swapped ? next : before.at(-1)!);
    volume.write(next);
    volume.assertHolds(next);
    if (steps >= plan.length) return;
  }
}

for (const layout of LAYOUTS) {
  Deno.test(`AtomicWriter 3.4/TestWriteAgainAfterUnexpectedExit puts removed links back, versions ${layout}`, () => {
    using volume = new TestVolume(layout);
    const payload = payloadOf({ a: { text: "1", mode: "0644" }, "b/c": { text: "2", mode: "0644" } });
    volume.write(payload);
    for (const name of ["a", "b"]) Deno.removeSync(join(volume.target, name));
    assert.equal(volume.write(payload), false);
    volume.assertHolds(payload);
  });

  Deno.test(`AtomicWriter 3.3/left-over-data_tmp does not stop it, versions ${layout}`, () => {
    using volume = new TestVolume(layout);
    Deno.symlinkSync("..gone", join(volume.target, "..data_tmp"));
    volume.write(ONE);
    volume.assertHolds(ONE);
  });

  Deno.test(`AtomicWriter 3.4/TestSetPerms gives back the failure and leaves nothing behind, versions ${layout}`, () => {
    using volume = new TestVolume(layout);
    volume.write(ONE);
    {
      using _own = failing("own", new FileError(ERRNO.EPERM, "chown", "/x"));
      assert.throws(() => volume.write(TWO), { code: "TargetUnwritable" });
    }
    volume.assertHolds(ONE);
    volume.write(TWO);
    volume.assertHolds(TWO);
  });

  Deno.test(`AtomicWriter says NoSpace and keeps the old version when a file does not fit, versions ${layout}`, () => {
    using volume = new TestVolume(layout);
    volume.write(ONE);
    for (
      const [call, errno] of [["write", ERRNO.ENOSPC], ["makeFolder", ERRNO.EDQUOT], ["link", ERRNO.ENOSPC]] as const
    ) {
      using _failing = failing(call, new FileError(errno, "write", "/x"));
      assert.throws(() => volume.write(TWO), { code: "NoSpace" });
    }
    volume.assertHolds(ONE);
  });

  Deno.test(`AtomicWriter 3.3/error-in-step-8-or-9 leaves no folder behind, versions ${layout}`, () => {
    using volume = new TestVolume(layout);
    Deno.mkdirSync(join(volume.target, "..data")); // a link cannot replace a folder
    assert.throws(() => volume.write(ONE), { code: "TargetUnwritable" });
    assert.deepEqual(volume.names(), ["..data"]);
    assert.deepEqual(volume.versions(), []);
  });

  Deno.test(`AtomicWriter 3.3/real-directory-at-a-visible-name leaves it there, versions ${layout}`, () => {
    using volume = new TestVolume(layout);
    Deno.mkdirSync(join(volume.target, "a"));
    Deno.writeTextFileSync(join(volume.target, "a", "mine"), "");
    volume.write(ONE);
    volume.write(new Map());
    assert.deepEqual([...Deno.readDirSync(join(volume.target, "a"))].map(({ name }) => name), ["mine"]);
  });
}

Deno.test("AtomicWriter 3.4/TestNewAtomicWriter needs a target that exists", () => {
  using volume = new TestVolume("in the target");
  const writer = new AtomicWriter({ target: join(volume.target, "absent"), ownership: NOBODY });
  assert.throws(() => writer.write(ONE), { code: "TargetUnwritable" });
});

Deno.test("AtomicWriter refuses a target behind a link", () => {
  using volume = new TestVolume("in the target");
  Deno.mkdirSync(join(volume.target, "real"));
  Deno.symlinkSync("real", join(volume.target, "link"));
  const writer = new AtomicWriter({ target: join(volume.target, "link"), ownership: NOBODY });
  assert.throws(() => writer.write(ONE), { code: "TargetUnwritable" });
  assert.deepEqual([...Deno.readDirSync(join(volume.target, "real"))], []);
});

Deno.test("AtomicWriter 3.3/umask-077 gives folders 0755 and files their mode", () => {
  using volume = new TestVolume("in the target");
  const umask = Deno.umask(0o077);
  try {
    volume.write(payloadOf({ "x/y/a": { text: "1", mode: "0666" } }));
  } finally {
    Deno.umask(umask);
  }
  assert.equal(modeOf(join(volume.target, "x")), 0o755);
  assert.equal(modeOf(join(volume.target, "x/y")), 0o755);
  assert.equal(modeOf(join(volume.target, "x/y/a")), 0o666);
});

Deno.test("AtomicWriter shuts the version of a secret volume to other users, and of another volume not", () => {
  for (const [secret, mode] of [[true, 0o700], [false, 0o755]] as const) {
    using volume = new TestVolume("in the target", { secret });
    volume.write(ONE);
    assert.equal(modeOf(join(volume.target, "..data")), mode);
  }
});

Deno.test("AtomicWriter keeps a pinned version until it is unpinned", () => {
  using volume = new TestVolume("in a store");
  volume.write(ONE);
  const [first] = volume.versions();
  volume.writer.pin(first!);
  volume.writer.pin(first!);
  volume.write(TWO);
  assert.equal(volume.versions().length, 2);
  volume.writer.unpin(first!);
  volume.write(ONE);
  assert.ok(volume.versions().includes(first!));
  volume.writer.unpin(first!);
  volume.write(TWO);
  volume.assertHolds(TWO);
});

Deno.test("AtomicWriter writes a file of 1 MiB and notices one changed byte", () => {
  using volume = new TestVolume("in a store");
  const bytes = crypto.getRandomValues(new Uint8Array(65536));
  const large = new Uint8Array(1024 * 1024);
  for (let at = 0; at < large.length; at += bytes.length) large.set(bytes, at);
  const payload = new Map([["large", { bytes: large, mode: 0o644 }]]);
  volume.write(payload);
  volume.assertHolds(payload);
  assert.equal(volume.write(payload), false);
  large[large.length - 1]! ^= 1;
  assert.equal(volume.write(payload), true);
});

Deno.test("AtomicWriter writes over what somebody changed in the version in force", () => {
  using volume = new TestVolume("in the target");
  volume.write(ONE);
  Deno.chmodSync(join(volume.target, "..data"), 0o700);
  Deno.writeTextFileSync(join(volume.target, "a"), "mine");
  assert.equal(volume.write(ONE), true);
  volume.assertHolds(ONE);
});

const ONE = payloadOf({ a: { text: "1", mode: "0644" } });
const TWO = payloadOf({ a: { text: "2", mode: "0600" }, b: { text: "2", mode: "0644" } });

/** A volume in a temporary folder. */
class TestVolume implements Disposable {
  readonly target: string;
  readonly store: string | undefined;
  readonly writer: AtomicWriter;
  readonly #root: string;

  constructor(layout: typeof LAYOUTS[number], options: Partial<AtomicWriterOptions> = {}) {
    this.#root = Deno.realPathSync(Deno.makeTempDirSync({ prefix: "krun-test-" }));
    this.target = join(this.#root, "target");
    Deno.mkdirSync(this.target);
    this.store = layout === "in a store" ? join(this.#root, "store") : undefined;
    if (this.store !== undefined) Deno.mkdirSync(this.store);
    const store = this.store === undefined ? {} : { store: this.store };
    this.writer = new AtomicWriter({ target: this.target, ...store, ownership: NOBODY, ...options });
  }

  [Symbol.dispose](): void {
    Deno.removeSync(this.#root, { recursive: true });
  }

  write(payload: Payload): boolean {
    return this.writer.write(payload);
  }

  plan(payload: Payload): ReturnType<typeof planVolume> {
    using folder = new VolumeFolder(this.target, this.store);
    return planVolume(folder.read(), payload, {
      stamp: "..2031_05_06_07_08_09.new",
      ownership: NOBODY,
      folder: ownedFolder(NOBODY),
      self: { uid: effectiveUser() },
      ...(this.store === undefined ? {} : { store: this.store }),
    });
  }

  apply(steps: ReturnType<typeof planVolume>): void {
    using folder = new VolumeFolder(this.target, this.store);
    for (const step of steps) folder.apply(step);
  }

  names(): string[] {
    return [...Deno.readDirSync(this.target)].map(({ name }) => name).sort();
  }

  versions(): string[] {
    return [...Deno.readDirSync(this.store ?? this.target)].map(({ name }) => name).filter(isVersionName).sort();
  }

  /** The volume is exactly `payload`: through its links, with nothing left over. */
  assertHolds(payload: Payload): void {
    const visible = [...new Set([...payload.keys()].map((path) => path.split("/")[0]!))].sort();
    const inForce = Deno.readLinkSync(join(this.target, "..data"));
    const versions = this.store === undefined ? [inForce] : [];
    assert.deepEqual(this.names(), ["..data", ...versions, ...visible].sort());
    assert.equal(
      join(this.store ?? this.target, this.versions().join()),
      join(this.store ?? this.target, inForce.split("/").at(-1)!),
    );
    for (const name of visible) assert.equal(Deno.readLinkSync(join(this.target, name)), `..data/${name}`);
    for (const [path, file] of payload) assertFile(join(this.target, path), file);
    this.assertInForce(payload);
  }

  /** What `..data` leads to is exactly `payload`, whatever lies around it. */
  assertInForce(payload: Payload): void {
    const root = Deno.realPathSync(join(this.target, "..data"));
    assert.deepEqual(filesBelow(root), [...payload.keys()].sort());
    for (const [path, file] of payload) assertFile(join(root, path), file);
  }
}

function assertFile(path: string, { bytes, mode }: PayloadFile): void {
  assert.deepEqual(Deno.readFileSync(path), bytes);
  assert.equal(modeOf(path), mode, path);
}

function modeOf(path: string): number {
  return Deno.statSync(path).mode! & 0o7777;
}

function filesBelow(root: string, prefix = ""): string[] {
  return [...Deno.readDirSync(join(root, prefix))].flatMap(({ name, isDirectory }) =>
    isDirectory ? filesBelow(root, `${prefix}${name}/`) : [prefix + name]
  ).sort();
}

function payloadOf(text: TextPayload): Payload {
  return new Map(
    Object.entries(text).map(([path, { text = "", base64, mode }]) => [
      cleanPayloadPath(path),
      {
        bytes: base64 === undefined ? new TextEncoder().encode(text) : Uint8Array.fromBase64(base64),
        mode: parseInt(mode, 8),
      },
    ]),
  );
}

/** Makes one kind of call fail until it is disposed. */
function failing(call: "own" | "write" | "makeFolder" | "link", error: Error): Disposable {
  const original = Folder.prototype[call];
  Folder.prototype[call] = () => {
    throw error;
  };
  return {
    [Symbol.dispose]: () => {
      Object.assign(Folder.prototype, { [call]: original });
    },
  };
}
