/**
 * Opens and closes one base again and again, as many processes do at once in tests/live/volume_files_test.ts. Ends with
 * status 1 when two are ever in it at the same time; prints how often it was in.
 *
 * Arguments: base folder, number of turns.
 */
import { join } from "node:path";
import { KrunError } from "../../src/core/errors.ts";
import { type BaseFolder, openBase } from "../../src/pod/base_folder.ts";
import { RecordingLog } from "../recording_log.ts";

const [folder, turns] = Deno.args as [string, string];
let entered = 0;
for (let turn = 0; turn < Number(turns); turn++) {
  const base = enter();
  if (base === undefined) continue;
  entered++;
  const inside = join(folder, "inside");
  Deno.writeTextFileSync(inside, "", { createNew: true }); // fails when somebody else is in
  Deno.removeSync(inside);
  base.close({ keep: false });
}
console.log(entered);

function enter(): BaseFolder | undefined {
  try {
    return openBase({ base: folder, log: new RecordingLog(), pid: Deno.pid });
  } catch (error) {
    if (error instanceof KrunError && error.code === "BaseLocked") return undefined;
    throw error;
  }
}
