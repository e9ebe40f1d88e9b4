/**
 * A program that listens, as a test wants it to behave. In: what to do with each connection. Out: its port.
 *
 * @module
 */
import * as net from "node:net";

/** One connection to the program; it may be half open. */
export type Serve = (socket: net.Socket) => void;

/** A server on a free port of 127.0.0.1; disposing it ends its connections. */
export class TcpProgram implements AsyncDisposable {
  readonly #server: net.Server;
  readonly sockets: net.Socket[] = [];

  private constructor(serve: Serve) {
    this.#server = net.createServer({ allowHalfOpen: true, noDelay: true }, (socket) => {
      this.sockets.push(socket);
      socket.on("error", () => {});
      serve(socket);
    });
  }

  static async start(serve: Serve): Promise<TcpProgram> {
    const program = new TcpProgram(serve);
    await new Promise<void>((resolve) => program.#server.listen(0, "127.0.0.1", resolve));
    return program;
  }

  /** Sends back what it gets, and ends when it is ended. */
  static echo(): Promise<TcpProgram> {
    return TcpProgram.start((socket) => socket.pipe(socket));
  }

  get port(): number {
    return (this.#server.address() as net.AddressInfo).port;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const closed = new Promise((resolve) => this.#server.close(resolve));
    for (const socket of this.sockets) socket.destroy();
    await closed;
  }
}

/** A port of 127.0.0.1 that nothing listens on. */
export function unusedPort(): number {
  using listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  return listener.addr.port;
}
