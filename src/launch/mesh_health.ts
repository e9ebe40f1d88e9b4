/**
 * What the mesh's agent is told of the workload's health, and with it everybody who would call the workload. In: a port, the
 * verdict. Out: answers on loopback.
 *
 * @module
 */
import { KrunError } from "../core/errors.ts";
import { systemClock } from "../pod/clock.ts";

/** How long the agent may take to ask again, milliseconds: it does so every second. */
const ASKED_MS = 1_500;

/** What the agent was answered is with istiod after this time, milliseconds. */
const SENT_MS = 100;

/** Answers the agent until it is disposed. Needs `--allow-net` for loopback. */
export class MeshHealth implements AsyncDisposable {
  readonly #end = new AbortController();
  readonly #server: Deno.HttpServer;
  readonly #told = Promise.withResolvers<void>();
  #isReady = () => false;
  #wasAsked = false;
  #stops = false;

  /** Listens on a port of loopback at once. @throws {KrunError} `MeshUnavailable` when somebody else has it */
  constructor(port: number) {
    this.#server = this.#listen(port);
  }

  /** Who knows whether the workload may be called; until then it may not. */
  follow(isReady: () => boolean): void {
    this.#isReady = isReady;
  }

  /** From now on the workload is not to be called. */
  stop(): void {
    this.#stops = true;
  }

  /** Resolves when whoever calls the workload can know that it stops, or when `over` aborts; at once where nobody ever asked. */
  async untilTold(over: AbortSignal): Promise<void> {
    if (!this.#wasAsked) return;
    const patience = new AbortController();
    const late = systemClock.sleep(ASKED_MS, AbortSignal.any([over, patience.signal]));
    await Promise.race([late, this.#told.promise.then(() => systemClock.sleep(SENT_MS, over))]);
    patience.abort();
  }

  #listen(port: number): Deno.HttpServer {
    try {
      const { signal } = this.#end;
      return Deno.serve({ hostname: "127.0.0.1", port, signal, onListen: () => {} }, () => this.#answer());
    } catch (cause) {
      if (!(cause instanceof Deno.errors.AddrInUse)) throw cause;
      throw new KrunError(
        "MeshUnavailable",
        `Cannot join the mesh: port ${port} on loopback, for the health of the workload, is in use`,
        "end what uses it; MESH_OPTIONAL=true or XDS_ADDR=- starts without the mesh",
      );
    }
  }

  #answer(): Response {
    this.#wasAsked = true;
    if (this.#stops) this.#told.resolve();
    return new Response(null, { status: !this.#stops && this.#isReady() ? 200 : 503 });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#end.abort();
    await this.#server.finished;
  }
}
