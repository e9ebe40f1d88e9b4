/**
 * The folder below which krun makes everything. In: a path. Out: a lock, places for files, and a clean end.
 *
 * ```
 * <base>/.krun/lock         process id of the krun that works here
 * <base>/.krun/journal      what it made, written before it is made
 * <base>/.krun/volumes/     volumes that are mounted as one file or by subPath
 * /dev/shm/krun-<random>/   the bytes of Secrets and tokens, and whose they are
 * ```
 * A normal end removes all of it, a start after kill -9 what the killed run left. Two files may stay for the next start:
 * `<base>/.krun/cluster.json`, where Google Cloud's cluster was found, and `<base>/.krun/ssh_host_ed25519_key`.
 *
 * @module
 */
import { compacted, factsOf, type JournalEntry, type MadeEntry } from "../core/base_journal.ts";
import { CLUSTER_CACHE } from "../core/cluster_cache.ts";
import type { Logger } from "../core/log.ts";
import { STATE_FOLDER } from "../core/mount_path.ts";
import { basename, dirname } from "../core/posix_path.ts";
import { SSH_HOST_KEY } from "../core/ssh_secret_names.ts";
import { type Owned, ownedFolder, secretFolder, type VolumeOwnership } from "../core/volume_ownership.ts";
import { type ClaimKind, Claims } from "./claims.ts";
import { LOCK_NAME, lockBase, type LockedBase } from "./base_lock.ts";
import { explained } from "./file_fault.ts";
import { Folder } from "./folder.ts";
import { JournalFile } from "./journal_file.ts";
import { ERRNO, FileError, realPath } from "./libc_files.ts";
import { holdMemoryFolder, memoryFolderName, removeOrphans } from "./memory_folder.ts";
import type { PlaceBase } from "./place.ts";
import { sweepEntries } from "./sweep.ts";

/** Files of the state folder that a normal end leaves there. */
const KEPT_FILES = [CLUSTER_CACHE, SSH_HOST_KEY] as const;

/** Options of {@linkcode openBase}. */
export interface BaseOptions {
  /** Absolute path; made when absent. */
  readonly base: string;
  readonly log: Logger;
  /** krun's own process id, written into the lock. */
  readonly pid: number;
  /** A memory file system for Secrets and tokens. @default {"/dev/shm"} */
  readonly memoryFolder?: string;
}

/**
 * Takes the base folder for this process.
 *
 * What a killed run left is still there afterwards; {@linkcode BaseFolder.sweep} removes it. Needs `--allow-ffi` once: call
 * `loadLibc` before that is given up.
 *
 * @throws {KrunError} `BaseLocked`, `TargetUnwritable`, `TargetInUse`, `NoSpace`.
 */
export function openBase({ base, log, pid, memoryFolder = "/dev/shm" }: BaseOptions): BaseFolder {
  return explained(`use base folder "${base}"`, () => {
    using opened = new DisposableStack();
    const locked = opened.use(lockBase(base, pid));
    const journal = opened.use(new JournalFile(locked.state));
    for (const path of locked.made) journal.append({ made: "folder", path });
    return new BaseFolder({ locked, journal, log, memoryFolder, opened: opened.move() });
  });
}

/** What {@linkcode openBase} hands to a {@linkcode BaseFolder}. */
interface Opened {
  readonly locked: LockedBase;
  readonly journal: JournalFile;
  readonly log: Logger;
  readonly memoryFolder: string;
  readonly opened: DisposableStack;
}

/** Options of {@linkcode BaseFolder.memoryStore}. */
export interface MemoryStoreOptions {
  readonly ownership: VolumeOwnership;
  /** Mode and owner of the folder itself, inside the one that shuts others out. @default {0755} */
  readonly owned?: Owned;
}

const PLAIN_FOLDER = ownedFolder({ readers: [] });

/** The base folder of this process. All calls are synchronous; open it with {@linkcode openBase}. */
export class BaseFolder implements PlaceBase {
  /** Absolute, free of links. */
  readonly base: string;
  /** `<base>/.krun`, 0700; 0711 when a program of another user must pass through it. Removed at a normal end with all in it. */
  readonly stateFolder: string;
  /** Where events go. */
  readonly log: Logger;
  readonly #opened: Opened;
  readonly #claims = new Claims();
  readonly #made = new Set<string>();
  readonly #memory = new Map<string, string | undefined>();
  #former: readonly MadeEntry[];
  #isSwept = false;

  /** For {@linkcode openBase}. */
  constructor(opened: Opened) {
    this.#opened = opened;
    this.base = opened.locked.base;
    this.log = opened.log;
    this.stateFolder = opened.locked.state.path;
    this.#former = opened.journal.entries.filter(isMade).filter((entry) => !this.#holdsState(entry));
  }

