/**
 * How long whoever did not log in has to wait. In: ends of connections by address, instants. Out: delays and refusals. As sshd_config(5)
 * "PerSourcePenalties" has it, with an address that many share left out.
 *
 * @module
 */
import { clientNetwork } from "./client_network.ts";

/**
 * How a connection has ended by which nobody has logged in: a login was tried and failed; none was tried, as ssh-keyscan(1) and whoever
 * looks whether a port is open do; the time for a login ran out.
 */
export type LoginlessEnd = "failed" | "untried" | "late";

/** What each of them costs, milliseconds: sshd's authfail, noauth and grace-exceeded. */
const PENALTY_MS: Readonly<Record<LoginlessEnd, number>> = { failed: 5_000, untried: 1_000, late: 10_000 };

/** Who owes so much is refused; nobody owes more than the most. Milliseconds. */
const DEBT = { refusedFromMs: 15_000, mostMs: 600_000 };

/** So many addresses are remembered: the ones whose penalty ends first are forgotten for others. */
const MOST_ADDRESSES = 1_000;

/** How long the answer to a failed try of one connection is held back, milliseconds: the first ones may be keys of an agent. */
export function failureDelayMs(failures: number): number {
  return failures <= 3 ? 0 : Math.min(2_000, 250 * 2 ** (failures - 4));
}

/** Penalties of all clients. */
export class LoginPenalties {
  /** Network of the client → the instant at which it is even again. */
  readonly #untilMs = new Map<string, number>();

  /** A connection ended without a login. Returns for how long others are refused now, where that begins. */
  ended(address: string, { how, nowMs }: { readonly how: LoginlessEnd; readonly nowMs: number }): number | undefined {
    const client = clientNetwork(address);
    if (client === undefined) return undefined;
    const left = Math.max(0, (this.#untilMs.get(client) ?? 0) - nowMs);
    const penaltyMs = Math.min(DEBT.mostMs, left + PENALTY_MS[how]);
    this.#untilMs.set(client, nowMs + penaltyMs);
    if (this.#untilMs.size > MOST_ADDRESSES) this.#forget(nowMs);
    const begins = left < DEBT.refusedFromMs && penaltyMs >= DEBT.refusedFromMs;
    return begins ? penaltyMs - DEBT.refusedFromMs : undefined;
  }

  /** Whether connections of a client are refused for now. */
  isRefused(address: string, nowMs: number): boolean {
    const client = clientNetwork(address);
    const left = client === undefined ? 0 : (this.#untilMs.get(client) ?? 0) - nowMs;
    return left >= DEBT.refusedFromMs;
  }

  #forget(nowMs: number): void {
    for (const [client, untilMs] of this.#untilMs) if (untilMs <= nowMs) this.#untilMs.delete(client);
    const [first] = [...this.#untilMs].sort(([, one], [, other]) => one - other);
    if (first && this.#untilMs.size > MOST_ADDRESSES) this.#untilMs.delete(first[0]);
  }
}
