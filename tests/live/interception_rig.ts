/**
 * Interception in a {@linkcode NetworkNamespace}, with the real pilot-agent, and servers where proxy, agent, program and
 * strangers would have theirs.
 *
 * @module
 */
import { liveTool } from "../../scripts/live_tools.ts";
import { interceptionArgs, type InterceptionPlan } from "../../src/core/interception.ts";
import { claimName, type InterceptionNote } from "../../src/core/interception_note.ts";
import { applyInterception, type ApplyInterceptionOptions } from "../../src/mesh/interception.ts";
import { type Removal, removeInterception } from "../../src/mesh/interception_removal.ts";
import { newRunMark } from "../../src/pod/container_mark.ts";
import { RecordingLog } from "../recording_log.ts";
import { NetworkNamespace, type NetworkNamespaceOptions, PATH, type Server } from "./network_namespace.ts";

/** Who runs what. */
export const PROGRAM = { uid: 3000, gid: 3000 };
export const STRANGER = { uid: 2000, gid: 2000 };
export const PROXY = { uid: 1337, gid: 1337 };
/** krun's own calls: root with the proxy's group. */
export const KRUN = { uid: 0, gid: 1337 };

/** Options of {@linkcode InterceptionRig.create}. */
export interface InterceptionRigOptions extends NetworkNamespaceOptions {
  /** @default {"nft"} */
  readonly kind?: "nft" | "legacy";
}

/** A namespace, ready for interception. Made by {@linkcode InterceptionRig.create}. */
export class InterceptionRig implements AsyncDisposable {
  readonly log = new RecordingLog();
  /** What was noted, in order. */
  readonly notes: InterceptionNote[] = [];
  /** Marks of kruns that live, as far as a krun in the namespace sees. */
  readonly alive = new Set<string>();
  /** Runs whose processes were to be ended. */
  readonly ended: bigint[] = [];

  private constructor(
    readonly net: NetworkNamespace,
    readonly kind: "nft" | "legacy",
    readonly agent: string,
    /** 15001 `outbound`, 15006 `inbound`, DNS of the agent `agent`. */
    readonly proxy: Server,
    /** Port 80 `web`, 53 `dns` on the other side. */
    readonly world: Server,
  ) {}

  /** Makes it. */
  static async create({ kind = "nft", ...options }: InterceptionRigOptions = {}): Promise<InterceptionRig> {
    const net = await NetworkNamespace.create(options);
    const [agent, proxy, world] = await Promise.all([
      liveTool("pilot-agent"),
      net.serve("inner", [
        "tcp:[::]:15001:outbound",
        "tcp:[::]:15006:inbound",
        "udp:127.0.0.1:15053:agent",
        "tcp:127.0.0.1:15053:agent",
      ], PROXY),
      net.serve("outer", ["tcp:10.9.0.1:80:web", "tcp:10.9.0.1:5432:db", "udp:10.9.0.1:53:dns", "tcp:10.9.0.1:53:dns"]),
    ]);
    return new InterceptionRig(net, kind, agent, proxy, world);
  }

  /** The whole plan. */
  plan(plan: Partial<InterceptionPlan>): InterceptionPlan {
    return {
      scope: "own",
      programUid: PROGRAM.uid,
      programGid: PROGRAM.gid,
      inboundPorts: [8080],
      outboundIpRanges: undefined,
      excludeOutboundPorts: undefined,
      annotations: {},
      dnsCapture: false,
      addresses: this.net.addresses.map((address) => address.replace(/\/.*/, "")),
      backend: { kind: this.kind, suffix: `-${this.kind}` },
      ...plan,
    };
  }

  /** What krun would give. */
  get options(): ApplyInterceptionOptions {
    const { net: { run, proc }, log, agent, alive, ended } = this;
    const claims = () => [...alive].map((mark) => `0: 00000002 00000000 00000000 0001 01 7 @${claimName(mark)}\n`);
    const readText = (path: string) =>
      path === "/proc/self/net/unix" ? proc.readText(path) + claims().join("") : proc.readText(path);
    const own = {
      ...{ proc: { ...proc, readText }, runMark: newRunMark() },
      endRun: (run: bigint) => Promise.resolve(void ended.push(run)),
      claim: (mark: string) => void alive.add(mark),
    };
    return { run, log, agent, path: PATH, ...own, note: (value) => void this.notes.push(value) };
  }

  /** Intercepts, with these parts of a plan and options. */
  apply(plan: Partial<InterceptionPlan>, options: Partial<ApplyInterceptionOptions> = {}): Promise<InterceptionNote> {
    return applyInterception(this.plan(plan), { ...this.options, ...options });
  }

  /** What istio-iptables does with the same arguments where krun puts nothing around it. */
  async istioAlone(plan: Partial<InterceptionPlan>): Promise<void> {
    const { argv, env } = interceptionArgs(this.plan(plan));
    const { code, stderr } = await this.net.run([this.agent, ...argv], { env: { PATH, ...env } });
    if (code !== 0) throw new Error(`istio-iptables ended with ${code}: ${stderr}`);
  }

  /** Takes back what was noted last, by the note as a journal keeps it. */
  remove(): Promise<Removal> {
    return removeInterception(JSON.parse(JSON.stringify(this.notes.at(-1))), this.options);
  }

  /** The rules of a family, without times and counters. */
  async saved(family: 4 | 6 = 4): Promise<string> {
    const text = await this.net.must("inner", `${family === 4 ? "ip" : "ip6"}tables-${this.kind}-save`);
    return text.replace(/^#.*\n/gm, "").replace(/\[\d+:\d+\]/g, "[0:0]");
  }

  /** `iptables` of the backend. */
  async iptables(...args: readonly string[]): Promise<void> {
    await this.net.must("inner", `iptables-${this.kind}`, ...args);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.net[Symbol.asyncDispose]();
  }
}
