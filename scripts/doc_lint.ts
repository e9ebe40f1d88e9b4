/**
 * `deno doc --lint` of the library's public face, less what nobody here can mend: references to types of @kubernetes/client-node,
 * whose own documentation does not pass. Out: what is left; status 1 if there is any.
 *
 * @module
 */

/** A fault block begins with this word and ends before the next one. */
const FAULT = /^error\[/m;

/** The types of the package are called V1 and a name; krun has none so called. */
const FOREIGN = /^error\[private-type-ref\]: public type '[^']+' references private type 'V1[A-Z]\w+'/;

/** The faults of a `deno doc --lint` report that are the project's own, each a block of text. */
export function ownFaults(report: string): string[] {
  return report.split(/(?=^error\[)/m).filter((block) => FAULT.test(block) && !FOREIGN.test(block));
}

if (import.meta.main) {
  const { success, stdout, stderr } = await new Deno.Command(Deno.execPath(), {
    args: ["doc", "--lint", ...Deno.args],
    env: { NO_COLOR: "1" },
  })
    .output();
  const report = new TextDecoder().decode(stderr) + new TextDecoder().decode(stdout);
  const faults = ownFaults(report);
  console.log(faults.join(""));
  // A run that failed for another reason, such as a syntax error, has no block at all.
  const unexplained = !success && !FAULT.test(report);
  if (unexplained) console.log(report);
  Deno.exit(faults.length > 0 || unexplained ? 1 : 0);
}
