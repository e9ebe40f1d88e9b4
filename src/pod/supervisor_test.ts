import assert from "node:assert/strict";
import { join } from "node:path";
import type { V1Container, V1Pod } from "@kubernetes/client-node";
import { waitFor } from "../../tests/wait.ts";
import { KrunError } from "../core/errors.ts";
import type { Logger } from "../core/log.ts";
import { SIGHUP } from "../core/signals.ts";
import { systemClock } from "./clock.ts";
import type { OwnContainer, StopBeginning } from "./container.ts";
import { loadLibc } from "./libc.ts";
import { Processes } from "./process.ts";
import { Supervisor, type SupervisorOptions } from "./supervisor.ts";

const quiet: Logger = { error() {}, warn() {}, info() {}, debug() {} };

// Once for the process: libc is never unloaded.
loadLibc();

/** A container that runs a shell script, whose `$OUT` is the test's record. */
const shell = (name: string, script: string, more: Partial<V1Container> = {}): V1Container => ({
  name,
  command: ["/bin/sh", "-c", script],
  ...more,
});

/** A Pod's processes with a folder into which its scripts write. */
class Trial implements AsyncDisposable {
  readonly processes = new Processes({ log: quiet });
  readonly supervisor: Supervisor;

  private constructor(readonly folder: string, spec: V1Pod["spec"], more: Partial<SupervisorOptions>) {
    this.supervisor = new Supervisor({
      pod: { spec: { restartPolicy: "Never", terminationGracePeriodSeconds: 30, ...spec! } },
      processes: this.processes,
      prepare: () => {},
      env: () => ({ PATH: "/usr/bin:/bin", OUT: this.out }),
      runAs: () => ({ uid: Deno.uid()!, gid: Deno.gid()!, groups: [] }),
      log: quiet,
      clock: systemClock,
      ...more,
    });
  }

  static async create(spec: Partial<V1Pod["spec"] & object>, more: Partial<SupervisorOptions> = {}): Promise<Trial> {
    return new Trial(await Deno.makeTempDir(), { containers: [], ...spec }, more);
  }

  get out(): string {
    return join(this.folder, "out");
  }

  /** The lines that scripts wrote. */
  lines(): string[] {
    try {
      return Deno.readTextFileSync(this.out).trim().split("\n");
    } catch {
      return [];
    }
  }

  sees(line: string): Promise<unknown> {
    return waitFor(`"${line}"`, () => this.lines().includes(line));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.supervisor.hurry();
    await this.supervisor.stop();
    await this.processes[Symbol.asyncDispose]();
    await Deno.remove(this.folder, { recursive: true });
  }
}

/** Ignores nothing, ends at TERM, says so; the inner loop waits in short pieces, since a shell's trap waits for its child. */
const untilTerm = (name: string) =>
  `trap 'echo ${name} ends >> $OUT; exit 0' TERM; echo ${name} up >> $OUT; while :; do sleep 0.02; done`;

Deno.test("Supervisor.run() starts init containers one after the other, then sidecars, then the others", async () => {
  await using trial = await Trial.create({
    initContainers: [
      shell("one", "sleep 0.1; echo one >> $OUT"),
      shell("side", untilTerm("side"), {
        restartPolicy: "Always",
        startupProbe: { exec: { command: ["/bin/sh", "-c", "grep -q 'side up' $OUT"] }, periodSeconds: 1 },
      }),
      shell("two", "echo two >> $OUT"),
    ],
    containers: [shell("app", "echo app >> $OUT; exit 5")],
  });
  const status = await trial.supervisor.run();
  assert.equal(status, 5);
  assert.deepEqual(trial.lines(), ["one", "side up", "two", "app", "side ends"]);
});

Deno.test("Supervisor.run() ends with the status of an init container that fails, and starts nothing after it", async () => {
  await using trial = await Trial.create({
    initContainers: [shell("bad", "exit 9")],
    containers: [shell("app", "echo app >> $OUT")],
  });
  assert.equal(await trial.supervisor.run(), 9);
  assert.deepEqual(trial.lines(), []);
});

Deno.test("Supervisor.run() ends when the program ends, and stops the others", async () => {
  await using trial = await Trial.create({
    containers: [
      shell("app", "while ! grep -q 'other up' $OUT; do sleep 0.02; done; exit 3"),
      shell("other", untilTerm("other")),
    ],
  }, { program: "app" });
  assert.equal(await trial.supervisor.run(), 3);
  assert.deepEqual(trial.lines(), ["other up", "other ends"]);
});

