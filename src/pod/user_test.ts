import assert from "node:assert/strict";
import { loadLibc } from "./libc.ts";
import { ownUser, sameUser } from "./user.ts";

const libc = loadLibc();

Deno.test("ownUser() says who this process is, as id(1) does", async () => {
  const { stdout } = await new Deno.Command("sh", { args: ["-c", "id -u; id -g; id -G"] }).output();
  const [uid, gid, groups = ""] = new TextDecoder().decode(stdout).split("\n");
  const self = ownUser(libc);
  assert.deepEqual([self.uid, self.gid], [Number(uid), Number(gid)]);
  const all = groups.split(" ").map(Number);
  assert.deepEqual(new Set([...self.groups, self.gid]), new Set(all));
});

Deno.test("sameUser() does not care about order, doubles and the own group in the list", () => {
  const user = { uid: 5, gid: 6, groups: [7, 8] };
  assert.equal(sameUser(user, { ...user, groups: [8, 7, 6, 7] }), true);
  assert.equal(sameUser(user, { ...user, groups: [7] }), false);
  assert.equal(sameUser(user, { ...user, gid: 7 }), false);
  assert.equal(sameUser(user, { ...user, uid: 0 }), false);
});
