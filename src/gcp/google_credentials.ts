/**
 * A Google account as the user of a kube-apiserver: GKE and Connect Gateway take its access token as it is.
 *
 * @module
 */
import { KrunError } from "../core/errors.ts";
import { DEFAULT_SCOPES } from "../core/google_token.ts";
import type { Credential, Credentials } from "../kube/credentials.ts";
import type { GoogleAccount } from "./google_account.ts";

/** Its access token, renewed before it ends and when the server refuses it. */
export class GoogleCredentials implements Credentials {
  readonly #account: GoogleAccount;
  readonly #scopes: readonly string[];
  #last: { credential: Credential; token: string } | undefined;

  /** @param scopes of its tokens. @default {DEFAULT_SCOPES} */
  constructor(account: GoogleAccount, scopes: readonly string[] = DEFAULT_SCOPES) {
    this.#account = account;
    this.#scopes = scopes;
  }

  async current(signal?: AbortSignal): Promise<Credential> {
    const { token } = await this.#account.accessToken(this.#scopes, { signal });
    if (this.#last?.token !== token) {
      const credential = { headers: [["authorization", `Bearer ${token}`]] as const, certificate: undefined };
      this.#last = { credential, token };
    }
    return this.#last.credential;
  }

  async refused(used: Credential, signal?: AbortSignal): Promise<boolean> {
    if (this.#last?.credential === used) this.#account.forget({ token: this.#last.token });
    try {
      return await this.current(signal) !== used;
    } catch (error) {
      // Why the server refused the old one says more than why there is no new one.
      if (error instanceof KrunError) return false;
      throw error;
    }
  }
}
