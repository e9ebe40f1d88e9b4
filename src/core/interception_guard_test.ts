import assert from "node:assert/strict";
import { guardAfter, guardBefore, type GuardPlan } from "./interception_guard.ts";
import { parseSavedRules } from "./iptables_rules.ts";

const GOLDEN = new URL("../../tests/testdata/golden/interception_guard.txt", import.meta.url);
const MARK = "KRUN_0a1b2c3d";

const OWN: GuardPlan = {
  capturedGid: undefined,
  proxyUid: 1337,
  proxyGid: 1337,
  dnsCapture: false,
  excludedInterfaces: [],
  reroutedInterfaces: [],
  reroutedRanges: "*",
};

const NAT = "*nat\n:PREROUTING ACCEPT [0:0]\n:ISTIO_INBOUND - [0:0]\n:ISTIO_OUTPUT - [0:0]\n";
const WITHOUT_DNS = `${NAT}COMMIT\n`;
const WITH_DNS =
  `${NAT}:ISTIO_OUTPUT_DNS - [0:0]\nCOMMIT\n*raw\n:ISTIO_INBOUND - [0:0]\n:ISTIO_OUTPUT_DNS - [0:0]\nCOMMIT\n`;
/** The resolver is an IPv6 address, and this is IPv4: only the chain for the agent's own questions exists. */
const HALF_DNS = `${NAT}COMMIT\n*raw\n:ISTIO_OUTPUT_DNS - [0:0]\nCOMMIT\n`;

const CASES: readonly { title: string; plan: GuardPlan; saved: string; family?: 4 | 6 }[] = [
  { title: "own namespace", plan: OWN, saved: WITHOUT_DNS },
  { title: "own namespace, DNS capture", plan: { ...OWN, dnsCapture: true }, saved: WITH_DNS },
  {
    title: "own namespace, DNS capture, no resolver of this family",
    plan: { ...OWN, dnsCapture: true },
    saved: HALF_DNS,
  },
  { title: "shared namespace", plan: { ...OWN, capturedGid: 3000 }, saved: WITHOUT_DNS },
  { title: "shared namespace, DNS capture", plan: { ...OWN, capturedGid: 3000, dnsCapture: true }, saved: WITH_DNS },
  {
    title: "interfaces, IPv6",
    plan: {
      ...OWN,
      excludedInterfaces: ["eth1"],
      reroutedInterfaces: ["virt0"],
      reroutedRanges: [{ text: "10.0.0.0/8", family: 4 }, { text: "fd00::/8", family: 6 }],
    },
    saved: WITHOUT_DNS,
    family: 6,
  },
  { title: "a family that istio-iptables left out", plan: { ...OWN, excludedInterfaces: ["eth1"] }, saved: "" },
];

Deno.test("guardBefore() and guardAfter() are what tests/testdata/golden/interception_guard.txt holds", () => {
  const text = CASES.map(({ title, plan, saved, family = 4 }) => {
    const after = guardAfter(plan, { mark: MARK, family, saved: parseSavedRules(saved) });
    return `## ${title}: before\n${guardBefore(plan, { mark: MARK })}## ${title}: after\n${after}`;
  }).join("\n");
  if (Deno.env.has("UPDATE_GOLDEN")) Deno.writeTextFileSync(GOLDEN, text);
  assert.equal(text, Deno.readTextFileSync(GOLDEN), "run the tests once with UPDATE_GOLDEN=1, and read the difference");
});

Deno.test("guardAfter() takes back every rule of guardBefore(), and leaves only the mark", () => {
  for (const { plan, saved } of CASES) {
    const before = guardBefore(plan, { mark: MARK });
    const after = guardAfter(plan, { mark: MARK, family: 4, saved: parseSavedRules(saved) });
    for (const [, rule] of before.matchAll(/^-A ((?:PREROUTING|OUTPUT) .*)$/gm)) {
      assert.ok(after.includes(`\n-D ${rule}\n`), `${rule}`);
    }
    assert.equal(before.split(`:${MARK} `).length, after.split(`-F ${MARK}\n`).length);
    assert.equal(after.includes(`-X ${MARK}\n`), before.includes("*raw"));
  }
});
