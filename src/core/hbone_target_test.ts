import fc from "fast-check";
import assert from "node:assert/strict";
import { loadVectors } from "../../tests/vectors.ts";
import { connectTarget, type ReachablePort, type TargetRefusal, tunnelTarget } from "./hbone_target.ts";

const WORKLOAD = {
  hosts: ["10.0.0.5", "fd00::5", "web.shop.svc"],
  ports: [8080, 9090],
  sshPort: 2222,
};

function outcome(target: ReachablePort | TargetRefusal | undefined): number | string {
  return target === undefined ? "program" : "port" in target ? target.port : target.status;
}

for (const { id, why, input, expect } of loadVectors<string, number>("connect_target")) {
  Deno.test(`connectTarget() ${id}: ${why}`, () => assert.equal(outcome(connectTarget(input, WORKLOAD)), expect));
}

interface TunnelInput {
  readonly path: string;
  readonly sshPort?: number;
}

for (const { id, why, input, expect } of loadVectors<TunnelInput, number | string>("tunnel_target")) {
  Deno.test(`tunnelTarget() ${id}: ${why}`, () => {
    assert.equal(outcome(tunnelTarget(input.path, input.sshPort)), expect);
  });
}

Deno.test("connectTarget() takes 22 for a port like any other where there is no ssh server", () => {
  const workload = { hosts: [], ports: [22] };
  assert.equal(outcome(connectTarget("localhost:22", workload)), 22);
  assert.equal(outcome(connectTarget("localhost:15022", workload)), 404);
});

const port = fc.integer({ min: 1, max: 65535 });
const host = fc.oneof(fc.domain(), fc.ipV4(), fc.ipV6().map((ip) => `[${ip}]`), fc.constant("localhost"));

Deno.test("connectTarget() never gives a port that is neither declared nor the ssh server's", () => {
  const authority = fc.oneof(fc.string(), fc.tuple(host, port).map(([h, p]) => `${h}:${p}`));
  fc.assert(fc.property(authority, (text) => {
    const target = connectTarget(text, WORKLOAD);
    if ("port" in target) assert.ok([...WORKLOAD.ports, WORKLOAD.sshPort].includes(target.port));
  }));
});

Deno.test("connectTarget() gives a declared port for every own host, and for no other", () => {
  fc.assert(fc.property(host, (name) => {
    const own = { ...WORKLOAD, hosts: [name.replace(/^\[|\]$/g, "")] };
    assert.equal(outcome(connectTarget(`${name}:8080`, own)), 8080);
    const isLoopback = name === "localhost" || /^127\.|^\[(0*:)*:?(0*:)*0*1\]$|^\[::ffff:127\./i.test(name);
    if (!isLoopback) assert.equal(outcome(connectTarget(`${name}:8080`, { ...WORKLOAD, hosts: [] })), 403);
  }));
});

Deno.test("tunnelTarget() never gives another port than the ssh server's", () => {
  fc.assert(
    fc.property(
      fc.oneof(
        fc.string(),
        fc.string().map((name) => `/_hbone/${name}`),
        port.map((p) => `/_hbone/${p}`),
      ),
      (path) => {
        const target = tunnelTarget(path, 2222);
        if (target && "port" in target) assert.equal(target.port, 2222);
        if (path.startsWith("/_hbone/")) assert.ok(target, "krun's own");
      },
    ),
  );
});
