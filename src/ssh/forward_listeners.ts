/**
 * Where -R listens for a client: a port on loopback, or a socket of the workload. In: where. Out: connections, and what the client is told of
 * each.
 *
 * @module
 */
import { bytesOfText } from "../core/byte_text.ts";
import type { UserConnection, UserListener } from "../core/user_sockets.ts";
import type { Channel } from "../net/channel.ts";
import { ConnChannel } from "../net/conn_channel.ts";
import type { ChannelTable } from "./channel_table.ts";
import { UserChannel } from "./user_channel.ts";

/** How long nothing is accepted where that has failed, milliseconds. */
const ACCEPT_AGAIN_MS = 200;

/** The other end of a forward. */
export type Far = Channel & { close(): void };

/** What the client is told of a connection. */
export type Forwarded = Parameters<ChannelTable["openForwarded"]>[0];

/** Listeners of one forward: what each gives is a connection, and what the client is told of it. */
export interface Listening {
  /** Where it listens, for the log. */
  readonly at: string;
  /** Unset: it is no port. */
  readonly port?: number;
  /** `undefined` once it is closed. */
  accept(): Promise<{ readonly near: Far; readonly forwarded: Forwarded } | undefined>;
  /** Ends it; connections stay. */
  close(): void;
}

/** Opens a port, whatever address is asked for: others reach no forward of a workload. @throws {Error} */
export function listenOnLoopback(port: number): Deno.TcpListener[] {
  const first = Deno.listen({ hostname: "127.0.0.1", port });
  const found = (first.addr as Deno.NetAddr).port;
  try {
    return [first, Deno.listen({ hostname: "::1", port: found })];
  } catch {
    return [first]; // There is no IPv6, or something else has that port there.
  }
}

/** Where a client asks krun to listen. */
export interface Asked {
  /** No other place has it, whatever texts the client chooses. */
  readonly key: string;
  /** For the log. */
  readonly text: string;
}

/** A port, by an address. */
export function askedPort({ address, port }: { address: string; port: number }): Asked {
  return { key: `tcp ${port} ${address}`, text: `${address}:${port}` };
}

/** A socket. */
export function askedSocket(path: string): Asked {
  return { key: `unix ${path}`, text: unixText(path) };
}

function unixText(path: string): string {
  return `unix ${path}`;
}

/** On a port that is open, for the client that has asked for it by this address. */
export function tcpListening(listener: Deno.TcpListener, at: { address: string; port: number }): Listening {
  const { hostname, port } = listener.addr;
  return {
    at: `${hostname.includes(":") ? `[${hostname}]` : hostname}:${port}`,
    port,
    accept: async () => {
      const conn = await acceptLater(listener);
      if (!conn) return undefined;
      const { hostname: originHost, port: originPort } = conn.remoteAddr;
      conn.setNoDelay(true);
      return { near: new ConnChannel(conn), forwarded: { kind: "tcpip", ...at, originHost, originPort } };
    },
    close: () => listener.close(),
  };
}

/** `undefined` once it is closed. */
async function acceptLater(listener: Deno.TcpListener): Promise<Deno.TcpConn | undefined> {
  for (;;) {
    try {
      return await listener.accept();
    } catch (cause) {
      if (cause instanceof Deno.errors.BadResource || cause instanceof Deno.errors.Interrupted) return undefined;
      // Whoever connected may have gone, which keeps nobody else waiting.
      const { code = "" } = cause as { code?: string };
      const waitMs = ["EMFILE", "ENFILE", "ENOBUFS", "ENOMEM"].includes(code) ? ACCEPT_AGAIN_MS : 0;
      await new Promise((resolve) => setTimeout(resolve, waitMs));
    }
  }
}

/** On a socket of the workload. */
export function unixListening(listener: UserListener, path: string): Listening {
  return {
    at: unixText(path),
    accept: async () => {
      const connection: UserConnection | undefined = await listener.accept();
      const forwarded = { kind: "streamlocal", path: bytesOfText(path) } as const;
      return connection && { near: new UserChannel(connection), forwarded };
    },
    close: () => listener.close(),
  };
}

/** One that gives its descriptor back when it is closed. */
export function counted(listening: Listening, descriptor: Disposable): Listening {
  return {
    ...listening,
    close: () => {
      listening.close();
      descriptor[Symbol.dispose]();
    },
  };
}

/** Where all of them listen, and what was asked for where it is somewhere else; for the log. */
export function listenFields(
  asked: string,
  listeners: readonly Listening[],
): { at: string; asked: string | undefined } {
  const places = listeners.map(({ at }) => at);
  // What it is called where nobody has named an address (ssh(1), -R).
  const isThere = places.includes(asked) || asked.startsWith("localhost:");
  return { at: places.join(), asked: isThere ? undefined : asked };
}

/** Ends all of them. */
export function closeAll(listeners: readonly Listening[]): void {
  for (const listener of listeners) listener.close();
}
