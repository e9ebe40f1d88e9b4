import assert from "node:assert/strict";
import fc from "fast-check";
import { loadVectors } from "../../tests/vectors.ts";
import { type LogEvent, logLine, readTrace } from "./log_format.ts";

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
    for (const format of ["text", "json", "google"] as const) {
      assert.doesNotMatch(logLine({ time, level: "info", event, fields: values }, format), /[\p{Cc}\p{Zl}\p{Zp}]/u);
    }
    const { event: found, time: _time, level: _level, ...others } = JSON.parse(
      logLine({ time, level: "info", event, fields: values }, "json"),
    );
    assert.equal(found, event);
    assert.deepEqual(others, { ...values });
  }));
});

Deno.test("logLine() for Cloud Logging has its own fields, which no other field can take the place of", () => {
  const fields = {
    secret: "payments/db",
    severity: "EMERGENCY",
    message: "x",
    httpRequest: "x",
    "logging.googleapis.com/trace": "x",
  };
  const trace = { trace: "projects/p/traces/a", spanId: "b", sampled: false };
  assert.deepEqual(JSON.parse(logLine({ time, level: "warn", event: "volume stale", fields, trace }, "google")), {
    severity: "WARNING",
    time: "2031-05-06T07:08:09.012Z",
    message:
      "volume stale secret=payments/db severity=EMERGENCY message=x httpRequest=x logging.googleapis.com/trace=x",
    secret: "payments/db",
    "logging.googleapis.com/trace": "projects/p/traces/a",
    "logging.googleapis.com/spanId": "b",
    "logging.googleapis.com/trace_sampled": false,
  });
  const plain = JSON.parse(logLine({ time, level: "error", event: "x", fields: {} }, "google"));
  assert.deepEqual(plain, { severity: "ERROR", time: "2031-05-06T07:08:09.012Z", message: "x" });
});

Deno.test("readTrace() reads a traceparent of the W3C, and nothing else", () => {
  const [id, span] = ["4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"];
  assert.deepEqual(readTrace(`00-${id}-${span}-00`), { trace: id, spanId: span, sampled: false });
  assert.deepEqual(readTrace(`00-${id}-${span}-03`, "p"), {
    trace: `projects/p/traces/${id}`,
    spanId: span,
    sampled: true,
  });
  for (
    const text of [
      "",
      `01-${id}-${span}-00`,
      `00-${"0".repeat(32)}-${span}-00`,
      `00-${id}-${"0".repeat(16)}-00`,
      `00-${id.toUpperCase()}-${span}-00`,
      `00-${id}-${span}-0`,
      `00-${id}-${span}-00\n`,
    ]
  ) {
    assert.equal(readTrace(text), undefined, text);
  }
});
