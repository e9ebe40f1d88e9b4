import assert from "node:assert/strict";
import type { V1Pod } from "@kubernetes/client-node";
import { loadVectors } from "../../tests/vectors.ts";
import {
  emptyDirFolder,
  type Owned,
  ownedFile,
  ownedFolder,
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

function spelt({ mode, uid, gid }: Owned): unknown {
  return {
    mode: mode.toString(8).padStart(4, "0"),
    ...(uid === undefined ? {} : { uid }),
    ...(gid === undefined ? {} : { gid }),
  };
}
