import assert from "node:assert/strict";
import { ownNetwork, type ProcessEnv, refuseKeyLog } from "./own_network.ts";

function env(variables: Record<string, string>): ProcessEnv {
  return {
    toObject: () => ({ ...variables }),
    delete: (name) => void delete variables[name],
    set: (name, value) => void (variables[name] = value),
  };
}

Deno.test("ownNetwork() takes every variable of proxies and CAs out, and leaves all others", () => {
  const variables: Record<string, string> = {
    http_proxy: "a",
    HTTPS_PROXY: "b",
    All_Proxy: "c",
    no_proxy: "d",
    DENO_CERT: "e",
    NODE_EXTRA_CA_CERTS: "f",
    DENO_TLS_CA_STORE: "system",
    MY_PROXY: "kept",
    SSL_CERT_FILE: "kept",
  };
  ownNetwork(env(variables));
  assert.deepEqual(variables, { MY_PROXY: "kept", SSL_CERT_FILE: "kept", DENO_TLS_CA_STORE: "" });
});

Deno.test("refuseKeyLog() refuses what would have the keys of connections written down, and says nothing of anything else", () => {
  assert.throws(() => refuseKeyLog({ SSLKEYLOGFILE: "/tmp/keys" }), { code: "SettingConflict" });
  refuseKeyLog({ SSLKEYLOGFILE: "", SSL_CERT_FILE: "/ca" });
});
