import assert from "node:assert/strict";
import { join } from "node:path";
import fc from "fast-check";
import { RecordingLog } from "../../tests/recording_log.ts";
import type { ClusterConfig, UserConfig } from "../core/cluster_config.ts";
import { KrunError } from "../core/errors.ts";
import { FileCredentials } from "./credentials.ts";
import { openCredentials } from "./open_credentials.ts";
import { requireSendable } from "./transport.ts";

function config(user: UserConfig): ClusterConfig {
  const source = { kind: "kubeconfig", where: "/k", context: "prod", cluster: "c", user: "ann" } as const;
  return { source, server: "https://api", ca: undefined, user };
}

/** A folder with files to change, and credentials whose clock the test moves. */
async function files(user: (folder: string) => UserConfig) {
  const folder = await Deno.makeTempDir();
  const log = new RecordingLog();
  const clock = { nowMs: 0 };
  return {
    log,
    clock,
    credentials: new FileCredentials(config(user(folder)), { log, elapsedMs: () => clock.nowMs }),
    write: (name: string, text: string) => Deno.writeTextFile(join(folder, name), text),
    remove: (name: string) => Deno.remove(join(folder, name)),
    [Symbol.asyncDispose]: () => Deno.remove(folder, { recursive: true }),
  };
}

Deno.test("FileCredentials.current() says what the user is: token, password, impersonation, each on lines of its own", async () => {
  const impersonate = { user: "bob", uid: "7", groups: ["g1", "g2"], extra: { "Example.com/Scope": ["a", "b"] } };
  const credentials = new FileCredentials(config({ token: "t0", impersonate }), { log: new RecordingLog() });
  assert.deepEqual((await credentials.current()).headers, [
    ["impersonate-user", "bob"],
    ["impersonate-uid", "7"],
    ["impersonate-group", "g1"],
    ["impersonate-group", "g2"],
    ["impersonate-extra-example.com%2fscope", "a"],
    ["impersonate-extra-example.com%2fscope", "b"],
    ["authorization", "Bearer t0"],
  ]);
  const basic = new FileCredentials(config({ basic: { username: "änn", password: "p:w" } }), {
    log: new RecordingLog(),
  });
  assert.deepEqual((await basic.current()).headers, [["authorization", "Basic w6RubjpwOnc="]]);
});

Deno.test("FileCredentials.current() reads a token file again after a second, and at once after a 401", async () => {
  await using given = await files((folder) => ({ tokenFile: join(folder, "token"), token: "not this one" }));
  const { credentials, clock, write } = given;
  const authorization = async () => String((await credentials.current()).headers);
  await write("token", "t1\n");
  assert.equal(await authorization(), "authorization,Bearer t1");
  await write("token", "t2\n");
  assert.equal(await authorization(), "authorization,Bearer t1");
  clock.nowMs = 1000;
  const used = await credentials.current();
  assert.equal(String(used.headers), "authorization,Bearer t2");
  assert.equal(await credentials.refused(used), false);
  await write("token", "t3\n");
  assert.equal(await credentials.refused(used), true);
  assert.equal(await authorization(), "authorization,Bearer t3");
});

Deno.test("FileCredentials.current() keeps the certificate's identity until its content changes", async () => {
  await using given = await files((folder) => ({
    certificate: { certificate: { file: join(folder, "crt") }, key: { pem: "KEY" } },
    tokenFile: join(folder, "token"),
  }));
  const { credentials, clock, write } = given;
  await write("crt", "CERT 1");
  await write("token", "t1");
  const first = await credentials.current();
  assert.deepEqual(first.certificate, { cert: "CERT 1", key: "KEY" });
  clock.nowMs += 1000;
  assert.equal(await credentials.current(), first);
  await write("token", "t2");
  clock.nowMs += 1000;
  assert.equal((await credentials.current()).certificate, first.certificate);
  await write("crt", "CERT 2");
  clock.nowMs += 1000;
  assert.deepEqual((await credentials.current()).certificate, { cert: "CERT 2", key: "KEY" });
});

Deno.test("FileCredentials.current() keeps what it read last when a file is gone, and warns without its content", async () => {
  await using given = await files((folder) => ({ tokenFile: join(folder, "token") }));
  const { credentials, clock, write, remove, log } = given;
  await write("token", "t0ps3cret");
  const first = await credentials.current();
  await remove("token");
  clock.nowMs = 1000;
  assert.equal(await credentials.current(), first);
  await write("token", " \n");
  clock.nowMs = 2000;
  assert.equal(await credentials.current(), first);
  assert.deepEqual(log.events, ["warn credentials cannot be read again", "warn credentials cannot be read again"]);
  assert.doesNotMatch(JSON.stringify(log.lines), /t0ps3cret/);
});

