/**
 * A control plane for clients of Traffic Director that has nothing to tell them: it takes xDS over TLS, notes who asks for what and
 * as whom, and answers with empty lists once it is let. It also issues access tokens as Google's token endpoint does.
 *
 * In: nothing. Out: requests as clients sent them. Google's own service cannot run here; what this cannot show is what that one
 * would answer.
 *
 * @module
 */
import { join } from "node:path";
import { CertificateAuthority } from "./certificate_authority.ts";

/** What a client asked for (envoy.service.discovery.v3.DiscoveryRequest). */
export interface XdsRequest {
  /** Header `authorization` of its stream. */
  readonly authorization: string | undefined;
  readonly nodeId: string;
  /** Last part of the type's name: `Listener`. */
  readonly type: string;
  readonly names: readonly string[];
  /** Whether it answers an answer. */
  readonly isReply: boolean;
}

/** Starts one on a free port; `folder` is the caller's. */
export async function startXdsServer(folder: string, hostname = "127.0.0.1"): Promise<XdsServer> {
  const authority = await CertificateAuthority.create(join(folder, "ca"));
  const { certPem, keyPem } = await authority.issue({ names: [`IP:${hostname}`] });
  const algorithm = { name: "RSASSA-PKCS1-v1_5", modulusLength: 2048, publicExponent: EXPONENT, hash: "SHA-256" };
  const keys = await crypto.subtle.generateKey(algorithm, true, ["sign", "verify"]);
  const server = new XdsServer({ folder, hostname, cert: certPem, key: keyPem, caFile: authority.file, keys });
  await server.writeCredentials();
  return server;
}

const EXPONENT = new Uint8Array([1, 0, 1]);

/** What a server is made of. */
interface XdsServerOptions {
  readonly folder: string;
  readonly hostname: string;
  readonly cert: string;
  readonly key: string;
  readonly caFile: string;
  readonly keys: CryptoKeyPair;
}

/** A running one. Made by {@linkcode startXdsServer}. */
export class XdsServer implements AsyncDisposable {
  readonly requests: XdsRequest[] = [];
  /** Where a client sent requests: method and path. */
  readonly paths = new Set<string>();
  readonly #options: XdsServerOptions;
  readonly #server: Deno.HttpServer<Deno.NetAddr>;
  readonly #over = new AbortController();
  readonly #released = Promise.withResolvers<void>();

