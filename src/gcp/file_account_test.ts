import assert from "node:assert/strict";
import { KrunError } from "../core/errors.ts";
import { CLOUD_PLATFORM } from "../core/google_token.ts";
import type { CallAnswer } from "../kube/transport.ts";
import { FileAccount } from "./file_account.ts";
import { GoogleHttp, type RawCall } from "./google_http.ts";

const ACCESS = { kind: "access", scopes: [CLOUD_PLATFORM] } as const;

/** Google's hosts are here; what is on this machine is asked. */
class HalfHttp extends GoogleHttp {
  readonly sent: string[] = [];

  override async raw(url: URL, call: RawCall): Promise<CallAnswer> {
    if (!url.hostname.endsWith(".googleapis.com")) return await super.raw(url, call);
    this.sent.push(call.body ?? "");
    const text = JSON.stringify({ access_token: "federated", expires_in: 3600, token_type: "Bearer" });
    return { status: 200, text, header: () => "application/json" };
  }
}

function account(http: GoogleHttp, credential_source: unknown, more: Record<string, unknown> = {}): FileAccount {
  const text = JSON.stringify({
    type: "external_account",
    audience: "//iam.googleapis.com/projects/1/locations/global/workloadIdentityPools/a/providers/b",
    subject_token_type: "urn:ietf:params:oauth:token-type:jwt",
    token_url: "https://sts.googleapis.com/v1/token",
    credential_source,
    ...more,
  });
  return new FileAccount({ file: "/c.json", http, files: { text: () => Promise.resolve(text), textSync: () => text } });
}

async function fault(action: Promise<unknown>): Promise<KrunError> {
  const error = await action.then(() => assert.fail("nothing failed"), (error) => error);
  assert.ok(error instanceof KrunError, String(error));
  return error;
}

Deno.test("FileAccount proves an AWS machine by its metadata server, which wants a PUT first (IMDSv2)", async () => {
  const asked: string[] = [];
  await using server = Deno.serve({ hostname: "127.0.0.1", port: 0, onListen() {} }, ({ method, url, headers }) => {
    const { pathname } = new URL(url);
    asked.push(`${method} ${pathname}`);
    if (method === "PUT") {
      const isRight = pathname === "/latest/api/token" && headers.has("x-aws-ec2-metadata-token-ttl-seconds");
      return new Response("session", { status: isRight ? 200 : 400 });
    }
    if (method !== "GET" || headers.get("x-aws-ec2-metadata-token") !== "session") {
      return new Response("", { status: 401 });
    }
    if (pathname === "/region") return new Response("us-east-2b");
    if (pathname === "/credentials") return new Response("role");
    return Response.json({ AccessKeyId: "AKID", SecretAccessKey: "s3cret", Token: "t0ken" });
  });
  const at = `http://127.0.0.1:${server.addr.port}`;
  await using http = new HalfHttp();
  const source = {
    environment_id: "aws1",
    region_url: `${at}/region`,
    url: `${at}/credentials`,
    imdsv2_session_token_url: `${at}/latest/api/token`,
    regional_cred_verification_url: "https://sts.{region}.amazonaws.com?Action=GetCallerIdentity&Version=2011-06-15",
  };
  const aws = account(http, source, { subject_token_type: "urn:ietf:params:aws:token-type:aws4_request" });
  assert.equal((await aws.token(ACCESS, {})).token, "federated");
  assert.ok(asked.includes("PUT /latest/api/token"));
  const subject = decodeURIComponent(new URLSearchParams(http.sent[0]).get("subject_token") ?? "");
  assert.match(subject, /sts\.us-east-2\.amazonaws\.com/);
  assert.doesNotMatch(subject, /s3cret/);
});

Deno.test("FileAccount quotes nothing of a subject's file that is not what it should be", async () => {
  const path = await Deno.makeTempFile();
  await Deno.writeTextFile(path, "s3cret.subject.token");
  await using http = new HalfHttp();
  const json = { type: "json", subject_token_field_name: "value" };
  for (
    const [source, says] of [
      [{ file: path, format: json }, "is not the JSON that its format says"],
      [{ file: `${path}.s3cret` }, "cannot be read from the file"],
      [{ executable: { command: "/bin/s3cret" } }, "GOOGLE_EXTERNAL_ACCOUNT_ALLOW_EXECUTABLES=1"],
    ] as const
  ) {
    const error = await fault(account(http, source).token(ACCESS, {}));
    assert.equal(error.code, "GoogleCredentialsUnavailable");
    assert.ok(error.message.includes(says), error.message);
    assert.doesNotMatch(`${error.message}${error.hint}${error.details}${error.cause}`, /s3cret/);
  }
  await Deno.remove(path);
});

Deno.test("FileAccount ends at the deadline, whatever it waits for", async () => {
  const end = Promise.withResolvers<void>();
  await using server = Deno.serve({ hostname: "127.0.0.1", port: 0, onListen() {} }, async () => {
    await end.promise;
    return new Response("late");
  });
  await using http = new HalfHttp();
  const from = performance.now();
  const hanging = account(http, { url: `http://127.0.0.1:${server.addr.port}/` });
  const error = await fault(hanging.token(ACCESS, { deadlineMs: Date.now() + 100 }));
  // One answer may take 20 s, and the library would ask three times.
  assert.ok(performance.now() - from < 15_000);
  assert.match(error.message, /at 127\.0\.0\.1:\d+: no answer within \d+ ms/);
  assert.equal(error.transient, true);
  end.resolve();
});
