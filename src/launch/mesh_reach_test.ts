import assert from "node:assert/strict";
import type { ControlPlaneLook } from "../mesh/control_plane_probe.ts";
import type { MeshPlan } from "./mesh_plan.ts";
import { controlPlaneFault } from "./mesh_reach.ts";

const fault = (
  look: ControlPlaneLook,
  address = "10.0.0.1:15012",
  san: string | undefined = "istiod.istio-system.svc",
) => {
  const mesh = {
    address: { value: address, rule: "XDS_ADDR" },
    ...(san !== "" && { san: { value: san, rule: "its own" } }),
  };
  return controlPlaneFault({ mesh } as unknown as Pick<MeshPlan, "mesh">, look);
};

Deno.test("controlPlaneFault() is nothing for a server with the name that the agent expects", () => {
  assert.equal(fault({ names: ["istiod.istio-system.svc", "10.0.0.1"] }), undefined);
  assert.equal(fault({ names: ["*.example"] }, "istiod.example:15012", ""), undefined);
  assert.equal(fault({ names: [] }, "[fd00::1]:15012", ""), undefined, "an address has many spellings");
});

Deno.test("controlPlaneFault() says what certificate was seen instead", () => {
  const seen = fault({ names: ["shop.example"] })!;
  assert.equal(
    seen.message,
    "Cannot join the mesh at 10.0.0.1:15012 (XDS_ADDR): the server there has a certificate for shop.example, " +
      "not for istiod.istio-system.svc",
  );
  assert.match(seen.hint, /^correct XDS_ADDR; if that is the control plane, set ISTIOD_SAN/);
  for (const names of [["*.example"], ["a.example"], []]) assert.ok(fault({ names }, "a.b.example:1", ""), `${names}`);
});

Deno.test("controlPlaneFault() tells no connection from no TLS", () => {
  assert.match(fault({ step: "TCP", reason: "connection refused" })!.message, /: connection refused$/);
  assert.match(
    fault({ step: "TLS", reason: "closed" })!.message,
    /: whoever listens there does not speak TLS: closed$/,
  );
});
