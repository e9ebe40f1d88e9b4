/**
 * The service account that the metadata server gives tokens of: that of a Cloud Run service, or of a Compute Engine machine.
 *
 * @module
 */
import type { GoogleToken, GoogleTokenRequest } from "../core/google_token.ts";
import type { TokenSource } from "./google_account.ts";
import type { GoogleTry } from "./google_http.ts";
import type { MetadataServer } from "./metadata_server.ts";

/** Its tokens. A token is one request, without TLS, and nothing is loaded for it. */
export class MetadataAccount implements TokenSource {
  readonly describe = "the service account of the metadata server";
  readonly #server: MetadataServer;

  constructor(server: MetadataServer) {
    this.#server = server;
  }

  token(request: GoogleTokenRequest, options: GoogleTry): Promise<GoogleToken> {
    return this.#server.token(request, options);
  }

  email(options: GoogleTry): Promise<string | undefined> {
    return this.#server.email(options);
  }
}
