/**
 * Google's APIs for references: each request once, since whoever starts the Pod tries again, and as krun's own account.
 *
 * @module
 */
import type { GoogleAccount } from "../gcp/google_account.ts";
import type { GoogleRequest } from "../gcp/google_http.ts";

/** Options of {@linkcode GoogleAsker}. */
export interface GoogleAskerOptions {
  /** Made when the first reference needs it. */
  account(): Promise<Pick<GoogleAccount, "json" | "text" | "email">>;
}

/** A deadline by which each request is one try, with all its time. */
const ONCE = 0;

/** How long the account's name may take, milliseconds. */
const NAME_MS = 1_000;

/** One account, asked for references. */
export class GoogleAsker {
  readonly #options: GoogleAskerOptions;
  #made: ReturnType<GoogleAskerOptions["account"]> | undefined;

  constructor(options: GoogleAskerOptions) {
    this.#options = options;
  }

  /** The answer's object; `undefined` for a 404 when `absent` is set. @throws {KrunError} as `GoogleAccount.json` */
  async json<T>(request: GoogleRequest, signal: AbortSignal | undefined): Promise<T | undefined> {
    return await (await this.#account()).json<T>(request, { signal, deadlineMs: ONCE });
  }

  /** The answer's text. @throws as {@linkcode GoogleAsker.json} */
  async text(request: GoogleRequest, signal: AbortSignal | undefined): Promise<string | undefined> {
    return await (await this.#account()).text(request, { signal, deadlineMs: ONCE });
  }

  /** With its name, which the launch asks for beside the first token: whoever is to be granted a role is then known. */
  #account() {
    return this.#made ??= this.#options.account().then(async (account) => {
      // Without it a failure calls the account by where it comes from.
      await account.email({ deadlineMs: Date.now() + NAME_MS }).catch(() => {});
      return account;
    });
  }
}
