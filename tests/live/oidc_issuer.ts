/**
 * An OpenID Connect issuer that gives a token to whoever has its one refresh token.
 *
 * @module
 */
import { Buffer } from "node:buffer";
import { freePort } from "./server_process.ts";
import type { CertificateAuthority } from "./certificate_authority.ts";

const CLIENT = "krun";
const REFRESH_TOKEN = "r3fresh";

/** Runs until it is disposed of. Its user is `olga`: for an API server `<url>#olga`. */
export class OidcIssuer implements AsyncDisposable {
  readonly #server: Deno.HttpServer;

  private constructor(
    readonly url: string,
    readonly keys: CryptoKeyPair,
    options: Deno.ServeTcpOptions & Deno.TlsCertifiedKeyPem,
  ) {
    this.#server = Deno.serve(options, (request) => this.#answer(request));
  }

  /** Starts one on a free port of localhost, with a certificate of `ca`. */
  static async start(ca: CertificateAuthority): Promise<OidcIssuer> {
    const { certPem: cert, keyPem: key } = await ca.issue({ names: ["DNS:localhost"] });
    const port = freePort();
    const keys = await crypto.subtle.generateKey({ name: "ECDSA", namedCurve: "P-256" }, true, ["sign"]);
    const options = { hostname: "127.0.0.1", port, cert, key, onListen() {} };
    return new OidcIssuer(`https://localhost:${port}`, keys as CryptoKeyPair, options);
  }

  /** Arguments of a kube-apiserver that believes it. */
  apiServerArgs(caFile: string): string[] {
    const flags = { "issuer-url": this.url, "client-id": CLIENT, "ca-file": caFile, "signing-algs": "ES256" };
    return Object.entries(flags).map(([name, value]) => `--oidc-${name}=${value}`);
  }

  /** `config` of a kubeconfig user's auth-provider `oidc`. */
  authProvider(caPem: string): Record<string, string> {
    return {
      "idp-issuer-url": this.url,
      "client-id": CLIENT,
      "refresh-token": REFRESH_TOKEN,
      "idp-certificate-authority-data": btoa(caPem),
    };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#server.shutdown();
  }

  async #answer(request: Request): Promise<Response> {
    const { pathname } = new URL(request.url);
    if (pathname === "/keys") {
      const jwk = await crypto.subtle.exportKey("jwk", this.keys.publicKey);
      return Response.json({ keys: [{ ...jwk, kid: "k", alg: "ES256", use: "sig" }] });
    }
    if (pathname !== "/token") {
      return Response.json({ issuer: this.url, jwks_uri: `${this.url}/keys`, token_endpoint: `${this.url}/token` });
    }
    const shown = new URLSearchParams(await request.text()).get("refresh_token");
    if (shown !== REFRESH_TOKEN) return Response.json({ error: "invalid_grant" }, { status: 400 });
    return Response.json({ id_token: await this.#idToken() });
  }

  async #idToken(): Promise<string> {
    const base64url = (data: Uint8Array | string) => Buffer.from(data).toString("base64url");
    const now = Math.floor(Date.now() / 1000);
    const claims = { iss: this.url, aud: CLIENT, sub: "olga", exp: now + 600, iat: now };
    const signed = `${base64url('{"alg":"ES256","kid":"k"}')}.${base64url(JSON.stringify(claims))}`;
    const algorithm = { name: "ECDSA", hash: "SHA-256" };
    const signature = await crypto.subtle.sign(algorithm, this.keys.privateKey, new TextEncoder().encode(signed));
    return `${signed}.${base64url(new Uint8Array(signature))}`;
  }
}
