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
import type { ProcessOutput } from "../src/core/session_process.ts";
import { loadLibc } from "../src/pod/libc.ts";
import { execInPlace } from "../src/pod/one_shot.ts";
import { Processes } from "../src/pod/process.ts";
import type { ProgramSpec } from "../src/pod/program.ts";
import { Sessions } from "../src/pod/session.ts";
import { receiveSignals } from "../src/pod/signals.ts";

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    /** Give up the permission ffi first. */
    revoke: { type: "boolean", default: false },
    /** Replace the runner by the program. */
    once: { type: "boolean", default: false },
    /** Run it as the debug server's: with pipes, or with a terminal. Its input is at an end. */
    session: { type: "string" },
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
  loadLibc();
  if (values.revoke) Deno.permissions.revokeSync({ name: "ffi" });
  if (values.once) execInPlace(spec());
  let forward = (_signal: number) => {};
  await using _signals = receiveSignals((signal) => forward(signal));
  await using processes = new Processes({ log });
  if (values.session !== undefined) return await runSession(processes);
  const program = processes.start({ ...spec(), foreground: true });
  forward = (signal) => program.kill(signal);
  const end = await program.ended;
  say("program ended", end);
  await processes.stopAll({ graceMs: Number(values.grace) });
  return exitStatus(end);
}

/** Passes on what the program of a session shows, and tells how it ended. */
async function runSession(processes: Processes): Promise<number> {
  const { argv, env, cwd = "/", uid, gid = uid, groups = [] } = spec();
  const size = { rows: 30, columns: 90, widthPixels: 0, heightPixels: 0, modes: new Map() };
  const terminal = values.session === "terminal" ? size : undefined;
  const user = uid === undefined || gid === undefined ? {} : { user: { uid, gid, groups } };
  const program = new Sessions({ processes, log, ...user }).start({ argv, env, cwd, terminal });
  program.input.end();
  await Promise.all([pass(program.output, Deno.stdout), pass(program.error, Deno.stderr)]);
  const end = await program.ended;
  await program.hangUp({ graceMs: 0 });
  return exitStatus(end);
}

async function pass(output: ProcessOutput | undefined, to: { writeSync(bytes: Uint8Array): number }): Promise<void> {
  for (let bytes; (bytes = await output?.read());) {
    for (let rest = bytes; rest.length > 0;) rest = rest.subarray(to.writeSync(rest));
  }
}

function statusOf(error: unknown): number {
  if (!(error instanceof KrunError)) throw error;
  console.error(`krun: ${error.code}: ${error.message}; ${error.hint}`);
  return error.code === "ProgramNotFound" ? 127 : error.code === "ProgramNotExecutable" ? 126 : 125;
}

Deno.exit(await run().catch(statusOf));
