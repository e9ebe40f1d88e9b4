/**
 * Google Cloud's metadata server as far as it gives ID tokens, which cannot run here. In: nothing. Out: a `host:port` for
 * GCE_METADATA_HOST, and who has asked for what.
 *
 * As strict as the real one: no answer without its header, none to what came through a proxy, none for another path.
 * Source: https://cloud.google.com/compute/docs/metadata/querying-metadata
 *
 * @module
 */

const IDENTITY = "/computeMetadata/v1/instance/service-accounts/default/identity";
const FLAVOR = { "metadata-flavor": "Google" };

/** A server; disposing it ends it. */
export class FakeMetadataServer implements AsyncDisposable {
  /** The audiences that were asked for, in order. */
  readonly audiences: string[] = [];
  readonly #server: Deno.HttpServer<Deno.NetAddr>;

  constructor(hostname = "127.0.0.1") {
    this.#server = Deno.serve({ hostname, port: 0, onListen: () => {} }, (request) => this.#answer(request));
  }

  /** For GCE_METADATA_HOST. */
  get host(): string {
    const { hostname, port } = this.#server.addr;
    return `${hostname}:${port}`;
  }

  /** What it gives for an audience: three parts, as a token has, and no secret. */
  tokenFor(audience: string): string {
    const claims = new TextEncoder().encode(JSON.stringify({ aud: audience, exp: 4_102_444_800 }));
    return ["header", claims.toBase64({ alphabet: "base64url", omitPadding: true }), "signature"].join(".");
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#server.shutdown();
  }

  #answer({ method, url, headers }: Request): Response {
    const { pathname, searchParams } = new URL(url);
    const audience = searchParams.get("audience");
    if (headers.get("metadata-flavor") !== "Google" || headers.has("x-forwarded-for")) {
      return new Response("Missing Metadata-Flavor:Google header.", { status: 403, headers: FLAVOR });
    }
    if (method !== "GET") return new Response("", { status: 405, headers: FLAVOR });
    if (pathname !== IDENTITY) return new Response("", { status: 404, headers: FLAVOR });
    if (!audience) return new Response("non-empty audience parameter required", { status: 400, headers: FLAVOR });
    this.audiences.push(audience);
    return new Response(this.tokenFor(audience), { headers: FLAVOR });
  }
}
