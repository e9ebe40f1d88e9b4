/**
 * krun with its debug SSH server, and OpenSSH's own programs as its clients. In: who may log in. Out: a server, and clients that know its
 * host key. Needs openssh-client; root for a program of another user.
 *
 * ```ts
 * await using rig = await SshRig.start();
 * const { code, stdout } = await rig.ssh(["echo hello"]);
 * ```
 *
 * @module
 */
import assert from "node:assert/strict";
import { join } from "node:path";
import { KrunProcess } from "../krun_process.ts";

/** How a client has ended. */
export interface ClientEnd {
  readonly code: number;
  readonly signal: Deno.Signal | null;
  readonly stdout: string;
  readonly stderr: string;
}

/** Options of {@linkcode SshRig.start}. */
export interface SshRigOptions {
  /** Lines of SSH_AUTH, which is not set where there are none; `$KEY` is the rig's own key. @default {"$KEY"} */
  readonly sshAuth?: string;
  /** More of krun's environment; HOME is a folder without settings of anybody's, which a shell would read for each session. */
  readonly env?: Readonly<Record<string, string>>;
  /** The program. @default {sleep} */
  readonly program?: readonly string[];
  /** As whom krun runs. @default {the test's own user} */
  readonly uid?: number;
  /** Words before krun's own. */
  readonly under?: readonly string[];
  /** A folder of the rig's for krun and its program. @default {a new one} */
  readonly cwd?: string;
  /** False: whoever asks waits for the server. @default {true} */
  readonly waits?: boolean;
  /** Words before each client, which may run somewhere else. */
  readonly clientUnder?: readonly string[];
  /** Where clients find the server. @default {"127.0.0.1"} */
  readonly host?: string;
}

/** What a client is started with. */
export interface ClientOptions {
  /** Path of a private key. @default {the rig's own} */
  readonly key?: string;
  /** Options as `-o` has them. */
  readonly options?: readonly string[];
  /** Standard input. @default {none} */
  readonly input?: Uint8Array<ArrayBuffer> | string;
  /** The login name. @default {"ann"} */
  readonly user?: string;
  readonly env?: Readonly<Record<string, string>>;
}

/** Makes a key of a type that ssh-keygen(1) knows; gives the path of its private half. */
export async function makeKey(
  folder: string,
  name: string,
  args: readonly string[] = ["-t", "ed25519"],
): Promise<string> {
  const path = join(folder, name);
  await keygen(...args, "-q", "-N", "", "-C", name, "-f", path);
  return path;
}

/** Runs ssh-keygen(1), which must succeed. */
export async function keygen(...args: string[]): Promise<string> {
  const { code, stdout, stderr } = await new Deno.Command("ssh-keygen", { args, stdin: "null" }).output();
  assert.equal(code, 0, new TextDecoder().decode(stderr));
  return new TextDecoder().decode(stdout);
}

/** A krun with its server. Disposing it ends krun and removes the folder. */
export class SshRig implements AsyncDisposable {
  /** For keys and files; everybody may enter it. */
  readonly folder: string;
  /** The private key that SSH_AUTH lets in. */
  readonly key: string;
  readonly #options: SshRigOptions;
  #krun: KrunProcess | undefined;
  #port = 0;

  private constructor(folder: string, key: string, options: SshRigOptions) {
    this.folder = folder;
    this.key = key;
    this.#options = options;
  }

  static async start(options: SshRigOptions = {}): Promise<SshRig> {
    const folder = await Deno.makeTempDir({ prefix: "krun-ssh-" });
    await Deno.chmod(folder, 0o755);
    const rig = new SshRig(folder, await makeKey(folder, "own"), options);
    try {
      await rig.startKrun();
    } catch (error) {
      await rig[Symbol.asyncDispose]();
      throw error;
    }
    return rig;
  }

  get krun(): KrunProcess {
    return this.#krun!;
  }

  /** Where the server listens on 127.0.0.1. */
  get port(): number {
    return this.#port;
  }

