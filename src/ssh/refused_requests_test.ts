import assert from "node:assert/strict";
import { RecordingLog } from "../../tests/recording_log.ts";
import { RefusedRequests } from "./refused_requests.ts";

Deno.test("RefusedRequests tells once of each that its user would miss, and of no other", () => {
  const log = new RecordingLog();
  const refused = new RefusedRequests({ log, rights: { pty: true } });
  for (
    const type of ["x11-req", "auth-agent-req@openssh.com", "x11-req", "xon-xoff", "constructor", "__proto__", "break"]
  ) {
    refused.tell({ kind: "unknown", type });
  }
  assert.deepEqual(log.lines.map(({ fields }) => fields), [
    { request: "x11-req", reason: "krun forwards no X11" },
    { request: "auth-agent-req@openssh.com", reason: "krun forwards no agent" },
  ]);
});
