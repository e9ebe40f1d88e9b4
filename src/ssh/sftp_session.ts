/**
 * What SFTP's requests do. In: requests, one after the other. Out: their answers, and an audit line for what was done.
 *
 * @module
 */
import type { AccountNames } from "../core/account_names.ts";
import type { Clock } from "../core/clock.ts";
import type { LogFields } from "../core/log.ts";
import { longLine } from "../core/ls_lines.ts";
import {
  attributesAnswer,
  DATA_HEAD_BYTES,
  dataAnswer,
  fileSystemAnswer,
  handleAnswer,
  limitsAnswer,
  MAX_DATA_BYTES,
  nameAnswer,
  nameEntry,
  namesAnswer,
  statusAnswer,
} from "../core/sftp_answer.ts";
import type { SftpRequest, SftpRequestKind } from "../core/sftp_request.ts";
import {
  AT_END,
  badMessage,
  DONE,
  failure,
  NO_HANDLE,
  NOT_THERE,
  type SftpStatus,
  statusOfErrno,
} from "../core/sftp_status.ts";
import { FileFault, type UserFiles } from "../core/user_files.ts";
import { accessFields, changedFields, changeName, requestFields, type SftpEvent } from "./sftp_audit.ts";
import { type FileHandle, type FolderHandle, MAX_HANDLES, SftpHandles } from "./sftp_handles.ts";

type Bytes = Uint8Array<ArrayBuffer>;

/** What a session is given. */
export interface SftpOptions {
  readonly files: UserFiles;
  /** Where `~` is; absolute. */
  readonly home: string;
  /** The name of the session's user, where it has one. */
  readonly userName?: string | undefined;
  readonly accounts: AccountNames;
  readonly clock: Clock;
  /** Told of each file that is opened and closed, and of each change. */
  audit(event: SftpEvent): void;
}

/** What is under way meanwhile. */
export interface Turns {
  /** Aborts when nobody waits for the answer any more. */
  readonly broken: AbortSignal;
  /** To be told of the bytes carried; lets others have their turn now and then. */
  carried(bytes: number): Promise<void>;
}

/** A request that failed without a system call. */
class Refusal extends Error {
  readonly status: SftpStatus;

  constructor(status: SftpStatus) {
    super(status.words);
    this.status = status;
  }
}

type Handlers = { readonly [Kind in SftpRequestKind]: (request: SftpRequest<Kind>) => Bytes | Promise<Bytes> };

/** One channel's. */
export class SftpSession {
  readonly #options: SftpOptions;
  readonly #files: UserFiles;
  readonly #turns: Turns;
  readonly #handles = new SftpHandles((handle) => this.#closed(handle));
  /** Room for the next answer of bytes: a file that ends early takes little of it. */
  #room: Bytes = new Uint8Array(0);

  constructor(options: SftpOptions, turns: Turns) {
    this.#options = options;
    this.#files = options.files;
    this.#turns = turns;
  }

  /** The packet that answers a request. Rejects only for a mistake of krun's. */
  async answer(request: SftpRequest): Promise<Bytes> {
    try {
      const handler = this.#handlers[request.kind] as (request: SftpRequest) => Bytes | Promise<Bytes>;
      return await handler(request);
    } catch (error) {
      const status = statusOf(error);
      if (status !== AT_END) {
        this.#tell("debug", "sftp request refused", { ...requestFields(request), reason: status.words });
      }
      return statusAnswer(request.id, status);
    }
  }

  /** Closes what is open. */
  close(): void {
    this.#handles.closeAll();
  }

