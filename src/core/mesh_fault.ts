/**
 * Why the mesh's proxy does not get ready, from what agent and Envoy say. In: their lines, one by one. Out: the last ones, the
 * one that names the cause, and what to do about it.
 *
 * @module
 */
import { type AgentEvent, NOT_READY } from "./agent_log.ts";
import type { HostPort } from "./mesh_settings.ts";

/** So many lines are kept. */
const LAST_LINES = 12;

/** The agent tells of each try, and of the failure only after the last one. */
const RETRY = /, starting attempt \d+ in /;

/** The last lines that say something new: an agent that cannot go on says the same again and again. */
export class LastWords {
  readonly #lines: { readonly key: string; readonly text: string }[] = [];
  #cause: string | undefined;
  #notReady: string | undefined;

  /** Takes the next line. */
  push({ level, scope, message }: AgentEvent): void {
    const text = [level, scope, message].filter((part) => part).join(" ").replaceAll(/\s+/g, " ").trim();
    // Times, counts and ports of this end differ from one try to the next.
    const key = text.replaceAll(/\d[\w.]*/g, "#");
    const before = this.#lines.findIndex((line) => line.key === key);
    if (before >= 0) this.#lines.splice(before, 1);
    this.#lines.push({ key, text });
    if (this.#lines.length > LAST_LINES) this.#lines.shift();
    if (NOT_READY.test(message)) this.#notReady = message.replace(NOT_READY, "").replace(/^: /, "");
    else if ((level === "error" || level === "warn") && !RETRY.test(message)) this.#cause = message;
  }

  /** Oldest first; of those that say the same, the newest. */
  get lines(): readonly string[] {
    return this.#lines.map(({ text }) => text);
  }

  /** The last failure that was told, else what the agent still waits for; `undefined`: it has not said. */
  get cause(): string | undefined {
    return this.#cause ?? this.#notReady;
  }
}

/** The address that Envoy cannot listen on, as the cause has it. */
export function takenAddress(cause: string): HostPort | undefined {
  const [, host, port] = /cannot bind '\[?([^']+?)\]?:(\d+)': Address already in use/.exec(cause) ?? [];
  return host === undefined ? undefined : { host, port: Number(port) };
}

/** What to do, by what a cause says; the first that matches. */
const REMEDIES: readonly (readonly [said: RegExp, remedy: string])[] = [
  [
    /Address already in use/,
    "free that port; in mode proxy a Sidecar with egress says which Services, each with its port, are called from here",
  ],
  [
    /certificate signed by unknown authority/,
    "give the root of that control plane in CAROOT_ISTIOD, or correct ConfigMap istio-ca-root-cert; if another server is there, correct XDS_ADDR",
  ],
  [
    /certificate is (?:not )?valid for|cannot validate certificate for/,
    "set ISTIOD_SAN to a name in the control plane's certificate; if another server is there, correct XDS_ADDR",
  ],
  [
    /Unauthenticated|authenticat\w+ failure/,
    "see that istiod knows the workload's cluster (ISTIO_META_CLUSTER_ID) and takes tokens for istio-ca (its TOKEN_AUDIENCES)",
  ],
  [
    /connection refused|no such host|no route to host|network is unreachable|i\/o timeout|[Dd]eadline ?[Ee]xceeded|config not received/,
    "check XDS_ADDR, the network and the firewall",
  ],
];

/** One imperative for a cause. */
export function meshRemedy(cause = ""): string {
  return REMEDIES.find(([said]) => said.test(cause))?.[1] ?? "read the agent's last lines";
}
