/**
 * Runs the real krun as a process of its own: from source; from the bundle of it whose first module KRUN_TEST_BUNDLE names, which is
 * what is compiled, and starts in two thirds of the processor time; or the compiled binary that KRUN_TEST_BINARY names.
 *
 * @module
 */
import { join } from "node:path";
import { unlessItHangs, waitFor } from "./wait.ts";

/** What a test starts krun with. */
export interface KrunOptions {
  /** Arguments of krun. */
  readonly args: readonly string[];
  /** Its whole environment besides PATH. */
  readonly env?: Readonly<Record<string, string>>;
  /** Working directory. */
  readonly cwd: string;
  /** As this user; needs root. */
  readonly uid?: number;
  readonly gid?: number;
  /** A program and its arguments that starts krun, such as `["unshare", "--pid", "--fork"]`. */
  readonly under?: readonly string[];
  /** The words that start krun, where it is not to be found by {@linkcode krunArgv}: in another root file system. */
  readonly argv?: readonly string[];
  /** A module of `tests/programs` that is loaded before krun; always from source. */
  readonly preload?: string;
}

/** What krun did until its end. */
export interface KrunEnd {
  readonly code: number;
  readonly signal: Deno.Signal | null;
  readonly stdout: string;
  readonly stderr: string;
}

const REPOSITORY = new URL("..", import.meta.url).pathname;

let binary = Deno.env.get("KRUN_TEST_BINARY");

/** From here on the tests of this file run a compiled krun: every test file has its own copy of this module. */
export function useBinary(path: string): void {
  binary = path;
}

/** The words that start krun, after a module of `tests/programs` if one is named. */
export function krunArgv(preload?: string): [string, ...string[]] {
  if (binary) return [binary];
  const bundle = preload === undefined ? Deno.env.get("KRUN_TEST_BUNDLE") : undefined;
  return [
    Deno.execPath(),
    "run",
    "--quiet",
    ...(preload === undefined ? [] : [`--preload=${join(REPOSITORY, "tests", "programs", preload)}`]),
    `--config=${join(REPOSITORY, "deno.json")}`,
    "-P=krun",
    // In the named set "." would be the folder of deno.json; here it is the working directory.
    "--allow-write=/,.",
    "--no-prompt",
    bundle ?? join(REPOSITORY, "main.ts"),
  ];
}

/** A krun that runs. Disposing it kills it, when it has not ended. */
export class KrunProcess implements AsyncDisposable {
  readonly #child: Deno.ChildProcess;
  readonly #out = { stdout: "", stderr: "" };
  readonly #reading: Promise<unknown>;
  readonly #enough = new AbortController();
  #ended = false;
  /** It has ended, and nothing more of its output will come. */
  #isOver = false;
  readonly #end: Promise<KrunEnd>;

  constructor({ args, env = {}, cwd, uid, gid, under = [], argv, preload }: KrunOptions) {
    const [program, ...rest] = [...under, ...(argv ?? krunArgv(preload)), ...args];
    this.#child = new Deno.Command(program!, {
      args: rest,
      cwd,
      clearEnv: true,
      env: { PATH: Deno.env.get("PATH") ?? "/usr/bin:/bin", ...(argv ? {} : { DENO_DIR: denoDir() }), ...env },
      stdin: "null",
      stdout: "piped",
      stderr: "piped",
      ...(uid === undefined ? {} : { uid }),
      ...(gid === undefined ? {} : { gid }),
    }).spawn();
    this.#reading = Promise.all([this.#read("stdout"), this.#read("stderr")]);
    this.#end = this.#wait();
  }

  /**
   * Resolves when krun has ended and all of its output was read; a program that survives it holds the output open. The error
   * of a krun that hangs shows both streams.
   */
  get end(): Promise<KrunEnd> {
    return unlessItHangs("krun to end", this.#end, { seen: () => this.#streams() });
  }

  get pid(): number {
    return this.#child.pid;
  }

  get stdout(): string {
    return this.#out.stdout;
  }

  get stderr(): string {
    return this.#out.stderr;
  }

  kill(signal: Deno.Signal): void {
    this.#child.kill(signal);
  }

  /** Waits until the output matches; the error shows both streams. */
  async sees(stream: "stdout" | "stderr", pattern: RegExp): Promise<RegExpExecArray> {
    try {
      const found = await waitFor(
        `${pattern} on ${stream}`,
        () => pattern.exec(this.#out[stream]) ?? (this.#isOver ? "end" : undefined),
      );
      if (found === "end") throw new Error(`krun has ended without ${pattern} on ${stream}`);
      return found;
    } catch (cause) {
      throw new Error(`${cause}\n${this.#streams()}`, { cause });
    }
  }

  /** Ends krun at once, as nothing can prevent; its program survives. Resolves when krun is gone. */
  async murder(): Promise<void> {
    this.#child.kill("SIGKILL");
    await this.#child.status;
    this.#enough.abort();
    await this.#end;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    // A polite end first: it takes the program along.
    if (!this.#ended) this.kill("SIGTERM");
    // Where krun is gone, its output is held open by a program that survives it.
    const patience = setTimeout(() => void (this.#ended ? this.#enough.abort() : this.murder()), 10_000);
    await this.#end;
    clearTimeout(patience);
  }

  #streams(): string {
    return `--- stdout\n${this.stdout}\n--- stderr\n${this.stderr}`;
  }

  async #read(stream: "stdout" | "stderr"): Promise<void> {
    const decoder = new TextDecoder();
    const { signal } = this.#enough;
    const chunks = this.#child[stream].pipeThrough(new TransformStream(), { signal });
    try {
      for await (const chunk of chunks) this.#out[stream] += decoder.decode(chunk, { stream: true });
    } catch (cause) {
      if (!signal.aborted) throw cause;
    }
  }

  async #wait(): Promise<KrunEnd> {
    const { code, signal } = await this.#child.status;
    this.#ended = true;
    await this.#reading;
    this.#isOver = true;
    return { code, signal, ...this.#out };
  }
}

/** Runs krun to its end. */
export async function runKrun(options: KrunOptions): Promise<KrunEnd> {
  await using krun = new KrunProcess(options);
  return await krun.end;
}

/** DENO_DIR of a krun from source: it finds its modules where the tests' own deno has them, also under another HOME. */
export function denoDir(): string {
  const set = Deno.env.get("DENO_DIR");
  if (set) return set;
  return join(Deno.env.get("XDG_CACHE_HOME") ?? join(Deno.env.get("HOME") ?? "/root", ".cache"), "deno");
}
