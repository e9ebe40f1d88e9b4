/**
 * The streams of a session's program. In: a program, and where its client is. Out: bytes, both ways.
 *
 * @module
 */
import type { ProcessOutput, SessionProcess } from "../core/session_process.ts";
import type { ByteSource } from "../net/channel.ts";

/** How long what was hung up has after SIGHUP, milliseconds, unless it has left the session or ignores SIGHUP. */
export const HANG_UP_MS = 2_000;

/** Gives a program what its client sends, to the end. Never rejects: a program whose client is gone is hung up by others. */
export async function feed(
  from: Pick<ByteSource, "read" | "done">,
  { input }: Pick<SessionProcess, "input">,
): Promise<void> {
  try {
    for (let bytes; (bytes = await from.read());) {
      if (!await input.write(bytes)) break;
      from.done?.(bytes);
    }
    // What the program does not read any more is taken and dropped: the client must be able to end.
    while (await from.read());
    input.end();
  } catch {
    // The client is gone.
  }
}

/**
 * Gives a client what a program writes, until nobody can write any more. A client that is gone gets nothing, and the program is not
 * stopped by that. Never rejects.
 */
export async function drain(from: ProcessOutput, write: (bytes: Uint8Array) => Promise<void>): Promise<void> {
  for (let bytes; (bytes = await from.read()) !== undefined;) await write(bytes).catch(() => {});
}
