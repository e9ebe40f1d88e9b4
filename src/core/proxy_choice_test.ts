import fc from "fast-check";
import assert from "node:assert/strict";
import { loadVectors } from "../../tests/vectors.ts";
import { KrunError } from "./errors.ts";
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

Deno.test("proxyFor() refuses a value that is no URL of a proxy, without its password, and only for a server that needs it", () => {
  const [server, other] = [new URL("https://api:6443"), new URL("http://api:8080")];
  for (const bad of ["not a url", "http://[::bad", "http://me:s3cr3t@", "me:s3cr3t@[::bad", "ftp://me:s3cr3t@proxy"]) {
    for (
      const [url, settings, name] of [[server, { httpsProxy: bad }, /"HTTPS_PROXY"/], [
        other,
        { httpProxy: bad },
        /"HTTP_PROXY"/,
      ]] as const
    ) {
      assert.throws(() => proxyFor(url, settings), (error) => {
        assert.ok(error instanceof KrunError && error.code === "SettingInvalid", bad);
        assert.match(error.message, name);
        assert.doesNotMatch(`${error.message} ${error.hint}`, /s3cr3t/);
        return true;
      });
    }
    assert.equal(proxyFor(other, { httpsProxy: bad }), undefined);
    assert.equal(proxyFor(server, { httpsProxy: bad, noProxy: "api" }), undefined);
    assert.equal(proxyFor(new URL("https://127.0.0.1"), { httpsProxy: bad }), undefined);
  }
  for (const good of ["http://p", "https://p:1", "socks5://p", "socks5h://p", "p", "me:pw@p:3128"]) {
    assert.ok(proxyFor(server, { httpsProxy: good })?.endsWith(good));
  }
});

Deno.test("proxySettings() takes capitals before small letters, and nothing that is empty", () => {
  const env = { HTTP_PROXY: "", http_proxy: "a", HTTPS_PROXY: "b", https_proxy: "c", no_proxy: "" };
  assert.deepEqual(proxySettings(env), { httpProxy: "a", httpsProxy: "b" });
  assert.deepEqual(proxySettings({ NO_PROXY: "*" }), { noProxy: "*" });
  const reference = { HTTPS_PROXY: "sm://p/proxy", https_proxy: "b", NO_PROXY: "$SecretKeyRef:/secrets/a/keys/b" };
  assert.deepEqual(proxySettings(reference), { httpsProxy: "b" }, "a reference is the program's");
});
