import assert from "node:assert/strict";
import { SIGHUP, SIGINT, SIGTERM, SIGTSTP } from "../core/signals.ts";
import { Control } from "./control.ts";

function program() {
  const seen: string[] = [];
  return {
    seen,
    kill: (signal: number) => void seen.push(`kill ${signal}`),
    stop: () => (seen.push("stop"), Promise.resolve()),
    hurry: () => void seen.push("hurry"),
  };
}

Deno.test("Control.signal() begins a stop at SIGTERM and shortens it at the second SIGTERM or SIGINT", () => {
  for (const second of [SIGTERM, SIGINT]) {
    let nowMs = 0;
    const control = new Control({ suspend: () => {}, nowMs: () => nowMs });
    const target = program();
    control.attach(target);
    control.signal(SIGTERM);
    assert.ok(control.stop.aborted);
    control.signal(SIGTERM);
    assert.deepEqual(target.seen, ["stop"], "timeout(1) sends it twice at once");
    nowMs = 100;
    control.signal(second);
    assert.deepEqual(target.seen, ["stop", "hurry"]);
  }
});

Deno.test("Control.signal() passes everything else to the program, also during a stop", () => {
  const control = new Control({ suspend: () => {} });
  const target = program();
  control.attach(target);
  control.signal(SIGINT);
  control.signal(SIGHUP);
  assert.ok(!control.stop.aborted);
  control.signal(SIGTERM);
  control.signal(SIGHUP);
  assert.deepEqual(target.seen, [`kill ${SIGINT}`, `kill ${SIGHUP}`, "stop", `kill ${SIGHUP}`]);
});

Deno.test("Control.signal() ends a krun without a program at SIGTERM and SIGINT, and ignores SIGHUP", () => {
  for (const signal of [SIGTERM, SIGINT]) {
    const control = new Control({ suspend: () => {} });
    control.signal(SIGHUP);
    assert.ok(!control.stop.aborted);
    control.signal(signal);
    assert.ok(control.stop.aborted);
    assert.equal(control.by, signal);
  }
});

Deno.test("Control.signal() ends a krun without a program when its terminal goes, and no other", () => {
  for (const withProgram of [false, true]) {
    const control = new Control({ suspend: () => {} });
    if (withProgram) control.attach(program());
    control.signal(SIGHUP, "kernel");
    assert.equal(control.stop.aborted, !withProgram);
  }
});

Deno.test("Control.attach() stops a program that came after the stop was asked for", () => {
  const control = new Control({ suspend: () => {} });
  control.signal(SIGTERM);
  const target = program();
  control.attach(target);
  assert.deepEqual(target.seen, ["stop"]);
});

Deno.test("Control.signal() suspends krun at SIGTSTP while there is no program, and passes it on after", () => {
  let suspended = 0;
  const control = new Control({ suspend: () => void suspended++ });
  control.signal(SIGTSTP);
  assert.equal(suspended, 1);
  const target = program();
  control.attach(target);
  control.signal(SIGTSTP);
  assert.equal(suspended, 1);
  assert.deepEqual(target.seen, [`kill ${SIGTSTP}`]);
});
