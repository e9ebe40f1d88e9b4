import assert from "node:assert/strict";
import { meshNoProxy } from "./no_proxy.ts";

const ALWAYS = "127.0.0.1,localhost,::1,169.254.169.254,metadata.google.internal,.googleapis.com";

Deno.test("meshNoProxy() always holds loopback, the metadata server, Google's API and the API server", () => {
  assert.equal(meshNoProxy(undefined, undefined), ALWAYS);
  assert.equal(meshNoProxy(undefined, "https://10.0.0.1:6443/prefix"), `${ALWAYS},10.0.0.1`);
  assert.equal(meshNoProxy("", "https://[fd00::1]:443"), `${ALWAYS},fd00::1`);
});

Deno.test("meshNoProxy() keeps what was set before, each entry once", () => {
  const before = "corp.example, localhost,,10.0.0.0/8,10.0.0.1";
  assert.equal(meshNoProxy(before, "https://10.0.0.1"), `${ALWAYS},10.0.0.1,corp.example,10.0.0.0/8`);
});
