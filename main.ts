/**
 * krun: runs a program outside Kubernetes as if it ran in a Pod. The only file that reads the process's arguments and
 * environment, and that ends the process.
 *
 * @module
 */

// The first use of TLS waits 30 ms for entropy (Deno 2.7.14 and later). This makes it wait on another thread, beside the
// start; nothing uses the key. docs/decisions.md has the measurement. So that it begins before the program is loaded, which
// takes as long, everything else is imported after it.
void crypto.subtle.generateKey({ name: "ECDSA", namedCurve: "P-256" }, true, ["sign"]);

const given = Deno.env.toObject();
const [{ catchSignals }, { ownNetwork }] = await Promise.all([
  import("./src/pod/signals.ts"),
  import("./src/launch/own_network.ts"),
]);
// Until here a signal ends krun. Before everything else, since loading the rest takes another 10 ms.
catchSignals();
// krun chooses CA and proxy of each server by kubectl's rules, and hands the variables on to the program from `given`. Half a
// second after its start, `deno run` asks for newer versions of itself, and from then on its list of CAs is what it was.
ownNetwork(Deno.env);

const [{ mainProgram }, { ownUser }, { writeLogLine }, { exactArgs, exactEnv }] = await Promise.all([
  import("./src/launch/main_program.ts"),
  import("./src/launch/own_user.ts"),
  import("./src/pod/log_output.ts"),
  import("./src/pod/start_texts.ts"),
]);

/** Writes all of a text, also to a pipe that takes it in parts. */
function writeAll(text: string): void {
  for (let rest = new TextEncoder().encode(text); rest.length > 0;) {
    try {
      rest = rest.subarray(Deno.stdout.writeSync(rest));
    } catch (cause) {
      // Somebody else made the pipe non-blocking, and its reader is slow.
      if (!(cause instanceof Deno.errors.WouldBlock)) throw cause;
    }
  }
}

const status = await mainProgram({
  get args() {
    return exactArgs(Deno.args);
  },
  env: exactEnv(given),
  cwd: Deno.cwd(),
  pid: Deno.pid,
  command: Deno.build.standalone ? [Deno.execPath()] : [Deno.execPath(), "run", "-qA", import.meta.filename!],
  self: ownUser(),
  writeError: writeLogLine,
  writeOutput: writeAll,
});
Deno.exit(status);
