/**
 * Sockets as a session's user may have them. One implementation (`pod/user_sockets.ts`).
 *
 * @module
 */
import type { ProcessInput, ProcessOutput } from "./session_process.ts";

/** A connection of a Unix socket, whose halves end by themselves: `input` is what the far side reads. */
export interface UserConnection {
  readonly input: ProcessInput;
  readonly output: ProcessOutput;
  /** Closes both halves; what was written goes out. What waits for them resolves as if nobody were there. */
  close(): void;
}

/** A Unix socket that listens. */
export interface UserListener {
  /** The next connection; `undefined` once it is closed. One call at a time. Never rejects. */
  accept(): Promise<UserConnection | undefined>;
  /** Nobody is let in any more; its file is removed, if it is still the socket's. */
  close(): void;
}

/** Whoever makes them. */
export interface UserSockets {
  /** Rejects with a reason that may be told. */
  connectUnix(path: string): Promise<UserConnection>;
  /** A socket for its owner alone. Throws, with a reason that may be told, where the user may not make one. */
  listenUnix(path: string): UserListener;
  /** Whether the user may listen on a TCP port; 0 is any free one. */
  mayListen(port: number): boolean;
}
