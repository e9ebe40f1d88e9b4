import assert from "node:assert/strict";
import { join } from "node:path";
import { RecordingLog } from "../../tests/recording_log.ts";
import type { ClusterConfig, ExecConfig } from "../core/cluster_config.ts";
import { FileCredentials } from "./credentials.ts";
import { ExecCredentials } from "./exec_credentials.ts";

const API = "client.authentication.k8s.io/v1";
const source = { kind: "kubeconfig", where: "/k", context: "prod", cluster: "c", user: "ann" } as const;

/** A plugin that prints `answer`, and notes its arguments and KUBERNETES_EXEC_INFO in a file, once a run. */
class Plugin implements AsyncDisposable {
  readonly lifetime = new AbortController();
  nowMs = 0;

  private constructor(readonly folder: string) {}

  static async create(): Promise<Plugin> {
    const plugin = new Plugin(await Deno.makeTempDir());
    const script =
      '#!/bin/sh\ncd "$(dirname "$0")"\necho "$* ${EXTRA-} $KUBERNETES_EXEC_INFO" >> runs\ncat answer\nexit $(cat status)\n';
    await Deno.writeTextFile(join(plugin.folder, "plugin"), script, { mode: 0o755 });
    await plugin.answers({});
    return plugin;
  }

  async answers(status: unknown, { exit = 0, apiVersion = API, text = "" } = {}): Promise<void> {
    const answer = text || JSON.stringify({ kind: "ExecCredential", apiVersion, status });
    await Deno.writeTextFile(join(this.folder, "answer"), answer);
    await Deno.writeTextFile(join(this.folder, "status"), `${exit}`);
  }

  async runs(): Promise<string[]> {
    return (await Deno.readTextFile(join(this.folder, "runs"))).trimEnd().split("\n");
  }

  credentials(
    change: Partial<ExecConfig> = {},
    cluster: Partial<ClusterConfig> = {},
    env?: Record<string, string>,
  ): ExecCredentials {
    const exec: ExecConfig = {
      apiVersion: API,
      command: join(this.folder, "plugin"),
      args: ["get", "a token"],
      env: { EXTRA: "extra" },
      interactiveMode: "IfAvailable",
      provideClusterInfo: false,
      ...change,
    };
    const log = new RecordingLog();
    const config: ClusterConfig = { source, server: "https://api", ca: undefined, user: { exec }, ...cluster };
    const own = new FileCredentials(config, { log });
    return new ExecCredentials(config, {
      exec,
      own,
      log,
      lifetime: this.lifetime.signal,
      nowMs: () => this.nowMs,
      env,
    });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Deno.remove(this.folder, { recursive: true });
  }
}

Deno.test("ExecCredentials.current() runs the plugin once for all who ask, and keeps its token until it expires", async () => {
  await using plugin = await Plugin.create();
  await plugin.answers({ token: "t1", expirationTimestamp: "1970-01-01T00:01:00Z" });
  const credentials = plugin.credentials();
  const [first, second] = await Promise.all([credentials.current(), credentials.current()]);
  assert.deepEqual(first.headers, [["authorization", "Bearer t1"]]);
  assert.equal(first, second);
  plugin.nowMs = 59_999;
  assert.equal(await credentials.current(), first);
  assert.deepEqual(await plugin.runs(), [
    'get a token extra {"kind":"ExecCredential","apiVersion":"client.authentication.k8s.io/v1","spec":{"interactive":false}}',
  ]);
  plugin.nowMs = 60_000;
  await plugin.answers({ token: "t2" });
  assert.deepEqual((await credentials.current()).headers, [["authorization", "Bearer t2"]]);
  plugin.nowMs = 1e15;
  await credentials.current();
  assert.equal((await plugin.runs()).length, 2);
});

Deno.test("ExecCredentials.refused() runs the plugin again, unless somebody else has", async () => {
  await using plugin = await Plugin.create();
  await plugin.answers({ token: "t1" });
  const credentials = plugin.credentials();
  const used = await credentials.current();
  await plugin.answers({ token: "t2" });
  assert.equal(await credentials.refused(used), true);
  assert.equal(await credentials.refused(used), true);
  assert.equal((await plugin.runs()).length, 2);
});

Deno.test("ExecCredentials.current() takes a certificate, and tells the plugin of the cluster when it wants that", async () => {
  await using plugin = await Plugin.create();
  await plugin.answers({ clientCertificateData: "CERT", clientKeyData: "KEY" }, { apiVersion: `${API}beta1` });
  const credentials = plugin.credentials(
    { apiVersion: `${API}beta1`, provideClusterInfo: true, clusterConfig: { audience: "x" } },
    { ca: { pem: "CA" }, tlsServerName: "name", proxyUrl: "http://proxy" },
  );
  assert.deepEqual(await credentials.current(), { headers: [], certificate: { cert: "CERT", key: "KEY" } });
  const [run = ""] = await plugin.runs();
  assert.deepEqual(JSON.parse(run.slice(run.indexOf("{"))), {
    kind: "ExecCredential",
    apiVersion: `${API}beta1`,
    spec: {
      cluster: {
        "server": "https://api",
        "tls-server-name": "name",
        "certificate-authority-data": "Q0E=",
        "proxy-url": "http://proxy",
        "config": { audience: "x" },
      },
      interactive: false,
    },
  });
});

