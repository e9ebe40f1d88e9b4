/**
 * Sessions of the debug server without the server, and what a test looks at them with.
 *
 * @module
 */
import type { ProcessOutput, SessionProcess, SessionSpec, TerminalSpec } from "../src/core/session_process.ts";
import { loadLibc } from "../src/pod/libc.ts";
import { Processes } from "../src/pod/process.ts";
import { Sessions } from "../src/pod/session.ts";
import type { User } from "../src/pod/user.ts";
import "./load_libc.ts";
import { RecordingLog } from "./recording_log.ts";
import { waitFor } from "./wait.ts";

const libc = loadLibc();
const decoder = new TextDecoder();

/** A terminal of 80 columns as the kernel makes it. */
export const TERMINAL: TerminalSpec = { rows: 24, columns: 80, widthPixels: 0, heightPixels: 0, modes: new Map() };

/** What most programs of tests are started with. */
export const ENV = { PATH: "/usr/local/bin:/usr/bin:/bin", TERM: "dumb" };

/** Sessions of one user. Disposing it ends everything that is left of them. */
export class SessionRig implements AsyncDisposable {
  readonly log = new RecordingLog();
  readonly processes: Processes = new Processes({ log: this.log });
  readonly sessions: Sessions;

  constructor(user?: User) {
    this.sessions = new Sessions({ processes: this.processes, log: this.log, ...(user && { user }) });
  }

  /** Starts a program. */
  start(argv: SessionSpec["argv"], more: Partial<SessionSpec> = {}): SessionProcess {
    return this.sessions.start({ argv, env: ENV, cwd: "/", ...more });
  }

  /** Starts a script, with arguments from `$1` on. */
  sh(script: string, { args = [], ...more }: Partial<SessionSpec> & { args?: readonly string[] } = {}): SessionProcess {
    return this.start(["sh", "-c", script, "sh", ...args], more);
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.processes[Symbol.asyncDispose]();
  }
}

/** All that is read until the end. */
export async function textOf(output: ProcessOutput | undefined): Promise<string> {
  let text = "";
  for (let bytes; (bytes = await output?.read());) text += decoder.decode(bytes, { stream: true });
  return text;
}

/** Writes a text. */
export function type(process: SessionProcess, text: string): Promise<boolean> {
  return process.input.write(new TextEncoder().encode(text));
}

/** Reads until a pattern is there, and returns everything from the last call on. */
export async function sees(output: ProcessOutput, pattern: RegExp): Promise<string> {
  let text = "";
  while (!pattern.test(text)) {
    const bytes = await output.read();
    if (bytes === undefined) throw new Error(`the output ended without ${pattern}: ${JSON.stringify(text)}`);
    text += decoder.decode(bytes, { stream: true });
  }
  return text;
}

/** What this process has open: number → what it is. */
export function openDescriptors(): Map<string, string> {
  const entries = libc.procNames("/proc/self/fd").map((fd): [string, string | undefined] => [
    fd,
    libc.procLink(`/proc/self/fd/${fd}`),
  ]);
  // The folder itself, which is closed again.
  return new Map(entries.filter((entry): entry is [string, string] => entry[1] !== undefined));
}

/** Resolves when a process does nothing but wait, which a test can see of it. */
export async function isBlocked(pid: number, bytes: number): Promise<void> {
  await waitFor(`${pid} to wait with ${bytes} bytes written`, () => {
    const written = /^wchar: (\d+)$/m.exec(libc.procText(`/proc/${pid}/io`) ?? "")?.[1];
    return Number(written) >= bytes && / S /.test(libc.procText(`/proc/${pid}/stat`) ?? "");
  });
}
