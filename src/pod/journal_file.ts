/**
 * The journal on disk, `<base>/.krun/journal`. In: entries. Out: lines that the next run reads.
 *
 * A line is in the kernel before the call returns, so kill -9 cannot lose it. It is not forced to the disk: after a power
 * failure or a crash of the kernel, what was made in the last seconds may stay behind.
 *
 * @module
 */
import { compacted, type JournalEntry, journalLine, parseJournal } from "../core/base_journal.ts";
import { dirname } from "../core/posix_path.ts";
import type { Folder } from "./folder.ts";
import { closeFile, FileError, openFileAt, readAll, truncateFile, writeAll } from "./libc_files.ts";

/** Name of the journal in the state folder. */
export const JOURNAL_NAME = "journal";
const NEXT_NAME = "journal.next";
const encoder = new TextEncoder();

/** A journal that grows beyond this, in bytes, is made shorter: a container that starts again and again adds lines for ever. */
const COMPACT_BYTES = 64 * 1024;

/** An open journal. Throws `FileError`. */
export class JournalFile implements Disposable {
  /** Everything in it, oldest first. */
  readonly entries: JournalEntry[];
  readonly #state: Folder;
  #fd: number;
  #bytes: number;
  #compactAbove = COMPACT_BYTES;

  /** Opens the journal of a state folder, which is krun's own and locked; makes an empty one when there is none. */
  constructor(state: Folder) {
    this.#state = state;
    this.#fd = this.#open(JOURNAL_NAME);
    const { entries, completeBytes } = parseJournal(readAll(this.#fd, this.#path), this.#base);
    this.entries = [...entries];
    this.#bytes = completeBytes;
    truncateFile(this.#fd, this.#path, completeBytes);
  }

  [Symbol.dispose](): void {
    closeFile(this.#fd);
  }

  /** Adds an entry; to be called before the thing is made. A line that does not fit on the disk leaves no trace. */
  append(entry: JournalEntry): void {
    const line = encoder.encode(journalLine(entry, this.#base));
    try {
      writeAll(this.#fd, line, this.#path);
    } catch (error) {
      truncateFile(this.#fd, this.#path, this.#bytes);
      throw error;
    }
    this.#bytes += line.length;
    this.entries.push(entry);
    if (this.#bytes > this.#compactAbove) this.#compact();
  }

  /** Puts other entries in the place of all; a kill leaves the old or the new ones, and so does a failure. */
  replace(entries: readonly JournalEntry[]): void {
    const lines = encoder.encode(entries.map((entry) => journalLine(entry, this.#base)).join(""));
    if (this.#state.stat(NEXT_NAME) !== undefined) this.#state.unlink(NEXT_NAME);
    const fd = this.#open(NEXT_NAME);
    try {
      writeAll(fd, lines, this.#path);
      this.#state.rename(NEXT_NAME, JOURNAL_NAME);
    } catch (error) {
      closeFile(fd);
      this.#state.unlink(NEXT_NAME);
      throw error;
    }
    closeFile(this.#fd);
    this.#fd = fd;
    this.#bytes = lines.length;
    this.entries.splice(0, Infinity, ...entries);
  }

  /** Not needed for anything but room: where there is none, the long journal serves on. */
  #compact(): void {
    try {
      this.replace(compacted(this.entries));
    } catch (error) {
      if (!(error instanceof FileError)) throw error;
    }
    this.#compactAbove = Math.max(COMPACT_BYTES, 2 * this.#bytes);
  }

  get #base(): string {
    return dirname(this.#state.path);
  }

  get #path(): string {
    return `${this.#state.path}/${JOURNAL_NAME}`;
  }

  #open(name: string): number {
    return openFileAt(this.#state.fd, `${this.#state.path}/${name}`, { name, mode: "append" });
  }
}