Deno.test("FileCredentials.current() is CredentialsUnavailable naming file, context and user when a file is missing", async () => {
  const credentials = new FileCredentials(config({ tokenFile: "/nowhere/token" }), { log: new RecordingLog() });
  await assert.rejects(credentials.current(), {
    code: "CredentialsUnavailable",
    message:
      'Cannot read the credentials of user "ann" of context "prod" in kubeconfig "/k": token file "/nowhere/token": it does not exist',
    hint: 'make token file "/nowhere/token" readable',
  });
});

Deno.test("openCredentials() refuses an auth-provider that nobody knows", async () => {
  const options = { log: new RecordingLog(), lifetime: new AbortController().signal };
  const user: UserConfig = { authProvider: { name: "openstack", config: {} } };
  await assert.rejects(openCredentials(config(user), options), { code: "KubeconfigInvalid", message: /"openstack"/ });
});

const SPLIT = "t0ps3\ncret";
const unsendable: readonly [string, UserConfig][] = [
  ["token", { token: SPLIT }],
  ["as", { impersonate: { user: SPLIT, groups: [], extra: {} } }],
  ["as-uid", { impersonate: { user: "a", uid: SPLIT, groups: [], extra: {} } }],
  ["as-groups", { impersonate: { user: "a", groups: ["g", SPLIT], extra: {} } }],
  ["as-user-extra", { impersonate: { user: "a", groups: [], extra: { k: [SPLIT] } } }],
];
for (const [field, user] of unsendable) {
  Deno.test(`FileCredentials.current() is CredentialsUnavailable when ${field} holds a line break, and does not tell it`, async () => {
    await assert.rejects(new FileCredentials(config(user), { log: new RecordingLog() }).current(), {
      code: "CredentialsUnavailable",
      message: 'Cannot read the credentials of user "ann" of context "prod" in kubeconfig "/k": ' +
        `${field}: it holds a line break, which no HTTP header can carry`,
      hint: `write ${field} again, as plain text on one line`,
      transient: false,
      cause: undefined,
    });
  });
}

Deno.test("FileCredentials.current() keeps the token before when its file is wrapped over two lines, and does not tell it", async () => {
  await using given = await files((folder) => ({ tokenFile: join(folder, "token") }));
  const { credentials, clock, write, log } = given;
  await write("token", SPLIT);
  await assert.rejects(credentials.current(), (error: KrunError) => {
    assert.equal(error.code, "CredentialsUnavailable");
    assert.match(error.message, /user "ann" .*: token file "\/.*\/token": it holds a line break/);
    assert.doesNotMatch(error.message + error.hint, /t0ps3|cret/);
    return true;
  });
  await write("token", "good\r\n");
  const first = await credentials.current();
  assert.equal(String(first.headers), "authorization,Bearer good");
  await write("token", SPLIT);
  clock.nowMs = 1000;
  assert.equal(await credentials.current(), first);
  assert.deepEqual(log.events, ["warn credentials cannot be read again"]);
  assert.doesNotMatch(JSON.stringify(log.lines), /t0ps3/);
});

Deno.test("FileCredentials.current() gives what can be sent, or an error without it, whatever the user is", async () => {
  const secret = fc.string({ unit: "binary" }).map((text) => `t0ps3${text}cret`);
  const user = fc.record({ token: secret, user: secret, key: fc.string({ unit: "binary" }), value: secret });
  await fc.assert(fc.asyncProperty(user, async ({ token, user, key, value }) => {
    const impersonate = { user, groups: [value], extra: { [key]: [value] } };
    try {
      const given = new FileCredentials(config({ token, impersonate }), { log: new RecordingLog() });
      requireSendable((await given.current()).headers);
    } catch (error) {
      assert(error instanceof KrunError && error.code === "CredentialsUnavailable", `${error}`);
      assert.doesNotMatch(error.message + error.hint + error.cause, /t0ps3|cret/);
    }
  }));
});

Deno.test("FileCredentials.current() encodes every key of as-user-extra as a header's name can hold it", async () => {
  const impersonate = { user: "bob", groups: [], extra: { "a (b)/é": ["v"] } };
  const { headers } = await new FileCredentials(config({ impersonate }), { log: new RecordingLog() }).current();
  assert.deepEqual(headers[1], ["impersonate-extra-a%20%28b%29%2f%c3%a9", "v"]);
  requireSendable(headers);
});