Deno.test("Supervisor.run() without a program ends when all have ended, with the first status that is not 0", async () => {
  await using trial = await Trial.create({
    containers: [shell("a", "sleep 0.1"), shell("b", "exit 4"), shell("c", "exit 6")],
  });
  assert.equal(await trial.supervisor.run(), 4);
});

Deno.test("Supervisor.run() throws ProgramNotFound after stopping what ran", async () => {
  await using trial = await Trial.create({
    containers: [shell("up", untilTerm("up")), { name: "app", command: ["/nonexistent/program"] }],
  });
  await assert.rejects(trial.supervisor.run(), (e) => e instanceof KrunError && e.code === "ProgramNotFound");
  assert.equal(trial.supervisor.status().every(({ pid }) => pid === undefined), true);
});

Deno.test("Supervisor.stop() stops sidecars after the others, in reverse order", async () => {
  const sidecar = (name: string) => shell(name, untilTerm(name), { restartPolicy: "Always" });
  await using trial = await Trial.create({
    initContainers: [sidecar("first"), sidecar("second")],
    containers: [
      shell(
        "app",
        "trap 'sleep 0.2; echo app ends >> $OUT; exit 0' TERM; echo app up >> $OUT; while :; do sleep 0.02; done",
      ),
    ],
  });
  const run = trial.supervisor.run();
  for (const name of ["first", "second", "app"]) await trial.sees(`${name} up`);
  await trial.supervisor.stop();
  await run;
  assert.deepEqual(trial.lines().slice(3), ["app ends", "second ends", "first ends"]);
});

Deno.test("Supervisor.stop() runs preStop before SIGTERM", async () => {
  await using trial = await Trial.create({
    containers: [shell("app", untilTerm("app"), {
      lifecycle: { preStop: { exec: { command: ["/bin/sh", "-c", "sleep 0.1; echo hook >> $OUT"] } } },
    })],
  });
  const run = trial.supervisor.run();
  await trial.sees("app up");
  await trial.supervisor.stop();
  await run;
  assert.deepEqual(trial.lines(), ["app up", "hook", "app ends"]);
});

Deno.test("Supervisor.stop() kills what ignores SIGTERM when the grace is over, and at once when hurried", async () => {
  for (const hurried of [false, true]) {
    await using trial = await Trial.create({
      // The kubelet's least patience, 2 s, is what is left of a grace of 1 s.
      terminationGracePeriodSeconds: hurried ? 600 : 1,
      containers: [shell("app", "trap '' TERM; echo up >> $OUT; while :; do sleep 0.02; done")],
    });
    const run = trial.supervisor.run();
    await trial.sees("up");
    const stopped = trial.supervisor.stop();
    if (hurried) trial.supervisor.hurry();
    await stopped;
    assert.equal(await run, 137);
  }
});

Deno.test("Supervisor.restart() starts the program again whatever the policy, with a fresh environment", async () => {
  let generation = 1;
  await using trial = await Trial.create({
    containers: [shell("app", "echo run $GENERATION >> $OUT; exec sleep 1000")],
  }, {
    program: "app",
    env: () => ({ PATH: "/usr/bin:/bin", OUT: trial.out, GENERATION: String(generation) }),
  });
  const run = trial.supervisor.run();
  await trial.sees("run 1");
  generation = 2;
  await trial.supervisor.restart();
  await trial.sees("run 2");
  assert.equal(trial.supervisor.status()[0]?.restarts, 1);
  await trial.supervisor.stop();
  assert.equal(await run, 143);
});

Deno.test("Supervisor.kill() signals the program's whole process group", async () => {
  await using trial = await Trial.create({
    containers: [
      shell(
        "app",
        "sh -c 'trap \"echo child >> $OUT; exit 0\" HUP; echo up >> $OUT; while :; do sleep 0.02; done' & trap 'wait; echo parent >> $OUT; exit 0' HUP; while :; do sleep 0.02; done",
      ),
    ],
  }, { program: "app" });
  const run = trial.supervisor.run();
  await trial.sees("up");
  trial.supervisor.kill(SIGHUP);
  assert.equal(await run, 0);
  assert.deepEqual(trial.lines().toSorted(), ["child", "parent", "up"]);
});

