import assert from "node:assert/strict";
import { join } from "node:path";
import { RecordingLog } from "../../tests/recording_log.ts";
import type { ClusterConfig } from "../core/cluster_config.ts";
import { AuthProviderCredentials } from "./auth_provider_credentials.ts";
import { FileCredentials } from "./credentials.ts";

function credentials(config: Record<string, string>, name = "gcp"): AuthProviderCredentials {
  const source = { kind: "kubeconfig", where: "/k", context: "prod", cluster: "c", user: "ann" } as const;
  const provider = { name, config };
  const cluster: ClusterConfig = { source, server: "https://api", ca: undefined, user: { authProvider: provider } };
  return new AuthProviderCredentials(cluster, {
    provider,
    own: new FileCredentials(cluster, { log: new RecordingLog() }),
  });
}

Deno.test("AuthProviderCredentials.current() uses the access token of the kubeconfig while it lives", async () => {
  const config = { "access-token": "t1", "expiry": new Date(Date.now() + 60_000).toISOString() };
  const given = credentials(config);
  assert.deepEqual((await given.current()).headers, [["authorization", "Bearer t1"]]);
  assert.equal(await given.refused(await given.current()), false);
});

Deno.test("AuthProviderCredentials.current() runs cmd-path for a token that expired or was refused", async () => {
  const folder = await Deno.makeTempDir();
  try {
    const answer = (token: string) =>
      JSON.stringify({ credential: { access_token: token, token_expiry: "2999-01-01T00:00:00Z" } });
    const config = {
      "access-token": "old",
      "expiry": "2001-01-01T00:00:00Z",
      "cmd-path": "/bin/cat",
      "cmd-args": join(folder, "answer"),
      "token-key": "{.credential.access_token}",
      "expiry-key": "{.credential.token_expiry}",
    };
    await Deno.writeTextFile(join(folder, "answer"), answer("t1"));
    const given = credentials(config);
    const first = await given.current();
    assert.deepEqual(first.headers, [["authorization", "Bearer t1"]]);
    await Deno.writeTextFile(join(folder, "answer"), answer("t2"));
    assert.equal(await given.current(), first);
    assert.equal(await given.refused(first), true);
    assert.deepEqual((await given.current()).headers, [["authorization", "Bearer t2"]]);
    assert.equal(config.expiry, "2001-01-01T00:00:00Z");
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
});

Deno.test("AuthProviderCredentials.current() is CredentialsUnavailable when the provider has no token and no command", async () => {
  await assert.rejects(credentials({}).current(), {
    code: "CredentialsUnavailable",
    message: /^Cannot get a token from auth-provider "gcp" for user "ann" of context "prod" in kubeconfig "\/k"/,
  });
});

Deno.test("AuthProviderCredentials.current() does not tell a token that no header can carry", async () => {
  const config = { "access-token": "t0ps3\ncret", "expiry": new Date(Date.now() + 60_000).toISOString() };
  await assert.rejects(credentials(config).current(), (error: Error & { code?: string }) => {
    assert.equal(error.code, "CredentialsUnavailable");
    assert.match(error.message, /: the token it gave cannot be sent: it holds a line break/);
    assert.doesNotMatch(`${error.message} ${error.cause}`, /t0ps3|cret/);
    return true;
  });
});
