/**
 * The terminal of a session. In: its size and modes. Out: what the program is to be started with, and krun's end. Source: pty(7),
 * ioctl_tty(2).
 *
 * It is opened while krun's thread is the session's user, and so is that user's: nobody else but root may open it, and krun needs
 * no right to give files away. Group `tty` and mode 0620, for write(1), are those of the mount of /dev/pts, where it has them.
 *
 * @module
 */
import { KrunError } from "../core/errors.ts";
import type { TerminalSize, TerminalSpec } from "../core/session_process.ts";
import { TERMIOS_BYTES, withTerminalModes } from "../core/terminal_modes.ts";
import { DescriptorInput, DescriptorOutput } from "./descriptor_stream.ts";
import {
  bytesOf,
  EACCES,
  EMFILE,
  ENFILE,
  ENOENT,
  EPERM,
  type Libc,
  O_CLOEXEC,
  O_NOCTTY,
  O_NONBLOCK,
  O_RDWR,
} from "./libc.ts";
import { type SessionDescriptors, shortage, SHORTAGE_HINT } from "./session_pipes.ts";

const TCGETS = 0x5401, TCSETS = 0x5402, TIOCSWINSZ = 0x5414;
const TIOCGPTN = 0x80045430, TIOCSPTLCK = 0x40045431, TIOCGPTPEER = 0x5441;

/** Of a /dev/ptmx without a /dev/pts; of a machine that has no terminal more. */
const ENODEV = 19, ENOSPC = 28;

/** A pseudo-terminal, open on krun's side. */
export interface PseudoTerminal extends SessionDescriptors {
  readonly terminal: { readonly path: string; resize(size: TerminalSize): void };
}

/**
 * Opens a terminal. `program` is for messages.
 *
 * @throws {KrunError} `Internal` when none can be had, saying why; what was opened before is closed again.
 */
export function openTerminal(libc: Libc, program: string, { modes, ...size }: TerminalSpec): PseudoTerminal {
  const fd = libc.open("/dev/ptmx", O_RDWR | O_NOCTTY | O_NONBLOCK);
  if (fd < 0) throw refused(program, { path: "/dev/ptmx", errno: -fd });
  const { path, slaveFd, openPath } = openSlave(libc, fd);
  if (slaveFd < 0) {
    libc.call("close", fd);
    throw refused(program, { path, errno: -slaveFd });
  }
  setModes(libc, fd, modes);
  setSize(libc, fd, size);
  const input = new DescriptorInput(libc, fd, { kind: "terminal" });
  const output = new DescriptorOutput(libc, fd, { kind: "terminal" });
  let isOpen = true;
  const close = () => {
    if (!isOpen) return;
    isOpen = false;
    input.close();
    output.close();
    libc.call("close", fd);
  };
  return {
    stdio: { terminal: openPath },
    input,
    output,
    terminal: { path, resize: (size) => void (isOpen && setSize(libc, fd, size)) },
    given: () => void libc.call("close", slaveFd),
    hangUp: close,
    close,
  };
}

/**
 * Opens the slave, which shows that the program will be able to, and keeps the terminal from ending before. The kernel's own way to
 * it (Linux 4.13) is the right one also where another file system lies at /dev/pts; gVisor has not got it.
 */
function openSlave(libc: Libc, fd: number): { path: string; slaveFd: number; openPath: string } {
  const number = new Int32Array(1);
  const errno = libc.attempt("ioctl", fd, TIOCSPTLCK, bytesOf(new Int32Array([0]))) ||
    libc.attempt("ioctl", fd, TIOCGPTN, bytesOf(number));
  if (errno !== 0) return { path: "/dev/ptmx", slaveFd: -errno, openPath: "" };
  const path = `/dev/pts/${number[0]}`;
  const peer = libc.call("ioctl", fd, TIOCGPTPEER, O_RDWR | O_NOCTTY | O_CLOEXEC);
  if (peer >= 0) return { path, slaveFd: peer, openPath: `/proc/self/fd/${peer}` };
  return { path, slaveFd: libc.open(path, O_RDWR | O_NOCTTY), openPath: path };
}

function setModes(libc: Libc, fd: number, modes: TerminalSpec["modes"]): void {
  const termios = new Uint8Array(TERMIOS_BYTES);
  if (libc.call("ioctl", fd, TCGETS, termios) === 0) libc.call("ioctl", fd, TCSETS, withTerminalModes(termios, modes));
}

function setSize(libc: Libc, fd: number, { rows, columns, widthPixels, heightPixels }: TerminalSize): void {
  const most = (size: number) => Math.min(size, 0xffff);
  const winsize = new Uint16Array([rows, columns, widthPixels, heightPixels].map(most));
  libc.call("ioctl", fd, TIOCSWINSZ, bytesOf(winsize));
}

function refused(program: string, { path, errno }: { path: string; errno: number }): KrunError {
  const message = (state: string) => `Cannot open a terminal for program "${program}": ${state}`;
  const mount = "mount devpts at /dev/pts and have /dev/ptmx, or ask for no terminal (ssh -T)";
  switch (errno) {
    case ENOENT:
      return new KrunError("Internal", message(`there is no ${path}`), mount);
    case ENODEV:
      return new KrunError("Internal", message("no devpts is mounted at /dev/pts"), mount);
    case EACCES:
    case EPERM:
      return new KrunError("Internal", message(`the session's user may not open ${path}`), `make ${path} mode 0666`);
    case ENOSPC:
      return new KrunError("Internal", message("the machine has none left (kernel.pty.max)"), "end other sessions");
    case EMFILE:
    case ENFILE:
      return new KrunError("Internal", message(shortage(errno)), SHORTAGE_HINT);
  }
  return new KrunError("Internal", message(`${path} is of no use (error number ${errno})`), mount);
}
