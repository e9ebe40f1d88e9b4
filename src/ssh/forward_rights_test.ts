import assert from "node:assert/strict";
import { parsePermitListen, parsePermitOpen } from "../core/ssh_forward_permit.ts";
import type { LoginRights } from "../core/ssh_login_rights.ts";
import { forwardRights } from "./forward_rights.ts";

const ANY: LoginRights = {
  ...{ pty: true, touchRequired: false, verifyRequired: false },
  ...{ portForwarding: true, permitOpen: "any", permitListen: "any" },
};

Deno.test("forwardRights() gives Unix sockets to whom no port is denied, and to nobody else", () => {
  const unixSockets = (more: Partial<LoginRights>) => forwardRights({ ...ANY, ...more }).unixSockets;
  assert.equal(unixSockets({}), true);
  assert.equal(unixSockets({ portForwarding: false }), false);
  assert.equal(unixSockets({ permitOpen: [parsePermitOpen("localhost:80")] }), false);
  assert.equal(unixSockets({ permitListen: [parsePermitListen("8080")] }), false);
});

Deno.test("forwardRights() gives the places that are permitted, and none where nothing is forwarded", () => {
  const permits = { permitOpen: [parsePermitOpen("localhost:80")], permitListen: [parsePermitListen("8080")] };
  const some = forwardRights({ ...ANY, ...permits });
  assert.deepEqual([some.mayOpen("localhost", 80), some.mayOpen("localhost", 81)], [true, false]);
  assert.deepEqual([some.mayListen("localhost", 8080), some.mayListen("localhost", 80)], [true, false]);
  const none = forwardRights({ ...ANY, ...permits, portForwarding: false });
  assert.deepEqual([none.mayOpen("localhost", 80), none.mayListen("localhost", 8080)], [false, false]);
});
