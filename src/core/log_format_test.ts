import assert from "node:assert/strict";
import fc from "fast-check";
import { loadVectors } from "../../tests/vectors.ts";
import { type LogEvent, logLine } from "./log_format.ts";

const time = new Date(Date.UTC(2031, 4, 6, 7, 8, 9, 12));

for (
  const { id, why, input, expect } of loadVectors<Omit<LogEvent, "time">, { text: string; json: string }>("log_format")
) {
  Deno.test(`logLine() ${id}: ${why}`, () => {
    assert.equal(logLine({ time, ...input }, "text"), expect.text);
    assert.equal(logLine({ time, ...input }, "json"), expect.json);
  });
}

Deno.test("logLine() leaves a pair out when its value is undefined", () => {
  const event = { time, level: "warn", event: "x", fields: { a: undefined, b: 1 } } as const;
  assert.equal(logLine(event, "text"), "2031-05-06T07:08:09.012Z warn x b=1");
  assert.deepEqual(JSON.parse(logLine(event, "json")), { time: time.toISOString(), level: "warn", event: "x", b: 1 });
});

Deno.test("logLine() is one line without control characters, and as JSON gives every value back, when given any text", () => {
  const text = fc.string({ unit: "binary" });
  const fields = fc.dictionary(text.filter((name) => !["time", "level", "event", "__proto__"].includes(name)), text);
  fc.assert(fc.property(text, fields, (event, values) => {
    for (const format of ["text", "json"] as const) {
      assert.doesNotMatch(logLine({ time, level: "info", event, fields: values }, format), /[\p{Cc}\p{Zl}\p{Zp}]/u);
    }
    const { event: found, time: _time, level: _level, ...others } = JSON.parse(
      logLine({ time, level: "info", event, fields: values }, "json"),
    );
    assert.equal(found, event);
    assert.deepEqual(others, { ...values });
  }));
});
