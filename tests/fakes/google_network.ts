/**
 * A network in which Google's names lead to fakes: a network namespace whose loopback interface has the addresses, a hosts file that has
 * the names, and certificates of a CA of the test's own. In: a fake, and servers of this machine to be reached there. Out: the words
 * before a program that put it into that network, and what it must be told to believe the CA.
 *
 * Whatever runs there has no other network. Sockets are opened there by this process (setns(2) around the call that opens them), so that
 * a fake's state is at hand. Needs root, ip(8), nsenter(1), unshare(1). Everything is gone when it is disposed.
 *
 * ```ts
 * const google = await FakeGoogle.create();
 * await using network = await GoogleNetwork.create(google);
 * const address = network.relay({ port: server.port }); // https://34.118.224.1 leads to 127.0.0.1:<port>
 * await runKrun({ under: network.under, env: { SSL_CERT_FILE: network.caFile }, ... });
 * ```
 *
 * @module
 */
import { dirname, join } from "node:path";
import { CertificateAuthority } from "../live/certificate_authority.ts";
import { DelayProxy } from "../delay_proxy.ts";
import type { FakeGoogle } from "./google_cloud.ts";

/** Where the metadata server is. */
const METADATA = "169.254.169.254";
/** Where everything below googleapis.com is. */
const FRONT = "198.18.0.1";

/** setns(2) is about the calling thread, and so are the calls that open a listening socket. */
const libc = Deno.dlopen("libc.so.6", {
  setns: { parameters: ["i32", "i32"], result: "i32" },
  open: { parameters: ["buffer", "i32"], result: "i32" },
  close: { parameters: ["i32"], result: "i32" },
});

/** Options of {@linkcode GoogleNetwork.create}. */
export interface GoogleNetworkOptions {
  /** Milliseconds that every byte takes, each way, through a proxy that does so; 0: through it, at once. @default {no proxy} */
  readonly delayMs?: number;
  /** There is a metadata server. @default {true} */
  readonly metadata?: boolean;
  /** Folder that the caller removes. */
  readonly folder: string;
}

/** What is reached at an address of the network. */
export interface RelayOptions {
  /** Port of 127.0.0.1 outside. */
  readonly port: number;
  /** @default {a new one of a range that GKE uses} */
  readonly address?: string;
  /** Port in the network. @default {443} */
  readonly as?: number;
}

/** Such a network. */
export class GoogleNetwork implements AsyncDisposable {
  readonly ca: CertificateAuthority;
  /** Words before a program. */
  readonly under: readonly string[];
  readonly #name: string;
  readonly #stack: AsyncDisposableStack;
  readonly #delayMs: number | undefined;
  readonly #relays = new Map<string, Relay>();

  private constructor(
    parts: {
      name: string;
      ca: CertificateAuthority;
      hosts: string;
      delayMs: number | undefined;
      stack: AsyncDisposableStack;
    },
  ) {
    this.ca = parts.ca;
    this.#name = parts.name;
    this.#delayMs = parts.delayMs;
    this.#stack = parts.stack;
    // A mount namespace of its own: the machine's /etc/hosts stays as it is. No resolver answers.
    const script = 'mount --bind "$0" /etc/hosts && mount --bind "$0.resolv" /etc/resolv.conf && exec "$@"';
    this.under = ["nsenter", `--net=/run/netns/${parts.name}`, "unshare", "--mount", "sh", "-c", script, parts.hosts];
  }

  /** Makes it, with all hosts of the fake. */
  static async create(google: FakeGoogle, options: GoogleNetworkOptions): Promise<GoogleNetwork> {
    const { delayMs, metadata = true, folder } = options;
    await using stack = new AsyncDisposableStack();
    const name = `krun-g-${crypto.randomUUID().slice(0, 8)}`;
    await ip("netns", "add", name);
    stack.defer(() => ip("netns", "delete", name));
    await ip("-n", name, "link", "set", "lo", "up");
    const ca = await CertificateAuthority.create(join(folder, "google-pki"));
    const names = Object.keys(google.hosts).filter((host) => host !== "metadata.google.internal");
    const hosts = join(folder, "hosts");
    await Deno.writeTextFile(
      hosts,
      `127.0.0.1 localhost\n${METADATA} metadata.google.internal\n${FRONT} ${names.join(" ")}\n`,
    );
    await Deno.writeTextFile(`${hosts}.resolv`, "nameserver 127.0.0.1\noptions timeout:1 attempts:1\n");
    const network = new GoogleNetwork({ name, ca, hosts, delayMs, stack: stack.move() });
    await network.#serve(google, { names, metadata });
    return network;
  }

  /** Path of the CA's PEM. */
  get caFile(): string {
    return this.ca.file;
  }

