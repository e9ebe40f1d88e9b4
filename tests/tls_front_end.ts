/**
 * A front end as clouds have them: it ends TLS, and passes every request on by HTTP/2 without TLS. In: the port behind it. Out: a
 * port with a certificate for localhost.
 *
 * @module
 */
import * as http2 from "node:http2";
import type { AddressInfo } from "node:net";
import { relay } from "../src/net/channel.ts";
import { http2Channel } from "../src/mesh/http2_channel.ts";
import { endBetweenTurns } from "../src/mesh/http2_session.ts";
import { TestAuthority } from "./certificates.ts";

/** Options of {@linkcode TlsFrontEnd.start}. */
export interface TlsFrontEndOptions {
  /** Host of what is behind it. @default {"127.0.0.1"} */
  readonly behindHost?: string;
  /** Where it listens. @default {"127.0.0.1"} */
  readonly hostname?: string;
  /** @default {a free one} */
  readonly port?: number;
  /** Name in its certificate. @default {"localhost"} */
  readonly name?: string;
}

/** A front end; disposing it ends its connections. */
export class TlsFrontEnd implements AsyncDisposable {
  readonly authority = new TestAuthority();
  /** The head of every request that came. */
  readonly requests: http2.IncomingHttpHeaders[] = [];
  readonly #server: http2.Http2SecureServer;
  readonly #behind: http2.ClientHttp2Session;
  readonly #sessions: http2.Http2Session[] = [];

  readonly #name: string;

  private constructor(behind: number, { behindHost = "127.0.0.1", name = "localhost" }: TlsFrontEndOptions) {
    this.#name = name;
    const { certPem, keyPem } = this.authority.issue({ dnsNames: [name] });
    this.#server = http2.createSecureServer({ cert: certPem, key: keyPem });
    this.#behind = http2.connect(`http://${behindHost}:${behind}`);
    endBetweenTurns(this.#behind);
    this.#behind.on("error", () => {});
    this.#server.on("session", (session) => {
      endBetweenTurns(session);
      this.#sessions.push(session);
    });
    this.#server.on("stream", (stream: http2.ServerHttp2Stream, headers) => this.#pass(stream, headers));
  }

  static async start(behind: number, options: TlsFrontEndOptions = {}): Promise<TlsFrontEnd> {
    const { hostname = "127.0.0.1", port = 0 } = options;
    const frontEnd = new TlsFrontEnd(behind, options);
    await new Promise<void>((resolve) => frontEnd.#server.listen(port, hostname, resolve));
    return frontEnd;
  }

  /** As in `https://localhost:1234`. */
  get origin(): string {
    return `https://${this.#name}:${(this.#server.address() as AddressInfo).port}`;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const session of [this.#behind, ...this.#sessions]) session.destroy();
    await new Promise((resolve) => this.#server.close(resolve));
  }

  #pass(stream: http2.ServerHttp2Stream, headers: http2.IncomingHttpHeaders): void {
    this.requests.push(headers);
    const opened = { endStream: stream.endAfterHeaders, waitForTrailers: true };
    const behind = this.#behind.request({ ...headers, ":scheme": "https" }, opened);
    const [near, far] = [http2Channel(stream), http2Channel(behind)];
    behind.on("response", (answer) => {
      stream.respond(answer, { waitForTrailers: true });
      void relay(near, far);
    });
  }
}
