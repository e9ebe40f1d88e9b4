/**
 * One stream on an HTTP/2 connection of its own, to a far side that answers with a status. In: where to, the request, and how the
 * far side is verified. Out: the stream's channel, or the failure in words.
 *
 * @module
 */
import * as http2 from "node:http2";
import { KrunError } from "../core/errors.ts";
import { systemFailure } from "../core/system_failure.ts";
import { TimeLimit } from "../kube/time_limit.ts";
import type { Channel } from "../net/channel.ts";
import { http2Channel } from "./http2_channel.ts";
import { endBetweenTurns } from "./http2_session.ts";

/** Options of {@linkcode dial}. */
export interface DialOptions {
  /** `https://host:port` of the far side. */
  readonly origin: string;
  /** What is asked of it, by the address at which it was reached. */
  headers(address: string): http2.OutgoingHttpHeaders;
  /** How it is verified, and what it is shown. */
  readonly tls: http2.SecureClientSessionOptions;
  /** Milliseconds until it has answered. */
  readonly timeoutMs: number;
  /** Gives up; also cuts what is open. */
  readonly signal: AbortSignal;
}

/** What came of it. */
export interface Dialed extends AsyncDisposable {
  /** Of HTTP. */
  readonly status: number;
  readonly channel: Channel;
  /** Settles when all that was written has left and the stream is over. */
  readonly finished: Promise<void>;
}

/** Bytes of one stream that may come before they are read; what a round trip can carry. */
const WINDOW_BYTES = 512 * 1024;

/**
 * Connects, asks, and waits for the answer. Disposing it closes the connection.
 *
 * @throws {KrunError} `ConnectFailed`, or what `tls.checkServerIdentity` gives
 */
export async function dial({ origin, headers, tls, timeoutMs, signal }: DialOptions): Promise<Dialed> {
  const limit = new TimeLimit(timeoutMs, signal);
  const settings = { enablePush: false, initialWindowSize: WINDOW_BYTES };
  const session = http2.connect(origin, { minVersion: "TLSv1.2", settings, ...tls });
  endBetweenTurns(session);
  const { promise, resolve, reject } = Promise.withResolvers<Omit<Dialed, typeof Symbol.asyncDispose>>();
  const closed = new Promise<void>((done) => session.once("close", done));
  const cut = () => session.destroy();
  // A session that is destroyed while its connection is still made tells nobody, and the attempt ends with the process (2.9.6).
  let hasConnected = false;
  const giveUp = () => {
    cut();
    reject(new Error("given up"));
  };
  session.on("error", reject);
  session.once("connect", (_, socket) => {
    hasConnected = true;
    if (session.destroyed) return;
    session.setLocalWindowSize(WINDOW_BYTES);
    const stream = session.request(headers(socket.remoteAddress ?? ""), { endStream: false, waitForTrailers: true });
    const channel = http2Channel(stream);
    const finished = new Promise<void>((done) => stream.once("close", done));
    stream.once("response", (answer) => resolve({ status: answer[":status"] ?? 0, channel, finished }));
  });
  session.once("close", () => reject(new Error("the connection was closed")));
  limit.signal.addEventListener("abort", giveUp);
  const close = async () => {
    signal.removeEventListener("abort", cut);
    cut();
    if (hasConnected) await closed;
  };
  try {
    const answered = await promise;
    signal.addEventListener("abort", cut);
    return { ...answered, [Symbol.asyncDispose]: close };
  } catch (error) {
    await close();
    throw error instanceof KrunError ? error : cannotConnect(origin, limit.expired ? tooLate(timeoutMs) : error);
  } finally {
    limit.signal.removeEventListener("abort", giveUp);
    limit.clear();
  }
}

function tooLate(timeoutMs: number): Error {
  return new Error(`no answer within ${timeoutMs} ms`);
}

function cannotConnect(origin: string, cause: unknown): KrunError {
  return new KrunError(
    "ConnectFailed",
    `Cannot connect to ${origin}: ${systemFailure(cause as Error)}`,
    "check the address, which must be an instance's own and not a Service's, the network, and the certificates on both sides",
    { cause },
  );
}
