import assert from "node:assert/strict";
import { NativeTransport } from "./native_transport.ts";
import { NodeTransport } from "./node_transport.ts";
import { openTransport } from "./open_transport.ts";

Deno.test("openTransport() says in krun's words that the CA's file does not exist", async () => {
  const source = { kind: "kubeconfig", where: "/k", context: "prod", cluster: "c" } as const;
  const config = { source, server: "https://api", ca: { file: "/nonexistent" }, user: {} };
  await assert.rejects(openTransport(config), {
    code: "CredentialsUnavailable",
    message: 'Cannot read certificate-authority "/nonexistent" of context "prod" in kubeconfig "/k": it does not exist',
  });
});

for (
  const [server, expected] of [
    ["https://api", NativeTransport],
    ["https://api:6443", NativeTransport],
    ["https://api:6000", NodeTransport],
  ] as const
) {
  Deno.test(`openTransport() reaches ${server} by ${expected.name}: fetch, unless it refuses the port`, async () => {
    const source = { kind: "kubeconfig", where: "/k", context: "prod", cluster: "c" } as const;
    const { transport } = await openTransport({ source, server, ca: undefined, user: {} });
    await using _ = transport;
    assert.ok(transport instanceof expected, transport.constructor.name);
  });
}
