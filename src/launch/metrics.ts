/**
 * The state of a running krun as Prometheus text. In: counts and states. Out: the exposition format, version 0.0.4.
 *
 * @module
 */
import type { MountStatus } from "../core/mount_status.ts";
import type { ContainerStatus } from "../pod/container.ts";

/** What a running krun knows of itself; `/status` is this as JSON. */
export interface RunState {
  readonly mounts: MountStatus;
  readonly containers: readonly ContainerStatus[];
  /** Requests to the API server, and those that failed. */
  readonly requests: { readonly requests: number; readonly errors: number };
  /** Milliseconds since the epoch. */
  readonly nowMs: number;
}

/** One series of the metrics page. */
export interface Metric {
  /** As Prometheus has it, with its unit. */
  readonly name: string;
  /** What it counts or measures, one sentence. */
  readonly help: string;
  /** Whether it only grows. */
  readonly type: "gauge" | "counter";
  /** Names of its labels, whose values tell its samples apart. */
  readonly labels: readonly string[];
  /** A value for each set of label values; the values are in the order of the names. */
  samples(state: RunState): readonly { labels?: readonly string[]; value: number }[];
}

/** Two tokens that are alike in all of these are one. */
const TOKEN_LABELS = ["namespace", "service_account", "audience", "expiration_seconds"];

/** Every series. `docs/status.md` is made from this table. */
export const METRICS: readonly Metric[] = [
  {
    name: "krun_objects",
    help: "Number of Secrets and ConfigMaps that the Pod refers to, by kind and whether they exist.",
    type: "gauge",
    labels: ["kind", "found"],
    samples: ({ mounts }) =>
      ["Secret", "ConfigMap"].flatMap((kind) =>
        [true, false].map((found) => ({
          labels: [kind, String(found)],
          value: mounts.objects.filter((o) => o.kind === kind && o.found === found && !o.local).length,
        }))
      ),
  },
  {
    name: "krun_object_changes_total",
    help: "Versions of an object that came in since the start.",
    type: "counter",
    labels: ["kind", "name"],
    samples: ({ mounts }) =>
      mounts.objects.filter((o) => !o.local).map((o) => ({ labels: [o.kind, o.name], value: o.changes })),
  },
  {
    name: "krun_volume_last_change_timestamp_seconds",
    help: "When the files of a volume last became new.",
    type: "gauge",
    labels: ["volume"],
    samples: ({ mounts }) => mounts.volumes.map((v) => ({ labels: [v.volume], value: v.lastChangeMs / 1000 })),
  },
  {
    name: "krun_volume_stale",
    help: "1 while the files of a volume are older than its objects.",
    type: "gauge",
    labels: ["volume"],
    samples: ({ mounts }) => mounts.volumes.map((v) => ({ labels: [v.volume], value: v.error === undefined ? 0 : 1 })),
  },
  {
    name: "krun_token_seconds_left",
    help: "Life left of a service account token.",
    type: "gauge",
    labels: TOKEN_LABELS,
    samples: ({ mounts, nowMs }) =>
      mounts.tokens.map((t) => ({ labels: tokenLabels(t), value: (t.expiresAtMs - nowMs) / 1000 })),
  },
  {
    name: "krun_token_renewals_total",
    help: "Renewals of a service account token.",
    type: "counter",
    labels: TOKEN_LABELS,
    samples: ({ mounts }) => mounts.tokens.map((t) => ({ labels: tokenLabels(t), value: t.renewals })),
  },
  {
    name: "krun_token_failures_total",
    help: "Failed renewals of a service account token.",
    type: "counter",
    labels: TOKEN_LABELS,
    samples: ({ mounts }) => mounts.tokens.map((t) => ({ labels: tokenLabels(t), value: t.failures })),
  },
  {
    name: "krun_api_requests_total",
    help: "Requests to the API server.",
    type: "counter",
    labels: [],
    samples: ({ requests }) => [{ value: requests.requests }],
  },
  {
    name: "krun_api_errors_total",
    help: "Requests to the API server that failed.",
    type: "counter",
    labels: [],
    samples: ({ requests }) => [{ value: requests.errors }],
  },
  {
    name: "krun_container_restarts_total",
    help: "Restarts of a container.",
    type: "counter",
    labels: ["container"],
    samples: ({ containers }) => containers.map((c) => ({ labels: [c.name], value: c.restarts })),
  },
  {
    name: "krun_container_ready",
    help: "1 while a container is ready.",
    type: "gauge",
    labels: ["container"],
    samples: ({ containers }) => containers.map((c) => ({ labels: [c.name], value: c.ready ? 1 : 0 })),
  },
];

function tokenLabels(token: MountStatus["tokens"][number]): string[] {
  return [token.namespace, token.serviceAccount, token.audience, String(token.expirationSeconds)];
}

/** Label values escape backslash, quote and line break (Prometheus exposition format 0.0.4). */
function labelText(names: readonly string[], values: readonly string[] = []): string {
  const pairs = values.map((value, index) => {
    return `${names[index]}="${value.replaceAll("\\", "\\\\").replaceAll('"', '\\"').replaceAll("\n", "\\n")}"`;
  });
  return pairs.length > 0 ? `{${pairs.join(",")}}` : "";
}

/** The metrics page. Objects and audiences are named in it; contents of Secrets and tokens are not. */
export function metricsText(state: RunState): string {
  return METRICS.map(({ name, help, type, labels: names, samples }) =>
    [
      `# HELP ${name} ${help}`,
      `# TYPE ${name} ${type}`,
      ...samples(state).map(({ labels, value }) => `${name}${labelText(names, labels)} ${value}`),
    ].join("\n") + "\n"
  ).join("");
}
