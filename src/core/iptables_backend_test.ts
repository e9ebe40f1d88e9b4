import assert from "node:assert/strict";
import { backendKind, interceptionUnavailable, iptablesProgram } from "./iptables_backend.ts";

const HERE = { path: "/usr/sbin:/bin", status: "CapEff:\t000001ffffffffff\n" };
/** All capabilities but bit 12, and all but bit 13. */
const NO_NET_ADMIN = { ...HERE, status: "CapEff:\t000001ffffffefff\n" };
const NO_NET_RAW = { ...HERE, status: "CapEff:\t000001ffffffdfff\n" };

Deno.test("iptablesProgram() spells the programs of a set", () => {
  assert.equal(iptablesProgram("-nft", 4, "change"), "iptables-nft");
  assert.equal(iptablesProgram("-legacy", 6, "save"), "ip6tables-legacy-save");
  assert.equal(iptablesProgram("", 4, "restore"), "iptables-restore");
});

Deno.test("backendKind() reads what --version prints", () => {
  assert.equal(backendKind("iptables v1.8.9 (nf_tables)\n"), "nft");
  assert.equal(backendKind("iptables v1.8.9 (legacy)\n"), "legacy");
  assert.equal(backendKind("iptables v1.6.1\n"), "legacy");
});

const ABSENT = [
  { suffix: "-nft", missing: "iptables-nft" },
  { suffix: "-legacy", missing: "iptables-legacy" },
] as const;
const NFT_REFUSED =
  "iptables-nft-restore v1.8.9 (nf_tables): Could not fetch rule set generation id: Permission denied (you must be root)\n";
const LEGACY_REFUSED =
  "iptables v1.8.9 (legacy): can't initialize iptables table `nat': Permission denied (you must be root)\nPerhaps iptables or your kernel needs to be upgraded.\n";
const LEGACY_NO_TABLE =
  "iptables v1.8.9 (legacy): can't initialize iptables table `nat': Table does not exist (do you need to insmod?)\n";

const CASES = [
  {
    why: "no program",
    error: interceptionUnavailable([...ABSENT, { suffix: "", missing: "iptables" }], HERE),
    says: /: no iptables is in PATH \(\/usr\/sbin:\/bin\)$/,
    details: undefined,
  },
  {
    why: "half a set",
    error: interceptionUnavailable([...ABSENT, { suffix: "", missing: "iptables-restore" }], HERE),
    says: /: iptables-restore is not in PATH/,
    details: "iptables: iptables-restore is missing",
  },
  {
    why: "no right",
    error: interceptionUnavailable([{ suffix: "-nft", words: NFT_REFUSED }, ...ABSENT.slice(1)], NO_NET_ADMIN),
    says: /: krun has not the capability NET_ADMIN$/,
    details: `iptables-nft: ${NFT_REFUSED.trim()}`,
  },
  {
    why: "only half the right for the older one",
    error: interceptionUnavailable([
      {
        suffix: "-nft",
        words: "iptables-nft-restore: Failed to initialize nft: Protocol not supported\n",
        kind: "nft",
      },
      { suffix: "-legacy", words: LEGACY_REFUSED, kind: "legacy" },
    ], NO_NET_RAW),
    says: /: krun has not the capability NET_RAW, which iptables-legacy needs$/,
    details: "iptables-nft: iptables-nft-restore: Failed to initialize nft: Protocol not supported\n" +
      `iptables-legacy: ${LEGACY_REFUSED.split("\n")[0]}`,
  },
  {
    why: "all capabilities, in somebody else's namespace",
    error: interceptionUnavailable([{ suffix: "-nft", words: NFT_REFUSED }], HERE),
    says: /: the kernel does not let krun change this network namespace$/,
    details: `iptables-nft: ${NFT_REFUSED.trim()}`,
  },
  {
    why: "no table in the kernel",
    error: interceptionUnavailable([
      {
        suffix: "-nft",
        words: "iptables-nft-restore: line 3: CHAIN_ADD failed (Operation not supported): chain OUTPUT\n",
      },
      { suffix: "-legacy", words: LEGACY_NO_TABLE },
    ], HERE),
    says: /: the kernel has no nat table for iptables-nft$/,
    details: "iptables-nft: iptables-nft-restore: line 3: CHAIN_ADD failed (Operation not supported): chain OUTPUT\n" +
      `iptables-legacy: ${LEGACY_NO_TABLE.trim()}`,
  },
];

for (const { why, error, says, details } of CASES) {
  Deno.test(`interceptionUnavailable() says what is wanting: ${why}`, () => {
    assert.equal(error.code, "InterceptionUnavailable");
    assert.match(error.message, says);
    assert.equal(error.details, details);
  });
}

Deno.test("interceptionUnavailable() does not guess at capabilities that it cannot see", () => {
  const { message } = interceptionUnavailable([{ suffix: "-nft", words: NFT_REFUSED }], { ...HERE, status: "" });
  assert.match(message, /does not let krun change this network namespace/);
});
