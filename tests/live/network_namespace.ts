/**
 * A network namespace for one test: two of them in fact, joined by a pair of interfaces, `inner` for krun and its program and
 * `outer` for everybody else's servers. Needs root, ip(8), nsenter(1), setpriv(1), python3.
 *
 * In: addresses. Out: ways to run programs and servers inside, as any user. Nothing is changed in the machine's own namespace,
 * and everything is gone when it is disposed.
 *
 * @module
 */
import { loadLibc } from "../../src/pod/libc.ts";
import type { ProcReader } from "../../src/mesh/network_namespace.ts";
import { type CommandResult, type RunCommand, runCommand } from "../../src/mesh/run_command.ts";
import { waitFor } from "../wait.ts";

/** PATH of the tests. */
export const PATH = Deno.env.get("PATH") ?? "";
const PEER = new URL("../programs/net_peer.py", import.meta.url).pathname;
const libc = loadLibc();
/** The interpreter itself: what is first in PATH may be a script that looks for it each time. */
let python: Promise<string> | undefined;

/** A user and its group. */
export interface Ids {
  readonly uid: number;
  readonly gid: number;
}

/** Options of {@linkcode NetworkNamespace.create}. */
export interface NetworkNamespaceOptions {
  /** Of `inner`, as `address/length`. @default {["10.9.0.2/24"]} */
  readonly addresses?: readonly string[];
  /** The resolver of `inner`, as its /etc/resolv.conf names it. @default {"10.9.0.1"} */
  readonly resolver?: string;
  /** A third namespace `far`, 10.7.0.1, which `outer` reaches through `inner`. @default {false} */
  readonly far?: boolean;
}

/** Where something runs: with krun, or on the other side of the cable. */
export type Side = "inner" | "outer" | "far";

/** Two namespaces. Made by {@linkcode NetworkNamespace.create}. */
export class NetworkNamespace implements AsyncDisposable {
  readonly #name = `krun-ic-${crypto.getRandomValues(new Uint32Array(1))[0]!.toString(16)}`;
  readonly #children: Deno.ChildProcess[] = [];
  readonly #readers: Promise<void>[] = [];
  readonly #resolvConf = Deno.makeTempFileSync({ prefix: "krun-ic-" });
  #holder = 0;

  private constructor(readonly addresses: readonly string[]) {}

  /** Makes both, joined, with routes to each other. */
  static async create(options: NetworkNamespaceOptions = {}): Promise<NetworkNamespace> {
    const { addresses = ["10.9.0.2/24"], resolver = "10.9.0.1", far = false } = options;
    const rig = new NetworkNamespace(addresses);
    try {
      await rig.#build(resolver);
      if (far) await rig.#buildFar();
    } catch (error) {
      await rig[Symbol.asyncDispose]();
      throw error;
    }
    return rig;
  }

