/** Interception in real network namespaces, by the real istio-iptables: what is captured, and what is left alone. */
import assert from "node:assert/strict";
import type { InterceptionPlan } from "../../src/core/interception.ts";
import { InterceptionRig } from "./interception_rig.ts";

const PROGRAM = { uid: 3000, gid: 3000 };
const STRANGER = { uid: 2000, gid: 2000 };
const PROXY = { uid: 1337, gid: 1337 };
/** krun's own calls: root with the proxy's group. */
const KRUN = { uid: 0, gid: 1337 };
const BACKENDS = ["nft", "legacy"] as const;

for (const kind of BACKENDS) {
  Deno.test(`In a namespace of its own all but the proxy's traffic is captured (${kind})`, async (t) => {
    await using rig = await InterceptionRig.create({ kind });
    await rig.apply({ scope: "own" });
    await t.step("the rules are the injector's", async () => {
      console.log(await rig.saved());
    });
  });
}
