/**
 * The end of a way in: nobody new is let in, and the program has what was accepted before it is told to end. In: what a server does
 * for that. Out: the order, and the time.
 *
 * @module
 */
import type { Clock } from "../core/clock.ts";

/**
 * What was accepted when a listener is closed is with the program after this time, milliseconds: a program that is told to end in
 * the middle of it would refuse the connection, and the caller would be answered 502 or 503.
 */
export const ACCEPTED_MS = 100;

/** Options of a drain. */
export interface DrainOptions {
  /** Aborted: there is no more time. */
  readonly over: AbortSignal;
  readonly clock: Clock;
  /** The program runs, and shall have what was accepted before it is told to end. */
  readonly programRuns: boolean;
}

/** Options of {@linkcode drainServer}. */
export interface ServerDrainOptions extends DrainOptions {
  /** How many connections wait to be accepted at a port of this machine. */
  waiting(port: number): number;
}

/** A server of krun's that is to have an end. */
export interface Drainable {
  /** Where it listens. */
  readonly port: number;
  /** Where the program listens. */
  readonly programPorts: readonly number[];
  /** Tells callers to begin nothing more, where there are words for that; what they begin all the same is served. */
  announce(): void;
  /** Lets nobody in any more, by a connection or on one; what has begun goes on. */
  shut(): void;
  /** Ends each connection with the last of what is under way on it. */
  finish(): void;
}

/** How often it is looked whether all is accepted, milliseconds. */
const POLL_MS = 10;

/** What is ready to be read when somebody is to wait no longer is read in the next turns of the event loop, also by a late one. */
const TURNS = 3;

/**
 * Announces the end, and shuts the server when callers have had time to hear of it: one who had sent a request when the end began
 * is served. Resolves when the program has what was accepted. A machine that is busy takes longer for both, so nothing may wait in
 * the kernel any more. Without a program that runs there is nothing to wait for.
 */
export async function drainServer(server: Drainable, options: ServerDrainOptions): Promise<void> {
  server.announce();
  await untilAccepted([server.port], options);
  server.shut();
  await untilAccepted(server.programPorts, options);
  server.finish();
}

async function untilAccepted(ports: readonly number[], options: ServerDrainOptions): Promise<void> {
  const { over, clock, programRuns, waiting } = options;
  if (!programRuns) return;
  await clock.sleep(ACCEPTED_MS, over);
  for (let turns = 0; turns < TURNS && !over.aborted; turns++) {
    if (ports.some((port) => waiting(port) > 0)) turns = 0;
    await clock.sleep(POLL_MS, over);
  }
}
