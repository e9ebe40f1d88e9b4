import assert from "node:assert/strict";
import { Phases } from "./phases.ts";

Deno.test("Phases leaves out what took no time of its own", () => {
  const until = performance.now() + 3;
  const phases = new Phases();
  while (performance.now() < until);
  phases.end("plan");
  phases.end("interception");
  assert.match(phases.toString(), /^plan \d+ ms$/);
});
