import assert from "node:assert/strict";
import fc from "fast-check";
import { envoyListeners } from "./envoy_listeners.ts";

Deno.test("envoyListeners() gives every address with a port", () => {
  // As Envoy 1.40 writes it.
  const answer = {
    listener_statuses: [
      { name: "127.0.0.1_9000", local_address: { socket_address: { address: "127.0.0.1", port_value: 9000 } } },
      { name: "web", local_address: { socket_address: { address: "::", port_value: 8080 } } },
      { name: "unix", local_address: { pipe: { path: "/x" } } },
    ],
  };
  assert.deepEqual(envoyListeners(JSON.stringify(answer)), [{ host: "127.0.0.1", port: 9000 }, {
    host: "::",
    port: 8080,
  }]);
});

Deno.test("envoyListeners() never throws, whatever the answer is", () => {
  fc.assert(fc.property(fc.oneof(fc.string(), fc.json()), (text) => assert.ok(Array.isArray(envoyListeners(text)))));
});
