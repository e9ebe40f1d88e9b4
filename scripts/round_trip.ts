/**
 * How long a round trip through the tests' delaying proxy really takes: its timers and the scheduler add to what it is told.
 *
 * @module
 */
import { DelayProxy } from "../tests/delay_proxy.ts";

/** Each way, milliseconds. */
export const DELAY_MS = 10;

const ROUNDS = 25;

/** Milliseconds that a round trip takes longer through a proxy with {@linkcode DELAY_MS} than through one without delay: a median. */
export async function roundTripMs(): Promise<number> {
  using echo = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  const serving = serveEcho(echo);
  const [far, near] = [await pingMs(echo.addr.port, DELAY_MS), await pingMs(echo.addr.port, 0)];
  echo.close();
  await serving;
  return far - near;
}

async function serveEcho(listener: Deno.TcpListener): Promise<void> {
  const open: Promise<void>[] = [];
  for await (const connection of listener) open.push(connection.readable.pipeTo(connection.writable).catch(() => {}));
  await Promise.all(open);
}

async function pingMs(port: number, delayMs: number): Promise<number> {
  await using proxy = new DelayProxy({ port, delayMs });
  using connection = await Deno.connect({ hostname: "127.0.0.1", port: proxy.port });
  connection.setNoDelay(true);
  const taken: number[] = [];
  for (let round = 0; round < ROUNDS; round++) {
    const from = performance.now();
    await connection.write(new Uint8Array(100));
    await connection.read(new Uint8Array(100));
    taken.push(performance.now() - from);
  }
  return taken.toSorted((a, b) => a - b)[ROUNDS >> 1]!;
}
