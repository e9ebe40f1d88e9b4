/**
 * The descriptors that sessions have of krun's. In: whoever opens files and starts programs, and a budget. Out: the same, within the
 * budget; what was taken of it is given back with the end of what it was taken for, however that comes.
 *
 * @module
 */
import type { TakeShare } from "../core/shares.ts";
import { KrunError } from "../core/errors.ts";
import type { Logger } from "../core/log.ts";
import type { SessionProcess, SessionSpec, SessionStarter } from "../core/session_process.ts";
import {
  type FileChange,
  FileFault,
  type FileOpening,
  type FileStat,
  type FileSystemStat,
  type OpenFile,
  type OpenFolder,
  type UserFiles,
} from "../core/user_files.ts";

/** What krun has open for a program: its ends of three pipes; a terminal, and its other side until the program has it. */
const PIPES = 3, TERMINAL = 2;

const EMFILE = 24;

/** Files that count. Without a descriptor left nothing is opened: {@linkcode FileFault} of EMFILE. */
export function budgetedFiles(files: UserFiles, take: TakeShare): UserFiles {
  return new BudgetedFiles(files, take);
}

class BudgetedFiles implements UserFiles {
  readonly #files: UserFiles;
  readonly #take: TakeShare;

  constructor(files: UserFiles, take: TakeShare) {
    this.#files = files;
    this.#take = take;
  }

  open(path: string, opening: FileOpening): OpenFile {
    const { opened: file, close } = this.#opened(() => this.#files.open(path, opening));
    return {
      read: (into, offset) => file.read(into, offset),
      write: (bytes, offset) => file.write(bytes, offset),
      stat: () => file.stat(),
      change: (change) => file.change(change),
      fileSystem: () => file.fileSystem(),
      sync: () => file.sync(),
      close,
    };
  }

  openFolder(path: string): OpenFolder {
    const { opened: folder, close } = this.#opened(() => this.#files.openFolder(path));
    return { entries: () => folder.entries(), close };
  }

  stat(path: string): FileStat {
    return this.#files.stat(path);
  }

  linkStat(path: string): FileStat {
    return this.#files.linkStat(path);
  }

  change(path: string, change: FileChange): void {
    this.#files.change(path, change);
  }

  changeLink(path: string, change: FileChange): void {
    this.#files.changeLink(path, change);
  }

  makeFolder(path: string, mode: number): void {
    this.#files.makeFolder(path, mode);
  }

  removeFolder(path: string): void {
    this.#files.removeFolder(path);
  }

  remove(path: string): void {
    this.#files.remove(path);
  }

  rename(from: string, to: string, options?: { readonly replace?: boolean }): void {
    this.#files.rename(from, to, options);
  }

  makeLink(path: string, target: string): void {
    this.#files.makeLink(path, target);
  }

  makeHardLink(path: string, existing: string): void {
    this.#files.makeHardLink(path, existing);
  }

  readLink(path: string): string {
    return this.#files.readLink(path);
  }

  realPath(path: string): string {
    return this.#files.realPath(path);
  }

  fileSystem(path: string): FileSystemStat {
    return this.#files.fileSystem(path);
  }

  #opened<Opened extends { close(): void }>(open: () => Opened): { opened: Opened; close: () => void } {
    const descriptors = takeDescriptors(this.#take, 1);
    if (!descriptors) throw new FileFault(EMFILE);
    using taken = descriptors;
    const opened = open();
    const kept = taken.move();
    const close = () => {
      opened.close();
      kept.dispose();
    };
    return { opened, close };
  }
}

/** Programs that count: `Internal` of a {@linkcode KrunError}, and a line in the log, without as many descriptors left as one needs. */
export function budgetedStarter(
  starter: SessionStarter,
  { take, log }: { readonly take: TakeShare; readonly log: Logger },
): SessionStarter {
  return {
    start: (spec) => {
      const descriptors = takeDescriptors(take, spec.terminal ? TERMINAL : PIPES);
      if (!descriptors) throw refused(spec, log);
      using taken = descriptors;
      const program = starter.start(spec);
      return counted(program, taken.move());
    },
  };
}

function refused({ argv: [program] }: SessionSpec, log: Logger): KrunError {
  const reason = "too many files are open";
  log.warn("ssh session's program refused", { program, reason });
  const hint = "end other sessions, transfers or forwards, or raise the limit of open files with which krun is started";
  return new KrunError("Internal", `Cannot start program "${program}": ${reason}`, hint);
}

function counted(program: SessionProcess, taken: DisposableStack): SessionProcess {
  const { pid, terminalPath, input, output, error, ended } = program;
  return {
    ...{ pid, input, output, ended },
    ...terminalPath !== undefined && { terminalPath },
    ...error && { error },
    kill: (signal) => program.kill(signal),
    resize: (size) => program.resize(size),
    hangUp: async (options) => {
      await program.hangUp(options);
      taken.dispose();
    },
    close: () => {
      program.close();
      taken.dispose();
    },
  };
}

/** All of them, or none. */
function takeDescriptors(take: TakeShare, count: number): DisposableStack | undefined {
  using taken = new DisposableStack();
  for (let had = 0; had < count; had++) {
    const one = take();
    if (!one) return undefined;
    taken.use(one);
  }
  return taken.move();
}
