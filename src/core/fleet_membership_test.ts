import assert from "node:assert/strict";
import { loadVectors } from "../../tests/vectors.ts";
import { fleetMember, type FleetMembership, gatewayServer } from "./fleet_membership.ts";

for (
  const v of loadVectors<{ membership: FleetMembership; number: string }, Record<string, string> | null>("fleet_member")
) {
  Deno.test(`fleetMember() and gatewayServer() ${v.id}: ${v.why}`, () => {
    const member = fleetMember(v.input.membership);
    const found = member && {
      name: member.name,
      location: member.location,
      server: gatewayServer(member, v.input.number),
      ...(member.provider && { stsAudience: member.provider.stsAudience }),
    };
    assert.deepEqual(found ?? null, v.expect);
  });
}
