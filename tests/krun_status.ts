/**
 * What a running krun says of itself on the pages of KRUN_STATUS.
 *
 * @module
 */
import type { RunState } from "../src/launch/metrics.ts";

/** The pages of one krun that is, or will be, started with `env`. */
export class KrunStatus {
  readonly #address: string;

  private constructor(address: string) {
    this.#address = address;
  }

  /** On a port that nobody listens on yet. */
  static onFreePort(): KrunStatus {
    using listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
    return new KrunStatus(`127.0.0.1:${listener.addr.port}`);
  }

  /** The setting that makes krun serve them. */
  get env(): { KRUN_STATUS: string } {
    return { KRUN_STATUS: this.#address };
  }

  /** The status of a page such as `readyz`. @throws {TypeError} while nobody listens */
  async code(page: string): Promise<number> {
    const response = await fetch(`http://${this.#address}/${page}`);
    await response.body?.cancel();
    return response.status;
  }

  /** The JSON of /status. */
  async state(): Promise<RunState> {
    return await (await fetch(`http://${this.#address}/status`)).json();
  }

  /** The value of one sample of /metrics, named with its labels; `undefined` when it is not there. */
  async metric(sample: string): Promise<number | undefined> {
    const text = await (await fetch(`http://${this.#address}/metrics`)).text();
    const line = text.split("\n").find((one) => one.startsWith(`${sample} `));
    return line === undefined ? undefined : Number(line.slice(sample.length + 1));
  }
}
