import assert from "node:assert/strict";
import fc from "fast-check";
import { agentLogLine, parseAgentLine } from "./agent_log.ts";

const quiet = { loud: false, phase: "running" } as const;

Deno.test("parseAgentLine() reads lines of agent and Envoy, and takes others as they are", () => {
  // As Istio 1.31 and Envoy 1.40 write them.
  const cases: [string, ReturnType<typeof parseAgentLine>][] = [
    [
      '{"level":"info","time":"2026-11-30T07:22:40Z","scope":"xdsproxy","msg":"connected to delta upstream XDS server","id":1}',
      {
        level: "info",
        message: "connected to delta upstream XDS server",
        scope: "xdsproxy",
        fields: { id: 1 },
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
    ["2026-11-30T10:52:40.555023Z\twarn\tOS CA Cert could not be found for agent", {
      level: "warn",
      message: "OS CA Cert could not be found for agent",
      scope: undefined,
    }],
    ["2026-11-30T10:52:40.555023Z\tinfo\txdsproxy\tconnected", {
      level: "info",
      message: "connected",
      scope: "xdsproxy",
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
  const seen = (line: string, loud: boolean) => agentLogLine(parseAgentLine(line), { loud, phase: "running" });
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
  assert.equal(agentLogLine(line, { loud: false, phase: "starting" }).level, "debug");
  assert.equal(agentLogLine(line, quiet).level, "warn");
});

Deno.test("agentLogLine() says nothing of what krun's end of the proxy makes it say, unless somebody wants to read all", () => {
  const line = { level: "error", message: "Envoy exited with error: signal: killed", scope: undefined } as const;
  assert.equal(agentLogLine(line, { loud: false, phase: "ending" }).level, "debug");
  assert.equal(agentLogLine(line, { loud: true, phase: "ending" }).level, "info");
  for (const phase of ["starting", "running"] as const) {
    assert.equal(agentLogLine(line, { loud: false, phase }).level, "error");
  }
  const access = parseAgentLine("GET / 200");
  assert.equal(
    agentLogLine(access, { loud: false, phase: "ending" }).level,
    "info",
    "an access log goes on to the end",
  );
});

Deno.test("agentLogLine() hands on what the words are about, and nobody but krun says whose they are", () => {
  const line = parseAgentLine(
    '{"level":"debug","time":"t","scope":"xdsproxy","msg":"delta request","type":"Cluster","con":1,"source":"x","more":{}}',
  );
  assert.deepEqual(agentLogLine(line, { ...quiet, loud: true }), {
    level: "info",
    event: "delta request",
    fields: { type: "Cluster", con: 1, source: "istio-proxy", scope: "xdsproxy" },
  });
});

Deno.test("parseAgentLine() leaves out the end of a line within the words", () => {
  assert.equal(
    parseAgentLine('{"level":"warn","msg":"rejected: already in use\\n"}').message,
    "rejected: already in use",
  );
});
