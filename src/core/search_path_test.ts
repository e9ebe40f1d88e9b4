import assert from "node:assert/strict";
import { searchPath } from "./search_path.ts";

Deno.test("searchPath() gives the folders of PATH, the working directory for an empty one, and the runtimes' default", () => {
  assert.deepEqual(searchPath({ PATH: "/a::b" }), ["/a", ".", "b"]);
  assert.deepEqual(searchPath({ PATH: "" }), ["."]);
  assert.equal(searchPath({})[0], "/usr/local/sbin");
});
