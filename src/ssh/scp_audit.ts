/**
 * What the audit is told of files that go by scp's legacy protocol, and what its clients are told of failures. In: what was done. Out:
 * events, words.
 *
 * @module
 */
import type { LogFields } from "../core/log.ts";
import { statusOfErrno } from "../core/sftp_status.ts";
import { shownText } from "../core/shown_text.ts";
import { FileFault, type FileStat } from "../core/user_files.ts";
import type { ScpWire } from "./scp_wire.ts";
import type { SftpEvent } from "./sftp_audit.ts";

const S_IFMT = 0o170000, S_IFDIR = 0o040000, S_IFREG = 0o100000;

/** Whether it is a folder. */
export function isFolder({ mode }: FileStat): boolean {
  return (mode & S_IFMT) === S_IFDIR;
}

/** Whether it is a file, and no device. */
export function isFile({ mode }: FileStat): boolean {
  return (mode & S_IFMT) === S_IFREG;
}

/** Tells the audit, and the client. */
export class ScpTeller {
  readonly #wire: ScpWire;
  readonly #audit: (event: SftpEvent) => void;

  constructor(wire: ScpWire, audit: (event: SftpEvent) => void) {
    this.#wire = wire;
    this.#audit = audit;
  }

  /** What changes files is told at `info`, the rest at `debug`. */
  tell(level: SftpEvent["level"], event: string, fields: LogFields): void {
    this.#audit({ level, event, fields });
  }

  /** One file or folder is not carried: the client is told why. @throws {ScpOver} */
  async refuse(path: string, why: string): Promise<void> {
    this.tell("debug", "scp request refused", { path, reason: why });
    await this.#wire.send({ kind: "warning", text: words(path, why) });
  }

  /** Nothing more is carried. @throws {ScpOver} */
  async giveUp(path: string, why: string): Promise<void> {
    this.tell("debug", "scp request refused", { path, reason: why });
    await this.#wire.send({ kind: "fatal", text: words(path, why) });
  }
}

/** The end of a long path says more than its begin, and the client has not room for all. */
function words(path: string, why: string): string {
  return `scp: ${shownText(path.slice(-400))}: ${why}`;
}

/** What a call gives, or why the system refuses it. Rethrows a mistake of krun's. */
export function attempt<Result>(call: () => Result): { readonly value: Result } | { readonly fault: string } {
  try {
    return { value: call() };
  } catch (error) {
    if (!(error instanceof FileFault)) throw error;
    return { fault: statusOfErrno(error.errno).words };
  }
}