const faults = [
  {
    when: "it ends with another status than 0",
    answer: { token: "t0ps3cret" },
    options: { exit: 3 },
    says: "it ended with status 3",
  },
  { when: "it prints no JSON", answer: {}, options: { text: "t0ps3cret" }, says: "not JSON" },
  { when: "it prints something else", answer: {}, options: { text: '{"kind":"Secret"}' }, says: "no ExecCredential" },
  { when: "it prints null", answer: {}, options: { text: "null" }, says: "no ExecCredential" },
  {
    when: "it speaks another version",
    answer: { token: "t0ps3cret" },
    options: { apiVersion: "v9" },
    says: "it speaks v9",
  },
  { when: "it has no status", answer: undefined, options: {}, says: "no status" },
  { when: "it has neither token nor certificate", answer: {}, options: {}, says: "neither a token nor a certificate" },
  {
    when: "its token is wrapped over two lines",
    answer: { token: "t0ps3cret\nt0ps3cret" },
    options: {},
    says: "the token it gave cannot be sent: it holds a line break, which no HTTP header can carry",
  },
  { when: "it has half a key pair", answer: { clientKeyData: "t0ps3cret" }, options: {}, says: "not both" },
  {
    when: "its time is none",
    answer: { token: "t0ps3cret", expirationTimestamp: "soon" },
    options: {},
    says: "not a time",
  },
];
for (const { when, answer, options, says } of faults) {
  Deno.test(`ExecCredentials.current() is CredentialsUnavailable when ${when}`, async () => {
    await using plugin = await Plugin.create();
    await plugin.answers(answer, options);
    await assert.rejects(plugin.credentials().current(), (error: { code: string; message: string; hint: string }) => {
      assert.equal(error.code, "CredentialsUnavailable");
      assert.ok(error.message.includes(says), error.message);
      assert.ok(error.message.includes('user "ann" of context "prod" in kubeconfig "/k"'), error.message);
      assert.doesNotMatch(error.message + error.hint, /t0ps3cret/);
      return true;
    });
  });
}

Deno.test("ExecCredentials.current() hints at how to install a plugin that does not exist", async () => {
  await using plugin = await Plugin.create();
  const credentials = plugin.credentials({ command: "krun-no-such-plugin", installHint: "Install it\n  with care" });
  await assert.rejects(credentials.current(), {
    code: "CredentialsUnavailable",
    message: /plugin "krun-no-such-plugin" .*: the program does not exist$/,
    hint: "Install it with care",
  });
});

Deno.test("ExecCredentials.current() gives no plugin the terminal", async () => {
  await using plugin = await Plugin.create();
  await assert.rejects(plugin.credentials({ interactiveMode: "Always" }).current(), {
    code: "CredentialsUnavailable",
    message: /terminal/,
  });
});

Deno.test("ExecCredentials.current() can be given up by one who asks, while the plugin runs on for the others", async () => {
  await using plugin = await Plugin.create();
  await plugin.answers({ token: "t1" });
  const credentials = plugin.credentials();
  const stop = new AbortController();
  const given = credentials.current(stop.signal);
  const other = credentials.current();
  stop.abort(new Error("enough"));
  await assert.rejects(given, { message: "enough" });
  assert.deepEqual((await other).headers, [["authorization", "Bearer t1"]]);
});

Deno.test("ExecCredentials.current() ends a plugin that hangs when the cluster is closed", async () => {
  await using plugin = await Plugin.create();
  await Deno.writeTextFile(join(plugin.folder, "plugin"), "#!/bin/sh\nexec sleep 600\n");
  const given = plugin.credentials().current();
  const rejected = assert.rejects(given);
  plugin.lifetime.abort();
  await rejected;
});

Deno.test("ExecCredentials hands no variable on that Deno would change: one that is no UTF-8", async () => {
  await using plugin = await Plugin.create();
  await plugin.answers({ token: "t" });
  const env = { PATH: "/usr/bin:/bin", KEPT: "é", ODD: "a\udcff", "N\udcfe": "b" };
  const script = join(plugin.folder, "noting");
  await Deno.writeTextFile(script, '#!/bin/sh\nenv > "$(dirname "$0")/env"\ncat "$(dirname "$0")/answer"\n', {
    mode: 0o755,
  });
  await plugin.credentials({ command: script }, {}, env).current();
  const seen = await Deno.readTextFile(join(plugin.folder, "env"));
  assert.match(seen, /^KEPT=é$/m);
  assert.doesNotMatch(seen, /ODD|\ufffd/);
});