Deno.test("Supervisor restarts by policy: OnFailure again after a failure, not after success", async () => {
  await using trial = await Trial.create({
    restartPolicy: "OnFailure",
    containers: [shell("app", "echo run >> $OUT; test $(wc -l < $OUT) -ge 2")],
  });
  assert.equal(await trial.supervisor.run(), 0);
  assert.deepEqual(trial.lines(), ["run", "run"]);
});

Deno.test("Supervisor kills a container whose liveness probe fails, and its policy decides what follows", async () => {
  await using trial = await Trial.create({
    containers: [shell("app", "echo up >> $OUT; exec sleep 1000", {
      livenessProbe: { exec: { command: ["/bin/false"] }, periodSeconds: 1, failureThreshold: 1 },
    })],
  });
  assert.equal(await trial.supervisor.run(), 143);
});

Deno.test("Supervisor.stop() runs preStop with the environment of the start, also when a new one cannot be made", async () => {
  let gone = false;
  await using trial = await Trial.create({
    containers: [shell("app", untilTerm("app"), {
      lifecycle: { preStop: { exec: { command: ["/bin/sh", "-c", "echo hook >> $OUT"] } } },
    })],
  }, {
    env: () => {
      if (gone) throw new KrunError("ObjectNotFound", "Cannot make variable", "create it");
      return { PATH: "/usr/bin:/bin", OUT: trial.out };
    },
  });
  const run = trial.supervisor.run();
  await trial.sees("app up");
  gone = true;
  await trial.supervisor.stop();
  assert.equal(await run, 0);
  assert.deepEqual(trial.lines(), ["app up", "hook", "app ends"]);
});

Deno.test("Supervisor.restart() leaves the program alone while its environment cannot be made", async () => {
  let gone = false;
  await using trial = await Trial.create({ containers: [shell("app", "echo run >> $OUT; exec sleep 1000")] }, {
    env: () => {
      if (gone) throw new KrunError("ObjectNotFound", "Cannot make variable", "create it");
      return { PATH: "/usr/bin:/bin", OUT: trial.out };
    },
  });
  const run = trial.supervisor.run();
  await trial.sees("run");
  const [before] = trial.supervisor.status();
  gone = true;
  await trial.supervisor.restart();
  assert.deepEqual(trial.supervisor.status()[0], before);
  await trial.supervisor.stop();
  assert.equal(await run, 143);
});

Deno.test("Supervisor tries a restart again that cannot be made for the moment, and says so", async () => {
  const said: string[] = [];
  let starts = 0;
  await using trial = await Trial.create({
    restartPolicy: "Always",
    containers: [shell("app", "echo run >> $OUT; exit 3")],
  }, {
    log: { ...quiet, error: (event) => void said.push(event) },
    // Time passes at once, so that the back-off does too.
    clock: { ...systemClock, sleep: (_ms, signal) => systemClock.sleep(1, signal) },
    env: () => {
      starts++;
      if (starts === 2) throw new KrunError("ObjectNotFound", "Cannot make variable", "create it");
      return { PATH: "/usr/bin:/bin", OUT: trial.out };
    },
  });
  const run = trial.supervisor.run();
  await waitFor("two runs", () => trial.lines().length >= 2);
  assert.deepEqual(said, ["container cannot be started again"]);
  await trial.supervisor.stop();
  await run;
});

Deno.test("Supervisor ends what is left of the process group before it starts the program again", async () => {
  await using trial = await Trial.create({
    containers: [shell("app", "(trap '' TERM; sleep 1000) & echo child $! >> $OUT; exec sleep 1000")],
  });
  const run = trial.supervisor.run();
  await waitFor("the child", () => trial.lines().length === 1);
  await trial.supervisor.restart();
  await waitFor("the second run", () => trial.lines().length === 2);
  const [, pid] = trial.lines()[0]!.split(" ");
  await waitFor("the first child to be gone", () => !/^State:\s+[^Z]/m.test(readStatus(pid!)));
  await trial.supervisor.stop();
  await run;
});

/** Leaves a daemon of no parent, session or environment that it could be told by; says `<name> <daemon's pid>`. */
const leavesDaemon = (name: string) =>
  `env -i setsid sh -c 'sh -c "$0" & echo ${name} $! >> '$OUT 'trap "" TERM HUP; while :; do sleep 0.05; done'`;