  /** A fact that a former or this run recorded; `undefined` when there is none. */
  read(key: string): unknown {
    return factsOf(this.#opened.journal.entries).get(key);
  }

  /**
   * Keeps a small JSON fact in the journal for the next run, `undefined` takes it back. A normal end forgets it.
   *
   * @throws {KrunError} `NoSpace`, `TargetUnwritable`.
   */
  record(key: string, value: unknown): void {
    this.#append({ fact: key, value: value ?? null });
  }

  /**
   * Removes what a killed run left, and makes the journal as short as it can be. Idempotent, also when it was itself
   * interrupted. Call it when the program that survived that run is stopped: it reads these files. The first claim does it
   * when nobody did.
   *
   * @throws {KrunError} `NoSpace`, `TargetUnwritable`.
   */
  sweep(): void {
    if (this.#isSwept) return;
    const { journal, log } = this.#opened;
    const former = new Set<JournalEntry>(this.#former);
    const remaining = this.#removeAll(this.#former);
    if (former.size > 0) {
      log.debug("removed the files of a krun that was killed", { base: this.base, entries: former.size });
    }
    const kept = compacted([...remaining, ...journal.entries.filter((entry) => !former.has(entry))]);
    if (kept.length < journal.entries.length) this.#explained(() => journal.replace(kept));
    this.#former = [];
    this.#isSwept = true;
  }

  /**
   * What may wait until the program runs: removes the memory folders of this user whose base was deleted after a kill, which
   * nobody else can. Takes about a millisecond. Never throws for what cannot be removed.
   */
  tendMemory(): void {
    removeOrphans(this.#opened.memoryFolder, this.#opened.log);
  }

  /**
   * Writes a file of krun's own into the state folder, 0600 and whole or not at all, which a normal end leaves there for the next
   * start. Never throws: the next start has to do without.
   */
  keepFile(name: (typeof KEPT_FILES)[number], text: string): void {
    const { state } = this.#opened.locked;
    const next = `${name}.new`;
    try {
      if (state.stat(next) !== undefined) state.unlink(next);
      state.write(next, new TextEncoder().encode(text), { mode: 0o600, uid: undefined, gid: undefined });
      state.rename(next, name);
    } catch (error) {
      if (!(error instanceof FileError)) throw error;
      this.log.debug("a file for the next start cannot be written", { name, reason: error.message });
    }
  }

  /** Notes a thing that is about to be made, or what it has become. @throws {KrunError} `NoSpace`, `TargetUnwritable`. */
  note(entry: MadeEntry): void {
    this.#append(entry);
  }

  /** Takes a place for the mount that `setting` asks for. @throws as {@linkcode BaseFolder.checkFree} */
  claim(path: string, setting: string, kind: ClaimKind): void {
    this.#claims.claim(path, setting, kind);
  }

  /** Makes sure that a place is still free. @throws {KrunError} `TargetConflict` when another mount has it or is in its way. */
  checkFree(path: string, setting: string, kind: ClaimKind): void {
    this.#claims.checkFree(path, setting, kind);
  }

  /** Whether this run made a folder. */
  madeHere(path: string): boolean {
    return this.#made.has(path);
  }

  /** Never: places are looked for after {@linkcode BaseFolder.sweep}. */
  isLeftOver(): boolean {
    return false;
  }

  /** None: what is to be made is made at once. */
  unmadeIn(): readonly string[] {
    return [];
  }

  /**
   * Makes a folder whose parent exists, and notes it before.
   *
   * @returns its identity, for a further entry in the journal.
   * @throws {FileError}
   */
  makeFolder(path: string, owned = PLAIN_FOLDER): string {
    const name = basename(path);
    using parent = Folder.open(dirname(path));
    this.#append({ made: "folder", path });
    parent.makeFolder(name);
    this.#made.add(path);
    parent.own(name, owned);
    return parent.stat(name)!.identity;
  }

  /** Lets programs of other users pass through the state folder, not list it. @throws {FileError} */
  letThrough(): void {
    using parent = Folder.open(this.base);
    parent.own(STATE_FOLDER, { mode: 0o711, uid: undefined, gid: undefined });
  }

  /** A path below the state folder at which {@linkcode BaseFolder.makeFolder} can make a volume. @throws {FileError} */
  volumePath(name: string): string {
    this.sweep();
    const volumes = `${this.stateFolder}/volumes`;
    if (this.#opened.locked.state.stat("volumes") === undefined) this.makeFolder(volumes);
    using folder = Folder.open(volumes);
    return `${volumes}/${freeName(folder, name)}`;
  }

  /**
   * A folder in memory for one volume, made now and empty, that only its readers can enter: its path. `undefined` where there
   * is no memory file system that krun can write in.
   *
   * @throws {FileError}
   */
  memoryStore(name: string, { ownership, owned = PLAIN_FOLDER }: MemoryStoreOptions): string | undefined {
    const around = secretFolder(ownership);
    const key = JSON.stringify(around);
    if (!this.#memory.has(key)) this.#memory.set(key, this.#makeMemoryFolder(around));
    const top = this.#memory.get(key);
    if (top === undefined) return undefined;
    using folder = Folder.open(top);
    const free = freeName(folder, name);
    folder.makeFolder(free);
    folder.own(free, owned);
    return `${top}/${free}`;
  }

  /**
   * Removes everything that krun made here and gives the base free. With `keep` the files stay, and the next start in this
   * base removes them as if this run had been killed. Never throws for a thing that cannot be removed: it says so.
   */
  close({ keep }: { keep: boolean }): void {
    const { opened, journal, log } = this.#opened;
    using _held = opened;
    if (keep) return;
    const made = journal.entries.filter(isMade);
    const outer = made.filter((entry) => this.#holdsState(entry));
    const remaining = this.#removeAll(made.filter((entry) => !this.#holdsState(entry)));
    try {
      if (remaining.length > 0) journal.replace([...outer, ...remaining]);
      else this.#removeState(outer);
    } catch (error) {
      if (!(error instanceof FileError)) throw error;
      log.warn("krun's own folder stays behind", { path: this.stateFolder, reason: error.message });
    }
  }

  #append(entry: JournalEntry): void {
    this.#explained(() => this.#opened.journal.append(entry));
  }

  #explained<Result>(action: () => Result): Result {
    return explained(`note what krun makes below "${this.base}"`, action);
  }

  #removeAll(entries: readonly MadeEntry[]): readonly MadeEntry[] {
    const { log } = this.#opened;
    const { failed, occupied } = sweepEntries(entries);
    for (const { entry, reason } of failed) log.warn("cannot remove what krun made", { path: entry.path, reason });
    for (const path of occupied) log.debug("a folder that krun made stays: it is not empty", { path });
    return failed.map(({ entry }) => entry);
  }

  /** The base itself and folders around it, made for it: they cannot go before the state folder. */
  #holdsState({ path }: MadeEntry): boolean {
    return this.stateFolder.startsWith(`${path}/`);
  }

  /** The lock goes last: until then no other krun can begin here. */
  #removeState(outer: readonly MadeEntry[]): void {
    const { state } = this.#opened.locked;
    const kept: readonly string[] = KEPT_FILES;
    for (const name of state.list()) if (name !== LOCK_NAME && !kept.includes(name)) state.removeTree(name);
    const isEmpty = state.list().every((name) => name === LOCK_NAME);
    state.unlink(LOCK_NAME);
    using parent = Folder.open(this.base);
    if (isEmpty) parent.removeFolder(STATE_FOLDER);
    sweepEntries(outer);
  }

  #makeMemoryFolder(owned: Owned): string | undefined {
    const { memoryFolder, log, locked, opened } = this.#opened;
    const onDisk = (reason: string) => {
      log.warn("Secrets and tokens lie on disk: the memory file system cannot be used", { reason });
      return undefined;
    };
    const parent = realPath(memoryFolder);
    using folder = parent === undefined ? undefined : Folder.openIfThere(parent);
    if (parent === undefined || folder === undefined) return onDisk(`there is no ${memoryFolder}`);
    if (!folder.inMemory()) return onDisk(`${memoryFolder} is on a disk`);
    const path = `${parent}/${memoryFolderName()}`;
    try {
      const identity = this.makeFolder(path, owned);
      this.#append({ made: "tree", path, identity });
      // Before a Secret is in it: a kill after that may be the last that this base sees of krun.
      opened.use(holdMemoryFolder(path, locked.state));
      return path;
    } catch (error) {
      // Room can be made; what nobody expects on disk must not come there because of that.
      if (!(error instanceof FileError) || error.errno === ERRNO.ENOSPC || error.errno === ERRNO.EDQUOT) throw error;
      return onDisk(error.message);
    }
  }
}

/** A volume may be mounted several times: db, db-2, db-3. */
function freeName(folder: Folder, name: string): string {
  let free = name;
  for (let number = 2; folder.stat(free) !== undefined; number++) free = `${name}-${number}`;
  return free;
}

function isMade(entry: JournalEntry): entry is MadeEntry {
  return "made" in entry;
}
