/**
 * The compiled krun (Deno 2.6.10, the pair of live tools), and a root file system to run it in as PID 1: only the binary,
 * its shared libraries and a static test program, as in a distroless image.
 *
 * ```ts
 * await using root = await rootFs({ mounts: [{ target: "/run", tmpfs: "size=64k" }] });
 * await using krun = root.start({ args: ["/program", "wait"], env: { KRUN_LOG: "debug" }, uid: 65534, cwd: "/home" });
 * await krun.sees("stdout", /ready/);
 * krun.kill("SIGTERM"); // reaches PID 1 itself
 * assert.equal((await krun.end).code, 0);
 * ```
 *
 * Needs root, util-linux, Go and the live tools.
 *
 * @module
 */
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { compileProgram } from "../../scripts/compile.ts";
import { liveTool } from "../../scripts/live_tools.ts";
import { KrunProcess } from "../krun_process.ts";
import { waitFor } from "../wait.ts";
import { krunBundle, krunSources } from "./bundled.ts";
import { cached } from "./cached.ts";

const ROOT = fileURLToPath(new URL("../..", import.meta.url));

/** User and group of the ordinary user: nobody, who owns `/home` in a {@linkcode RootFs}. */
export const NOBODY = 65534;

let krun: Promise<string> | undefined;
let program: Promise<string> | undefined;

/** Path of the compiled krun for the sources as they are now. */
export function compiledKrun(): Promise<string> {
  return krun ??= (async () => {
    const [deno, denort] = [await liveTool("deno-2.6"), await liveTool("denort-2.6")];
    const make = async (out: string) => await compileProgram({ out, deno, denort, bundle: await krunBundle() });
    return await cached("krun", { sources: await krunSources(), make });
  })();
}

/** Path of the static test program, tests/testdata/static_program. */
export function staticProgram(): Promise<string> {
  return program ??= (async () => {
    const folder = join(ROOT, "tests", "testdata", "static_program");
    const sources = ["main.go", "go.mod"].map((name) => join(folder, name));
    const options = { cwd: folder, env: { CGO_ENABLED: "0" } };
    return await cached("program", {
      sources,
      make: (out) => run(["go", "build", "-trimpath", "-buildvcs=false", "-o", out, "."], options),
    });
  })();
}

