import assert from "node:assert/strict";
import { silentLog } from "../core/log.ts";
import type { InterceptionPlan } from "../core/interception.ts";
import { applyInterception } from "./interception.ts";
import type { RunCommand } from "./run_command.ts";

const PLAN: InterceptionPlan = {
  scope: "own",
  programUid: 1000,
  programGid: 1000,
  inboundPorts: [],
  outboundIpRanges: undefined,
  excludeOutboundPorts: undefined,
  annotations: {},
  dnsCapture: false,
  addresses: ["10.9.0.2"],
  backend: { kind: "nft", suffix: "-nft" },
};
const LINKS: Readonly<Record<string, string>> = { "/proc/self/ns/net": "net:[1]" };

/** A machine that does what it is told, and notes it. Whatever only looks is left out. */
function machine({ links = LINKS, save = "" } = {}) {
  const done: string[] = [];
  const run: RunCommand = ([program = "", ...args]) => {
    if (!/-save$|-legacy/.test(program)) done.push([program, ...args].slice(0, 2).join(" "));
    return Promise.resolve({ code: 0, stdout: program.endsWith("-save") ? save : "", stderr: "" });
  };
  const proc = { list: () => [], readLink: (path: string) => links[path], readText: () => undefined };
  const note = () => void done.push("noted");
  return { done, options: { run, proc, note, path: "/sbin", agent: "/agent", log: silentLog } };
}

Deno.test("applyInterception() notes before the first change, and changes in three steps", async () => {
  const { done, options } = machine();
  const { mark, namespace, before } = await applyInterception(PLAN, options);
  const restores = ["iptables-nft-restore --noflush", "ip6tables-nft-restore --noflush"];
  assert.deepEqual(done, ["noted", ...restores, "/agent istio-iptables", ...restores]);
  assert.match(mark, /^KRUN_[0-9a-f]{8}$/);
  assert.equal(namespace, "net:[1]");
  assert.deepEqual(before.map(({ family }) => family), [4, 6]);
});

Deno.test("applyInterception() changes and notes nothing when it refuses", async (t) => {
  const istio = "*nat\n:ISTIO_OUTPUT - [0:0]\nCOMMIT\n";
  const cases = [
    { why: "the program is the proxy's user", plan: { ...PLAN, programUid: 1337 }, code: "InterceptionConflict" },
    { why: "a malformed list", plan: { ...PLAN, outboundIpRanges: "x" }, code: "SettingInvalid" },
    { why: "no address", plan: { ...PLAN, addresses: [] }, code: "InterceptionUnavailable" },
    { why: "an Istio is there", plan: PLAN, save: istio, code: "InterceptionConflict" },
    { why: "no /proc", plan: PLAN, links: {}, code: "InterceptionUnavailable" },
  ];
  for (const { why, plan, code, ...rest } of cases) {
    await t.step(why, async () => {
      const { done, options } = machine(rest);
      await assert.rejects(applyInterception(plan, options), { code });
      assert.deepEqual(done, []);
    });
  }
});

Deno.test("applyInterception() does not begin when its note cannot be kept", async () => {
  const { done, options } = machine();
  const note = () => Promise.reject(new Error("disk full"));
  await assert.rejects(applyInterception(PLAN, { ...options, note }), /disk full/);
  assert.deepEqual(done, []);
});
