import assert from "node:assert/strict";
import { isAtLeast } from "./runtime_version.ts";

const cases = [
  { version: "2.9.0", needed: "2.9.0", expect: true },
  { version: "2.9.6", needed: "2.9.0", expect: true },
  { version: "2.10.0", needed: "2.9.6", expect: true },
  { version: "3.0.0", needed: "2.9.0", expect: true },
  { version: "2.9.0-rc.1+abc", needed: "2.9.0", expect: true },
  { version: "2.6.10", needed: "2.9.0", expect: false },
  { version: "2.8.99", needed: "2.9.0", expect: false },
  { version: "1.99.99", needed: "2.0.0", expect: false },
];
for (const { version, needed, expect } of cases) {
  Deno.test(`isAtLeast() is ${expect} for ${version} when ${needed} is needed`, () => {
    assert.equal(isAtLeast(version, needed), expect);
  });
}
