import assert from "node:assert/strict";
import { checkText } from "./check_report.ts";

Deno.test("checkText() says whose a token without an audience is", () => {
  const token = { serviceAccount: "web", audience: "", askedBy: "KRUN_POD", paths: ["/t"], claims: {} };
  const text = checkText({
    ok: true,
    starts: true,
    findings: [],
    objects: [],
    references: [],
    tokens: [token],
    problems: [],
    details: [],
    warnings: [],
  });
  assert.match(text, /aud the API server's own {2}\/t/);
});
