/** The choice of an iptables, with the real programs: what works is found, what does not is explained, nothing is left behind. */
import assert from "node:assert/strict";
import { chooseBackend, type ChooseBackendOptions } from "../../src/mesh/iptables_backend.ts";
import { removeInterception } from "../../src/mesh/interception_removal.ts";
import type { RunCommand } from "../../src/mesh/run_command.ts";
import { InterceptionRig, PROGRAM } from "./interception_rig.ts";
import { NetworkNamespace, PATH } from "./network_namespace.ts";

/** All programs of one name, with or without the name of the variant. */
function set(suffix: string): string[] {
  return ["ip", "ip6"].flatMap((family) => ["", "-save", "-restore"].map((tool) => `${family}tables${suffix}${tool}`));
}

/** A folder with some programs; `name=program` gives a program another name. */
class Programs implements Disposable {
  readonly path = Deno.makeTempDirSync({ prefix: "krun-ic-path-" });

  constructor(...names: readonly string[]) {
    for (const entry of names) {
      const [name = "", program = name] = entry.split("=");
      const found = PATH.split(":").map((folder) => `${folder}/${program}`).find((path) => exists(path));
      Deno.symlinkSync(Deno.realPathSync(found ?? program), `${this.path}/${name}`);
    }
  }

  [Symbol.dispose](): void {
    Deno.removeSync(this.path, { recursive: true });
  }
}

function exists(path: string): boolean {
  try {
    return Deno.lstatSync(path) !== undefined;
  } catch {
    return false;
  }
}

function choose(net: NetworkNamespace, options: Partial<ChooseBackendOptions> = {}) {
  return chooseBackend({ run: net.run, path: PATH, readText: net.proc.readText, ipv6: false, ...options });
}

/** Every table of either iptables, in both families. */
async function tables(net: NetworkNamespace): Promise<string> {
  return await net.must("inner", "nft", "list", "ruleset") +
    await net.must("inner", "cat", "/proc/net/ip_tables_names");
}

Deno.test("chooseBackend() takes nft where both work, and leaves nothing behind, the older tables least of all", async () => {
  await using net = await NetworkNamespace.create();
  for (const ipv6 of [false, true]) {
    assert.deepEqual(await choose(net, { ipv6 }), { kind: "nft", suffix: "-nft" });
    assert.equal(await tables(net), "");
  }
});

Deno.test("chooseBackend() leaves rules that are there as they are", async () => {
  await using net = await NetworkNamespace.create();
  await net.must("inner", "iptables-nft", "-t", "nat", "-A", "OUTPUT", "-p", "tcp", "--dport", "9", "-j", "ACCEPT");
  const before = await tables(net);
  await choose(net);
  assert.equal(await tables(net), before);
});

Deno.test("chooseBackend() takes the older one where nothing else is installed", async () => {
  await using net = await NetworkNamespace.create();
  using programs = new Programs(...set("-legacy"));
  const { path } = programs;
  assert.deepEqual(await choose(net, { path, ipv6: true }), { kind: "legacy", suffix: "-legacy" });
  assert.doesNotMatch(await net.must("inner", "iptables-legacy-save"), /KRUN/);
});

Deno.test("The plain programs, which nothing can be pinned to, do where they are the only ones, and istio-iptables finds them too", async (t) => {
  for (const [kind, suffix] of [["nft", "-nft"], ["legacy", "-legacy"]] as const) {
    await t.step(kind, async () => {
      await using rig = await InterceptionRig.create({ kind });
      using programs = new Programs(...set("").map((name) => `${name}=${name.replace("tables", `tables${suffix}`)}`));
      const { path } = programs;
      const backend = await choose(rig.net, { path });
      assert.deepEqual(backend, { kind, suffix: "" });
      await rig.apply({ backend }, { path });
      assert.match(await rig.saved(), /ISTIO_OUTPUT/);
      assert.equal(await rig.net.ask("tcp", "10.9.0.1:80", { ids: PROGRAM }), "outbound");
      // By whatever name that iptables has now: in the rig's own PATH the plain one is nft.
      assert.equal(await rig.remove(), "removed");
      assert.doesNotMatch(await rig.saved(), /ISTIO|KRUN/);
    });
  }
});

