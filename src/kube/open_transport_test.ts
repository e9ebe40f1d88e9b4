import assert from "node:assert/strict";
import { openTransport } from "./open_transport.ts";

Deno.test("openTransport() says in krun's words that the CA's file does not exist", async () => {
  const source = { kind: "kubeconfig", where: "/k", context: "prod", cluster: "c" } as const;
  const config = { source, server: "https://api", ca: { file: "/nonexistent" }, user: {} };
  await assert.rejects(openTransport(config), {
    code: "CredentialsUnavailable",
    message: 'Cannot read certificate-authority "/nonexistent" of context "prod" in kubeconfig "/k": it does not exist',
  });
});
