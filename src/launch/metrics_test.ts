import assert from "node:assert/strict";
import { METRICS, metricsText, type RunState } from "./metrics.ts";

const STATE: RunState = {
  mounts: {
    volumes: [{
      volume: "db",
      source: "secret",
      paths: ["/db"],
      objects: [{ kind: "Secret", name: "db" }],
      tokens: [],
      keys: 2,
      lastChangeMs: 1500,
    }, {
      volume: "old",
      source: "configMap",
      paths: ["/old"],
      objects: [],
      tokens: [],
      keys: 0,
      lastChangeMs: 0,
      error: "gone",
    }],
    objects: [
      { kind: "Secret", name: "db", found: true, local: false, changes: 3 },
      { kind: "ConfigMap", name: "krun:endpoint-ca", found: true, local: true, changes: 0 },
    ],
    tokens: [{
      namespace: "shop",
      serviceAccount: "web",
      audience: 'a"b\\c\nd',
      expirationSeconds: 600,
      expiresAtMs: 61_000,
      renewals: 1,
      failures: 2,
    }],
  },
  containers: [{ name: "web", pid: 7, started: true, ready: false, restarts: 4, lastEnd: undefined }],
  requests: { requests: 9, errors: 1 },
  nowMs: 1000,
};

Deno.test("metricsText() is Prometheus text with objects, changes, tokens, requests and restarts", () => {
  const lines = metricsText(STATE).split("\n");
  for (
    const line of [
      'krun_objects{kind="Secret",found="true"} 1',
      'krun_objects{kind="ConfigMap",found="true"} 0',
      'krun_object_changes_total{kind="Secret",name="db"} 3',
      'krun_volume_last_change_timestamp_seconds{volume="db"} 1.5',
      'krun_volume_stale{volume="old"} 1',
      'krun_token_seconds_left{namespace="shop",service_account="web",audience="a\\"b\\\\c\\nd",expiration_seconds="600"} 60',
      "krun_api_requests_total 9",
      "krun_api_errors_total 1",
      'krun_container_restarts_total{container="web"} 4',
      'krun_container_ready{container="web"} 0',
    ]
  ) assert.ok(lines.includes(line), `${line} in\n${lines.join("\n")}`);
});

Deno.test("metricsText() gives every metric one HELP, one TYPE, and nothing that is not a sample of it", () => {
  const sample = /^([a-z_]+)(\{([a-z_]+="(?:[^"\\\n]|\\["\\n])*",?)*\})? -?[\d.e+]+$/;
  let name = "";
  for (const line of metricsText(STATE).trimEnd().split("\n")) {
    if (line.startsWith("# HELP ")) name = line.split(" ")[2]!;
    else if (line.startsWith("# TYPE ")) assert.match(line, new RegExp(`^# TYPE ${name} (gauge|counter)$`));
    else assert.equal(sample.exec(line)?.[1], name, line);
  }
});

Deno.test("metricsText() prints no series twice, and every label that its table names", () => {
  const [token] = STATE.mounts.tokens;
  const tokens = [
    ...[token!, { ...token!, expirationSeconds: 900 }, { ...token!, serviceAccount: "other" }],
    ...[{ ...token!, namespace: "other" }, { ...token!, audience: "" }],
  ];
  const state = { ...STATE, mounts: { ...STATE.mounts, tokens } };
  const series = metricsText(state).trimEnd().split("\n").filter((line) => !line.startsWith("#"))
    .map((line) => line.slice(0, line.lastIndexOf(" ")));
  assert.deepEqual(series.filter((one, index) => series.indexOf(one) !== index), []);
  for (const { name, labels, samples } of METRICS) {
    for (const sample of samples(state)) assert.equal(sample.labels?.length ?? 0, labels.length, name);
  }
});

Deno.test("docs/status.md names every series that metricsText() prints, and no other", () => {
  const page = Deno.readTextFileSync(new URL("../../docs/status.md", import.meta.url));
  const told = [...page.matchAll(/^\| `(krun_\w+)` \|/gm)].map(([, name]) => name);
  const printed = [...metricsText(STATE).matchAll(/^# TYPE (\S+)/gm)].map(([, name]) => name);
  assert.deepEqual(told, printed);
  assert.deepEqual(
    [...page.matchAll(/\bkrun_\w+/g)].map(([name]) => name).filter((name) => !printed.includes(name)),
    [],
  );
});
