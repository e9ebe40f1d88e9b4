/**
 * How krun ends a connection. In: a client, and why. Out: what it is told, in an order that it understands.
 *
 * @module
 */
import type { Clock } from "../core/clock.ts";
import type { Logger } from "../core/log.ts";
import type { ConnectionEnds } from "../core/session_env.ts";
import type { SshConnection } from "./connection.ts";
import type { Forwards } from "./forwards.ts";
import type { SshLogin } from "./login_judge.ts";
import type { Session } from "./session.ts";

/** A connection and what belongs to it. */
export interface Client {
  readonly connection: SshConnection<SshLogin>;
  readonly ends: ConnectionEnds;
  readonly sessions: Set<Session>;
  /** What it has of what all share, once it has logged in. */
  readonly shares: DisposableStack;
  forwards?: Forwards;
  login?: SshLogin;
  /** The time to log in ran out. */
  isLate?: boolean;
  /** When the last session ended, as `Clock.elapsedMs` counts. */
  lastSessionMs?: number;
  /** Why it has been told to go. */
  ending?: string;
}

/**
 * How long a client may take to leave by itself when its last session is over, milliseconds: one that is told goodbye forgets how its
 * program has ended.
 */
const LEAVE_MS = 500;

/** How long a client may take to show why its connection ends, milliseconds. */
const SHOW_MS = 100;

/** Ends the connection of a client that may not stay. The second reason does not count. */
export function putOut(
  client: Client,
  { reason, clock, log }: { readonly reason: string; readonly clock: Clock; readonly log: Logger },
): void {
  if (client.ending !== undefined) return;
  client.ending = reason;
  const { connection, sessions, login, forwards } = client;
  log.info("ssh connection ended", { ...login?.who, reason });
  connection.refuseNew();
  forwards?.close();
  // A client that is told goodbye shows nothing any more.
  const waitMs = Math.max(sessions.size > 0 ? SHOW_MS : 0, leaveMs(client, clock));
  for (const session of sessions) {
    session.tell(`this connection ends: ${reason}`);
    session.stopFiles();
  }
  const goodbye = () => connection.end(undefined, reason);
  if (waitMs === 0) goodbye();
  else void clock.sleep(waitMs, connection.over).then(goodbye);
}

/** Ends a connection at the server's end. Resolves when it is over, or its client does not listen. */
export async function dismiss(
  client: Client,
  { reason, clock }: { readonly reason: string; readonly clock: Clock },
): Promise<void> {
  const { connection, sessions, forwards, ending } = client;
  connection.refuseNew();
  forwards?.close();
  const isInUse = sessions.size > 0;
  for (const session of sessions) session.stopFiles();
  // Its goodbye is about to go out; whoever is hung up leaves without hearing it.
  if (ending !== undefined) await clock.sleep(2 * LEAVE_MS, connection.over);
  await Promise.all([...sessions].map((session) => session.hangUp(`this session ends: ${ending ?? reason}`)));
  if (isInUse) client.lastSessionMs = clock.elapsedMs();
  const waitMs = leaveMs(client, clock);
  if (waitMs > 0) await clock.sleep(waitMs, connection.over);
  connection.end(undefined, ending ?? reason);
  await clock.sleep(LEAVE_MS, connection.over);
}

/** How long it may still take to leave by itself, milliseconds. */
function leaveMs({ lastSessionMs = -Infinity }: Client, clock: Clock): number {
  return Math.max(0, lastSessionMs + LEAVE_MS - clock.elapsedMs());
}
