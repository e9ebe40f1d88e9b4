/**
 * What the log says of a session of SFTP. In: requests. Out: names of events, and fields.
 *
 * @module
 */
import type { LogFields } from "../core/log.ts";
import type { SftpRequest, SftpRequestKind } from "../core/sftp_request.ts";
import type { FileChange, FileOpening } from "../core/user_files.ts";

/** One line of the audit: `info` for what changes files, `debug` for the rest and for what was refused. */
export interface SftpEvent {
  readonly level: "info" | "debug";
  readonly event: string;
  readonly fields: LogFields;
}

const CHANGES: Partial<Record<SftpRequestKind, string>> = {
  remove: "sftp file removed",
  makeFolder: "sftp directory made",
  removeFolder: "sftp directory removed",
  rename: "sftp file renamed",
  makeLink: "sftp link made",
  makeHardLink: "sftp hard link made",
};

/** What a change is called. */
export function changeName(kind: SftpRequestKind): string {
  return CHANGES[kind] ?? "sftp attributes changed";
}

/** For what a file was opened. */
export function accessFields({ read, write, append, truncate }: FileOpening): LogFields {
  const writes = write || append || truncate || false;
  return { access: read && writes ? "read and write" : writes ? "write" : "read" };
}

/** What of a request is worth a line. */
export function requestFields(request: SftpRequest): LogFields {
  const { kind, path, to, why } = request as { kind: string; path?: string; to?: string; why?: string };
  return { request: kind, path, to, why };
}

/** What of a change is worth a line. */
export function changedFields({ sizeBytes, owner, mode }: FileChange): LogFields {
  return {
    sizeBytes,
    mode: mode === undefined ? undefined : `0${mode.toString(8)}`,
    owner: owner && `${owner.uid}:${owner.gid}`,
  };
}
