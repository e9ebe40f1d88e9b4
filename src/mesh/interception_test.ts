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
    return Promise.resolve({
      code: 0,
      stdout: program.endsWith("-nft-save") ? save : args[0] === "--version" ? "nf_tables" : "",
      stderr: "",
    });
  };
  const proc = { list: () => [], readLink: (path: string) => links[path], readText: () => undefined };
  const own = {
    runMark: 1n << 62n,
    endRun: (run: bigint) => Promise.resolve(void done.push(`ended ${run}`)),
    claim: () => void done.push("claimed"),
    note: () => void done.push("noted"),
  };
  return { done, options: { run, proc, ...own, path: "/sbin", agent: "/agent", log: silentLog } };
}

Deno.test("applyInterception() notes before the first change, and changes in three steps", async () => {
  const { done, options } = machine();
  const { mark, namespace } = await applyInterception(PLAN, options);
  const restores = ["iptables-nft-restore --noflush", "ip6tables-nft-restore --noflush"];
  assert.deepEqual(done, ["claimed", "noted", ...restores, "/agent istio-iptables", ...restores]);
  assert.equal(mark, "KRUN_400000000000_000");
  assert.equal(namespace, "net:[1]");
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
  assert.deepEqual(done, ["claimed"]);
});

Deno.test("applyInterception() begins only when nothing else is wanting", async () => {
  const { done, options } = machine();
  const requireFree = () => assert.fail("port in use");
  await assert.rejects(applyInterception(PLAN, { ...options, requireFree }), /port in use/);
  assert.deepEqual(done, []);
});

Deno.test("applyInterception() takes rules back that no krun holds, and refuses those that one holds, or where that is unknown", async (t) => {
  const rules = "*nat\n:ISTIO_OUTPUT - [0:0]\n:KRUN_400000000001_xx0 - [0:0]\nCOMMIT\n";
  const held = "0: 00000002 00000000 00000000 0001 01 7 @krun/KRUN_400000000001_xx0\n";
  const tried = async (netUnix: string | undefined, marks = rules) => {
    const { done, options } = machine({ save: marks });
    const readText = (path: string) => path === "/proc/self/net/unix" ? netUnix : undefined;
    const rejected = await applyInterception(PLAN, { ...options, proc: { ...options.proc, readText } }).catch((error) =>
      error
    );
    // The rules of this machine never change.
    assert.equal(rejected.code, "InterceptionConflict");
    return done.filter((one) => one.startsWith("ended"));
  };
  await t.step("nobody holds it", async () => assert.deepEqual(await tried(""), [`ended ${0x4000_0000_0001_0000n}`]));
  await t.step("its krun lives", async () => assert.deepEqual(await tried(held), []));
  await t.step("/proc does not say", async () => assert.deepEqual(await tried(undefined), []));
  await t.step("another krun that lives has rules there too", async () => {
    const both = rules.replace("COMMIT", ":KRUN_400000000002_xx0 - [0:0]\nCOMMIT");
    assert.deepEqual(await tried(held.replace("0001_", "0002_"), both), []);
  });
  await t.step("an Istio's alone", async () => {
    assert.deepEqual(await tried("", "*nat\n:ISTIO_OUTPUT - [0:0]\nCOMMIT\n"), []);
  });
});
