import fc from "fast-check";
import assert from "node:assert/strict";
import { type LoginStage, type SshStranger, strangerToGo } from "./ssh_strangers.ts";

const of = (stage: LoginStage, count: number, network?: string): SshStranger[] =>
  Array.from({ length: count }, () => ({ stage, network }));

Deno.test("strangerToGo(): who only connects goes before whoever has exchanged keys, and those before whoever tries to log in", () => {
  assert.equal(strangerToGo([...of("trying", 1), ...of("keyed", 1), ...of("connected", 98)]), 2);
  assert.equal(strangerToGo([...of("trying", 20), ...of("connected", 20), ...of("keyed", 60)]), 40);
  assert.equal(strangerToGo([...of("connected", 10), ...of("keyed", 10), ...of("trying", 80)]), 20);
  assert.equal(strangerToGo([]), -1);
});

Deno.test("strangerToGo(): of one stage it is the oldest of the network that has most there", () => {
  const tries = of("trying", 10, "10.0.0.1"), others = of("connected", 40, "10.0.0.2");
  assert.equal(strangerToGo([...tries, ...of("connected", 1, "10.0.0.1"), ...others]), 11);
});

Deno.test("strangerToGo(): logins without end leave a third of the places to those who come", () => {
  const strangers = of("trying", 100);
  for (let count = 0; count < 200; count++) {
    strangers.splice(strangerToGo(strangers), 1);
    strangers.push({ stage: "connected", network: undefined });
  }
  assert.deepEqual(
    [66, 34],
    ["trying", "connected"].map((one) => strangers.filter(({ stage }) => stage === one).length),
  );
});

Deno.test("strangerToGo(): who comes and only connects takes no place of a login, as long as logins have a third at most", () => {
  const stage = fc.constantFrom<LoginStage>("connected", "keyed", "connected", "keyed", "trying");
  const stranger = fc.record({ stage, network: fc.constantFrom(undefined, "a", "b") });
  fc.assert(fc.property(fc.array(stranger, { minLength: 1, maxLength: 100 }), (strangers) => {
    const goes = strangers[strangerToGo(strangers)]!;
    const share = strangers.filter(({ stage }) => stage === goes.stage).length / strangers.length;
    assert.ok(share >= 1 / 3);
    const trying = strangers.filter(({ stage }) => stage === "trying").length;
    if (3 * trying < strangers.length) assert.notEqual(goes.stage, "trying");
  }));
});
