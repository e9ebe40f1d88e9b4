/**
 * A Pod as a flat list, to compare one with another.
 *
 * In: a Pod with its proxy. Out: path → text of each single value, such as `proxy/env/TRUST_DOMAIN` → `corp.example`. What is a list
 * in a Pod but has names is found by name; what is JSON in a text is taken apart.
 *
 * @module
 */
import type { V1Container, V1Pod } from "@kubernetes/client-node";

/** Name of the container with the proxy, whose values are below `proxy`. */
const PROXY = "istio-proxy";

/** Variables whose text is JSON. */
const JSON_VARIABLES: readonly string[] = ["PROXY_CONFIG", "ISTIO_META_POD_PORTS", "ISTIO_PROMETHEUS_ANNOTATIONS"];

/** Each value of a Pod, by its path. An empty object or list counts as nothing. */
export function podLeaves({ metadata, spec }: V1Pod): Map<string, string> {
  const { initContainers = [], containers = [], volumes = [], ...others } = spec!;
  const regular = containers.filter(({ name }) => name !== PROXY);
  const init = initContainers.filter(({ name }) => name !== PROXY);
  const proxy = [...initContainers, ...containers].find(({ name }) => name === PROXY);
  const pod = {
    labels: metadata?.labels,
    annotations: metadata?.annotations,
    order: [...initContainers, ...containers].map(({ name }) => name).join(" "),
    proxy: proxy && byName(proxy),
    containers: named([...regular, ...init], byName),
    volumes: named(volumes, (volume) => volume),
    spec: others,
  };
  return new Map(leaves(pod, ""));
}

function byName({ env = [], volumeMounts = [], command = [], args = [], ...others }: V1Container) {
  return {
    ...others,
    ...flags([...command, ...args]),
    env: named(
      env,
      ({ name, value, valueFrom }) =>
        value !== undefined && JSON_VARIABLES.includes(name) ? JSON.parse(value) : value ?? valueFrom,
    ),
    mounts: Object.fromEntries(volumeMounts.map(({ mountPath, ...mount }) => [key(mountPath), mount])),
  };
}

/** `--name=value` and `--name value`, however they are spelt; the words before them are the command. */
function flags(argv: readonly string[]) {
  const first = argv.findIndex((word) => word.startsWith("--"));
  const words = first < 0 ? [] : argv.slice(first).join("\n").replaceAll(/^(--[\w-]+)\n(?!--)/gm, "$1=").split("\n");
  const pairs = words.map((word) => /^--([\w-]+)=?(.*)$/.exec(word)!.slice(1, 3));
  return { command: argv.slice(0, first < 0 ? undefined : first).join(" "), flags: Object.fromEntries(pairs) };
}

function named<T extends { readonly name: string }>(items: readonly T[], value: (item: T) => unknown) {
  return Object.fromEntries(items.map((item) => [key(item.name), value(item)]));
}

/** A name is one step of a path. */
function key(name: string): string {
  return name.replaceAll("/", ":");
}

function* leaves(value: unknown, path: string): Generator<[path: string, text: string]> {
  if (value === undefined) return;
  if (typeof value !== "object" || value === null) return yield [path, String(value)];
  for (const [name, item] of Object.entries(value)) yield* leaves(item, path === "" ? name : `${path}/${key(name)}`);
}
