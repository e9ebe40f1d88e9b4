import assert from "node:assert/strict";
import { type ContainerHealth, mayBeCalled } from "./pod_health.ts";

const probe = { tcpSocket: { port: 1 } };
const PLAIN = { name: "plain" };
const PROBED = [{ name: "app", readinessProbe: probe }, { name: "app", startupProbe: probe }];
const state = (name: string, more: Partial<ContainerHealth> = {}): ContainerHealth => ({
  ...{ name, pid: 7, ready: false, lastEnd: undefined },
  ...more,
});

Deno.test("mayBeCalled() waits for every container that has a startup or readiness probe", () => {
  for (const probed of PROBED) {
    assert.equal(mayBeCalled([probed], []), false, "it does not run yet");
    assert.equal(mayBeCalled([probed], [state("app")]), false);
    assert.equal(mayBeCalled([probed], [state("app", { ready: true })]), true);
    assert.equal(mayBeCalled([PLAIN, probed], [state("app", { ready: true })]), true);
    assert.equal(mayBeCalled([PLAIN, probed], [state("plain", { ready: true })]), false);
  }
});

Deno.test("mayBeCalled() counts a container without probes from the beginning, and no longer when it has ended", () => {
  const ended = { kind: "exited", code: 0 };
  assert.equal(mayBeCalled([PLAIN], []), true);
  assert.equal(mayBeCalled([PLAIN], [state("plain", { pid: undefined })]), true);
  assert.equal(mayBeCalled([PLAIN], [state("plain")]), true);
  assert.equal(mayBeCalled([PLAIN], [state("plain", { pid: undefined, lastEnd: ended })]), false);
  assert.equal(mayBeCalled([PLAIN], [state("plain", { lastEnd: ended })]), true, "it runs again");
});

Deno.test("mayBeCalled() is true for a Pod without containers, as a gateway is", () => {
  assert.equal(mayBeCalled([], []), true);
});
