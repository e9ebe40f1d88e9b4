import assert from "node:assert/strict";
import fc from "fast-check";
import { loadVectors } from "../../tests/vectors.ts";
import type { AgentEvent } from "./agent_log.ts";
import { LastWords, meshRemedy, takenAddress } from "./mesh_fault.ts";
import type { HostPort } from "./mesh_settings.ts";

interface Expected {
  readonly cause?: string;
  readonly remedy: string;
  readonly taken?: HostPort;
  readonly lines: number;
}

const wordsOf = (events: readonly Partial<AgentEvent>[]) => {
  const words = new LastWords();
  for (const event of events) words.push({ level: undefined, scope: undefined, message: "", ...event });
  return words;
};

for (const { id, why, input, expect } of loadVectors<readonly Partial<AgentEvent>[], Expected>("mesh_fault")) {
  Deno.test(`LastWords, meshRemedy() and takenAddress(), ${id}: ${why}`, () => {
    const { cause, lines } = wordsOf(input);
    assert.deepEqual([cause, lines.length], [expect.cause, expect.lines]);
    assert.equal(meshRemedy(cause), expect.remedy);
    assert.deepEqual(takenAddress(cause ?? ""), expect.taken);
  });
}

Deno.test("LastWords keeps the last twelve lines, level and part before the words, on one line each", () => {
  const words = wordsOf(Array.from({ length: 20 }, (_, index) => ({
    ...{ level: "info", scope: "ads" } as const,
    message: `line ${"abcdefghijklmnopqrst"[index]}\n  more`,
  })));
  assert.deepEqual([words.lines.length, words.lines[0], words.lines[11]], [
    12,
    "info ads line i more",
    "info ads line t more",
  ]);
});

Deno.test("LastWords loses no line to one that is said again and again", () => {
  const again = { level: "warn", message: "Envoy proxy is NOT ready: cert-chain.pem does not exist" } as const;
  const words = wordsOf([
    { level: "error", message: "failed to sign CSR: connection refused" },
    ...Array.from({ length: 50 }, () => again),
  ]);
  assert.deepEqual(words.lines, ["error failed to sign CSR: connection refused", `warn ${again.message}`]);
  assert.equal(words.cause, "failed to sign CSR: connection refused");
});

Deno.test("LastWords takes any lines: at most twelve are kept, no two of them alike, the newest last", () => {
  const event = fc.record({
    level: fc.constantFrom("debug", "info", "warn", "error", undefined),
    scope: fc.option(fc.string(), { nil: undefined }),
    message: fc.string(),
  });
  fc.assert(fc.property(fc.array(event, { minLength: 1, maxLength: 40 }), (events) => {
    const { lines } = wordsOf(events);
    assert.ok(lines.length <= 12);
    assert.equal(new Set(lines).size, lines.length);
    assert.ok(lines.every((line) => !/[\r\n]/.test(line)));
    const { message } = events.at(-1)!;
    assert.ok(lines.at(-1)!.endsWith(message.replaceAll(/\s+/g, " ").trim()));
  }));
});
