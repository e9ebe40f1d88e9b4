// A krun that intercepts traffic and is killed with SIGKILL on the way. Arguments: the file for its note, options as JSON, and
// the point: `noted`, `restoring` (as soon as the file `flag` is there, while istio-iptables runs) or `applied`.
import { existsSync } from "node:fs";
import { silentLog } from "../../src/core/log.ts";
import { applyInterception } from "../../src/mesh/interception.ts";
import { claimName } from "../../src/core/interception_note.ts";
import { type RunCommand, runCommand } from "../../src/mesh/run_command.ts";
import { claimNetworkName } from "../../src/pod/claimed_name.ts";
import { newRunMark } from "../../src/pod/container_mark.ts";

const [noteFile = "", json = "{}", point] = Deno.args;
const { plan, agent, path, flag } = JSON.parse(json);
const die = () => Deno.kill(Deno.pid, "SIGKILL");

const run: RunCommand = async (argv, options) => {
  const running = runCommand(argv, options);
  if (point === "restoring" && argv[0] === agent) {
    while (!existsSync(flag)) await new Promise((resolve) => setTimeout(resolve, 1));
    die();
  }
  return await running;
};

await applyInterception(plan, {
  ...{ run, agent, path, log: silentLog, runMark: newRunMark() },
  endRun: () => Promise.resolve(),
  claim: (mark) => void claimNetworkName(claimName(mark)),
  proc: {
    list: (folder) => [...Deno.readDirSync(folder)].map((entry) => entry.name),
    readLink: (link) => Deno.readLinkSync(link),
    readText: (file) => Deno.readTextFileSync(file),
  },
  note(value) {
    Deno.writeTextFileSync(noteFile, JSON.stringify(value));
    if (point === "noted") die();
  },
});
die();
