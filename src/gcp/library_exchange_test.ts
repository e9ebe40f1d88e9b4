import assert from "node:assert/strict";
import type { CallAnswer } from "../kube/transport.ts";
import { GoogleHttp, type RawCall } from "./google_http.ts";
import { LibraryExchange } from "./library_exchange.ts";

/** Remembers what it was asked. */
class RecordingHttp extends GoogleHttp {
  readonly asked: (RawCall & { readonly url: string })[] = [];

  override raw(url: URL, call: RawCall): Promise<CallAnswer> {
    this.asked.push({ ...call, url: url.href });
    return Promise.resolve({ status: 200, text: "{}", header: () => undefined });
  }
}

function trial(http: GoogleHttp, deadlineMs = Date.now() + 60_000) {
  return new LibraryExchange({ http, what: 'use "/k.json"', identity: "the account of /k.json", deadlineMs });
}

Deno.test("LibraryExchange sends credentials to Google's hosts alone, and asks anybody else", async () => {
  const http = new RecordingHttp();
  const exchange = trial(http);
  const body = new URLSearchParams({ subject_token: "s3cret" });
  for (
    const url of [
      "https://sts.evil.example/v1/token",
      "https://googleapis.com.evil.example/",
      "https://sts.googleapis.com:8443/v1/token",
      "http://sts.googleapis.com/v1/token",
      "http://127.0.0.1/token",
    ]
  ) {
    await assert.rejects(exchange.fetch(url, { method: "post", body }), { code: "GoogleCredentialsInvalid" }, url);
  }
  for (const url of ["https://sts.googleapis.com/v1/token", "http://127.0.0.1/latest/api/token"]) {
    await assert.rejects(exchange.fetch(url, { method: "PUT", body: "s3cret" }), { code: "GoogleCredentialsInvalid" });
  }
  assert.deepEqual(http.asked, []);
  await exchange.fetch("https://sts.googleapis.com/v1/token", { method: "POST", body });
  await exchange.fetch("https://ci.example/token", { headers: { authorization: "Bearer ci" } });
  await exchange.fetch("http://169.254.169.254/latest/api/token", { method: "PUT", headers: { ttl: "300" } });
  assert.deepEqual(http.asked.map(({ method, body }) => [method, body]), [
    ["POST", "subject_token=s3cret"],
    ["GET", undefined],
    ["PUT", undefined],
  ]);
});

Deno.test("LibraryExchange keeps why a request failed in krun's words, quoting nobody but Google", async () => {
  await using server = Deno.serve({ hostname: "127.0.0.1", port: 0, onListen() {} }, () => {
    return Response.json({ error: "denied", error_description: "s3cret" }, { status: 403 });
  });
  await using http = new GoogleHttp();
  const exchange = trial(http);
  await assert.rejects(exchange.fetch(`http://127.0.0.1:${server.addr.port}/`), (error) => error === exchange.failure);
  assert.match(exchange.failure!.message, /^Cannot use "\/k\.json" at 127\.0\.0\.1:\d+: 403$/);
});

Deno.test("LibraryExchange tries nothing more when there is no time left", async () => {
  let asked = 0;
  await using server = Deno.serve({ hostname: "127.0.0.1", port: 0, onListen() {} }, () => {
    asked++;
    return new Response("", { status: 503 });
  });
  await using http = new GoogleHttp();
  const exchange = trial(http, 0);
  for (let i = 0; i < 3; i++) await assert.rejects(exchange.fetch(`http://127.0.0.1:${server.addr.port}/`), /: 503$/);
  assert.equal(asked, 1);
});
