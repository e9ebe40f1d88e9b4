/**
 * How long a start in the mesh takes, by phases, and how much of that is krun's own: the same rules by the same istio-iptables, the
 * same agent and Envoy are also started by hand, with files that krun made, in turns with krun. In: the live tools. Out: rows.
 *
 * @module
 */
import { dirname, join } from "node:path";
import { staticProgram } from "../tests/live/compiled.ts";
import { MeshLab, type Workload, type WorkloadOptions } from "../tests/live/mesh_lab.ts";
import type { MeshHost } from "../tests/live/mesh_network.ts";
import type { Measurement } from "./measurements.ts";

/** The binary of MeshLab. */
const RUNTIME = "compiled, Deno 2.6.10";
/** The largest part of a start that may be krun's. */
const OWN_PERCENT = 10;
/** Ends when the agent at a URL says that it is ready. */
const UNTIL_READY = `
import sys, time, urllib.request
while True:
    try:
        urllib.request.urlopen(sys.argv[1], timeout=1)
        break
    except OSError:
        time.sleep(0.002)
`;
const READY_URL = "http://127.0.0.1:15021/healthz/ready";

/** The words and the environment with which krun starts what it starts, in a base whose files stay. */
interface ByHand {
  readonly rules: readonly string[];
  readonly agent: readonly string[];
  readonly env: Readonly<Record<string, string>>;
  readonly base: string;
}

interface KrunStart {
  readonly ms: number;
  /** Milliseconds by phase, as krun tells of them. */
  readonly phases: ReadonlyMap<string, number>;
}

function median(values: readonly number[]): number {
  return values.toSorted((a, b) => a - b)[values.length >> 1]!;
}

/** `plan 120 ms, mount 80 ms` as data. */
function phasesOf(stderr: string): Map<string, number> {
  const [, took = ""] = /"took":"([^"]+)"/.exec(stderr) ?? [];
  return new Map(took.split(", ").map((phase) => /^(.*) (\d+) ms$/.exec(phase)!).map((m) => [m[1]!, Number(m[2])]));
}

/** The workload, on a host of its own each time, where nothing is changed yet. */
class Starts {
  readonly #lab: MeshLab;
  #hosts = 0;

  constructor(lab: MeshLab) {
    this.#lab = lab;
  }

  async byKrun(): Promise<KrunStart> {
    const program = await staticProgram();
    const host = await this.#host();
    const from = performance.now();
    await using workload = await this.#workload(host, { args: ["--", program, "wait"] });
    await workload.krun.sees("stdout", /ready/);
    const ms = performance.now() - from;
    await workload.krun.sees("stderr", /"took"/);
    return { ms, phases: phasesOf(workload.krun.stderr) };
  }

  /** What krun starts; the base is left as krun had it. */
  async recorded(base: string): Promise<ByHand> {
    const args = ["--", await staticProgram(), "wait"];
    await using workload = await this.#workload(await this.#host(), { args, base, env: { KRUN_FILES: "keep" } });
    await workload.krun.sees("stdout", /ready/);
    const words = (file: string) =>
      Deno.readTextFileSync(`/proc/${workload.pid("pilot-agent")}/${file}`).split("\0").slice(0, -1);
    const [agent = "", ...agentArgs] = words("cmdline");
    // krun's own folder of programs is gone with it.
    const bin = await this.#lab.programs();
    const here = (text: string) => text.replaceAll(dirname(agent), bin);
    const env = words("environ").map((entry) => /^([^=]*)=([^]*)$/.exec(entry)!);
    return {
      rules: [join(bin, "pilot-agent"), ...await this.#rules()],
      agent: [here(agent), ...agentArgs],
      env: Object.fromEntries(env.map((entry) => [entry[1]!, here(entry[2]!)])),
      base,
    };
  }

  /** Milliseconds until the agent is ready. */
  async byHand({ rules, agent, env, base }: ByHand): Promise<number> {
    const host = await this.#host();
    const spawn = (argv: readonly string[]) => {
      const [program, ...args] = [...host.under, "setpriv", "--reuid=1337", "--regid=1337", "--clear-groups", ...argv];
      return new Deno.Command(program!, { args, env, clearEnv: true, cwd: base, stdout: "null", stderr: "null" })
        .spawn();
    };
    const from = performance.now();
    const { code, stderr } = await this.#lab.network.run(host, rules);
    if (code !== 0) throw new Error(`${rules.join(" ")} failed: ${stderr}`);
    const running = spawn(agent);
    await spawn(["/usr/bin/python3", "-c", UNTIL_READY, READY_URL]).status;
    const ms = performance.now() - from;
    running.kill("SIGTERM");
    await running.status;
    return ms;
  }

  /** `istio-iptables ...` as `--check` prints it. */
  async #rules(): Promise<string[]> {
    await using workload = await this.#workload(await this.#host(), { args: ["--check=json", "--", "/bin/true"] });
    const { stdout } = await workload.krun.end;
    const { findings } = JSON.parse(stdout);
    const { because } = findings.find(({ what }: { what: string }) => what === "rules");
    return because.split(" ").map((word: string) => word === "''" ? "" : word);
  }

  #workload(host: MeshHost, options: Pick<WorkloadOptions, "args" | "base" | "env">): Promise<Workload> {
    const env = { MESH_MODE: "intercept", KRUN_LOG_FORMAT: "json", ...options.env };
    return this.#lab.workload(host, { name: "web", ...options, env });
  }

  async #host(): Promise<MeshHost> {
    return await this.#lab.network.host(`h${this.#hosts++}`);
  }
}

/** The start, its phases, the same by hand, and krun's part. Needs root. */
export async function meshStart({ rounds }: { readonly rounds: number }): Promise<Measurement[]> {
  await using lab = await MeshLab.create();
  const starts = new Starts(lab);
  const base = await Deno.makeTempDir({ prefix: "krun-bench-mesh-" });
  await Deno.chmod(base, 0o755);
  const recorded = await starts.recorded(base);
  const krun: KrunStart[] = [];
  const hand: number[] = [];
  for (let round = 0; round < rounds; round++) {
    krun.push(await starts.byKrun());
    hand.push(await starts.byHand(recorded));
  }
  await Deno.remove(base, { recursive: true });
  const row = (what: string, value: number, unit: string, target?: number): Measurement => ({
    ...{ what, runtime: RUNTIME, value, unit },
    ...(target !== undefined && { target }),
  });
  const total = median(krun.map(({ ms }) => ms));
  const byHand = median(hand);
  const names = [...krun[0]!.phases.keys()];
  return [
    row("exec to the program's first output in a mesh, intercept", total, "ms"),
    ...names.map((name) => row(`of that: ${name}`, median(krun.map(({ phases }) => phases.get(name) ?? 0)), "ms")),
    row("istio-iptables, agent and Envoy by hand, until ready", byHand, "ms"),
    row("krun's own part", 100 * (total - byHand) / total, "%", OWN_PERCENT),
  ];
}
