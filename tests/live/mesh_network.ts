/**
 * Hosts for one test: network namespaces on one bridge, each with an address, a route and a resolver of its own. Needs root,
 * ip(8), dnsmasq.
 *
 * In: names. Out: hosts that programs run on. The bridge's own address is that of the machine, where the rig's servers listen.
 * Everything is gone when it is disposed; of the machine's own namespace only the bridge is seen.
 *
 * @module
 */
import { KrunProcess } from "../krun_process.ts";
import { waitFor } from "../wait.ts";
import { type ServerProcess, startProcess } from "./server_process.ts";

/** Where `ip netns exec` looks for what stands for /etc in a namespace. */
const NETNS_ETC = "/etc/netns";

/** A network namespace on the bridge. */
export interface MeshHost {
  readonly name: string;
  readonly address: string;
  /** The words before a program that runs on it. */
  readonly under: readonly string[];
}

/** Output of a program that has ended. */
export interface HostOutput {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

/** The bridge. Made by {@linkcode MeshNetwork.create}. */
export class MeshNetwork implements AsyncDisposable {
  readonly #id = crypto.randomUUID().slice(0, 6);
  readonly #prefix: string;
  readonly #hosts: MeshHost[] = [];
  #dns: ServerProcess | undefined;
  #folder = "";

  private constructor() {
    const [a, b] = crypto.getRandomValues(new Uint8Array(2));
    // Apart from the addresses of Services (10.0.0.0/24), in the range that Cloud Run captures.
    this.#prefix = `10.${64 + a! % 128}.${b}`;
  }

  /** Makes the bridge and a resolver on it, which knows `outside.test` as the bridge's own address, and no other name. */
  static async create(): Promise<MeshNetwork> {
    const network = new MeshNetwork();
    try {
      await network.#build();
    } catch (error) {
      await network[Symbol.asyncDispose]();
      throw error;
    }
    return network;
  }

  /** Address of the machine on the bridge. */
  get address(): string {
    return `${this.#prefix}.1`;
  }

  /** Makes a host. */
  async host(name: string): Promise<MeshHost> {
    const namespace = `${this.#bridge}-${name}`;
    const number = this.#hosts.length + 11;
    const address = `${this.#prefix}.${number}`;
    const [outside, inside] = [`kv${this.#id}${number}`, "eth0"];
    const host: MeshHost = { name: namespace, address, under: ["ip", "netns", "exec", namespace] };
    this.#hosts.push(host);
    await must(["ip", "netns", "add", namespace]);
    await Deno.mkdir(`${NETNS_ETC}/${namespace}`, { recursive: true });
    await Deno.writeTextFile(`${NETNS_ETC}/${namespace}/resolv.conf`, `nameserver ${this.address}\n`);
    await must(["ip", "link", "add", outside, "type", "veth", "peer", "name", inside, "netns", namespace]);
    await must(["ip", "link", "set", outside, "master", this.#bridge, "up"]);
    await must(["ip", "-n", namespace, "address", "add", `${address}/24`, "dev", inside]);
    for (const device of ["lo", inside]) await must(["ip", "-n", namespace, "link", "set", device, "up"]);
    await must(["ip", "-n", namespace, "route", "add", "default", "via", this.address]);
    return host;
  }

  /** Runs a program on a host to its end. */
  run(host: MeshHost, argv: readonly string[]): Promise<HostOutput> {
    return output([...host.under, ...argv]);
  }

  /** Starts a program on a host, which goes on until it is ended, as a krun is. */
  start(host: MeshHost, argv: readonly string[]): KrunProcess {
    return new KrunProcess({ args: [], under: host.under, argv, cwd: "/" });
  }

  /** Waits until something on a host accepts on each of these TCP ports, on loopback: a program that has started may not do so yet. */
  async accepts(host: MeshHost, ...ports: readonly number[]): Promise<void> {
    await waitFor(`ports ${ports} of ${host.name} to accept`, async () => {
      const { stdout } = await this.run(host, ["cat", "/proc/net/tcp", "/proc/net/tcp6"]);
      return ports.every((port) => acceptor(port).test(stdout));
    });
  }

  get #bridge(): string {
    return `krb${this.#id}`;
  }

  async #build(): Promise<void> {
    await must(["ip", "link", "add", this.#bridge, "type", "bridge"]);
    await must(["ip", "address", "add", `${this.address}/24`, "dev", this.#bridge]);
    await must(["ip", "link", "set", this.#bridge, "up"]);
    this.#folder = await Deno.makeTempDir({ prefix: "krun-net-" });
    const dnsmasq = ["dnsmasq", "--keep-in-foreground", "--conf-file=/dev/null", "--no-hosts", "--no-resolv"];
    // The second says of all other names that there is none; without it the question itself is refused.
    const answers = [`--address=/outside.test/${this.address}`, "--address=/#/", `--listen-address=${this.address}`];
    const argv = [...dnsmasq, "--bind-interfaces", "--user=root", `--pid-file=${this.#folder}/pid`, ...answers];
    this.#dns = startProcess(argv, `${this.#folder}/dnsmasq.log`);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#dns?.end("SIGKILL");
    for (const { name } of this.#hosts) {
      await output(["ip", "netns", "delete", name]);
      await Deno.remove(`${NETNS_ETC}/${name}`, { recursive: true }).catch(() => {});
    }
    await output(["ip", "link", "delete", this.#bridge]);
    if (this.#folder !== "") await Deno.remove(this.#folder, { recursive: true });
  }
}

/** A socket that listens, at loopback or at every address, as /proc/net/tcp and tcp6 have it (proc_net_tcp(5)). */
function acceptor(port: number): RegExp {
  const addresses = "00000000|0100007F|0{32}|0{24}01000000";
  return new RegExp(`^ *\\d+: (?:${addresses}):${port.toString(16).toUpperCase().padStart(4, "0")} \\w+:0000 0A `, "m");
}

async function output([program, ...args]: readonly string[]): Promise<HostOutput> {
  const { code, stdout, stderr } = await new Deno.Command(program!, { args, stdin: "null" }).output();
  const text = (bytes: Uint8Array) => new TextDecoder().decode(bytes);
  return { code, stdout: text(stdout), stderr: text(stderr) };
}

async function must(argv: readonly string[]): Promise<void> {
  const { code, stderr } = await output(argv);
  if (code !== 0) throw new Error(`${argv.join(" ")} ended with ${code}: ${stderr}`);
}