Deno.test("Supervisor ends a container's daemons with its first process, and leaves another container's alone", async (t) => {
  // Fails once, when it finds the file.
  const exec = { command: ["/bin/sh", "-c", "! rm $OUT.sick 2>/dev/null"] };
  const livenessProbe = { exec, failureThreshold: 1, periodSeconds: 1, terminationGracePeriodSeconds: 1 };
  const ways: Record<string, { end: string; restart?: true; more?: Partial<V1Container> }> = {
    "by its restart policy": { end: "sleep 0.05; exit 1" },
    "by Supervisor.restart()": { end: "exec sleep 1000", restart: true },
    "by a liveness probe that fails": { end: "echo > $OUT.sick; exec sleep 1000", more: { livenessProbe } },
  };
  for (const [way, { end, restart, more }] of Object.entries(ways)) {
    await t.step(way, async () => {
      const second = "test $(grep -c ^app $OUT) -gt 1 && exec sleep 1000";
      await using trial = await Trial.create({
        restartPolicy: "Always",
        containers: [
          shell("other", `${leavesDaemon("other")}; exec sleep 1000`),
          shell(
            "app",
            `until grep -sq other $OUT; do sleep 0.02; done; rm -f $OUT.sick; ${
              leavesDaemon("app")
            }; ${second}; ${end}`,
            more,
          ),
        ],
      }, restart && { program: "app" });
      const run = trial.supervisor.run();
      const daemons = (name: string) =>
        trial.lines().filter((line) => line.startsWith(name)).map((line) => line.split(" ")[1]!);
      const isAlive = (pid: string) => /^State:\s+[^ZX]/m.test(readStatus(pid));
      await waitFor("the first run", () => daemons("app").length >= 1);
      if (restart) await trial.supervisor.restart();
      await waitFor("the second run", () => daemons("app").length === 2);
      // Whether it was gone before the second run began is the rule; it is gone by now at the latest.
      const [first, later] = daemons("app");
      assert.ok(!isAlive(first!) && isAlive(later!));
      assert.deepEqual(daemons("other").map(isAlive), [true]);
      trial.supervisor.hurry();
      await trial.supervisor.stop();
      await run;
      assert.deepEqual([...daemons("app"), ...daemons("other")].filter(isAlive), []);
    });
  }
});

function readStatus(pid: string): string {
  try {
    return Deno.readTextFileSync(`/proc/${pid}/status`);
  } catch {
    return "";
  }
}

Deno.test("Supervisor.ready follows the readiness probe, and waits for the startup probe", async () => {
  await using trial = await Trial.create({
    containers: [shell("app", "exec sleep 1000", {
      startupProbe: { exec: { command: ["test", "-e", "/proc/self"] }, periodSeconds: 1 },
      readinessProbe: {
        exec: { command: ["/bin/sh", "-c", "grep -q ready $OUT"] },
        periodSeconds: 1,
        failureThreshold: 1,
      },
    })],
  });
  const run = trial.supervisor.run();
  await waitFor("the container to start", () => trial.supervisor.status()[0]?.started);
  assert.equal(trial.supervisor.ready, false);
  Deno.writeTextFileSync(trial.out, "ready\n");
  await waitFor("the container to be ready", () => trial.supervisor.ready);
  Deno.writeTextFileSync(trial.out, "");
  await waitFor("the container not to be ready", () => !trial.supervisor.ready);
  await trial.supervisor.stop();
  await run;
});

Deno.test("Supervisor.ready is true for a container without probes as long as it runs", async () => {
  await using trial = await Trial.create({ containers: [shell("app", "echo up >> $OUT; exec sleep 1000")] });
  assert.equal(trial.supervisor.ready, false);
  const run = trial.supervisor.run();
  await trial.sees("up");
  assert.equal(trial.supervisor.ready, true);
  await trial.supervisor.stop();
  await run;
  assert.equal(trial.supervisor.ready, false);
});

Deno.test("Supervisor kills a container whose postStart hook fails, and holds the next one until the hook ends", async () => {
  const hook = (script: string) => ({ postStart: { exec: { command: ["/bin/sh", "-c", script] } } });
  await using trial = await Trial.create({
    containers: [
      shell("a", untilTerm("a"), { lifecycle: hook("sleep 0.2; echo hook >> $OUT") }),
      shell("b", "echo b >> $OUT; exec sleep 1000", {
        lifecycle: hook("until grep -qx b $OUT; do sleep 0.02; done; exit 1"),
      }),
    ],
  }, { program: "b" });
  assert.equal(await trial.supervisor.run(), 143);
  assert.ok(trial.lines().indexOf("hook") < trial.lines().indexOf("b"));
});

