import assert from "node:assert/strict";
import fc from "fast-check";
import { loadVectors } from "../../tests/vectors.ts";
import { asksForMesh, type HostPort, hostPort, hostPortText } from "./mesh_settings.ts";
import type { Env } from "./pod_inputs.ts";
import { parseSettings } from "./settings.ts";

interface Input {
  readonly text: string;
  readonly defaultPort?: number;
}

for (const { id, why, input: { text, defaultPort }, expect } of loadVectors<Input, HostPort | null>("host_port")) {
  Deno.test(`hostPort() ${id}: ${why}`, () => assert.deepEqual(hostPort(text, defaultPort) ?? null, expect));
}

const port = fc.integer({ min: 1, max: 65_535 });

Deno.test("hostPort() gives back what hostPortText() was given", () => {
  const host = fc.oneof(fc.domain(), fc.ipV4(), fc.ipV6());
  fc.assert(fc.property(host, port, (host, port) => {
    assert.deepEqual(hostPort(hostPortText({ host, port })), { host, port });
  }));
});

Deno.test("hostPort() of any text is none, or one that hostPortText() writes so that it is read the same", () => {
  const text = fc.oneof(fc.string(), fc.stringMatching(/^[[\]a:.0-9]{0,12}$/));
  fc.assert(fc.property(text, port, (text, defaultPort) => {
    const found = hostPort(text, defaultPort);
    if (found === undefined) return;
    assert.deepEqual(hostPort(hostPortText(found)), found);
    assert.doesNotMatch(found.host, /[\s/?#@[\]]/);
  }));
});

Deno.test("asksForMesh() is true for what names a mesh or a mode, and not for what only says how one would be joined", () => {
  const asks = (env: Env) => asksForMesh(parseSettings(env).mesh);
  const asking: Env[] = [{ XDS_ADDR: "a:1" }, { MESH_MODE: "proxy" }, { MESH: "file:///mesh.env" }];
  const others: Env[] = [{}, { XDS_ADDR: "-" }, { MCON_ADDR: "a" }, { TRUST_DOMAIN: "a" }, { ISTIO_META_X: "1" }, {
    MESH_OPTIONAL: "true",
  }];
  assert.deepEqual(asking.map(asks), [true, true, true]);
  assert.deepEqual(others.map(asks), others.map(() => false));
});
