/**
 * What all who come in share. In: how many descriptors there are for them. Out: what each login may take, so that others find some.
 *
 * @module
 */
import { Shares, type TakeShare } from "../core/shares.ts";
import { SshOutputBudget } from "../core/ssh_output_budget.ts";
import { SshWindowBudget } from "../core/ssh_window_budget.ts";
import { Turns, TurnsOfEach } from "../core/turns.ts";

/** What one login takes from what all share, by whatever connection. */
export interface LoginShare {
  /** A descriptor for a connection, a program's pipe, a file. */
  readonly takeDescriptor: TakeShare;
  /** A connection that stays. */
  readonly takeConnection: TakeShare;
  /** A session. */
  readonly takeSession: TakeShare;
  /** A turn to have a name looked up. */
  takeLookUp(): Promise<Disposable>;
}

/** All connections, and sessions. */
const MOST_CONNECTIONS = 1024, MOST_SESSIONS = 1024;

/**
 * Connections that have not logged in, and how much of all descriptors they may have where these are few: for each one more one of them
 * has to go.
 */
const MOST_STRANGERS = 100, STRANGERS_PART = 1 / 4;

/** Tokens that the API server is asked about at once. */
const MOST_REVIEWS = 4;

/** Names of hosts that one login may have looked up at once. */
const MOST_LOOK_UPS = 2;

/** Counts it. */
export class ServerLimits {
  /** Connections, however far they have come. */
  readonly connections: number;
  /** Connections that have not logged in. */
  readonly strangers: number;
  /** Whoever shows a token to the API server takes one. */
  readonly reviews = new Turns(MOST_REVIEWS);
  /** Bytes that clients may send before somebody reads them. */
  readonly windows = new SshWindowBudget();
  /** Bytes that wait for clients to read them. */
  readonly output = new SshOutputBudget();
  readonly #descriptors: Shares;
  readonly #connections: Shares;
  readonly #sessions = new Shares(MOST_SESSIONS);
  readonly #lookUps = new TurnsOfEach(MOST_LOOK_UPS);

  /** @param mostDescriptors for all of them together */
  constructor(mostDescriptors: number, connections: number = MOST_CONNECTIONS) {
    this.connections = connections;
    this.strangers = Math.ceil(Math.min(MOST_STRANGERS, mostDescriptors * STRANGERS_PART));
    this.#descriptors = new Shares(mostDescriptors - this.strangers);
    this.#connections = new Shares(connections - this.strangers);
  }

  /** What somebody takes by, together with all others of that name. */
  of(identity: string): LoginShare {
    return {
      takeDescriptor: this.#descriptors.of(identity),
      takeConnection: this.#connections.of(identity),
      takeSession: this.#sessions.of(identity),
      takeLookUp: () => this.#lookUps.take(identity),
    };
  }
}
