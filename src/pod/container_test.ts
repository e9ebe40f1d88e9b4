import assert from "node:assert/strict";
import { RecordingLog } from "../../tests/recording_log.ts";
import { waitFor } from "../../tests/wait.ts";
import { systemClock } from "./clock.ts";
import { Container, type OwnContainer } from "./container.ts";
import { loadLibc } from "./libc.ts";
import { Processes } from "./process.ts";

// Once for the process: libc is never unloaded.
loadLibc();

const HOUR_MS = 3_600_000;

/** A sidecar of krun's own, whose first process is a shell. */
class Trial implements AsyncDisposable {
  readonly log = new RecordingLog();
  readonly processes = new Processes({ log: this.log });
  readonly hurry = new AbortController();
  /** Lines of its output, and what krun did with it. */
  readonly seen: string[] = [];
  readonly container: Container;
  #run: Promise<unknown> | undefined;

  constructor(script: string, own: Partial<OwnContainer> = {}) {
    const spec = {
      name: "proxy",
      command: ["/bin/sh", "-c", script],
      startupProbe: { exec: { command: ["/bin/false"] }, periodSeconds: 1 },
    };
    this.container = new Container(spec, {
      pod: { spec: { restartPolicy: "Always", containers: [] } },
      role: "sidecar",
      processes: this.processes,
      prepare: () => {},
      env: () => ({ PATH: "/usr/bin:/bin" }),
      runAs: { uid: Deno.uid()!, gid: Deno.gid()!, groups: [] },
      log: this.log,
      clock: systemClock,
      own: {
        onLine: (line) => void this.seen.push(line),
        untilStarted: () => Promise.resolve(),
        onStop: () => Promise.resolve(),
        end: () => Promise.resolve(),
        ...own,
      },
    });
  }

  start(): void {
    this.#run = this.container.run();
  }

  async stop(turn: Promise<unknown> = Promise.resolve()): Promise<void> {
    await this.container.stop({ graceMs: HOUR_MS, turn, hurry: this.hurry.signal });
    await this.#run;
  }

  async sees(line: string): Promise<void> {
    await waitFor(`"${line}"`, () => this.seen.includes(line));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.hurry.abort();
    await this.stop();
    await this.processes[Symbol.asyncDispose]();
  }
}

const UNTIL_TERM = "trap 'echo ends; exit 0' TERM; echo up; while :; do sleep 0.02; done";

Deno.test("Container of krun's own is signalled when its turn has come", async () => {
  await using trial = new Trial(UNTIL_TERM);
  trial.start();
  await trial.sees("up");
  const turn = Promise.withResolvers<void>();
  const stopped = trial.stop(turn.promise.then(() => void trial.seen.push("turn")));
  turn.resolve();
  await stopped;
  assert.deepEqual(trial.seen, ["up", "turn", "ends"]);
});

Deno.test("Container of krun's own may end in its own way, and is signalled when it does not", async (t) => {
  await t.step("it ends", async () => {
    let over: AbortSignal | undefined;
    await using trial = new Trial(`trap 'echo told; exit 0' USR1; ${UNTIL_TERM}`, {
      end: async (signal) => {
        over = signal;
        trial.container.kill(10);
        await systemClock.sleep(HOUR_MS, signal);
      },
    });
    trial.start();
    await trial.sees("up");
    await trial.stop();
    assert.deepEqual([trial.seen, over?.aborted], [["up", "told"], true]);
  });
  await t.step("it does not", async () => {
    await using trial = new Trial(UNTIL_TERM, { end: () => Promise.resolve() });
    trial.start();
    await trial.sees("up");
    await trial.stop();
    assert.deepEqual(trial.seen, ["up", "ends"]);
  });
  await t.step("there is no more time", async () => {
    await using trial = new Trial("trap '' TERM; echo up; while :; do sleep 0.02; done", {
      end: (signal) => {
        trial.hurry.abort();
        return systemClock.sleep(HOUR_MS, signal);
      },
    });
    trial.start();
    await trial.sees("up");
    await trial.stop();
    assert.deepEqual(trial.container.status().lastEnd, { kind: "signaled", signal: 9 });
  });
});

Deno.test("Container of krun's own alone is signalled, not what it has started; that ends with it", async () => {
  const child = `sh -c 'trap "echo child was signalled" TERM; echo child; while :; do sleep 0.02; done' & `;
  await using trial = new Trial(`${child} ${UNTIL_TERM}`);
  trial.start();
  await Promise.all([trial.sees("up"), trial.sees("child")]);
  await trial.stop();
  await trial.processes.stopAll({ graceMs: 0 });
  assert.deepEqual(trial.seen.toSorted(), ["child", "ends", "up"]);
});

Deno.test("Container of krun's own has started when it says so, not by its startup probe, and not when it ends before", async () => {
  let run: AbortSignal | undefined;
  await using trial = new Trial("echo up; read -r line", {
    // Its standard input is empty, so it ends at once.
    untilStarted: (over) => systemClock.sleep(HOUR_MS, run = over),
  });
  let isStarted = false;
  void trial.container.startedOnce.then(() => isStarted = true);
  trial.start();
  await waitFor("the end of the first run", () => run?.aborted);
  assert.deepEqual([isStarted, trial.container.status().started], [false, false]);
  await trial.stop();
});

Deno.test("Container of krun's own writes nothing to krun's standard output, and its input is empty", async () => {
  await using trial = new Trial(
    "readlink /proc/self/fd/0; readlink /proc/self/fd/1; readlink /proc/self/fd/2; exec sleep 1000",
  );
  trial.start();
  await waitFor("three lines", () => trial.seen.length === 3);
  const [input, output, error] = trial.seen;
  assert.equal(input, "/dev/null");
  assert.match(output!, /^pipe:/);
  assert.equal(error, output);
});
