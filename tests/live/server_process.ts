/**
 * The servers of the rig as processes: each on a free port, its output in a file, gone with the test that started it.
 *
 * @module
 */

/** A server that was started. */
export interface ServerProcess {
  readonly pid: number;
  /** Path of the file with all it has written. */
  readonly log: string;
  readonly ended: boolean;
  /** Sends a signal and waits for its end. */
  end(signal: Deno.Signal): Promise<void>;
}

/** Standard output and error of a program into the file `$0`: by the shell, so that no test sees a read that is not its own. */
const LOGGED = 'exec "$@" >>"$0" 2>&1';

/** Most of them are of Go, end soon, and have the machine's memory: collecting garbage was a quarter of their start. */
const RARE_COLLECTION = { GOGC: "400" };

/** Starts a server that dies with this process (a test that is killed leaves nothing behind); its output goes to `log`. */
export function startProcess(argv: readonly string[], log: string): ServerProcess {
  const args = ["--pdeathsig", "KILL", "--", "/bin/sh", "-c", LOGGED, log, ...argv];
  const streams = { stdin: "null", stdout: "null", stderr: "null" } as const;
  const child = new Deno.Command("setpriv", { args, env: RARE_COLLECTION, ...streams }).spawn();
  let ended = false;
  const status = child.status.then(() => ended = true);
  return {
    pid: child.pid,
    log,
    get ended() {
      return ended;
    },
    async end(signal) {
      if (!ended) {
        child.kill(signal);
        // One that was frozen hears SIGTERM only when it goes on.
        if (signal !== "SIGKILL") child.kill("SIGCONT");
      }
      await status;
    },
  };
}

async function tail(log: string): Promise<string> {
  return (await Deno.readTextFile(log)).split("\n").slice(-15).join("\n");
}

/** Waits for a server to answer, and no longer than it lives. */
export async function untilReady(server: ServerProcess, ready: () => Promise<boolean>): Promise<void> {
  const deadline = performance.now() + 120_000;
  while (!await ready().catch(() => false)) {
    if (server.ended) throw new Error(`a server of the rig ended early: ${await tail(server.log)}`);
    if (performance.now() > deadline) {
      throw new Error(`a server of the rig does not answer: ${await tail(server.log)}`);
    }
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
}

/** The one port of the range below that `fetch` refuses to ask (https://fetch.spec.whatwg.org/#port-blocking). */
const REFUSED_PORT = 10_080;

/**
 * A port that is free now, below the range from which the kernel takes ports for outgoing connections: a client that tries
 * to reach a stopped server on a port of that range can be given the very port as its own, and then talks to itself.
 */
export function freePort(): number {
  for (;;) {
    const port = 10_000 + Math.floor(Math.random() * 22_000);
    if (port === REFUSED_PORT) continue;
    try {
      Deno.listen({ hostname: "0.0.0.0", port }).close();
      return port;
    } catch (error) {
      if (!(error instanceof Deno.errors.AddrInUse)) throw error;
    }
  }
}
