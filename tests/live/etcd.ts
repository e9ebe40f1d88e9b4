/**
 * A real etcd, on free ports, for one API server. In: a folder. Out: its URL, and all that it holds.
 *
 * @module
 */
import { join } from "node:path";
import { liveTool } from "../../scripts/live_tools.ts";
import { freePort, type ServerProcess, startProcess, untilReady } from "./server_process.ts";

/** A key and its value, both in base64. */
export interface EtcdEntry {
  readonly key: string;
  readonly value: string;
}

/** All keys, as its API writes a range that has no bounds. */
const ALL = btoa("\0");

/** More than a cluster has from its first start: all of that is written at once. */
const MOST_AT_ONCE = 1_000;

/** A running etcd. What it wrote is lost with the machine, not with the process. */
export class Etcd {
  #process: ServerProcess | undefined;

  /** `port` is free; its data go to `<folder>/etcd`, what it says to `<folder>/etcd.log`. */
  constructor(readonly folder: string, readonly port: number) {}

  /** Where clients reach it. */
  get url(): string {
    return `http://127.0.0.1:${this.port}`;
  }

  /** Starts it, with what it had. */
  async start(): Promise<void> {
    const peer = `http://127.0.0.1:${freePort()}`;
    const flags = [
      ...["--data-dir", this.#data, "--unsafe-no-fsync", "--log-level", "warn", "--max-txn-ops", `${MOST_AT_ONCE}`],
      ...["--listen-client-urls", this.url, "--advertise-client-urls", this.url],
      ...["--listen-peer-urls", peer, "--initial-advertise-peer-urls", peer, "--initial-cluster", `default=${peer}`],
    ];
    this.#process = startProcess([await liveTool("etcd"), ...flags], join(this.folder, "etcd.log"));
    await untilReady(this.#process, async () => {
      const response = await fetch(`${this.url}/readyz`);
      await response.body?.cancel();
      return response.ok;
    });
  }

  /** Ends it at once; what it holds stays. */
  async end(): Promise<void> {
    await this.#process?.end("SIGKILL");
    this.#process = undefined;
  }

  /** Removes what it held, after {@linkcode Etcd.end}. */
  async forget(): Promise<void> {
    await Deno.remove(this.#data, { recursive: true }).catch(() => {});
  }

  /** Everything it holds. */
  async entries(): Promise<EtcdEntry[]> {
    const { kvs = [] } = await this.#ask("range", JSON.stringify({ key: ALL, range_end: ALL }));
    return kvs;
  }

  /** Writes what {@linkcode writing} made, at once. */
  async write(transaction: string): Promise<void> {
    await this.#ask("txn", transaction);
  }

  /** Forgets every version but the present one of each key. */
  async compact(): Promise<void> {
    const { header } = await this.#ask("range", JSON.stringify({ key: ALL }));
    await this.#ask("compaction", JSON.stringify({ revision: header.revision }));
  }

  get #data(): string {
    return join(this.folder, "etcd");
  }

  async #ask(call: "range" | "txn" | "compaction", body: string): Promise<EtcdAnswer> {
    const response = await fetch(`${this.url}/v3/kv/${call}`, { method: "POST", body });
    const text = await response.text();
    if (!response.ok) throw new Error(`etcd ${call}: ${text}`);
    return JSON.parse(text);
  }
}

interface EtcdAnswer {
  readonly header: { readonly revision: string };
  readonly kvs?: EtcdEntry[];
}

/** The transaction that writes these, for {@linkcode Etcd.write}. */
export function writing(entries: readonly EtcdEntry[]): string {
  return JSON.stringify({ success: entries.map(({ key, value }) => ({ request_put: { key, value } })) });
}
