/**
 * krun's account at a {@linkcode FakeGoogle}, for unit tests of what asks Google's APIs: no network, no retries. A failure is a
 * `GoogleApiFailed` with the status.
 *
 * @module
 */
import { KrunError } from "../src/core/errors.ts";
import type { AccountRequest } from "../src/gcp/google_account.ts";
import type { FakeGoogle } from "./fakes/google_cloud.ts";

/** A request of Google's APIs, as JSON. */
export interface FakeCall {
  readonly host: string;
  readonly path: string;
  /** Set: a POST. */
  readonly body?: unknown;
  readonly token: string;
}

/** What the fake answers. */
export async function askFake(google: FakeGoogle, { host, path, body, token }: FakeCall): Promise<Response> {
  const headers = { authorization: `Bearer ${token}` };
  const request = body === undefined
    ? { headers }
    : { method: "POST", headers: { ...headers, "content-type": "application/json" }, body: JSON.stringify(body) };
  return await google.answer(new Request(`https://${host}${path}`, request), host);
}

/** Such an account. */
export class FakeAccount {
  readonly #google: FakeGoogle;

  constructor(google: FakeGoogle) {
    this.#google = google;
  }

  email(): Promise<string | undefined> {
    return Promise.resolve(this.#google.account);
  }

  async json<T>(request: AccountRequest): Promise<T | undefined> {
    const text = await this.text(request);
    return text === undefined ? undefined : JSON.parse(text);
  }

  async text({ host, path, body, absent, what }: AccountRequest): Promise<string | undefined> {
    const { token } = this.#google.tokens.access(this.#google.account!, [
      "https://www.googleapis.com/auth/cloud-platform",
    ]);
    const response = await askFake(this.#google, { host, path, body, token });
    const text = await response.text();
    if (response.status === 404 && absent) return undefined;
    if (response.ok) return text;
    const transient = response.status >= 500;
    throw new KrunError("GoogleApiFailed", `Cannot ${what} at ${host}: ${response.status}`, "mend it", { transient });
  }
}
