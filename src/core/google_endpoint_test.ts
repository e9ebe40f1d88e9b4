import assert from "node:assert/strict";
import fc from "fast-check";
import { googleHost, isGoogleUrl, isLocalHost } from "./google_endpoint.ts";

Deno.test("isGoogleUrl() holds for no URL that leads anywhere else, however it is written", () => {
  const host = fc.oneof(fc.domain(), fc.constantFrom("sts.googleapis.com", "googleapis.com", "accounts.google.com"));
  const part = fc.constantFrom("", "@", ".", "/", "#", "?", "\\", ":", "%2e", "evil.example");
  const text = fc.tuple(fc.constantFrom("https://", "http://", "HTTPS://", "//"), part, host, part, host, part).map((
    all,
  ) => all.join(""));
  fc.assert(fc.property(text, (url) => {
    if (!isGoogleUrl(url)) return;
    const { hostname, protocol, port } = new URL(url);
    assert.ok(
      /(^|\.)googleapis\.com$|^accounts\.google\.com$/.test(hostname) && protocol === "https:" && port === "",
      url,
    );
  }));
  for (
    const url of [
      "https://sts.googleapis.com/v1/token",
      "https://accounts.google.com/o/oauth2/token",
      "https://sts.us-east1.rep.googleapis.com/",
    ]
  ) {
    assert.ok(isGoogleUrl(url), url);
  }
});

Deno.test("googleHost() takes names below googleapis.com alone", () => {
  assert.equal(googleHost("secretmanager.us-east1.rep.googleapis.com"), "secretmanager.us-east1.rep.googleapis.com");
  for (
    const host of [
      "googleapis.com",
      ".googleapis.com",
      "a..googleapis.com",
      "a.googleapis.com.",
      "A.googleapis.com",
      "a.googleapis.com:443",
    ]
  ) {
    assert.equal(googleHost(host), undefined, host);
  }
});

Deno.test("isLocalHost() holds for this machine and its link", () => {
  for (
    const host of [
      "localhost",
      "127.0.0.1",
      "127.9.9.9",
      "[::1]",
      "169.254.169.254",
      "metadata.google.internal.",
      "[fe80::1]",
      "[fd00:ec2::254]",
    ]
  ) {
    assert.ok(isLocalHost(host), host);
  }
  for (
    const host of ["128.0.0.1", "169.255.0.1", "localhost.example", "metadata.google.internal.example", "10.0.0.1"]
  ) {
    assert.equal(isLocalHost(host), false, host);
  }
});
