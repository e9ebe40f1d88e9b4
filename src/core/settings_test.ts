import assert from "node:assert/strict";
import fc from "fast-check";
import { PAGES } from "../../scripts/docs.ts";
import { loadVectors } from "../../tests/vectors.ts";
import { KrunError } from "./errors.ts";
import type { Env } from "./pod_inputs.ts";
import { parseSettings, SETTINGS } from "./settings.ts";
import { SETTING_GROUPS } from "./setting.ts";

/** What a person must find in the one line, and the code. */
interface Failure {
  readonly error: string;
  readonly says: string;
}

for (const { id, why, input, expect } of loadVectors<Env, Record<string, unknown> | Failure>("settings")) {
  Deno.test(`parseSettings() ${id}: ${why}`, () => {
    if ("error" in expect) {
      const error = failure(input);
      assert.equal(error.code, expect.error);
      const line = `${error.message}; ${error.hint}`;
      assert.ok(line.includes(String(expect.says)), line);
      return;
    }
    const { labels, ...settings } = parseSettings(input);
    const found = JSON.parse(JSON.stringify({ ...settings, labels: Object.fromEntries(labels) }, mapsAsObjects));
    for (const [field, value] of Object.entries(expect)) assert.deepEqual(found[field], value, field);
    if (Object.keys(input).length === 0) assert.deepEqual(found, expect);
  });
}

function mapsAsObjects(_key: string, value: unknown): unknown {
  return value instanceof Map ? Object.fromEntries(value) : value;
}

function failure(env: Env): KrunError {
  try {
    parseSettings(env);
  } catch (error) {
    assert.ok(error instanceof KrunError, String(error));
    return error;
  }
  assert.fail("parseSettings() threw nothing");
}

Deno.test("parseSettings() throws nothing but a KrunError of one line when given any environment", () => {
  const known = SETTINGS.map(({ env }) => env.replace(/<.*>/, "x"));
  const name = fc.oneof(
    fc.constantFrom(...known),
    fc.constantFrom("K8S_", "KRUN_", "LABEL_", "PORT_", "__proto__", "constructor"),
    fc.tuple(fc.constantFrom("K8S_SECRET_", "KRUN_", "LABEL_", "PORT_"), fc.string({ unit: "binary" })).map((p) =>
      p.join("")
    ),
    fc.string({ unit: "binary" }),
  );
  const value = fc.oneof(
    fc.constantFrom(
      "",
      "-",
      "0",
      "true",
      "signal:",
      "signal:HUP",
      "::",
      "http://",
      "http://[",
      "gke://",
      "1:1",
      "/x?y=z",
    ),
    fc.string({ unit: "binary" }),
    fc.nat().map(String),
  );
  const env = fc.array(fc.tuple(name, value), { maxLength: 12 }).map((pairs) => Object.fromEntries(pairs));
  fc.assert(fc.property(env, (variables) => {
    try {
      parseSettings(variables);
    } catch (error) {
      assert.ok(error instanceof KrunError, String(error));
      assert.doesNotMatch(error.message + error.hint, /[\n\0]/);
    }
  }));
});

Deno.test("parseSettings() does not warn when every variable of the table that is supported is set to its example", () => {
  const supported = SETTINGS.filter((setting) => !("reserved" in setting));
  const env = Object.fromEntries(supported.map(({ env, example }) => [env.replace(/<.*>/, "x"), example]));
  // These contradict others on purpose.
  for (const name of ["KRUN_REFRESH", "startupProbe.tcp", "KRUN_MANIFESTS", "PROV_CERT", "CLUSTER_NAME"]) {
    delete env[name];
  }
  assert.deepEqual(parseSettings(env).warnings, []);
});