  async #build(resolver: string): Promise<void> {
    const [inner, outer] = [this.#path("inner"), this.#path("outer")];
    for (const name of [inner, outer]) await must(["ip", "netns", "add", name]);
    await must(["ip", "link", "add", "in0", "netns", inner, "type", "veth", "peer", "name", "out0", "netns", outer]);
    for (const [name, device] of [[inner, "in0"], [outer, "out0"]] as const) {
      for (const one of ["lo", device]) await must(["ip", "-n", name, "link", "set", one, "up"]);
    }
    for (const address of this.addresses) await this.addAddress("inner", address);
    for (const address of ["10.9.0.1/24", "fd09::1/64"]) await this.addAddress("outer", address);
    if (this.addresses.some((address) => address.startsWith("10.9."))) {
      await must(["ip", "-n", inner, "route", "add", "default", "via", "10.9.0.1"]);
    }
    await Deno.writeTextFile(this.#resolvConf, `nameserver ${resolver}\n`);
    await Deno.chmod(this.#resolvConf, 0o644);
    // Keeps a mount namespace in which /etc/resolv.conf is the rig's.
    const script = 'mount --bind "$0" /etc/resolv.conf && echo ready && exec sleep infinity';
    const argv = ["ip", "netns", "exec", inner, "sh", "-c", script, this.#resolvConf];
    const { child } = await this.#spawn(argv, "ready");
    this.#holder = child.pid;
  }

  async #buildFar(): Promise<void> {
    const [inner, outer, far] = [this.#path("inner"), this.#path("outer"), this.#path("far")];
    await must(["ip", "netns", "add", far]);
    await must(["ip", "link", "add", "in1", "netns", inner, "type", "veth", "peer", "name", "far0", "netns", far]);
    await must(["ip", "-n", inner, "link", "set", "in1", "up"]);
    await must(["ip", "-n", far, "link", "set", "far0", "up"]);
    await must(["ip", "-n", inner, "address", "add", "10.7.0.2/24", "dev", "in1"]);
    await must(["ip", "-n", far, "address", "add", "10.7.0.1/24", "dev", "far0"]);
    await must(["ip", "-n", far, "route", "add", "default", "via", "10.7.0.2"]);
    await must(["ip", "-n", outer, "route", "add", "10.7.0.0/24", "via", "10.9.0.2"]);
    await must(["ip", "netns", "exec", inner, "sh", "-c", "echo 1 >/proc/sys/net/ipv4/ip_forward"]);
  }

  #path(side: Side): string {
    return `${this.#name}${{ inner: "", outer: "-o", far: "-f" }[side]}`;
  }

  /** Process that stands for krun: it is in `inner` and sees its resolv.conf. */
  get pid(): number {
    return this.#holder;
  }

  /** Adds an address, usable at once. */
  async addAddress(side: Side, address: string): Promise<void> {
    const device = side === "inner" ? "in0" : "out0";
    const nodad = address.includes(":") ? ["nodad"] : [];
    await must(["ip", "-n", this.#path(side), "address", "add", address, "dev", device, ...nodad]);
  }

  /** The arguments that run a program on a side, as somebody. */
  argv(side: Side, argv: readonly string[], ids: Ids = { uid: 0, gid: 0 }): string[] {
    const enter = side === "inner"
      ? [`--target=${this.#holder}`, "--net", "--mount"]
      : [`--net=/run/netns/${this.#path(side)}`];
    const user = ids.uid === 0 && ids.gid === 0
      ? []
      : ["/usr/bin/setpriv", `--reuid=${ids.uid}`, `--regid=${ids.gid}`, "--clear-groups"];
    return ["/usr/bin/nsenter", ...enter, "--", ...user, ...argv];
  }

  /** Runs programs in `inner`, as krun's own `run` would there. */
  readonly run: RunCommand = (argv, options) => runCommand(this.argv("inner", argv), options);

  /** Runs a program of a side to its end, which must be a good one. */
  async must(side: Side, ...argv: readonly string[]): Promise<string> {
    return await must(this.argv(side, argv));
  }

  /** /proc and /etc as the krun in `inner` sees them. */
  readonly proc: ProcReader = {
    list: (folder) => namesIn(folder),
    readLink: (path) => path === "/proc/self" ? `${this.#holder}` : linkText(this.#own(path)),
    readText: (path) => libc.procText(this.#own(path)),
  };

  #own(path: string): string {
    return path.startsWith("/etc/")
      ? `/proc/${this.#holder}/root${path}`
      : path.replace(/^\/proc\/self\//, `/proc/${this.#holder}/`);
  }

  /** Starts servers; each endpoint is `protocol:address:port:tag`, and the tag is what it answers. */
  async serve(side: Side, endpoints: readonly string[], ids?: Ids): Promise<Server> {
    const { child, lines } = await this.#spawn(
      this.argv(side, [await interpreter(), PEER, "serve", ...endpoints], ids),
      "ready",
    );
    return { pid: child.pid, count: (tag) => lines.filter((line) => line.startsWith(`${tag} `)).length };
  }

  /** Starts a client that asks the endpoints for their tags without a pause. */
  async hammer(side: Side, endpoints: readonly string[], ids?: Ids): Promise<Hammer> {
    const argv = this.argv(side, [await interpreter(), PEER, "hammer", ...endpoints], ids);
    const { child, lines, stdin } = await this.#spawn(argv, "ready");
    return {
      async end() {
        await stdin.close();
        await child.status;
        return JSON.parse(await waitFor("the result", () => lines[1]));
      },
    };
  }

  /** Opens a connection that is spoken to twice, and gives what was heard so far. */
  async hold(side: Side, address: string, port: number): Promise<() => readonly string[]> {
    const { lines } = await this.#spawn(this.argv(side, [await interpreter(), PEER, "hold", address, `${port}`]), "");
    return () => lines;
  }

  /** What a server answers to somebody; empty when it does not. */
  async ask(protocol: "tcp" | "udp", to: string, { side = "inner", ids }: AskOptions = {}): Promise<string> {
    const [, address = "", port = ""] = /^\[?(.*?)\]?:(\d+)$/.exec(to) ?? [];
    const script = `exec 3<>/dev/${protocol}/"$0"/"$1" && printf '?' >&3 && dd bs=2000 count=1 status=none <&3`;
    const argv = ["timeout", "3", "bash", "-c", script, address, port];
    return (await runCommand(this.argv(side, argv, ids), { env: { PATH } })).stdout;
  }

  async #spawn(argv: readonly string[], first: string): Promise<Spawned> {
    const [program = "", ...args] = argv;
    const child = new Deno.Command("/usr/bin/setpriv", {
      args: ["--pdeathsig=KILL", "--", program, ...args],
      ...{ stdin: "piped", stdout: "piped", stderr: "inherit" },
    }).spawn();
    this.#children.push(child);
    const lines: string[] = [];
    this.#readers.push(read(child.stdout, lines));
    let ended = false;
    void child.status.then(() => ended = true);
    await waitFor(`${argv.at(-1)} to begin`, () => ended || lines[0]?.startsWith(first));
    if (ended) throw new Error(`${argv.join(" ")} ended early`);
    return { child, lines, stdin: child.stdin };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const child of this.#children) {
      await child.stdin.close().catch(() => {});
      try {
        child.kill("SIGKILL");
      } catch {
        // It has ended.
      }
      await child.status;
    }
    await Promise.all(this.#readers);
    for (const side of ["inner", "outer", "far"] as const) await run(["ip", "netns", "delete", this.#path(side)]);
    await Deno.remove(this.#resolvConf);
  }
}

interface Spawned {
  readonly child: Deno.ChildProcess;
  readonly lines: readonly string[];
  readonly stdin: WritableStream<Uint8Array>;
}

/** Who asks, and from where. */
export interface AskOptions {
  /** @default {"inner"} */
  readonly side?: Side;
  readonly ids?: Ids | undefined;
}

/** Servers of one process. */
export interface Server {
  readonly pid: number;
  /** How often the endpoint with this tag was asked. */
  count(tag: string): number;
}

/** A client without a pause. */
export interface Hammer {
  /** Ends it; how often it was answered right, and each other answer. */
  end(): Promise<{ readonly right: number; readonly wrong: readonly string[] }>;
}

function run(argv: readonly string[]): Promise<CommandResult> {
  return runCommand(argv, { env: { PATH } });
}

function interpreter(): Promise<string> {
  return python ??= must(["python3", "-c", "import sys; print(sys.executable)"]).then((path) => path.trim());
}

async function must(argv: readonly string[]): Promise<string> {
  const { code, stdout, stderr } = await run(argv);
  if (code !== 0) throw new Error(`${argv.join(" ")} ended with ${code}: ${stderr}`);
  return stdout;
}

async function read(stream: ReadableStream<Uint8Array>, lines: string[]): Promise<void> {
  let rest = "";
  for await (const text of stream.pipeThrough(new TextDecoderStream())) {
    const parts = (rest + text).split("\n");
    rest = parts.pop() ?? "";
    lines.push(...parts);
  }
}

function namesIn(folder: string): string[] {
  try {
    return [...Deno.readDirSync(folder)].map((entry) => entry.name);
  } catch {
    return [];
  }
}

function linkText(path: string): string | undefined {
  try {
    return Deno.readLinkSync(path);
  } catch {
    return undefined;
  }
}