  readonly #handlers: Handlers = {
    open: (request) => this.#open(request),
    close: ({ id, handle }) => statusAnswer(id, this.#handles.close(handle) ? DONE : NO_HANDLE),
    read: (request) => this.#read(request),
    write: ({ id, handle, offset, bytes }) => {
      const open = this.#file(handle);
      open.file.write(bytes as Bytes, offset);
      open.writtenBytes += bytes.length;
      return statusAnswer(id, DONE);
    },
    stat: ({ id, path }) => attributesAnswer(id, this.#files.stat(path)),
    linkStat: ({ id, path }) => attributesAnswer(id, this.#files.linkStat(path)),
    handleStat: ({ id, handle }) => attributesAnswer(id, this.#file(handle).file.stat()),
    change: ({ path, change, ...request }) =>
      this.#changed(request, { path, ...changedFields(change) }, () => this.#files.change(path, change)),
    changeLink: ({ path, change, ...request }) =>
      this.#changed(request, { path, ...changedFields(change) }, () => this.#files.changeLink(path, change)),
    changeHandle: ({ handle, change, ...request }) => {
      const { file, path } = this.#file(handle);
      return this.#changed(request, { path, ...changedFields(change) }, () => file.change(change));
    },
    openFolder: (request) => this.#openFolder(request),
    list: (request) => this.#list(request),
    remove: ({ path, ...request }) => this.#changed(request, { path }, () => this.#files.remove(path)),
    makeFolder: ({ path, mode, ...request }) =>
      this.#changed(request, { path }, () => this.#files.makeFolder(path, mode)),
    removeFolder: ({ path, ...request }) => this.#changed(request, { path }, () => this.#files.removeFolder(path)),
    realPath: ({ id, path }) => named(id, this.#files.realPath(path === "" ? "." : path)),
    rename: ({ path, to, replace, ...request }) =>
      this.#changed(request, { path, to }, () => this.#files.rename(path, to, { replace })),
    readLink: ({ id, path }) => named(id, this.#files.readLink(path)),
    makeLink: ({ path, to, ...request }) => this.#changed(request, { path, to }, () => this.#files.makeLink(path, to)),
    makeHardLink: ({ path, to, ...request }) =>
      this.#changed(request, { path, to }, () => this.#files.makeHardLink(to, path)),
    fileSystem: ({ id, path }) => fileSystemAnswer(id, this.#files.fileSystem(path)),
    handleFileSystem: ({ id, handle }) => fileSystemAnswer(id, this.#file(handle).file.fileSystem()),
    sync: async ({ id, handle }) => {
      await this.#file(handle).file.sync();
      return statusAnswer(id, DONE);
    },
    limits: ({ id }) => limitsAnswer(id, { handles: MAX_HANDLES }),
    expandPath: ({ id, path }) => named(id, this.#files.realPath(this.#expanded(path))),
    home: ({ id, user }) => named(id, this.#home(user)),
    names: ({ id, uids, gids }) => {
      const { accounts } = this.#options;
      const users = uids.map((uid) => accounts.userName(uid) ?? "");
      return namesAnswer(id, { users, groups: gids.map((gid) => accounts.groupName(gid) ?? "") });
    },
    copy: (request) => this.#copy(request),
    unknown: ({ id }) => statusAnswer(id, NOT_THERE),
    malformed: ({ id, why }) => statusAnswer(id, badMessage(why)),
  };

  #open({ id, path, opening }: SftpRequest<"open">): Bytes {
    this.#requireRoom();
    const file = this.#files.open(path, opening);
    const writes = opening.write || opening.append || opening.truncate || opening.create;
    this.#tell(writes ? "info" : "debug", "sftp file opened", { path, ...accessFields(opening) });
    return handleAnswer(id, this.#handles.add({ kind: "file", path, file, readBytes: 0, writtenBytes: 0 }));
  }

  #openFolder({ id, path }: SftpRequest<"openFolder">): Bytes {
    this.#requireRoom();
    const folder = this.#files.openFolder(path);
    this.#tell("debug", "sftp directory opened", { path });
    return handleAnswer(id, this.#handles.add({ kind: "folder", path, folder }));
  }

  #read({ id, handle, offset, lengthBytes }: SftpRequest<"read">): Bytes {
    const open = this.#file(handle);
    const wantedBytes = Math.min(lengthBytes, MAX_DATA_BYTES);
    if (this.#room.length < DATA_HEAD_BYTES + wantedBytes) this.#room = new Uint8Array(DATA_HEAD_BYTES + wantedBytes);
    const packet = this.#room;
    const contentBytes = open.file.read(packet.subarray(DATA_HEAD_BYTES, DATA_HEAD_BYTES + wantedBytes), offset);
    if (contentBytes === 0) return statusAnswer(id, AT_END);
    open.readBytes += contentBytes;
    const answer = dataAnswer(id, packet, { contentBytes });
    // What fills its room leaves with it; what does not is copied, which is cheaper than new room.
    if (answer.length < packet.length / 4) return answer.slice();
    this.#room = new Uint8Array(0);
    return answer;
  }

  #list({ id, handle }: SftpRequest<"list">): Bytes {
    const context = { accounts: this.#options.accounts, nowSeconds: this.#options.clock.nowMs() / 1000 };
    const entries = this.#folder(handle).folder.entries();
    if (entries.length === 0) return statusAnswer(id, AT_END);
    return nameAnswer(
      id,
      entries.map(({ name, stat }) =>
        nameEntry(stat === undefined ? { name } : { name, stat, line: longLine({ name, stat }, context) })
      ),
    );
  }

  async #copy({ id, handle, offset, lengthBytes, toHandle, toOffset }: SftpRequest<"copy">): Promise<Bytes> {
    const [from, to] = [this.#file(handle), this.#file(toHandle)];
    if (from === to) throw new Refusal(failure("A file is not copied into itself"));
    // To the end that it has now: what is copied into itself by another name would never end.
    let leftBytes = lengthBytes || Math.max(0, from.file.stat().sizeBytes - offset);
    const buffer = new Uint8Array(Math.min(leftBytes, MAX_DATA_BYTES));
    for (let done = 0; leftBytes > 0 && !this.#turns.broken.aborted;) {
      const bytes = from.file.read(buffer.subarray(0, Math.min(leftBytes, buffer.length)), offset + done);
      if (bytes === 0) break;
      to.file.write(buffer.subarray(0, bytes), toOffset + done);
      from.readBytes += bytes;
      to.writtenBytes += bytes;
      done += bytes;
      leftBytes -= bytes;
      await this.#turns.carried(bytes);
    }
    return statusAnswer(id, DONE);
  }

  #changed(request: Pick<SftpRequest, "kind" | "id">, fields: LogFields, change: () => void): Bytes {
    change();
    this.#tell("info", changeName(request.kind), fields);
    return statusAnswer(request.id, DONE);
  }

  #closed({ path, readBytes, writtenBytes }: FileHandle): void {
    this.#tell(writtenBytes > 0 ? "info" : "debug", "sftp file closed", { path, readBytes, writtenBytes });
  }

  #tell(level: SftpEvent["level"], event: string, fields: LogFields): void {
    this.#options.audit({ level, event, fields });
  }

  #file(handle: number): FileHandle {
    const file = this.#handles.file(handle);
    if (file === undefined) throw new Refusal(NO_HANDLE);
    return file;
  }

  #folder(handle: number): FolderHandle {
    const folder = this.#handles.folder(handle);
    if (folder === undefined) throw new Refusal(NO_HANDLE);
    return folder;
  }

  #requireRoom(): void {
    if (!this.#handles.hasRoom) throw new Refusal(failure(`More than ${MAX_HANDLES} handles are open`));
  }

  #expanded(path: string): string {
    const [, user, rest = ""] = /^~([^/]*)(.*)$/s.exec(path) ?? [];
    return user === undefined ? path || "." : this.#home(user) + rest;
  }

  #home(user: string): string {
    const { home, userName, accounts } = this.#options;
    const found = user === "" || user === userName ? home : accounts.home(user);
    if (found === undefined) throw new Refusal(failure("No such user"));
    return found;
  }
}

function statusOf(error: unknown): SftpStatus {
  if (error instanceof Refusal) return error.status;
  if (error instanceof FileFault) return statusOfErrno(error.errno);
  throw error;
}

function named(id: number, name: string): Bytes {
  return nameAnswer(id, [nameEntry({ name })]);
}
