/**
 * docs/status.md: what krun serves at KRUN_STATUS. Series come from the table that prints them; the fields of `/status` are
 * explained here, and the types see to it that each is, and no other.
 *
 * @module
 */
import type { ObjectStatus, TokenStatus, VolumeStatus } from "../src/core/mount_status.ts";
import { METRICS, type RunState } from "../src/launch/metrics.ts";
import type { ContainerStatus } from "../src/pod/container.ts";

/** What each field of a value says. */
type Fields<T> = { readonly [Field in keyof Required<T>]: string };

const RUN: Fields<RunState> = {
  mounts: "what is mounted: `volumes`, `objects` and `tokens`, see below",
  containers: "the Pod's containers, init containers first; empty when krun runs without a program",
  requests: "`requests` to the API server, and the `errors` among them, since krun's start",
  nowMs: "when this was answered, in milliseconds since 1970, as every field whose name ends in `Ms`",
};

const VOLUME: Fields<VolumeStatus> = {
  volume: "its name in the Pod",
  source: "its kind as the Pod spells it: `secret`, `configMap`, `projected`, `downwardAPI`, `emptyDir`, `hostPath`",
  paths: "where it is on this machine",
  objects: "`kind` and `name` of the Secrets and ConfigMaps that it is made from",
  tokens: "`serviceAccount` and `audience` of the tokens in it",
  keys: "number of its files",
  lastChangeMs: "when its files last became new",
  error: "why its files are older than its objects; absent while they are not",
};

const OBJECT: Fields<ObjectStatus> = {
  kind: "`Secret` or `ConfigMap`",
  name: "its name, in the Pod's namespace",
  found: "whether it exists",
  local: "true for what krun makes itself, such as the ConfigMap of the API server's CA",
  state:
    "`watching`; `polling` where krun may not watch it; `retrying` while the API server is away, or krun may not read it any more; absent at first",
  changes: "versions that came in since the start",
};

const TOKEN: Fields<TokenStatus> = {
  namespace: "namespace of the service account",
  serviceAccount: "whose token it is",
  audience: "empty for the API server's own",
  expirationSeconds: "the life that was asked for",
  expiresAtMs: "when it expires",
  renewals: "renewals that succeeded",
  failures: "renewals that failed",
  error: "why the last renewal failed; absent after one that succeeded",
};

const CONTAINER: Fields<ContainerStatus> = {
  name: "its name in the Pod",
  pid: "its process; absent while it does not run",
  started: "it runs, and its startup probe, if any, has succeeded",
  ready: "it has started, and its readiness probe, if any, has succeeded",
  restarts: "how often it was started again",
  lastEnd: "how it last ended: `kind` is `exited` with a `code`, or `signaled` with a `signal`; absent before",
};

/** The text of the page, after its title and mark. */
export function statusPage(): string {
  const series = METRICS.map(({ name, type, labels, help }) =>
    `| \`${name}\` | ${type} | ${labels.map((label) => `\`${label}\``).join(", ") || "none"} | ${help} |\n`
  );
  return `
\`KRUN_STATUS=127.0.0.1:15099\` makes krun serve these pages by HTTP. They hold names, never the content of a Secret or token;
they ask for no password, so take a loopback address or a network that you trust.

| Page | Answer |
|---|---|
| \`/healthz\` | 200 while krun runs: from when the files are in place until the program has ended |
| \`/readyz\` | 200 while every container and sidecar is ready, as in a Pod, and no volume is stale; else 503 |
| \`/metrics\` | the series below, as Prometheus text 0.0.4 |
| \`/status\` | the state below, as JSON |

A token that could not be renewed makes neither page fail as long as it is valid: watch \`krun_token_seconds_left\`.

## Series

| Name | Type | Labels | Meaning |
|---|---|---|---|
${series.join("")}
The samples of one series differ in their labels. \`namespace\` and \`service_account\` say whose token it is, \`audience\` is empty
for the API server's own, and \`expiration_seconds\` is the life that was asked for.

## Fields of /status

${table("", RUN)}
${table("mounts.volumes[].", VOLUME)}
${table("mounts.objects[].", OBJECT)}
${table("mounts.tokens[].", TOKEN)}
${table("containers[].", CONTAINER)}`;
}

function table(head: string, fields: Readonly<Record<string, string>>): string {
  const rows = Object.entries(fields).map(([field, says]) => `| \`${head}${field}\` | ${says} |\n`);
  return `| Field | Meaning |\n|---|---|\n${rows.join("")}`;
}