  /** Makes a server of 127.0.0.1 reachable there; gives its address. */
  async relay({ port, address = `34.118.224.${this.#relays.size + 1}`, as = 443 }: RelayOptions): Promise<string> {
    await ip("-n", this.#name, "address", "replace", `${address}/32`, "dev", "lo");
    let target = port;
    if (this.#delayMs !== undefined) {
      const proxy = this.#stack.use(new DelayProxy({ port, delayMs: this.#delayMs }));
      target = proxy.port;
    }
    const relay = new Relay(this.#listen(address, as), target);
    this.#stack.defer(() => relay[Symbol.asyncDispose]());
    this.#relays.set(address, relay);
    return address;
  }

  /** Nobody listens at an address any more. */
  async close(address: string): Promise<void> {
    await this.#relays.get(address)?.[Symbol.asyncDispose]();
  }

  /** The metadata server at an address of its own too: `host:port`. */
  async metadataElsewhere(google: FakeGoogle): Promise<string> {
    const options = { hostname: "127.0.0.1", port: 0, onListen() {} };
    const server = this.#use(Deno.serve(options, (request) => google.answer(request, "metadata.google.internal")));
    return `${await this.relay({ port: server.addr.port, as: 8080 })}:8080`;
  }

  /** A server outside, with a certificate of another CA for an address. */
  async stranger(
    handler: (request: Request) => Response,
    address = "34.118.224.9",
  ): Promise<Deno.HttpServer & { readonly port: number }> {
    const ca = await CertificateAuthority.create(join(dirname(this.ca.file), "stranger"));
    const { certPem: cert, keyPem: key } = await ca.issue({ names: [`IP:${address}`] });
    const server = Deno.serve({ hostname: "127.0.0.1", port: 0, cert, key, onListen() {} }, handler);
    return Object.assign(server, { port: server.addr.port });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#stack[Symbol.asyncDispose]();
  }

  async #serve(
    google: FakeGoogle,
    { names, metadata }: { names: readonly string[]; metadata: boolean },
  ): Promise<void> {
    const { certPem: cert, keyPem: key } = await this.ca.issue({ names: names.map((name) => `DNS:${name}`) });
    const options = { hostname: "127.0.0.1", port: 0, onListen() {} };
    const front = this.#use(Deno.serve({ ...options, cert, key }, (request) => {
      return google.answer(request, new URL(request.url).hostname);
    }));
    await this.relay({ port: front.addr.port, address: FRONT });
    if (!metadata) return;
    const server = this.#use(Deno.serve(options, (request) => google.answer(request, "metadata.google.internal")));
    await this.relay({ port: server.addr.port, address: METADATA, as: 80 });
  }

  #use(server: Deno.HttpServer<Deno.NetAddr>): Deno.HttpServer<Deno.NetAddr> {
    this.#stack.defer(() => server.shutdown());
    return server;
  }

  #listen(hostname: string, port: number): Deno.TcpListener {
    const [own, theirs] = [openNamespace("/proc/self/ns/net"), openNamespace(`/run/netns/${this.#name}`)];
    try {
      if (libc.symbols.setns(theirs, 0) !== 0) throw new Error("setns failed");
      return Deno.listen({ hostname, port });
    } finally {
      libc.symbols.setns(own, 0);
      libc.symbols.close(own);
      libc.symbols.close(theirs);
    }
  }
}

/** /proc/thread-self, since other threads stay where they are. */
function openNamespace(path: string): number {
  const fd = libc.symbols.open(new TextEncoder().encode(`${path.replace("/self/", "/thread-self/")}\0`), 0);
  if (fd < 0) throw new Error(`cannot open ${path}`);
  return fd;
}

/** Hands bytes on between connections of two networks. */
class Relay implements AsyncDisposable {
  readonly #listener: Deno.TcpListener;
  readonly #open = new Set<Deno.TcpConn>();
  readonly #accepting: Promise<void>;
  readonly #carrying = new Set<Promise<unknown>>();
  #isClosed = false;

  constructor(listener: Deno.TcpListener, port: number) {
    this.#listener = listener;
    this.#accepting = this.#accept(port);
  }

  async #accept(port: number): Promise<void> {
    for await (const inside of this.#listener) {
      const carrying = this.#carry(inside, port).finally(() => this.#carrying.delete(carrying));
      this.#carrying.add(carrying);
    }
  }

  async #carry(inside: Deno.TcpConn, port: number): Promise<void> {
    this.#open.add(inside);
    try {
      const outside = await Deno.connect({ hostname: "127.0.0.1", port });
      this.#open.add(outside);
      inside.setNoDelay(true);
      outside.setNoDelay(true);
      await Promise.allSettled([inside.readable.pipeTo(outside.writable), outside.readable.pipeTo(inside.writable)]);
      closeQuietly(outside);
      this.#open.delete(outside);
    } catch {
      // Nobody listens outside: the caller sees the connection end.
    }
    closeQuietly(inside);
    this.#open.delete(inside);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#isClosed) return;
    this.#isClosed = true;
    this.#listener.close();
    for (const connection of this.#open) closeQuietly(connection);
    await this.#accepting.catch(() => {});
    await Promise.allSettled(this.#carrying);
  }
}

function closeQuietly(connection: Deno.TcpConn): void {
  try {
    connection.close();
  } catch {
    // Its streams have closed it.
  }
}

async function ip(...args: readonly string[]): Promise<void> {
  const { success, stderr } = await new Deno.Command("ip", { args: [...args] }).output();
  if (!success) throw new Error(`ip ${args.join(" ")}: ${new TextDecoder().decode(stderr)}`);
}
