/**
 * Where the server listens, and who connects. In: addresses. Out: connections, each with its two ends.
 *
 * @module
 */
import type { Clock } from "../core/clock.ts";
import { parseIp } from "../core/ip_address.ts";
import type { Logger } from "../core/log.ts";
import type { ConnectionEnds } from "../core/session_env.ts";

/** Who has connected. */
export interface Caller {
  readonly socket: Deno.TcpConn;
  readonly ends: ConnectionEnds;
}

/** Options of {@linkcode acceptAll}. */
export interface AcceptOptions {
  /** Gets each of them. It must not throw. */
  admit(caller: Caller): void;
  /** Aborts when the listener is closed. */
  readonly over: AbortSignal;
  readonly clock: Clock;
  readonly log: Logger;
}

/**
 * Listens at all of the addresses, or at none; once where two are the same. A port 0 is any free one, the same everywhere.
 *
 * @throws {Error} of Deno's, when one of them cannot be had
 */
export function listenAt(
  addresses: readonly { readonly hostname: string; readonly port: number }[],
): Deno.TcpListener[] {
  using listening = new DisposableStack();
  const listeners: Deno.TcpListener[] = [];
  for (const { hostname, port } of addresses) {
    const found = port || (listeners[0]?.addr as Deno.NetAddr | undefined)?.port;
    // A name may lead there.
    if (listeners.some(({ addr }) => addr.hostname === hostname)) continue;
    const listener = Deno.listen({ hostname, port: found ?? 0 });
    listening.defer(() => listener.close());
    listeners.push(listener);
  }
  listening.move();
  return listeners;
}

/** Accepts until it is over. Never rejects: where descriptors are short, it goes on when it can. */
export async function acceptAll(
  listener: Deno.TcpListener,
  { admit, over, clock, log }: AcceptOptions,
): Promise<void> {
  while (!over.aborted) {
    try {
      const socket = await listener.accept();
      admit({ socket, ends: { client: endOf(socket.remoteAddr), server: endOf(socket.localAddr) } });
    } catch (cause) {
      if (over.aborted) return;
      // Whoever connected may be gone already, and anybody may do that: it keeps nobody else waiting.
      if (!isShortage(cause)) {
        await clock.turn();
        continue;
      }
      log.warn("ssh server cannot accept a connection", { reason: (cause as Error).message });
      // It gets better when a connection ends.
      await clock.sleep(1_000, over);
    }
  }
}

/** Whether a call has failed since there are too many of something on this machine. */
function isShortage(cause: unknown): boolean {
  return ["EMFILE", "ENFILE", "ENOBUFS", "ENOMEM"].includes((cause as { code?: string }).code ?? "");
}

/** One end of a connection. To a listener of `::` IPv4 comes as IPv6; a log and SSH_CONNECTION have it as people write it. */
function endOf({ hostname, port }: Deno.NetAddr): { address: string; port: number } {
  return { address: parseIp(hostname)?.text ?? hostname, port };
}