Deno.test("Supervisor waits for a sidecar of krun's own in krun's way, hands its lines over, and starts it again", async () => {
  const lines: string[] = [];
  const ready = Promise.withResolvers<void>();
  const own = {
    onLine: (line: string) => void lines.push(line),
    untilStarted: () => ready.promise,
    onStop: ({ othersRun }: StopBeginning) => Promise.resolve(void lines.push(`stop with ${othersRun}`)),
    end: () => Promise.resolve(void lines.push(`end after ${trial.lines().at(-1)}`)),
  };
  await using trial = await Trial.create({
    initContainers: [
      shell("proxy", "echo proxy; while [ ! -e $OUT.die ]; do sleep 0.02; done; rm $OUT.die; exit 0", {
        restartPolicy: "Always",
        // Never asked: `own` says when it has started.
        startupProbe: { exec: { command: ["/bin/sh", "-c", "echo probed >> $OUT; exit 1"] }, periodSeconds: 1 },
      }),
    ],
    containers: [shell("app", untilTerm("app"))],
  }, { program: "app", own: new Map([["proxy", own]]) });
  const status = trial.supervisor.run();
  await waitFor("the proxy", () => lines.length === 1);
  assert.deepEqual([trial.lines(), trial.supervisor.status()[0]?.started], [[], false]);
  ready.resolve();
  await trial.sees("app up");
  assert.equal(trial.supervisor.status()[0]?.started, true);
  await Deno.writeTextFile(`${trial.out}.die`, "");
  await waitFor("the second start", () => lines.length === 2);
  await trial.supervisor.stop();
  assert.equal(await status, 0, "the proxy's end is nobody's status");
  assert.deepEqual([trial.lines(), lines], [["app up", "app ends"], [
    "proxy",
    "proxy",
    "stop with true",
    "end after app ends",
  ]]);
});

/** A program beside a sidecar of krun's own, which is told of the stop. */
async function besideOwn(
  script: string,
  onStop: OwnContainer["onStop"],
  clock = systemClock,
): Promise<Trial> {
  const own = { onLine() {}, untilStarted: () => Promise.resolve(), onStop, end: () => Promise.resolve() };
  return await Trial.create({
    initContainers: [shell("proxy", untilTerm("proxy"), { restartPolicy: "Always" })],
    containers: [shell("app", script)],
  }, { program: "app", own: new Map([["proxy", own]]), clock });
}

Deno.test("Supervisor.stop() tells no container before krun's own have done what they do first", async () => {
  const told = Promise.withResolvers<void>();
  const done = Promise.withResolvers<void>();
  await using trial = await besideOwn(untilTerm("app"), async ({ othersRun }) => {
    told.resolve();
    await done.promise;
    await Deno.writeTextFile(trial.out, `done with ${othersRun}\n`, { append: true });
  });
  const status = trial.supervisor.run();
  for (const name of ["proxy", "app"]) await trial.sees(`${name} up`);
  const stopped = trial.supervisor.stop();
  await told.promise;
  done.resolve();
  await stopped;
  assert.equal(await status, 0);
  assert.deepEqual(trial.lines().slice(2), ["done with true", "app ends", "proxy ends"]);
});

Deno.test("Supervisor.stop() does not wait for krun's own containers when there is no more time, or for long", async (t) => {
  for (const hurries of [true, false]) {
    await t.step(hurries ? "in a hurry" : "when they take too long", async () => {
      const told = Promise.withResolvers<void>();
      const script = hurries ? "trap '' TERM; echo app up >> $OUT; while :; do sleep 0.02; done" : untilTerm("app");
      await using trial = await besideOwn(script, async ({ over }) => {
        told.resolve();
        await systemClock.sleep(3_600_000, over);
      }, hurries ? systemClock : { ...systemClock, sleep: (ms, signal) => systemClock.sleep(ms / 100, signal) });
      const status = trial.supervisor.run();
      await trial.sees("app up");
      const stopped = trial.supervisor.stop();
      await told.promise;
      if (hurries) trial.supervisor.hurry();
      await stopped;
      assert.equal(await status, hurries ? 137 : 0);
    });
  }
});

Deno.test("Supervisor tells krun's own containers at the program's end that nobody else runs", async () => {
  const others: boolean[] = [];
  await using trial = await besideOwn("exit 3", ({ othersRun }) => Promise.resolve(void others.push(othersRun)));
  assert.equal(await trial.supervisor.run(), 3);
  assert.deepEqual(others, [false]);
});
