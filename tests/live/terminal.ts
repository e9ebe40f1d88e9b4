/**
 * A person at a terminal: script(1) makes the pseudo-terminal, the test types and reads.
 *
 * @module
 */
import { descendants } from "../../src/core/proc_stat.ts";
import { SIGKILL } from "../../src/core/signals.ts";
import { loadLibc } from "../../src/pod/libc.ts";
import { readProcesses } from "../../src/pod/process_table.ts";
import { unlessItHangs, waitFor } from "../wait.ts";

// Here and not at its first use, since the leak check counts a library that a test loads.
const libc = loadLibc();

/** What the keys send. */
export const CTRL_C = "\x03", CTRL_D = "\x04", CTRL_Z = "\x1a", ENTER = "\r";

/** A program with a terminal of its own, leader of its session. Disposing it kills all that runs in it. */
export class TerminalSession implements AsyncDisposable {
  readonly #child: Deno.ChildProcess;
  readonly #keys: WritableStreamDefaultWriter<Uint8Array>;
  readonly #reading: Promise<void>;
  #text = "";
  #seen = 0;

  constructor(argv: readonly string[], env: Record<string, string> = {}) {
    const command = argv.map((word) => `'${word.replaceAll("'", "'\\''")}'`).join(" ");
    this.#child = new Deno.Command("script", {
      args: ["--quiet", "--return", "--command", `exec ${command}`, "/dev/null"],
      env: { TERM: "dumb", SHELL: "/bin/sh", ...env },
      stdin: "piped",
      stdout: "piped",
      stderr: "null",
    }).spawn();
    this.#keys = this.#child.stdin.getWriter();
    this.#reading = this.#read();
  }

  /** Everything on the screen so far. */
  get screen(): string {
    return this.#text;
  }

  /** Types keys. */
  async type(keys: string): Promise<void> {
    await this.#keys.write(new TextEncoder().encode(keys));
  }

  /** Waits for a text that has not been waited for before. */
  async sees(pattern: RegExp): Promise<RegExpExecArray> {
    try {
      return await waitFor(`${pattern} on the terminal`, () => {
        const found = pattern.exec(this.#text.slice(this.#seen));
        if (found) this.#seen += found.index + found[0].length;
        return found;
      });
    } catch (cause) {
      throw new Error(`${cause}\n--- screen\n${this.#text}`, { cause });
    }
  }

  /** Resolves to the exit status of the program. */
  async ended(): Promise<number> {
    const status = unlessItHangs("the program to end", this.#child.status, { seen: () => this.#text });
    return (await status).code;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const { pid } of descendants(readProcesses(libc), this.#child.pid)) libc.kill(pid, SIGKILL);
    await this.#keys.close().catch(() => {}); // script has ended already.
    await this.#child.status;
    await this.#reading;
  }

  async #read(): Promise<void> {
    const decoder = new TextDecoder();
    for await (const chunk of this.#child.stdout) this.#text += decoder.decode(chunk, { stream: true });
  }
}