Deno.test("SETTINGS holds each name once, in a group, with every text filled in", () => {
  const names = SETTINGS.map(({ env }) => env);
  assert.equal(new Set(names).size, names.length);
  for (const { env, group, unit, unset, says, example } of SETTINGS) {
    assert.ok(group in SETTING_GROUPS, env);
    for (const text of [unit, unset, says, example]) assert.match(text, /^[^.\n].*[^.\n]$|^[^.\n]$|^\.\//, env);
  }
});

for (const [name, page] of Object.entries(PAGES)) {
  Deno.test(`docs/${name} is what the tables say`, () => {
    const text = Deno.readTextFileSync(new URL(`../../docs/${name}`, import.meta.url));
    assert.equal(text, page(), "run `deno task docs`");
  });
}

/** Sources of the program itself: path below the repository → text. */
function sources(): Map<string, string> {
  const root = new URL("../../", import.meta.url);
  const found = new Map<string, string>();
  const walk = (path: string) => {
    for (const entry of Deno.readDirSync(new URL(path, root))) {
      const below = `${path}${entry.name}`;
      if (entry.isDirectory) walk(`${below}/`);
      else if (/(?<!_test)\.ts$/.test(below)) found.set(below, Deno.readTextFileSync(new URL(below, root)));
    }
  };
  walk("src/");
  try {
    found.set("main.ts", Deno.readTextFileSync(new URL("main.ts", root)));
  } catch (error) {
    if (!(error instanceof Deno.errors.NotFound)) throw error;
  }
  return found;
}

/** Names of variables that a text reads or tells the reader of. */
function* namesIn(text: string): Generator<string> {
  for (const [name] of text.matchAll(/\b(?:KRUN|K8S|WORKLOAD|CLUSTER|MESH|LABEL|PORT)_[A-Za-z0-9_]*\b/g)) yield name;
  for (const [, dotted, quoted] of text.matchAll(/\benv\.([A-Z][A-Z0-9_]+)\b|\benv\[["'`]([^"'`]+)["'`]\]/g)) {
    yield (dotted ?? quoted)!;
  }
  // Whatever it is called that holds the environment: a name is a quoted word of capitals with an underscore.
  for (const [, name] of text.matchAll(/["'`]([A-Z][A-Z0-9]*(?:_[A-Z0-9]+)+)["'`]/g)) yield name!;
}

function isInTable(name: string): boolean {
  return SETTINGS.some(({ env }) => {
    const [head = "", placeholder] = env.split("<");
    return placeholder === undefined ? env === name : name.startsWith(head);
  });
}

Deno.test("sources name no variable that is not in SETTINGS", () => {
  const texts = sources();
  // Families as a whole ("K8S_*"), and constants of the code that look like variables.
  const constants = [...texts.values()].flatMap((text) => [...text.matchAll(/\bconst ([A-Z][A-Z0-9_]+)\b/g)]);
  const others = new Set(["K8S_", "KRUN_", "WORKLOAD_", "MESH_", ...constants.map(([, name]) => name!)]);
  // Not read, only kept from Deno.
  for (const name of ["DENO_CERT", "NODE_EXTRA_CA_CERTS", "DENO_TLS_CA_STORE", "SSLKEYLOGFILE"]) others.add(name);
  // Not read, only given: to a program with gRPC, and to the agent (ISTIO_META_CLUSTER_ID).
  const given = ["GRPC_XDS_BOOTSTRAP", "GRPC_XDS_EXPERIMENTAL_SECURITY_SUPPORT", "GRPC_XDS_EXPERIMENTAL_RBAC"];
  // Of a Pod's environment, where an injector has left them.
  const injected = ["ISTIO_KUBE_APP_PROBERS", "ISTIO_PROMETHEUS_ANNOTATIONS"];
  for (const name of [...given, ...injected, "CLUSTER_ID", "MESH_ID"]) others.add(name);
  // Words of Google's APIs, and of its library.
  const google = ["SERVICE_DISABLED", "PERMISSION_DENIED", "IAM_PERMISSION_DENIED", "ACCESS_TOKEN_SCOPE_INSUFFICIENT"];
  for (const name of [...google, "GOOGLE_EXTERNAL_ACCOUNT_ALLOW_EXECUTABLES", "AWS_REGION"]) others.add(name);
  // Not read, only given to a session; a key of the Secret sshdebug.
  for (const name of ["SSH_TTY", "SSHCA_PUB"]) others.add(name);
  // Chains of iptables.
  for (const name of ["ISTIO_INBOUND", "ISTIO_OUTPUT", "ISTIO_OUTPUT_DNS", "KRUN_PROBE"]) others.add(name);
  const strays = [...texts].flatMap(([path, text]) =>
    [...namesIn(text)].filter((name) => !isInTable(name) && !others.has(name)).map((name) => `${path}: ${name}`)
  );
  assert.deepEqual(strays, []);
});

Deno.test("namesIn() finds a name that is not in the table, as the negative control", () => {
  const text =
    `if (env.KRUN_NEW) use(env["OTHER_NAME"]); // KRUN_NEWER\nenv.PATH; process.env.HIDDEN; read("FAR_AWAY")`;
  const strays = [...namesIn(text)].filter((name) => !isInTable(name));
  assert.deepEqual(strays.sort(), [
    "FAR_AWAY",
    "HIDDEN",
    "KRUN_NEW",
    "KRUN_NEW",
    "KRUN_NEWER",
    "OTHER_NAME",
    "OTHER_NAME",
  ]);
});

Deno.test("sources read the process environment in main.ts alone", () => {
  const readers = [...sources()].filter(([path, text]) =>
    path !== "main.ts" && /\bDeno\.env\b|\bprocess\.env\b/.test(text)
  );
  assert.deepEqual(readers.map(([path]) => path), []);
});
