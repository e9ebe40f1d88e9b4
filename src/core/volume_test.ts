import assert from "node:assert/strict";
import type { V1Pod, V1Volume } from "@kubernetes/client-node";
import { loadVectors } from "../../tests/vectors.ts";
import type { TokenRef, WatchedObject } from "./cluster.ts";
import { KrunError } from "./errors.ts";
import type { Payload } from "./payload.ts";
import type { Needs, PodInputs } from "./pod_inputs.ts";
import { volumeNeeds, volumePayload } from "./volume.ts";

interface Input {
  readonly volume: V1Volume;
  readonly pod: V1Pod;
  /** `Kind/name` → object. */
  readonly objects?: Readonly<Record<string, WatchedObject>>;
  readonly tokens?: readonly { readonly ref: TokenRef; readonly token: string }[];
}

interface ExpectedFile {
  readonly text?: string;
  readonly base64?: string;
  readonly mode: string;
  readonly uid?: number;
}

interface Expect {
  readonly needs?: Needs;
  readonly files?: Readonly<Record<string, ExpectedFile>>;
  readonly error?: string;
  /** Part of the message. */
  readonly says?: string;
  /** Parts of the lines of details. */
  readonly details?: readonly string[];
}

for (const { id, why, input, expect } of loadVectors<Input, Expect>("volume_payload")) {
  Deno.test(`volumePayload() ${id}: ${why}`, () => {
    const { volume, pod } = input;
    if (expect.needs !== undefined) assert.deepEqual(volumeNeeds(volume, pod), expect.needs);
    if (expect.error === undefined) {
      assert.deepEqual(spelt(volumePayload(volume, { pod, inputs: inputsOf(input) })), canonical(expect.files ?? {}));
      return;
    }
    assert.throws(() => {
      volumeNeeds(volume, pod);
      volumePayload(volume, { pod, inputs: inputsOf(input) });
    }, (error) => {
      assert.ok(error instanceof KrunError);
      assert.equal(error.code, expect.error);
      assert.ok(error.message.includes(expect.says ?? ""), error.message);
      for (const part of expect.details ?? []) assert.ok((error.details ?? "").includes(part), part);
      assert.ok(!JSON.stringify([error.message, error.details, error.cause]).includes("hunter2"));
      return true;
    });
  });
}

function inputsOf({ objects = {}, tokens = [] }: Input): PodInputs {
  return {
    object: (kind, name) => objects[`${kind}/${name}`],
    token: (ref) => {
      const found = tokens.find((each) => JSON.stringify(each.ref) === JSON.stringify(ref));
      assert.ok(found, `no token for ${JSON.stringify(ref)}`);
      return { token: found.token, issuedAtMs: 0, expiresAtMs: 0 };
    },
    services: [],
    node: { name: "n", ips: ["10.0.0.1"], allocatable: { cpu: "2", memory: "1Gi" } },
  };
}

function spelt(payload: Payload): Record<string, ExpectedFile> {
  return Object.fromEntries(
    [...payload].map(([path, { bytes, mode, uid }]) => [path, {
      base64: bytes.toBase64(),
      mode: mode.toString(8).padStart(4, "0"),
      ...(uid === undefined ? {} : { uid }),
    }]),
  );
}

function canonical(files: Readonly<Record<string, ExpectedFile>>): Record<string, ExpectedFile> {
  return Object.fromEntries(
    Object.entries(files).map(([path, { text, ...file }]) => [
      path,
      text === undefined ? file : { base64: new TextEncoder().encode(text).toBase64(), ...file },
    ]),
  );
}
