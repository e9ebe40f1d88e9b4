import assert from "node:assert/strict";
import { loadVectors } from "../../tests/vectors.ts";
import { KrunError } from "./errors.ts";
import { interceptionArgs, type InterceptionPlan } from "./interception.ts";

/** A namespace of its own, and nothing set. */
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

interface Told {
  /** As one line; an empty argument is `''`. */
  readonly argv: string;
  readonly env: Readonly<Record<string, string>>;
  readonly notes: readonly string[];
}

interface Failure {
  readonly error: string;
  readonly says: string;
}

for (const { id, why, input, expect } of loadVectors<Partial<InterceptionPlan>, Told | Failure>("interception_args")) {
  Deno.test(`interceptionArgs() ${id}: ${why}`, () => {
    const told = () => interceptionArgs({ ...PLAN, ...input });
    if (!("error" in expect)) {
      const { argv, env, notes } = told();
      assert.deepEqual({ argv: argv.map((word) => word || "''").join(" "), env, notes }, expect);
      return;
    }
    assert.throws(told, (error) => {
      assert.ok(error instanceof KrunError);
      assert.equal(error.code, expect.error);
      const line = `${error.message}; ${error.hint}`;
      assert.ok(line.includes(expect.says), line);
      return true;
    });
  });
}

Deno.test("interceptionArgs() hands the guard whose traffic is captured, and the interfaces", () => {
  const annotations = {
    "traffic.sidecar.istio.io/excludeInterfaces": "eth1,eth2",
    "traffic.sidecar.istio.io/kubevirtInterfaces": "virt0",
  };
  const guard = { proxyUid: 1337, proxyGid: 1337, dnsCapture: false, excludedInterfaces: ["eth1", "eth2"] };
  const own = interceptionArgs({ ...PLAN, annotations });
  const all = { reroutedRanges: "*" };
  assert.deepEqual(own.guard, { ...guard, ...all, capturedGid: undefined, reroutedInterfaces: ["virt0"] });
  const shared = interceptionArgs({ ...PLAN, annotations, scope: "shared", programGid: 3000 });
  assert.deepEqual(shared.guard, { ...guard, ...all, capturedGid: 3000, reroutedInterfaces: [] });
});
