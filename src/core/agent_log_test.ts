import assert from "node:assert/strict";
import fc from "fast-check";
import { agentLogLine, parseAgentLine } from "./agent_log.ts";

const quiet = { loud: false, starting: false };

Deno.test("parseAgentLine() reads lines of agent and Envoy, and takes others as they are", () => {
  // As Istio 1.31 and Envoy 1.40 write them.
  const cases: [string, ReturnType<typeof parseAgentLine>][] = [
    [
      '{"level":"info","time":"2026-11-30T07:22:40Z","scope":"xdsproxy","msg":"connected to delta upstream XDS server","id":1}',
      {
        level: "info",
        message: "connected to delta upstream XDS server",
        scope: "xdsproxy",
      },
    ],
    ['{"level":"warn","time":"t","msg":"no scope"}', { level: "warn", message: "no scope", scope: undefined }],
    ['{"level":"error","msg":"failed","error":"connection refused"}', {
      level: "error",
      message: "failed: connection refused",
      scope: undefined,
    }],
    [
      '{"time":"t","level":"warning","scope":"envoy main","msg":"caught ENVOY_SIGTERM","caller":"server.cc:1028","thread":"1"}',
      {
        level: "warn",
        message: "caught ENVOY_SIGTERM",
        scope: "envoy main",
      },
    ],
    ["2026/11/30 07:22:40 ERROR failed to set GOMEMLIMIT error=x", {
      level: "error",
      message: "failed to set GOMEMLIMIT error=x",
      scope: undefined,
    }],
    ['{"level":"critical","scope":"envoy main","msg":"m"}', { level: "error", message: "m", scope: "envoy main" }],
  ];
  for (const [line, expected] of cases) assert.deepEqual(parseAgentLine(line), expected);
  const others = [
    '[2026-11-30T07:22:40.000Z] "GET / HTTP/1.1" 200 - via_upstream',
    '{"start_time":"2026","method":"GET","level":7}',
    '{"level":"toString","msg":"x"}',
    '{"level":"info"}',
    "{",
    "",
  ];
  for (const line of others) {
    assert.deepEqual(parseAgentLine(line), { level: undefined, message: line, scope: undefined });
  }
});

Deno.test("parseAgentLine() never throws, whatever the line is", () => {
  fc.assert(fc.property(fc.oneof(fc.string(), fc.json()), (line) => void parseAgentLine(line)));
});

Deno.test("agentLogLine() shows warnings, errors and access logs, and the agent's own workings only if somebody asks", () => {
  const seen = (line: string, loud: boolean) => agentLogLine(parseAgentLine(line), { loud, starting: false });
  assert.deepEqual(seen('{"level":"info","msg":"m","scope":"dns"}', false), {
    level: "debug",
    event: "m",
    fields: { source: "istio-proxy", scope: "dns" },
  });
  assert.equal(seen('{"level":"debug","msg":"m"}', true).level, "info");
  assert.equal(seen('{"level":"warn","msg":"m"}', true).level, "warn");
  assert.equal(seen('{"level":"error","msg":"m"}', false).level, "error");
  assert.deepEqual(agentLogLine(parseAgentLine("GET / 200"), quiet), {
    level: "info",
    event: "GET / 200",
    fields: { source: "istio-proxy" },
  });
});

Deno.test("agentLogLine() does not warn that a proxy that starts is not ready yet, and warns of one that no longer is", () => {
  const line = parseAgentLine('{"level":"warn","msg":"Envoy proxy is NOT ready: config received from XDS server"}');
  assert.equal(agentLogLine(line, { loud: false, starting: true }).level, "debug");
  assert.equal(agentLogLine(line, quiet).level, "warn");
});

Deno.test("agentLogLine() says nothing of the SIGTERM that krun itself has sent to Envoy, unless somebody wants to read all", () => {
  const line = { level: "warn", message: "caught ENVOY_SIGTERM", scope: "envoy main" } as const;
  assert.equal(agentLogLine(line, { loud: false, starting: false }).level, "debug");
  assert.equal(agentLogLine(line, { loud: true, starting: false }).level, "info");
  assert.equal(agentLogLine({ ...line, message: "caught SIGSEGV" }, { loud: false, starting: false }).level, "warn");
});
