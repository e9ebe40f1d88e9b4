import assert from "node:assert/strict";
import fc from "fast-check";
import { accountNames } from "./account_names.ts";

const PASSWD =
  "root:x:0:0:root:/root:/bin/sh\ntoor:x:0:0::/elsewhere:\nbob:x:1000:100:Bob:/home/bob:/bin/sh\nbob:x:7:7::/second:\n:x:9:9::/x:\n" +
  "broken:x:one:1::/y:\nhomeless:x:8:8\n";
const names = accountNames({ passwd: PASSWD, group: "root:x:0:\nusers:x:100:bob\n" });

Deno.test("accountNames() knows names by number and home folders by name; the first line counts", () => {
  assert.deepEqual([0, 1000, 9, 8, 4].map((uid) => names.userName(uid)), [
    "root",
    "bob",
    undefined,
    "homeless",
    undefined,
  ]);
  assert.deepEqual([0, 100, 5].map((gid) => names.groupName(gid)), ["root", "users", undefined]);
  assert.deepEqual(["bob", "toor", "homeless", "nobody", ""].map((user) => names.home(user)), [
    "/home/bob",
    "/elsewhere",
    undefined,
    undefined,
    undefined,
  ]);
});

Deno.test("accountNames() takes any text, and knows nobody in an empty one", () => {
  fc.assert(fc.property(fc.string(), (text) => void accountNames({ passwd: text, group: text })));
  assert.equal(accountNames({ passwd: "", group: "" }).userName(0), undefined);
});