Deno.test("Without the program nft an empty table stays, which has no hook into the kernel", async () => {
  await using rig = await InterceptionRig.create();
  using programs = new Programs(...set("-nft"));
  const { path } = programs;
  await choose(rig.net, { path });
  await rig.apply({ dnsCapture: true }, { path });
  assert.equal(await removeInterception(rig.notes[0], { ...rig.options, path }), "removed");
  const left = await rig.net.must("inner", "nft", "list", "ruleset");
  assert.match(left, /^table ip nat \{\n\}$/m);
  assert.doesNotMatch(left, /chain/);
});

interface Refusal {
  readonly why: string;
  readonly programs: readonly string[];
  /** What is put before every program. */
  readonly under?: readonly string[];
  /** Capabilities as /proc/self/status has them. */
  readonly capEff?: string;
  readonly ipv6?: boolean;
  readonly says: RegExp;
  readonly details: RegExp;
}

const without = (...names: readonly string[]) => [
  "/usr/bin/setpriv",
  `--bounding-set=${names.map((name) => `-${name}`).join(",")}`,
  `--inh-caps=${names.map((name) => `-${name}`).join(",")}`,
];
const USER = ["/usr/bin/setpriv", "--reuid=2000", "--regid=2000", "--clear-groups"];

const REFUSALS: readonly Refusal[] = [
  {
    why: "no iptables",
    programs: ["nft"],
    says: /no iptables is in PATH \(\/tmp\/krun-ic-path-/,
    details: /^undefined$/,
  },
  {
    why: "half of one",
    programs: set("-nft").filter((name) => !name.endsWith("-restore")),
    says: /iptables-nft-restore is not in PATH/,
    details: /^iptables-nft: iptables-nft-restore is missing$/,
  },
  {
    why: "nothing for IPv6",
    programs: set("-nft").filter((name) => name.startsWith("ip") && !name.startsWith("ip6")),
    ipv6: true,
    says: /ip6tables-nft-save is not in PATH/,
    details: /^iptables-nft: ip6tables-nft-save is missing$/,
  },
  {
    why: "root without NET_ADMIN",
    programs: [...set("-nft"), ...set("-legacy")],
    under: without("net_admin"),
    capEff: "000001ffffffefff",
    says: /krun has not the capability NET_ADMIN$/,
    details: /iptables-nft: .*Permission denied[^]*\niptables-legacy: .*Permission denied/,
  },
  {
    why: "another user",
    programs: [...set("-nft"), ...set("-legacy")],
    under: USER,
    capEff: "0000000000000000",
    says: /krun has not the capability NET_ADMIN$/,
    details: /iptables-nft: .*Permission denied/,
  },
  {
    why: "only the older one, and no NET_RAW",
    programs: set("-legacy"),
    under: without("net_raw"),
    capEff: "000001ffffffdfff",
    says: /krun has not the capability NET_RAW, which iptables-legacy needs$/,
    details: /iptables-legacy: .*Permission denied/,
  },
  {
    why: "root of another user namespace",
    programs: set("-nft"),
    under: ["/usr/bin/unshare", "--user", "--map-root-user"],
    says: /the kernel does not let krun change this network namespace$/,
    details: /iptables-nft: .*Permission denied/,
  },
];

Deno.test("chooseBackend() says what is wanting", async (t) => {
  await using net = await NetworkNamespace.create();
  for (const { why, programs, under = [], capEff = "000001ffffffffff", ipv6 = false, says, details } of REFUSALS) {
    await t.step(why, async () => {
      using folder = new Programs(...programs);
      const run: RunCommand = (argv, options) => net.run([...under, ...argv], options);
      const readText = (path: string) => path === "/proc/self/status" ? `CapEff:\t${capEff}\n` : undefined;
      const refused = await choose(net, { run, path: folder.path, readText, ipv6 }).then(
        (backend) => assert.fail(JSON.stringify(backend)),
        (error) => error,
      );
      assert.equal(refused.code, "InterceptionUnavailable");
      assert.match(refused.message, says);
      assert.match(`${refused.details}`, details);
    });
  }
});

Deno.test("chooseBackend() reads the capabilities of a real process as it should", async () => {
  await using net = await NetworkNamespace.create();
  using folder = new Programs(...set("-nft"), "cat=cat");
  const under = without("net_admin");
  const run: RunCommand = (argv, options) => net.run([...under, ...argv], options);
  const { stdout } = await run(["cat", "/proc/self/status"], { env: { PATH } });
  await assert.rejects(choose(net, { run, path: folder.path, readText: () => stdout }), /capability NET_ADMIN$/);
});
