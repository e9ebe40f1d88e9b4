import assert from "node:assert/strict";
import { isBlockedPort } from "./blocked_ports.ts";

Deno.test("isBlockedPort() says yes of every port that this runtime's fetch refuses, and of none that an API server has", async () => {
  const blocked = Array.from({ length: 65535 }, (_, index) => index + 1).filter(isBlockedPort);
  assert.ok(blocked.length > 70);
  for (const port of blocked) {
    await assert.rejects(fetch(`http://127.0.0.1:${port}`), new RegExp(`port ${port} are blocked`));
  }
  for (const port of [80, 443, 6443, 8001, 8080, 8443, 16443, 10250]) assert.equal(isBlockedPort(port), false);
});
