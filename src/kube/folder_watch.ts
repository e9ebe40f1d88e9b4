/**
 * Tells when something in a folder may have changed: by the kernel's events where it has them, else by the clock.
 *
 * In: a folder and a signal. Out: a call after each burst of events, and now and then without one, so that what events do not
 * show (a link that leads out of the folder, a file system of another machine) is seen too.
 *
 * @module
 */
import { dirname } from "../core/posix_path.ts";
import { sleep } from "./abort.ts";

/** Options of {@linkcode watchFolder}. */
export interface WatchFolderOptions {
  /** Ends the loop; the promise then resolves. */
  readonly signal: AbortSignal;
  /** Called once at the start, then whenever something may have changed; one call at a time. Must not throw. */
  onTick(): Promise<void>;
  /** Called when the way of watching changes; `reason` is why there are no events. */
  onState(state: "watching" | "polling", reason?: Error): void;
  /** Milliseconds without an event that end a burst: a write is seldom one event. @default {30} */
  readonly quietMs?: number;
  /** Milliseconds between calls where there are no events. @default {1000} */
  readonly pollMs?: number;
  /** Milliseconds after which a call comes without an event. @default {30_000} */
  readonly checkMs?: number;
  /** The kernel's events. @default {Deno.watchFs} */
  readonly watch?: (paths: string[], options: { recursive: boolean }) => Deno.FsWatcher;
}

/** A burst that does not end is answered after this many quiet times. */
const MAX_ROUNDS = 10;

/**
 * Calls `onTick` until the signal aborts, whatever happens to the folder: edited, moved away, made again, or a link that is
 * swapped to another one.
 *
 * @param folder Absolute path; it need not exist.
 */
export async function watchFolder(folder: string, options: WatchFolderOptions): Promise<void> {
  const { signal, onTick, onState, quietMs = 30, pollMs = 1000, checkMs = 30_000, watch = Deno.watchFs } = options;
  const burst = new Burst(quietMs);
  let events: FolderEvents | undefined;
  try {
    while (!signal.aborted) {
      // Before the reading: what changes after it must be seen as an event.
      const identity = await identityOf(folder);
      if (events?.identity !== identity || events?.ended) {
        events?.[Symbol.dispose]();
        events = undefined;
        // A folder that is not there is waited for; that is no failure of the events.
        if (identity !== undefined) {
          try {
            events = new FolderEvents(folder, { identity, watch, onEvent: () => burst.touch() });
            onState("watching");
          } catch (error) {
            if (!(error instanceof Deno.errors.NotFound)) onState("polling", error as Error);
          }
        }
      }
      await onTick();
      await burst.over(events === undefined ? pollMs : checkMs, signal);
    }
  } finally {
    events?.[Symbol.dispose]();
  }
}

/** Which folder a path leads to; a link counts with what it leads to. `undefined`: it cannot be reached. */
async function identityOf(folder: string): Promise<string | undefined> {
  try {
    const { dev, ino } = await Deno.stat(folder);
    return `${dev}:${ino}`;
  } catch {
    return undefined;
  }
}

interface FolderEventsOptions {
  readonly identity: string;
  readonly watch: NonNullable<WatchFolderOptions["watch"]>;
  onEvent(): void;
}

/** The kernel's events of one folder, until it is disposed or the folder goes away. */
class FolderEvents implements Disposable {
  readonly identity: string;
  readonly #watcher: Deno.FsWatcher;
  #ended = false;

  constructor(folder: string, { identity, watch, onEvent }: FolderEventsOptions) {
    this.identity = identity;
    // The swap of a link is an event of the folder it lies in, not of the one that it leads to.
    const isLink = Deno.lstatSync(folder).isSymlink;
    this.#watcher = watch(isLink ? [folder, dirname(folder)] : [folder], { recursive: false });
    void this.#pump(folder, onEvent);
  }

  get ended(): boolean {
    return this.#ended;
  }

  [Symbol.dispose](): void {
    if (!this.#ended) this.#watcher.close();
    this.#ended = true;
  }

  async #pump(folder: string, onEvent: () => void): Promise<void> {
    try {
      for await (const { paths } of this.#watcher) {
        if (paths.some((path) => path === folder || path.startsWith(`${folder}/`))) onEvent();
      }
    } catch {
      // Events that fail end like events that are closed: the loop asks for new ones, and says so if it gets none.
    }
    this.#ended = true;
    onEvent();
  }
}

/** Waits for events to come and then to stop. */
class Burst {
  #touched = false;
  #wake: () => void = () => {};

  constructor(readonly quietMs: number) {}

  touch(): void {
    this.#touched = true;
    this.#wake();
  }

  /** Resolves when a burst of events is over, or after `ms` without one, or when the signal aborts. */
  async over(ms: number, signal: AbortSignal): Promise<void> {
    if (!this.#touched) {
      const woken = new AbortController();
      this.#wake = () => woken.abort();
      await sleep(ms, AbortSignal.any([signal, woken.signal]));
      this.#wake = () => {};
    }
    for (let round = 0; this.#touched && round < MAX_ROUNDS; round++) {
      this.#touched = false;
      await sleep(this.quietMs, signal);
    }
  }
}
