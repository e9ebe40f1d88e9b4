/**
 * A krun that is killed in the moment after it has started its program, by itself: before it has written down which process
 * that is, or with `recorded` just after it.
 *
 * Arguments: base folder, `recorded` or `unrecorded`, the program and its arguments.
 */
import { Survivors } from "../../src/launch/survivors.ts";
import { openBase } from "../../src/pod/base_folder.ts";
import { Processes } from "../../src/pod/process.ts";
import { RecordingLog } from "../recording_log.ts";

const [base = "", moment, ...argv] = Deno.args as [string, string, string, ...string[]];
const log = new RecordingLog();
const survivors = new Survivors(openBase({ base, log, pid: Deno.pid }), log);
await survivors.stop(0);
const processes = new Processes({ log, run: survivors.run });
const [program, ...args] = argv as [string, ...string[]];
const env = { PATH: Deno.env.get("PATH") ?? "" };
// Without a container there is no mark: then nothing but the record can find it.
const container = moment === "unrecorded" ? { container: "app" } : {};
const { pid } = processes.start({ argv: [program, ...args], env, ...container });
if (moment === "recorded") survivors.started("app", pid);
Deno.kill(Deno.pid, "SIGKILL");
