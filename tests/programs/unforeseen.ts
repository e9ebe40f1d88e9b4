/**
 * krun around which something goes wrong that nobody foresaw: a promise is rejected that nobody waits for. `$WHEN` is `running`:
 * once the file `up` exists below the working directory; `thrown`: then a callback throws; `over`: when krun is about to end; else
 * never.
 */
import { mainProgram } from "../../src/launch/main_program.ts";
import { ownUser } from "../../src/launch/own_user.ts";

const when = Deno.env.get("WHEN");
const say = (text: string) => Deno.stderr.writeSync(new TextEncoder().encode(`${text}\n`));
const isThere = (path: string) => Deno.lstat(path).then(() => true, () => false);

async function failOnceUp(): Promise<never> {
  while (!await isThere("up")) await new Promise((resolve) => setTimeout(resolve, 10));
  throw new RangeError("unforeseen");
}

if (when === "running") void failOnceUp();
if (when === "thrown") {
  failOnceUp().catch((error) =>
    setTimeout(() => {
      throw error;
    })
  );
}
const status = await mainProgram({
  args: Deno.args,
  env: Deno.env.toObject(),
  cwd: Deno.cwd(),
  pid: Deno.pid,
  self: ownUser(),
  writeError: say,
  writeOutput: say,
});
if (when === "over") {
  void Promise.reject(new RangeError("unforeseen"));
  // The runtime looks at what was rejected before it looks at its timers.
  await new Promise((resolve) => setTimeout(resolve, 50));
}
Deno.exit(status);
