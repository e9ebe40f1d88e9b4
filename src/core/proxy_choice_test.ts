import fc from "fast-check";
import assert from "node:assert/strict";
import { loadVectors } from "../../tests/vectors.ts";
import { proxyFor, type ProxySettings, proxySettings } from "./proxy_choice.ts";

for (
  const { id, why, input, expect } of loadVectors<{ server: string; settings: ProxySettings }, string | null>(
    "proxy_choice",
  )
) {
  Deno.test(`proxyFor() ${id}: ${why}`, () => {
    assert.equal(proxyFor(new URL(input.server), input.settings) ?? null, expect);
  });
}

Deno.test("proxyFor() never throws, whatever NO_PROXY holds", () => {
  fc.assert(
    fc.property(fc.webUrl({ validSchemes: ["http", "https"] }), fc.string({ unit: "binary" }), (url, noProxy) => {
      proxyFor(new URL(url), { httpProxy: "p", httpsProxy: "p", noProxy });
      proxyFor(new URL("https://[fd00::1]/"), { httpsProxy: "p", noProxy: noProxy.replaceAll("a", "::/") });
    }),
  );
});

Deno.test("proxySettings() takes capitals before small letters, and nothing that is empty", () => {
  const env = { HTTP_PROXY: "", http_proxy: "a", HTTPS_PROXY: "b", https_proxy: "c", no_proxy: "" };
  assert.deepEqual(proxySettings(env), { httpProxy: "a", httpsProxy: "b" });
  assert.deepEqual(proxySettings({ NO_PROXY: "*" }), { noProxy: "*" });
});
