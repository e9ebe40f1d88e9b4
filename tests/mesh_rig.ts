/**
 * A workload of a mesh with its HBONE endpoint, and peers that call it: what the tests of the mesh start from.
 *
 * @module
 */
import * as http2 from "node:http2";
import { join } from "node:path";
import { http2Channel } from "../src/mesh/http2_channel.ts";
import { endBetweenTurns } from "../src/mesh/http2_session.ts";
import type { Channel } from "../src/net/channel.ts";
import { DescriptorBudget } from "../src/mesh/descriptor_budget.ts";
import { type HboneServer, type HboneServerOptions, serveHbone } from "../src/mesh/hbone_server.ts";
import { systemClock } from "../src/pod/clock.ts";
import { type MadeCertificate, TestAuthority } from "./certificates.ts";
import { RecordingLog } from "./recording_log.ts";

export const TRUST_DOMAIN = "cluster.local";

/** A SPIFFE id of the trust domain of the tests. */
export function workloadId(name: string): string {
  return `spiffe://${TRUST_DOMAIN}/ns/shop/sa/${name}`;
}

/** A folder as pilot-agent fills it; removed when it is disposed. */
export class CertificateFolder implements AsyncDisposable {
  private constructor(readonly path: string) {}

  static async create(certificate: MadeCertificate, rootPem: string): Promise<CertificateFolder> {
    const folder = new CertificateFolder(await Deno.makeTempDir({ prefix: "krun-mesh-" }));
    await folder.write(certificate, rootPem);
    return folder;
  }

  async write({ keyPem, certPem }: MadeCertificate, rootPem: string): Promise<void> {
    await this.put("key.pem", keyPem);
    await this.put("cert-chain.pem", certPem);
    await this.put("root-cert.pem", rootPem);
  }

  async put(name: string, text: string): Promise<void> {
    await Deno.writeTextFile(join(this.path, `.${name}`), text, { mode: 0o600 });
    await Deno.rename(join(this.path, `.${name}`), join(this.path, name));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Deno.remove(this.path, { recursive: true });
  }
}

/** What a peer shows and whom it believes. */
export interface PeerOptions {
  readonly certificate?: MadeCertificate | undefined;
  readonly rootPem: string;
  /** Address of the endpoint. @default {"127.0.0.1"} */
  readonly host?: string;
  /** Bytes that may come at once on a stream. @default {65_535} */
  readonly windowBytes?: number;
}

/** An HTTP/2 connection of a peer, made with node:http2 alone. */
export class Peer implements AsyncDisposable {
  readonly #session: http2.ClientHttp2Session;
  readonly #closed: Promise<void>;
  /** The last stream that counts, as the server's GOAWAY says. */
  #lastStream = Infinity;
  /** Why the connection failed. */
  failure: Error | undefined;
  /** Serial number of the certificate that the server has shown. */
  serial: string | undefined;

  constructor(port: number, { certificate, rootPem, host = "127.0.0.1", windowBytes = 65_535 }: PeerOptions) {
    this.#session = http2.connect(`https://${host}:${port}`, {
      ca: rootPem,
      settings: { initialWindowSize: windowBytes },
      ...(certificate === undefined ? {} : { cert: certificate.certPem, key: certificate.keyPem }),
      checkServerIdentity: (_host, { serialNumber }) => void (this.serial = serialNumber),
    });
    endBetweenTurns(this.#session);
    this.#session.on("error", (error) => this.failure = error);
    this.#session.on("goaway", (_code, lastStream) => this.#lastStream = lastStream);
    this.#session.once("connect", () => {
      this.#session.setLocalWindowSize(windowBytes);
      this.#session.socket.setMaxListeners(0);
    });
    this.#closed = new Promise((resolve) => this.#session.once("close", resolve));
  }

  /** Settles when the connection is over. */
  get closed(): Promise<void> {
    return this.#closed;
  }

  /** It takes no new stream. */
  get isOver(): boolean {
    return this.#session.closed || this.#session.destroyed;
  }

  /** Asks for a tunnel; the answer, and the channel whatever the answer was. */
  open(authority: string, headers: http2.OutgoingHttpHeaders = {}): PeerStream {
    const stream = this.#session.request({ ":method": "CONNECT", ":authority": authority, ...headers }, {
      endStream: false,
      waitForTrailers: true,
    });
    const channel = http2Channel(stream);
    const status = new Promise<number>((resolve, reject) => {
      stream.once("response", (answer) => resolve(Number(answer[":status"])));
      stream.once("close", () => reject(this.failure ?? new Error(`closed with code ${stream.rstCode}`)));
    });
    status.catch(() => {});
    const isPassedOver = () => stream.id === undefined || stream.id > this.#lastStream;
    return { channel, status, code: () => stream.rstCode, isPassedOver };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#session.destroy();
    await this.#closed;
  }
}

/** A tunnel that was asked for. */
export interface PeerStream {
  readonly channel: Channel;
  readonly status: Promise<number>;
  /** Code of the reset; 0 when there was none. */
  code(): number | undefined;
  /** It was never sent, or is behind the last one that counts by the server's GOAWAY (RFC 9113, 6.8): it may be asked for elsewhere. */
  isPassedOver(): boolean;
}

/** What is left to read of a channel. */
export async function readAll(channel: Channel): Promise<Uint8Array> {
  const parts: Uint8Array[] = [];
  for (let bytes; (bytes = await channel.read()) !== undefined;) parts.push(bytes);
  return new Uint8Array(await new Blob(parts as Uint8Array<ArrayBuffer>[]).arrayBuffer());
}

/** An endpoint with certificates of its own authority. */
export class MeshRig implements AsyncDisposable {
  readonly authority = new TestAuthority();
  readonly log = new RecordingLog();
  readonly #stack = new AsyncDisposableStack();
  readonly #peers: Peer[] = [];
  folder!: CertificateFolder;
  server!: HboneServer;

  private constructor() {}

  static async start(options: Partial<HboneServerOptions> & Pick<HboneServerOptions, "workload">): Promise<MeshRig> {
    const rig = new MeshRig();
    const certificate = rig.authority.issue({ uris: [workloadId("web")] });
    rig.folder = rig.#stack.use(await CertificateFolder.create(certificate, rig.authority.pem));
    rig.server = await serveHbone({
      certificates: rig.folder.path,
      hostname: "127.0.0.1",
      ports: [0],
      log: rig.log,
      clock: systemClock,
      descriptors: new DescriptorBudget(1024),
      ...options,
    });
    return rig;
  }

  /** A peer of the same trust domain, if nothing else is said. */
  peer(options: Partial<PeerOptions> = {}): Peer {
    const certificate = this.authority.issue({ uris: [workloadId("client")] });
    const peer = new Peer(this.server.port, { certificate, rootPem: this.authority.pem, ...options });
    this.#peers.push(peer);
    return peer;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const peer of this.#peers) await peer[Symbol.asyncDispose]();
    await this.server[Symbol.asyncDispose]();
    await this.#stack.disposeAsync();
  }
}