/** What a program that has ended left. */
export interface Ended {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

interface CommandOptions {
  readonly cwd?: string;
  readonly env?: Record<string, string>;
}

async function outcome(argv: readonly string[], options: CommandOptions = {}): Promise<Ended> {
  const [name, ...args] = argv;
  const { code, stdout, stderr } = await new Deno.Command(name!, { args, stdin: "null", ...options }).output();
  return { code, stdout: new TextDecoder().decode(stdout), stderr: new TextDecoder().decode(stderr) };
}

/** Runs a program that has to succeed. */
async function run(argv: readonly string[], options: CommandOptions = {}): Promise<void> {
  const { code, stderr } = await outcome(argv, options);
  if (code !== 0) throw new Error(`${argv.join(" ")} ended with ${code}: ${stderr}`);
}

/** The shared libraries of a program, its loader included; none when it is static. */
async function sharedLibraries(path: string): Promise<string[]> {
  const { code, stdout, stderr } = await outcome(["ldd", path]);
  if (code !== 0 && !stderr.includes("not a dynamic executable")) {
    throw new Error(`ldd ${path} ended with ${code}: ${stderr}`);
  }
  return [...stdout.matchAll(/(\/\S+) \(0x/g)].map((match) => match[1]!);
}

/** Something mounted over a path of a {@linkcode RootFs}; the path is made as a folder, or as a file for a bound file. */
export interface RootMount {
  readonly target: string;
  /** Mount options of a memory file system, such as `size=64k,mode=1777`. */
  readonly tmpfs?: string;
  /** A file or folder of this machine. */
  readonly bind?: string;
}

/** Options of {@linkcode rootFs}. */
export interface RootFsOptions {
  /** The executable that becomes `/krun`. @default {compiledKrun()} */
  readonly krun?: string;
  readonly mounts?: readonly RootMount[];
  /** The root itself cannot be written; its mounts and `/home` can. @default {false} */
  readonly readOnly?: boolean;
}

/** What to start in a {@linkcode RootFs}. */
export interface RootStart {
  /** krun's own arguments. */
  readonly args: readonly string[];
  /** The whole environment. */
  readonly env?: Readonly<Record<string, string>>;
  /** User, also used as the group; no supplementary groups. @default {0} */
  readonly uid?: number;
  /** @default {"/" as root, else "/home"} */
  readonly cwd?: string;
  /** Words before it: it starts where these lead, such as `ip netns exec NAME`. @default {none} */
  readonly under?: readonly string[];
}

/** Makes a root file system of its own below the temporary folder. */
export async function rootFs(options: RootFsOptions = {}): Promise<RootFs> {
  const path = await Deno.makeTempDir({ prefix: "krun-root-" });
  const root = new RootFs(path);
  try {
    await root.fill(options);
  } catch (error) {
    await root[Symbol.asyncDispose]();
    throw error;
  }
  return root;
}

/** A root file system and the mount namespace it is seen in. Disposing it removes both; end what runs in it first. */
export class RootFs implements AsyncDisposable {
  // Holds the mount namespace open: all mounts are made in it, so they end with it whatever happens to the tests.
  #holder: Deno.ChildProcess | undefined;

  /** `path` is where this machine sees the root; mounts are seen from inside only. */
  constructor(readonly path: string) {}

  /** Called by {@linkcode rootFs} only. */
  async fill({ krun, mounts = [], readOnly = false }: RootFsOptions): Promise<void> {
    const binary = krun ?? await compiledKrun();
    await this.install(binary, "/krun");
    await this.#place(await staticProgram(), "/program");
    for (const folder of ["proc", "home"]) await Deno.mkdir(join(this.path, folder));
    await Deno.chown(join(this.path, "home"), NOBODY, NOBODY);
    await Deno.chmod(this.path, 0o755);
    await this.#hold();
    const all = readOnly ? [{ target: "/home", bind: join(this.path, "home") }, ...mounts] : mounts;
    if (readOnly) await this.#inNamespace(["mount", "--bind", this.path, this.path]);
    for (const mount of all) await this.#mount(mount);
    if (readOnly) await this.#inNamespace(["mount", "-o", "remount,bind,ro", this.path]);
  }

  /** Starts `/krun` as PID 1 of a new PID namespace, leader of a session of its own, as a container runtime would. */
  start(start: RootStart): PidOne {
    return this.#start(["/krun", ...start.args], start);
  }

  /** Writes a file of the root file system, with its folder, for `uid` alone; an object as JSON. */
  async write(path: string, content: string | object, { uid = 0 }: { uid?: number } = {}): Promise<void> {
    const file = join(this.path, path);
    await Deno.mkdir(dirname(file), { recursive: true });
    await Deno.writeTextFile(file, typeof content === "string" ? content : JSON.stringify(content), { mode: 0o600 });
    await Deno.chown(file, uid, uid);
  }

  /** Puts a program of this machine there, with its shared libraries. */
  async install(from: string, to: string): Promise<void> {
    await this.#place(from, to);
    for (const library of await sharedLibraries(from)) await this.#place(library, library);
  }

  /** Starts another program of the root file system in the same way, for a test that compares. */
  startProgram(argv: readonly [string, ...string[]], start: Omit<RootStart, "args"> = {}): PidOne {
    return this.#start(argv, start);
  }

  #start(
    argv: readonly string[],
    { env = {}, uid = 0, cwd = uid === 0 ? "/" : "/home", under = [] }: Omit<RootStart, "args">,
  ): PidOne {
    return new PidOne({
      args: [],
      argv: ["/program", "setsid", ...argv],
      cwd: "/",
      env: { PATH: "/", ...env },
      under: [
        ...under,
        ...this.#enter(),
        ...[
          "/usr/bin/unshare",
          "--pid",
          "--fork",
          "--kill-child",
          `--root=${this.path}`,
          `--wd=${cwd}`,
          "--mount-proc",
        ],
        ...[`--setuid=${uid}`, `--setgid=${uid}`, "--"],
      ],
    });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#holder?.kill("SIGKILL");
    await this.#holder?.status;
    await Deno.remove(this.path, { recursive: true });
  }

  async #place(from: string, to: string): Promise<void> {
    const target = join(this.path, to);
    await Deno.mkdir(dirname(target), { recursive: true });
    // The binary is large: a second name for it where the file system allows, else a copy.
    const source = await Deno.realPath(from);
    if (await Deno.stat(target).then(() => true, () => false)) return;
    await Deno.link(source, target).catch(() => Deno.copyFile(source, target));
  }

