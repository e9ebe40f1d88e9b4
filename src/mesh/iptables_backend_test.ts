import assert from "node:assert/strict";
import { chooseBackend } from "./iptables_backend.ts";
import type { CommandResult, RunCommand } from "./run_command.ts";

const OK: CommandResult = { code: 0, stdout: "", stderr: "" };
const MISSING: CommandResult = { code: 127, stdout: "", stderr: "no such program" };

/** Programs by name, or by name and first argument; the rest does not exist. */
function machine(programs: Readonly<Record<string, Partial<CommandResult>>>) {
  const calls: string[] = [];
  const run: RunCommand = (argv) => {
    calls.push(argv.join(" "));
    const found = programs[argv.slice(0, 2).join(" ")] ?? programs[argv[0] ?? ""];
    return Promise.resolve(found === undefined ? MISSING : { ...OK, ...found });
  };
  return { calls, options: { run, path: "/sbin", readText: () => undefined, ipv6: false } };
}

const NFT = { "iptables-nft": { stdout: "iptables v1.8.9 (nf_tables)\n" }, "iptables-nft-save": {} };
const LEGACY = { "iptables-legacy": { stdout: "iptables v1.8.9 (legacy)\n" }, "iptables-legacy-save": {} };
/** What a kernel without nftables, and one without its nat chains, makes of iptables-nft. */
const NO_NFT = {
  code: 1,
  stderr: "iptables-nft-restore v1.8.9 (nf_tables): Failed to initialize nft: Protocol not supported\n",
};
const NO_TABLE =
  "iptables v1.8.9 (legacy): can't initialize iptables table `nat': Table does not exist (do you need to insmod?)\n";

Deno.test("chooseBackend() takes the older one on a kernel without nftables", async () => {
  const { options } = machine({ ...NFT, "iptables-nft-restore": NO_NFT, ...LEGACY, "iptables-legacy-restore": {} });
  assert.deepEqual(await chooseBackend(options), { kind: "legacy", suffix: "-legacy" });
});

Deno.test("chooseBackend() never touches the older one where nft works", async () => {
  const { calls, options } = machine({ ...NFT, "iptables-nft-restore": {}, ...LEGACY, "iptables-legacy-restore": {} });
  assert.deepEqual(await chooseBackend(options), { kind: "nft", suffix: "-nft" });
  assert.ok(!calls.some((call) => call.includes("legacy")), calls.join("\n"));
});

Deno.test("chooseBackend() says that the kernel has no table where both fail so", async () => {
  const { options } = machine({
    ...{ ...NFT, "iptables-nft-restore": NO_NFT, ...LEGACY },
    "iptables-legacy-restore": { code: 2, stderr: "iptables-restore: unable to initialize table 'nat'\n" },
    "iptables-legacy -t": { code: 3, stderr: NO_TABLE },
  });
  await assert.rejects(chooseBackend(options), {
    code: "InterceptionUnavailable",
    message: "Cannot intercept traffic: the kernel has no nat table for iptables-nft",
    details: `iptables-nft: ${NO_NFT.stderr.trim()}\niptables-legacy: ${NO_TABLE.trim()}`,
  });
});

Deno.test("chooseBackend() removes a table only when it made it, and when it is empty", async () => {
  const cases = [
    { saved: "", listed: "table ip nat {\n}\n", removes: true },
    { saved: "", listed: "table ip nat {\n\tchain OTHER {\n\t}\n}\n", removes: false },
    { saved: "*nat\n:OUTPUT ACCEPT [0:0]\nCOMMIT\n", listed: "table ip nat {\n}\n", removes: false },
  ];
  for (const { saved, listed, removes } of cases) {
    const { calls, options } = machine({
      ...{ ...NFT, "iptables-nft-save": { stdout: saved }, "iptables-nft-restore": {} },
      ...{ "nft list": { stdout: listed }, "nft delete": {} },
    });
    await chooseBackend(options);
    assert.equal(calls.includes("nft delete table ip nat"), removes, JSON.stringify({ saved, listed }));
  }
});
