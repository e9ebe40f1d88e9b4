/**
 * A gRPC health server as far as a probe needs one, in bare HTTP/2 frames (RFC 9113): node:http2 of Deno 2.9.6 ends with
 * SIGSEGV as a server when two clients come and go at once, as a readiness and a liveness probe do.
 *
 * @module
 */
const PREFACE_BYTES = 24; // What a client sends first.
const HEADER_BYTES = 9;
const [DATA, HEADERS, SETTINGS] = [0, 1, 4];
const [END_STREAM, ACK, END_HEADERS] = [1, 1, 4];

/** Answers every call on that port of 127.0.0.1, until the process ends; `status` is the ServingStatus, 1 being SERVING. */
export async function serveHealth(port: number, status: () => number): Promise<void> {
  for await (const connection of Deno.listen({ hostname: "127.0.0.1", port })) {
    // Its other end may be gone at any moment.
    answer(connection, status).catch(() => {});
  }
}

async function answer({ readable, writable }: Deno.TcpConn, status: () => number): Promise<void> {
  const writer = writable.getWriter();
  await writer.write(frame(SETTINGS, 0, 0));
  let rest = new Uint8Array();
  let skip = PREFACE_BYTES;
  for await (const chunk of readable) {
    rest = new Uint8Array([...rest, ...chunk]);
    while (rest.length >= skip + HEADER_BYTES) {
      const view = new DataView(rest.buffer, skip);
      const end = skip + HEADER_BYTES + (view.getUint32(0) >>> 8);
      if (rest.length < end) break;
      const [type, flags, stream] = [view.getUint8(3), view.getUint8(4), view.getUint32(5)];
      rest = rest.slice(end);
      skip = 0;
      if (type === SETTINGS && !(flags & ACK)) await writer.write(frame(SETTINGS, ACK, 0));
      if ((type === DATA || type === HEADERS) && flags & END_STREAM) await writer.write(reply(stream, status()));
    }
  }
}

function reply(stream: number, status: number): Uint8Array {
  const ok = 0x88; // `:status: 200` of HPACK's table.
  return new Uint8Array([
    ...frame(HEADERS, END_HEADERS, stream, [ok, ...field("content-type", "application/grpc")]),
    ...frame(DATA, 0, stream, [0, 0, 0, 0, 2, 8, status]),
    ...frame(HEADERS, END_HEADERS | END_STREAM, stream, field("grpc-status", "0")),
  ]);
}

function frame(type: number, flags: number, stream: number, payload: readonly number[] = []): Uint8Array {
  const bytes = new Uint8Array([0, 0, payload.length, type, flags, 0, 0, 0, 0, ...payload]);
  new DataView(bytes.buffer).setUint32(5, stream);
  return bytes;
}

/** A header by name and value, neither of them in HPACK's table (RFC 7541 section 6.2.2). */
function field(name: string, value: string): number[] {
  return [0, ...[name, value].flatMap((text) => [text.length, ...new TextEncoder().encode(text)])];
}
