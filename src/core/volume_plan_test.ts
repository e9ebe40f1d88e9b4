import assert from "node:assert/strict";
import fc from "fast-check";
import { loadVectors } from "../../tests/vectors.ts";
import type { Payload } from "./payload.ts";
import { type Owned, ownedFolder, secretFolder } from "./volume_ownership.ts";
import {
  type FoundEntry,
  isOwnVersionName,
  isVersionName,
  planVolume,
  versionName,
  type VolumeOp,
  type VolumeState,
} from "./volume_plan.ts";

interface TextEntry {
  /** Octal. */
  readonly mode: string;
  readonly uid?: number;
  readonly gid?: number;
  readonly text?: string;
}

interface Input {
  readonly found: {
    readonly names: Readonly<Record<string, string | null>>;
    readonly versions: readonly string[];
    readonly current?: {
      readonly name: string;
      readonly folder: TextEntry;
      readonly entries: Readonly<Record<string, TextEntry>>;
    };
  };
  readonly wanted: Readonly<Record<string, TextEntry>>;
  readonly fsGroup?: number;
  readonly secret?: boolean;
  readonly store?: string;
  readonly pinned?: readonly string[];
  readonly self?: number;
}

const encoder = new TextEncoder();

for (const { id, why, input, expect } of loadVectors<Input, readonly string[]>("volume_plan")) {
  Deno.test(`planVolume() ${id}: ${why}`, () => {
    const ownership = { readers: [], ...(input.fsGroup === undefined ? {} : { fsGroup: input.fsGroup }) };
    const plan = planVolume(stateOf(input.found), payloadOf(input.wanted), {
      stamp: "..new",
      ownership,
      folder: input.secret ? secretFolder(ownership) : ownedFolder(ownership),
      self: { uid: input.self ?? 0 },
      ...(input.store === undefined ? {} : { store: input.store }),
      pinned: new Set(input.pinned),
    });
    assert.deepEqual(plan.map(spelt), expect);
  });
}

Deno.test("versionName() gives names that isVersionName() knows when given any time", () => {
  fc.assert(fc.property(fc.date({ noInvalidDate: true, min: new Date(0) }), fc.uuid(), (date, uuid) => {
    const name = versionName(date.toISOString().replace("+", ""), uuid.slice(0, 8));
    assert.ok(isVersionName(name), name);
  }));
  assert.equal(versionName("2031-05-06T07:08:09.123Z", "a1"), "..2031_05_06_07_08_09.ka1");
  assert.ok(isOwnVersionName("..2031_05_06_07_08_09.ka1"));
  assert.ok(!isOwnVersionName("..2031_05_06_07_08_09.1234567890"), "os.MkdirTemp, by which the kubelet makes it");
});

Deno.test("isVersionName() is false when the name is anything else", () => {
  const others = [
    "..data",
    "..data_tmp",
    "2031_05_06_07_08_09.a1",
    "..2031_05_06_07_08_09",
    "..2031_05_06_07_08_09.a/b",
  ];
  assert.deepEqual(others.filter(isVersionName), []);
});

function entryOf({ mode, uid = 0, gid = 0, text }: TextEntry): FoundEntry {
  return { mode: parseInt(mode, 8), uid, gid, ...(text === undefined ? {} : { bytes: encoder.encode(text) }) };
}

function stateOf({ names, versions, current }: Input["found"]): VolumeState {
  return {
    names: new Map(Object.entries(names).map(([name, to]) => [name, to ?? undefined])),
    versions,
    current: current && {
      name: current.name,
      folder: entryOf(current.folder),
      entries: new Map(Object.entries(current.entries).map(([path, entry]) => [path, entryOf(entry)])),
    },
  };
}

function payloadOf(wanted: Input["wanted"]): Payload {
  return new Map(
    Object.entries(wanted).map(([path, { text = "", mode, uid }]) => [
      path,
      { bytes: encoder.encode(text), mode: parseInt(mode, 8), ...(uid === undefined ? {} : { uid }) },
    ]),
  );
}

/** One line for one step. */
function spelt(step: VolumeOp): string {
  switch (step.op) {
    case "remove-version":
    case "make-folder":
      return `${step.op} ${step.path}`;
    case "write-file":
    case "own-folder":
      return `${step.op} ${step.path} ${owned(step.owned)}`;
    case "link":
      return `link ${step.name} -> ${step.to}${step.gid === undefined ? "" : ` gid ${step.gid}`}`;
    case "rename":
      return `rename ${step.from} -> ${step.to}`;
    case "unlink":
      return `unlink ${step.name}`;
  }
}

function owned({ mode, uid, gid }: Owned): string {
  const ids = (uid === undefined ? "" : ` uid ${uid}`) + (gid === undefined ? "" : ` gid ${gid}`);
  return mode.toString(8).padStart(4, "0") + ids;
}
