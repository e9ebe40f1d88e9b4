import assert from "node:assert/strict";
import type { V1Pod } from "@kubernetes/client-node";
import { loadVectors } from "../../tests/vectors.ts";
import {
  emptyDirFolder,
  type Owned,
  ownedFile,
  ownedFolder,
  privateOwnership,
  secretFolder,
  tokenFileMode,
  volumeOwnership,
} from "./volume_ownership.ts";

interface Input {
  readonly pod: V1Pod;
  readonly volume?: string;
  readonly tokenMode?: number;
  readonly fileMode?: number;
}

/** A vector names what it is about; `null`: not set. Modes are octal text. */
type Expect = Readonly<Record<string, unknown>>;

const bytes = new Uint8Array();

for (const { id, why, input, expect } of loadVectors<Input, Expect>("volume_ownership")) {
  Deno.test(`volumeOwnership() ${id}: ${why}`, () => {
    const ownership = volumeOwnership(input.pod, input.volume);
    const { fsUser } = ownership;
    const token = {
      bytes,
      mode: tokenFileMode(input.tokenMode ?? 0, ownership),
      ...(fsUser === undefined ? {} : { uid: fsUser }),
    };
    const all: Record<string, unknown> = {
      fsUser: fsUser ?? null,
      fsGroup: ownership.fsGroup ?? null,
      readers: ownership.readers,
      token: spelt(ownedFile(token, ownership)),
      file: spelt(ownedFile({ bytes, mode: input.fileMode ?? 0 }, ownership)),
      folder: spelt(ownedFolder(ownership)),
      emptyDir: spelt(emptyDirFolder(ownership)),
      secretFolder: spelt(secretFolder(ownership)),
    };
    assert.deepEqual(Object.fromEntries(Object.keys(expect).map((key) => [key, all[key]])), expect);
  });
}

Deno.test("privateOwnership() lets one user in and nobody else, whoever the Pod's containers and their group are", () => {
  const own = privateOwnership(1337);
  assert.deepEqual(spelt(emptyDirFolder(own)), { mode: "0700", uid: 1337 });
  assert.deepEqual(spelt(secretFolder(own)), { mode: "0700", uid: 1337 });
  assert.deepEqual(spelt(ownedFile({ bytes, mode: tokenFileMode(0o644, own), uid: 1337 }, own)), {
    mode: "0600",
    uid: 1337,
  });
  assert.deepEqual(spelt(ownedFile({ bytes, mode: 0o644 }, own)), { mode: "0644", uid: 1337 });
  // The control: the same volume of a Pod with that user and a group.
  const pod = { spec: { securityContext: { runAsUser: 1337, fsGroup: 9 }, containers: [{ name: "a" }] } };
  assert.deepEqual(spelt(emptyDirFolder(volumeOwnership(pod))), { mode: "2777", gid: 9 });
});

Deno.test("privateOwnership() of root is for root", () => {
  assert.deepEqual(spelt(secretFolder(privateOwnership(0))), { mode: "0700" });
  assert.deepEqual(spelt(emptyDirFolder(privateOwnership(0))), { mode: "0700", uid: 0 });
});

function spelt({ mode, uid, gid }: Owned): unknown {
  return {
    mode: mode.toString(8).padStart(4, "0"),
    ...(uid === undefined ? {} : { uid }),
    ...(gid === undefined ? {} : { gid }),
  };
}
