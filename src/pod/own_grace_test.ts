import assert from "node:assert/strict";
import type { V1Container } from "@kubernetes/client-node";
import { waitFor } from "../../tests/wait.ts";
import { silentLog } from "../core/log.ts";
import { systemClock } from "./clock.ts";
import { loadLibc } from "./libc.ts";
import { Processes } from "./process.ts";
import { Supervisor } from "./supervisor.ts";

loadLibc();

Deno.test("Supervisor.stop() kills what ignores SIGTERM so early that what krun made can be taken back within the grace period", async () => {
  const out = await Deno.makeTempFile();
  const stubborn = (name: string): V1Container => ({
    name,
    command: ["/bin/sh", "-c", "trap '' TERM; echo up >> $OUT; while :; do sleep 0.02; done"],
  });
  // Ten times as fast, so that it is known how long each kill was waited for.
  const waits: number[] = [];
  const sleep = (ms: number, signal: AbortSignal) => (waits.push(ms), systemClock.sleep(ms / 10, signal));
  const ownEnd = () => Promise.resolve();
  await using processes = new Processes({ log: silentLog });
  const supervisor = new Supervisor({
    pod: {
      spec: {
        terminationGracePeriodSeconds: 20,
        initContainers: [{ ...stubborn("proxy"), restartPolicy: "Always" }],
        containers: [stubborn("app")],
      },
    },
    program: "app",
    own: new Map([["proxy", { onLine() {}, untilStarted: ownEnd, onStop: ownEnd, end: ownEnd }]]),
    processes,
    prepare: () => {},
    env: () => ({ PATH: "/usr/bin:/bin", OUT: out }),
    runAs: () => ({ uid: Deno.uid()!, gid: Deno.gid()!, groups: [] }),
    log: silentLog,
    clock: { ...systemClock, sleep, elapsedMs: () => systemClock.elapsedMs() * 10 },
  });
  const status = supervisor.run();
  await waitFor("both", async () => (await Deno.readTextFile(out)) === "up\nup\n");
  await supervisor.stop();
  assert.equal(await status, 137);
  const [program = 0, proxy = 0] = waits.slice(-2);
  assert.ok(program <= 18_000 && program > 1_000, `${program} ms for the program`);
  assert.ok(proxy <= 500, `${proxy} ms for the proxy after it`);
  await Deno.remove(out);
});
