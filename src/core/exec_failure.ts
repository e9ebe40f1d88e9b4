/**
 * Why a program could not be executed, in words that are the answer. In: the errno of execve(2) and what was seen of the file.
 * Out: a {@linkcode KrunError}.
 *
 * 127 where the program, its interpreter or its loader does not exist, 126 for everything else, as a shell does (POSIX.1-2017,
 * Shell Command Language, 2.8.2).
 *
 * @module
 */
import { KrunError } from "./errors.ts";
import type { ProgramFile } from "./program_file.ts";

/** What was seen after the failure. What is not known is left out. */
export interface ExecFailure {
  /** The program as it was named. */
  readonly name: string;
  /** The file that was tried; absent when a look through PATH found none. */
  readonly path?: string | undefined;
  /** The PATH that was looked through. */
  readonly searched?: string | undefined;
  /** errno of execve(2). */
  readonly errno: number;
  readonly file?: ProgramFile | undefined;
  readonly isFolder?: boolean;
  /** Permission bits. */
  readonly mode?: number | undefined;
  /** Its file system is mounted with `noexec`. */
  readonly noexec?: boolean;
  /** What uname(1) calls this machine. */
  readonly machine: string;
}

/** State found, and what to do. */
type Answer = readonly [state: string, hint: string];

const ENOENT = 2, ENOTDIR = 20;

/** The error for a program that could not be executed: `ProgramNotFound` or `ProgramNotExecutable`. */
export function execFailure(failure: ExecFailure): KrunError {
  const missing = failure.errno === ENOENT || failure.errno === ENOTDIR;
  const [state, hint] = missing ? notFound(failure) : notExecutable(failure);
  const where = failure.path !== undefined && failure.path !== failure.name ? ` at "${failure.path}"` : "";
  const code = missing ? "ProgramNotFound" : "ProgramNotExecutable";
  const transient = failure.errno === 11 || failure.errno === 12;
  return new KrunError(code, `Cannot start program "${failure.name}"${where}: ${state}`, hint, { transient });
}

function notFound({ path, searched, errno, file }: ExecFailure): Answer {
  if (path === undefined) {
    return [`no such file in the folders of PATH, "${searched}"`, "correct its name or PATH, or give its path"];
  }
  if (errno === ENOTDIR) return ["a part of its path is not a folder", "correct the path"];
  if (file?.kind === "script") return missingInterpreter(file.interpreter);
  if (file?.kind === "elf" && file.loader !== undefined) {
    return [
      `it asks for the loader "${file.loader}", which does not exist`,
      "install the C library it was built for, or build it statically",
    ];
  }
  return ["no such file", "correct the path; a relative one begins at the working directory"];
}

function missingInterpreter(interpreter: string): Answer {
  if (interpreter.endsWith("\r")) {
    return [
      `the interpreter in its first line, "${interpreter.slice(0, -1)}", is followed by a carriage return`,
      "save it with Unix line ends",
    ];
  }
  return [
    `the interpreter in its first line, "${interpreter}", does not exist`,
    "install the interpreter or correct the first line",
  ];
}

function notExecutable(failure: ExecFailure): Answer {
  const { errno, file, machine } = failure;
  switch (errno) {
    case 1:
      return ["the kernel does not permit it", "look for a security module or a seccomp profile that forbids it"];
    case 7:
      return ["its arguments and environment are longer than the kernel allows", "mount large values as files"];
    case 8:
      return unknownFormat(file, machine);
    case 11:
    case 12:
      return ["there are too many processes, or too little memory", "raise the limit of processes or memory"];
    case 13:
      return denied(failure);
    case 26:
      return ["a process has it open for writing", "close the file before it is started"];
    case 36:
      return ["its path is too long", "give a path of at most 4095 bytes and 255 bytes a part"];
    case 40:
      return ["its path leads through too many symbolic links", "correct the links"];
    case 125:
      return ["it was stopped by a signal before it ran", "look for who signals the processes of its user"];
    default:
      return [`the kernel refuses with error number ${errno}`, "look the number up in errno(3)"];
  }
}

function denied({ path, file, isFolder, mode, noexec }: ExecFailure): Answer {
  if (isFolder) return ["it is a folder", "name the program inside it"];
  if (noexec) {
    return ["its file system is mounted with noexec", "move it to a file system that is mounted without noexec"];
  }
  if (mode !== undefined && (mode & 0o111) === 0) {
    return [`nobody may execute it, its mode is ${octal(mode)}`, `run chmod +x ${path}`];
  }
  if (file?.kind === "script") {
    return [
      `its user may not execute it or its interpreter "${file.interpreter}"`,
      "give that user the right to execute both, and to enter their folders",
    ];
  }
  const modeText = mode === undefined ? "" : `, its mode is ${octal(mode)}`;
  return [`its user may not execute it${modeText}`, "give that user the right to execute it, and to enter its folder"];
}

function unknownFormat(file: ProgramFile | undefined, machine: string): Answer {
  switch (file?.kind) {
    case "empty":
      return ["it is empty", "copy the program again"];
    case "text":
      return ["it is text without an interpreter line", "begin it with a line such as #!/bin/sh"];
    case "script":
      return [`its interpreter "${file.interpreter}" is not a program of this machine`, "correct the first line"];
    case "elf":
      return file.machine === machine
        ? ["it is damaged", "copy or build the program again"]
        : [`it is built for ${file.machine}, this machine is ${machine}`, `build it for ${machine}`];
    default:
      return ["it is not a program of this machine", "name a program or a script"];
  }
}

function octal(mode: number): string {
  return (mode & 0o7777).toString(8).padStart(4, "0");
}
