import assert from "node:assert/strict";
import { waitFor } from "../../tests/wait.ts";
import { silentLog } from "../core/log.ts";
import { systemClock } from "./clock.ts";
import type { StopBeginning } from "./container.ts";
import { loadLibc } from "./libc.ts";
import { Processes } from "./process.ts";
import { Supervisor } from "./supervisor.ts";

/** A program that runs until it is told to end, with what krun does first at its stop. */
function programUntilTerm(
  options: { processes: Processes; onStop(stop: StopBeginning): Promise<void> },
) {
  const { processes, onStop } = options;
  const app = { name: "app", command: ["/bin/sh", "-c", "trap 'exit 7' TERM; while :; do sleep 0.02; done"] };
  return new Supervisor({
    pod: { spec: { restartPolicy: "Never", containers: [app] } },
    program: "app",
    processes,
    prepare: () => {},
    env: () => ({ PATH: "/usr/bin:/bin" }),
    runAs: () => ({ uid: Deno.uid()!, gid: Deno.gid()!, groups: [] }),
    onStop,
    log: silentLog,
    clock: systemClock,
  });
}

Deno.test("Supervisor.stop() tells no container before krun has done what it does first", async () => {
  loadLibc();
  await using processes = new Processes({ log: silentLog });
  const told = Promise.withResolvers<boolean>();
  const done = Promise.withResolvers<void>();
  const onStop = ({ othersRun }: StopBeginning) => (told.resolve(othersRun), done.promise);
  const supervisor = programUntilTerm({ processes, onStop });
  const status = supervisor.run();
  await waitFor("the program", () => supervisor.status()[0]?.pid);
  const stopped = supervisor.stop();
  assert.equal(await told.promise, true);
  assert.ok(supervisor.status()[0]?.pid, "it has not ended");
  done.resolve();
  await stopped;
  assert.equal(await status, 7);
});