  constructor(options: XdsServerOptions) {
    this.#options = options;
    const { hostname, cert, key } = options;
    const serve = { hostname, port: 0, cert, key, signal: this.#over.signal, onListen: () => {} };
    this.#server = Deno.serve(serve, (request) => this.#answer(request));
  }

  /** `<address>:<port>`. */
  get address(): string {
    return `${this.#options.hostname}:${this.#server.addr.port}`;
  }

  /** File of the CA that its certificate is of. */
  get caFile(): string {
    return this.#options.caFile;
  }

  /** File of a Google service account's key. */
  get credentials(): string {
    return join(this.#options.folder, "key.json");
  }

  /** From now on it answers, also what was asked before. */
  release(): void {
    this.#released.resolve();
  }

  /** Whether a token is a JWT that the service account of {@linkcode XdsServer.credentials} has signed; its claims. */
  async claims(token: string): Promise<Record<string, unknown> | undefined> {
    const [head = "", body = "", signature = ""] = token.split(".");
    const bytes = (text: string) => Uint8Array.fromBase64(text, { alphabet: "base64url" });
    const signed = new TextEncoder().encode(`${head}.${body}`);
    const { publicKey } = this.#options.keys;
    if (!await crypto.subtle.verify("RSASSA-PKCS1-v1_5", publicKey, bytes(signature), signed)) return undefined;
    return JSON.parse(new TextDecoder().decode(bytes(body)));
  }

  /** For {@linkcode startXdsServer}. */
  async writeCredentials(): Promise<void> {
    const der = new Uint8Array(await crypto.subtle.exportKey("pkcs8", this.#options.keys.privateKey));
    const lines = der.toBase64().match(/.{1,64}/g)!.join("\n");
    const key = {
      type: "service_account",
      ...{ project_id: "p", private_key_id: "k1", client_id: "1", client_email: "web@p.iam.gserviceaccount.com" },
      private_key: `-----BEGIN PRIVATE KEY-----\n${lines}\n-----END PRIVATE KEY-----\n`,
      token_uri: `https://${this.address}/token`,
    };
    await Deno.writeTextFile(this.credentials, JSON.stringify(key), { mode: 0o600 });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#over.abort();
    this.release();
    await this.#server.finished;
  }

  #answer(request: Request): Response {
    const { pathname } = new URL(request.url);
    this.paths.add(`${request.method} ${pathname}`);
    if (pathname === "/token") {
      return Response.json({ access_token: "from-the-token-endpoint", token_type: "Bearer", expires_in: 3600 });
    }
    const { readable, writable } = new TransformStream<Uint8Array>();
    const isDiscovery = pathname.endsWith("/StreamAggregatedResources");
    void this.#stream(request, { writer: writable.getWriter(), isDiscovery }).catch(() => {});
    return new Response(readable, { headers: { "content-type": "application/grpc" } });
  }

  /** One stream, until the client ends it. */
  async #stream(
    request: Request,
    { writer, isDiscovery }: { writer: WritableStreamDefaultWriter<Uint8Array>; isDiscovery: boolean },
  ): Promise<void> {
    for await (const message of messages(request.body!)) {
      if (!isDiscovery) continue;
      const { typeUrl, ...asked } = discoveryRequest(message);
      this.requests.push({ authorization: request.headers.get("authorization") ?? undefined, ...asked });
      if (asked.isReply) continue;
      // The layer is there before the rest, and Envoy waits for it.
      const resources = asked.type === "Runtime" ? asked.names.map((name) => runtimeLayer(typeUrl, name)) : [];
      const ready = asked.type === "Runtime" ? Promise.resolve() : this.#released.promise;
      void ready.then(() => writer.write(response(typeUrl, resources))).catch(() => {});
    }
    await writer.close();
  }
}

/** The messages of a gRPC stream: a byte, four of length, the message. */
async function* messages(body: ReadableStream<Uint8Array>): AsyncGenerator<Uint8Array> {
  let bytes = new Uint8Array();
  for await (const chunk of body) {
    bytes = new Uint8Array([...bytes, ...chunk]);
    for (;;) {
      const length = bytes.length < 5 ? Infinity : new DataView(bytes.buffer).getUint32(1);
      if (bytes.length < 5 + length) break;
      yield bytes.slice(5, 5 + length);
      bytes = bytes.slice(5 + length);
    }
  }
}

const decoder = new TextDecoder(), encoder = new TextEncoder();

/** Fields of a protobuf message that are texts or messages, each with its number. */
function* fields(bytes: Uint8Array): Generator<readonly [number, Uint8Array]> {
  let at = 0;
  const varint = () => {
    for (let value = 0, shift = 0;; shift += 7) {
      const byte = bytes[at++]!;
      value += (byte & 0x7f) * 2 ** shift;
      if (byte < 0x80) return value;
    }
  };
  while (at < bytes.length) {
    const tag = varint();
    const length = varint();
    if ((tag & 7) === 2) yield [tag >>> 3, bytes.subarray(at, at += length)];
  }
}

function discoveryRequest(bytes: Uint8Array) {
  const all = [...fields(bytes)];
  const texts = (number: number) => all.filter(([n]) => n === number).map(([, value]) => decoder.decode(value));
  const [, node = new Uint8Array()] = all.find(([n]) => n === 2) ?? [];
  const [, id] = [...fields(node)].find(([n]) => n === 1) ?? [];
  const [typeUrl = ""] = texts(4);
  return {
    nodeId: decoder.decode(id),
    typeUrl,
    type: typeUrl.split(".").at(-1)!,
    names: texts(3),
    isReply: texts(5).length > 0,
  };
}

/** One field of a protobuf message, a text or another message. */
function field(number: number, value: string | readonly number[]): number[] {
  const bytes = typeof value === "string" ? [...encoder.encode(value)] : value;
  const length = bytes.length < 0x80 ? [bytes.length] : [bytes.length & 0x7f | 0x80, bytes.length >> 7];
  return [number << 3 | 2, ...length, ...bytes];
}

/** A runtime layer without values, as an Any. */
function runtimeLayer(typeUrl: string, name: string): number[] {
  return [...field(1, typeUrl), ...field(2, [...field(1, name), ...field(2, [])])];
}

/** A DiscoveryResponse of version 1, with its length before it. */
function response(typeUrl: string, resources: readonly (readonly number[])[]): Uint8Array {
  const body = [
    ...field(1, "1"),
    ...resources.flatMap((resource) => field(2, resource)),
    ...field(4, typeUrl),
    ...field(5, "n1"),
  ];
  return new Uint8Array([0, 0, 0, body.length >> 8, body.length & 0xff, ...body]);
}
