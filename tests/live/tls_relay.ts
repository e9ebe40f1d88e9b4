/**
 * A server with a certificate of the test's own in front of another TLS server: what it is sent in the clear it sends on by TLS.
 *
 * In: a certificate, and where the other server is. Out: a port, and how many connections came so far to an end of their handshake.
 *
 * @module
 */
import type { KeyPair } from "./certificate_authority.ts";

/** Options of {@linkcode startTlsRelay}. */
export interface TlsRelayOptions {
  /** Address to listen on. */
  readonly hostname: string;
  readonly certificate: KeyPair;
  /** The server behind it. */
  readonly to: { readonly hostname: string; readonly port: number; readonly name: string; readonly caPem: string };
}

/** A running one. */
export interface TlsRelay extends AsyncDisposable {
  readonly port: number;
  readonly accepted: number;
}

/** HTTP/2, as gRPC speaks it, on both sides. */
const ALPN = ["h2"];

/** Starts one on a free port. */
export function startTlsRelay({ hostname, certificate, to }: TlsRelayOptions): TlsRelay {
  const { certPem: cert, keyPem: key } = certificate;
  const listener = Deno.listenTls({ hostname, port: 0, cert, key, alpnProtocols: ALPN });
  const streams = new Set<Promise<unknown>>();
  const open = new Set<Deno.TlsConn>();
  let accepted = 0;
  const relay = async (inside: Deno.TlsConn) => {
    open.add(inside);
    try {
      await inside.handshake();
      accepted++;
      const tcp = await Deno.connect({ hostname: to.hostname, port: to.port });
      const outside = await Deno.startTls(tcp, { hostname: to.name, caCerts: [to.caPem], alpnProtocols: ALPN });
      open.add(outside);
      await Promise.allSettled([inside.readable.pipeTo(outside.writable), outside.readable.pipeTo(inside.writable)]);
    } catch {
      // The client did not like the certificate, or has gone.
      closeQuietly(inside);
    }
  };
  const accepting = (async () => {
    for await (const inside of listener) streams.add(relay(inside));
  })();
  return {
    port: listener.addr.port,
    get accepted() {
      return accepted;
    },
    async [Symbol.asyncDispose]() {
      listener.close();
      for (const connection of open) closeQuietly(connection);
      await accepting.catch(() => {});
      await Promise.allSettled(streams);
    },
  };
}

function closeQuietly(connection: Deno.TlsConn): void {
  try {
    connection.close();
  } catch {
    // Its streams have closed it.
  }
}
