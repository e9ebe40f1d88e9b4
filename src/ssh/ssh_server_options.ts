/**
 * What the debug SSH server is made of, and what it is to whoever has it.
 *
 * @module
 */
import type { Clock } from "../core/clock.ts";
import type { Logger } from "../core/log.ts";
import type { SshAuthorities } from "../core/ssh_authorities.ts";
import type { UserSockets } from "../core/user_sockets.ts";
import type { HostKey } from "./host_key.ts";
import type { SessionWorld } from "./session_world.ts";
import type { Ssh2 } from "./ssh2.ts";
import type { TokenLoginOptions } from "./token_login.ts";

/** Options of `serveSsh`. */
export interface SshServerOptions {
  readonly ssh2: Ssh2;
  /** Where it listens: all of them, or none. */
  readonly addresses: readonly { readonly hostname: string; readonly port: number }[];
  /** Keys of new connections. */
  hostKeys(): readonly HostKey[];
  /** Who is authorized now. */
  authorities(): SshAuthorities;
  /** Names of which a certificate must have one. */
  readonly principals: readonly string[];
  /** Whom tokens are shown to; unset: none are taken. */
  readonly tokens?: Pick<TokenLoginOptions, "cluster" | "namespace"> | undefined;
  readonly world: SessionWorld;
  readonly sockets: UserSockets;
  /** A connection without bytes for so long is ended, milliseconds; 0: never. */
  readonly idleTimeoutMs: number;
  /** Descriptors that all sessions and forwards together may have open. */
  readonly mostDescriptors: number;
  /** Connections at once, however far they have come. @default {1024} */
  readonly mostConnections?: number;
  readonly clock: Clock;
  readonly log: Logger;
}

/** A server that runs. Disposing it ends every session. */
export interface SshServer extends AsyncDisposable {
  /** Where it listens. */
  readonly addresses: readonly { readonly hostname: string; readonly port: number }[];
  /** Who is authorized has changed: ends the connections of those who are not any more, or may do something else now. */
  judgeAgain(): void;
  /** Lets nobody new in, and says why on every terminal. The first reason counts, then for all of the end. */
  stop(reason: string): void;
  /** Ends every session, as disposing it does, and says why where no stop has said it. */
  end(reason: string): Promise<void>;
}