  /** Starts krun, and waits for its server. */
  async startKrun(): Promise<void> {
    const { sshAuth = "$KEY", env = {}, program = ["sleep", "3600"], uid, under = [], waits = true } = this.#options;
    const own = (await Deno.readTextFile(`${this.key}.pub`)).trim();
    const cwd = this.#options.cwd ?? join(this.folder, "work");
    if (this.#options.cwd === undefined) await Deno.mkdir(cwd, { recursive: true });
    if (uid !== undefined) await Deno.chown(cwd, uid, uid);
    const home = join(this.folder, "home");
    await Deno.mkdir(home, { recursive: true });
    await Deno.chmod(home, 0o777);
    this.#krun = new KrunProcess({
      args: ["--", ...program],
      cwd,
      ...(uid === undefined ? {} : { uid, gid: uid }),
      under,
      env: {
        ...{ KRUN_SSH: "127.0.0.1:0", MESH_BASE_DIR: join(cwd, "base") },
        ...sshAuth !== "" && { SSH_AUTH: sshAuth.replaceAll("$KEY", own) },
        ...{ HOME: home, ...env },
      },
    });
    if (waits) await this.listens();
  }

  /** Waits for the server; where it has opened more than once, for what it has said last. */
  async listens(): Promise<void> {
    const [, port, fingerprints = ""] = await this.krun.sees(
      "stderr",
      /ssh server listens addresses=\S*?:(\d+)\S* hostKey=(\S+)$(?![^]*ssh server listens)/m,
    );
    this.#port = Number(port);
    const known = join(this.folder, "known_hosts");
    const { stdout } = await runClient([...this.#under, "ssh-keyscan", "-p", port!, this.#host]);
    await Deno.writeTextFile(known, stdout);
    const shown = await keygen("-l", "-f", known);
    for (const one of fingerprints.split(",")) assert.ok(shown.includes(one), "the key in the log is not the server's");
  }

  get #under(): readonly string[] {
    return this.#options.clientUnder ?? [];
  }

  get #host(): string {
    return this.#options.host ?? "127.0.0.1";
  }

  /** Options of ssh(1), scp(1) and sftp(1), without a destination. */
  clientArgs({ key = this.key, options = [] }: Pick<ClientOptions, "key" | "options"> = {}): string[] {
    const all = [
      ...["BatchMode=yes", "IdentitiesOnly=yes", "IdentityAgent=none", "LogLevel=ERROR", `Port=${this.port}`],
      `UserKnownHostsFile=${join(this.folder, "known_hosts")}`,
      ...options,
    ];
    // The first value of an option counts.
    return ["-F", "none", "-i", key, ...[...options, ...all].flatMap((option) => ["-o", option])];
  }

  /** Runs ssh(1) to its end; `args` begin with the command, or with more options. */
  async ssh(args: readonly string[], options: ClientOptions = {}): Promise<ClientEnd> {
    const { user = "ann" } = options;
    const isOption = args[0]?.startsWith("-") ?? false;
    const destination = `${user}@${this.#host}`;
    const words = isOption ? [...args.slice(0, -1), destination, args.at(-1)!] : [destination, ...args];
    return await runClient([...this.#under, "ssh", ...this.clientArgs(options), ...words], options);
  }

  /** Runs scp(1) to its end; `$HOST` is the server. */
  async scp(args: readonly string[], options: ClientOptions = {}): Promise<ClientEnd> {
    const { user = "ann" } = options;
    const words = args.map((word) => word.replace("$HOST", `${user}@${this.#host}`));
    return await runClient([...this.#under, "scp", ...this.clientArgs(options), ...words], options);
  }

  /** Starts ssh(1); whoever starts it ends it. */
  spawn(args: readonly string[], options: ClientOptions = {}): Deno.ChildProcess {
    const { user = "ann", env = {} } = options;
    const [program = "", ...words] = [...this.#under, "ssh", ...this.clientArgs(options), `${user}@${this.#host}`];
    const stdio = { stdin: "piped", stdout: "piped", stderr: "piped" } as const;
    return new Deno.Command(program, { args: [...words, ...args], env, ...stdio }).spawn();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#krun?.[Symbol.asyncDispose]();
    await Deno.remove(this.folder, { recursive: true });
  }
}

/** Runs a client to its end. */
export async function runClient(argv: readonly string[], { input, env = {} }: ClientOptions = {}): Promise<ClientEnd> {
  const [program = "", ...args] = argv;
  const stdin = input === undefined ? "null" : "piped";
  const child = new Deno.Command(program, { args, env, stdin, stdout: "piped", stderr: "piped" }).spawn();
  const feeding = input === undefined ? undefined : feed(child.stdin, input);
  const { code, signal, stdout, stderr } = await child.output();
  await feeding;
  const text = (bytes: Uint8Array) => new TextDecoder().decode(bytes);
  return { code, signal, stdout: text(stdout), stderr: text(stderr) };
}

async function feed(stdin: WritableStream<Uint8Array>, input: Uint8Array<ArrayBuffer> | string): Promise<void> {
  const bytes = typeof input === "string" ? new TextEncoder().encode(input) : input;
  // A client that ends early is what the test looks at, not its input.
  await new Blob([bytes]).stream().pipeTo(stdin).catch(() => {});
}

/** A line of the audit that matches, once it is there. */
export async function audited({ krun }: SshRig, pattern: RegExp): Promise<RegExpExecArray> {
  return await krun.sees("stderr", pattern);
}