  async #hold(): Promise<void> {
    this.#holder = new Deno.Command("/usr/bin/setpriv", {
      args: ["--pdeathsig", "KILL", "unshare", "--mount", "--propagation", "private", "sleep", "infinity"],
      stdin: "null",
    }).spawn();
    const own = Deno.readLinkSync("/proc/self/ns/mnt");
    const theirs = `/proc/${this.#holder.pid}/ns/mnt`;
    await waitFor("a mount namespace", () => Deno.readLinkSync(theirs) !== own);
    const running = `/proc/${this.#holder.pid}/comm`;
    await waitFor("its holder", async () => (await Deno.readTextFile(running)).trim() === "sleep");
  }

  #enter(): string[] {
    return ["/usr/bin/nsenter", `--mount=/proc/${this.#holder!.pid}/ns/mnt`, "--"];
  }

  async #inNamespace(argv: readonly string[]): Promise<void> {
    await run([...this.#enter(), ...argv]);
  }

  async #mount({ target, tmpfs, bind }: RootMount): Promise<void> {
    const at = join(this.path, target);
    const bindsFile = bind !== undefined && !(await Deno.stat(bind)).isDirectory;
    await Deno.mkdir(bindsFile ? dirname(at) : at, { recursive: true });
    if (bindsFile) await Deno.writeFile(at, new Uint8Array());
    if (bind !== undefined) await this.#inNamespace(["mount", "--bind", bind, at]);
    else await this.#inNamespace(["mount", "-t", "tmpfs", "-o", tmpfs ?? "mode=755", "tmpfs", at]);
  }
}

/** A process that is PID 1 of its namespace. */
export class PidOne extends KrunProcess {
  /** Its pid as this machine sees it; waits until it runs. */
  hostPid(): Promise<number> {
    return waitFor("PID 1 of the namespace", () => this.#child());
  }

  /** Sends a signal to PID 1 itself. As for every PID 1, the kernel drops one that it has no handler for, but SIGKILL. */
  override kill(signal: Deno.Signal): void {
    const pid = this.#child();
    if (pid === undefined) throw new Error("PID 1 does not run");
    Deno.kill(pid, signal);
  }

  /** Runs another program beside PID 1, as root, in the same root file system and PID namespace. */
  async exec(argv: readonly string[]): Promise<Ended> {
    const target = `--target=${await this.hostPid()}`;
    return await outcome(["/usr/bin/nsenter", target, "--pid", "--mount", "--root", "--wd", "--", ...argv]);
  }

  override async [Symbol.asyncDispose](): Promise<void> {
    // The tie between unshare and PID 1 (--kill-child) is cut where PID 1 changes its user, so it is killed by itself.
    const pid = this.#child();
    if (pid === undefined) return await super[Symbol.asyncDispose]();
    Deno.kill(pid, "SIGKILL");
    await this.end;
  }

  /** The only child of unshare. */
  #child(): number | undefined {
    try {
      const children = Deno.readTextFileSync(`/proc/${this.pid}/task/${this.pid}/children`);
      return /^\d+/.test(children) ? parseInt(children) : undefined;
    } catch (error) {
      if (error instanceof Deno.errors.NotFound) return undefined;
      throw error;
    }
  }
}

/** Runs krun in a root file system of its own to its end. */
export async function runInRootFs(
  { mounts = [], ...start }: RootStart & { mounts?: readonly RootMount[] },
): Promise<Ended> {
  await using root = await rootFs({ mounts });
  await using krun = root.start(start);
  return await krun.end;
}
