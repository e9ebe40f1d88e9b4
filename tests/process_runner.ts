/**
 * The smallest program around krun's processes: what `main.ts` does with them, without settings, cluster and files. Tests of
 * processes start it, since a signal, a terminal and PID 1 need a process of their own.
 *
 * `deno run tests/process_runner.ts [options] -- program args...`
 *
 * @module
 */
import { parseArgs } from "node:util";
import { exitStatus } from "../src/core/exit_status.ts";
import { KrunError } from "../src/core/errors.ts";
import type { Logger } from "../src/core/log.ts";
import { loadLibc } from "../src/pod/libc.ts";
import { execInPlace } from "../src/pod/one_shot.ts";
import { Processes } from "../src/pod/process.ts";
import type { ProgramSpec } from "../src/pod/program.ts";
import { receiveSignals } from "../src/pod/signals.ts";

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    /** Give up the permission ffi first. */
    revoke: { type: "boolean", default: false },
    /** Replace the runner by the program. */
    once: { type: "boolean", default: false },
    /** After the program's end: milliseconds until what is left is killed. */
    grace: { type: "string", default: "0" },
    uid: { type: "string" },
    gid: { type: "string" },
    groups: { type: "string" },
    cwd: { type: "string" },
  },
});

const log: Logger = { error: say, warn: say, info: say, debug: say };

function say(event: string, fields = {}): void {
  console.error(`runner: ${event} ${JSON.stringify(fields)}`);
}

function spec(): ProgramSpec {
  const [program = "", ...args] = positionals;
  const { uid, gid, groups, cwd } = values;
  return {
    argv: [program, ...args],
    env: Deno.env.toObject(),
    ...(uid === undefined ? {} : { uid: Number(uid) }),
    ...(gid === undefined ? {} : { gid: Number(gid) }),
    ...(groups === undefined ? {} : { groups: groups.split(",").filter((id) => id !== "").map(Number) }),
    ...(cwd === undefined ? {} : { cwd }),
  };
}

async function run(): Promise<number> {
  void loadLibc().spawn;
  if (values.revoke) Deno.permissions.revokeSync({ name: "ffi" });
  if (values.once) execInPlace(spec());
  let forward = (_signal: number) => {};
  await using _signals = receiveSignals((signal) => forward(signal));
  await using processes = new Processes({ log });
  const program = processes.start({ ...spec(), foreground: true });
  forward = (signal) => program.kill(signal);
  const end = await program.ended;
  say("program ended", end);
  await processes.stopAll({ graceMs: Number(values.grace) });
  return exitStatus(end);
}

function statusOf(error: unknown): number {
  if (!(error instanceof KrunError)) throw error;
  console.error(`krun: ${error.code}: ${error.message}; ${error.hint}`);
  return error.code === "ProgramNotFound" ? 127 : error.code === "ProgramNotExecutable" ? 126 : 125;
}

Deno.exit(await run().catch(statusOf));
