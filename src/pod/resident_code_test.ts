import assert from "node:assert/strict";
import { releaseCode } from "./resident_code.ts";

/** Kilobytes of files that this process has in memory. */
function residentFilesKb(): number {
  return Number(/^RssFile:\s+(\d+) kB/m.exec(Deno.readTextFileSync("/proc/self/status"))![1]);
}

Deno.test("releaseCode() makes what is resident smaller, and what is needed again comes back", () => {
  const before = residentFilesKb();
  releaseCode();
  const after = residentFilesKb();
  assert.ok(after < before - 8_000, `${before} kB, then ${after} kB`);
  assert.equal(new Intl.DateTimeFormat("en", { timeZone: "UTC" }).format(0), "1/1/1970");
});
