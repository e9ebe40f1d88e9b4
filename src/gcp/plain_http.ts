/**
 * One GET without TLS, by hand: what the metadata server is asked with. In: an address and a path. Out: a whole answer.
 *
 * Not by `fetch`: that obeys HTTP_PROXY of the process for every host, link-local and loopback ones too, and a proxy would be
 * given the machine's tokens. Here is nothing that could be told to use one. It is also 5 ms faster, since nothing is loaded.
 *
 * @module
 */
import { type HttpAnswer, parseHttpAnswer } from "../core/http_answer.ts";
import { abortable } from "../kube/abort.ts";

/** Longest answer that is read. */
const MAX_BYTES = 1 << 20;

/** One request. */
export interface PlainRequest {
  readonly hostname: string;
  readonly port: number;
  /** With query. */
  readonly path: string;
  /** Written as they are: the caller knows that they hold no line break. */
  readonly headers: Readonly<Record<string, string>>;
  readonly signal: AbortSignal;
}

/**
 * Sends it on a connection of its own and reads the answer: to the length that it says, or else to the connection's end.
 *
 * @throws what connecting throws; an Error for an answer that is none; the signal's reason.
 */
export async function plainGet({ hostname, port, path, headers, signal }: PlainRequest): Promise<HttpAnswer> {
  signal.throwIfAborted();
  const connecting = Deno.connect({ hostname, port });
  let connection: Deno.TcpConn;
  try {
    connection = await abortable(connecting, signal);
  } catch (error) {
    connecting.then((late) => late.close(), () => {});
    throw error;
  }
  try {
    return await abortable(exchange(connection, { path, headers }), signal);
  } finally {
    connection.close();
  }
}

async function exchange(
  connection: Deno.TcpConn,
  { path, headers }: Pick<PlainRequest, "path" | "headers">,
): Promise<HttpAnswer> {
  const lines = Object.entries({ ...headers, connection: "close" }).map(([name, value]) => `${name}: ${value}\r\n`);
  const request = new TextEncoder().encode(`GET ${path} HTTP/1.1\r\n${lines.join("")}\r\n`);
  for (let sent = 0; sent < request.length;) sent += await connection.write(request.subarray(sent));
  return await readAnswer(connection);
}

async function readAnswer(connection: Deno.TcpConn): Promise<HttpAnswer> {
  let whole = new Uint8Array();
  const buffer = new Uint8Array(8192);
  for (;;) {
    const count = await connection.read(buffer);
    if (count === null) break;
    const longer = new Uint8Array(whole.length + count);
    longer.set(whole);
    longer.set(buffer.subarray(0, count), whole.length);
    whole = longer;
    if (whole.length > MAX_BYTES) throw new Error(`the answer has more than ${MAX_BYTES} bytes`);
    // Not every server ends a connection because it is asked to.
    const answer = parseHttpAnswer(whole, { isEnd: false });
    if (answer !== undefined) return answer;
  }
  const answer = parseHttpAnswer(whole);
  if (answer === undefined) throw new Error("the answer is not HTTP, or is cut off");
  return answer;
}
