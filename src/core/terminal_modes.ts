/**
 * The modes of a user's terminal, for the one that the program gets. In: the kernel's `struct termios` and the modes that a client
 * sends. Out: the `struct termios` with them. Pure.
 *
 * Rules: RFC 4254, section 8, and RFC 8160 for UTF-8; the numbers of Linux are those of asm-generic/termbits.h, which x86_64 and
 * aarch64 share. A mode that Linux has not (VDSUSP, VFLUSH, VSTATUS), or that nobody knows, is passed over, as section 8 asks.
 *
 * @module
 */

/** Length of the kernel's `struct termios` (TCGETS; glibc's own is longer): four flag words, the line discipline, 19 characters. */
export const TERMIOS_BYTES = 36;

/** Where the flag words and the characters begin. */
const IFLAG = 0, OFLAG = 4, CFLAG = 8, LFLAG = 12, CHARACTERS = 17;

/** Opcode → index of the character. */
const CHARACTER_OF: Readonly<Record<number, number>> = {
  1: 0, // VINTR
  2: 1, // VQUIT
  3: 2, // VERASE
  4: 3, // VKILL
  5: 4, // VEOF
  6: 11, // VEOL
  7: 16, // VEOL2
  8: 8, // VSTART
  9: 9, // VSTOP
  10: 10, // VSUSP
  12: 12, // VREPRINT
  13: 14, // VWERASE
  14: 15, // VLNEXT
  16: 7, // VSWTCH
  18: 13, // VDISCARD
};

/** "This character does nothing": as a mode, and in Linux (_POSIX_VDISABLE). */
const DISABLED_ARGUMENT = 255, DISABLED = 0;

/** Opcode → flag word and bit. */
const FLAG_OF: Readonly<Record<number, readonly [word: number, bit: number]>> = {
  30: [IFLAG, 0o4], // IGNPAR
  31: [IFLAG, 0o10], // PARMRK
  32: [IFLAG, 0o20], // INPCK
  33: [IFLAG, 0o40], // ISTRIP
  34: [IFLAG, 0o100], // INLCR
  35: [IFLAG, 0o200], // IGNCR
  36: [IFLAG, 0o400], // ICRNL
  37: [IFLAG, 0o1000], // IUCLC
  38: [IFLAG, 0o2000], // IXON
  39: [IFLAG, 0o4000], // IXANY
  40: [IFLAG, 0o10000], // IXOFF
  41: [IFLAG, 0o20000], // IMAXBEL
  42: [IFLAG, 0o40000], // IUTF8
  50: [LFLAG, 0o1], // ISIG
  51: [LFLAG, 0o2], // ICANON
  52: [LFLAG, 0o4], // XCASE
  53: [LFLAG, 0o10], // ECHO
  54: [LFLAG, 0o20], // ECHOE
  55: [LFLAG, 0o40], // ECHOK
  56: [LFLAG, 0o100], // ECHONL
  57: [LFLAG, 0o200], // NOFLSH
  58: [LFLAG, 0o400], // TOSTOP
  59: [LFLAG, 0o100000], // IEXTEN
  60: [LFLAG, 0o1000], // ECHOCTL
  61: [LFLAG, 0o4000], // ECHOKE
  62: [LFLAG, 0o40000], // PENDIN
  70: [OFLAG, 0o1], // OPOST
  71: [OFLAG, 0o2], // OLCUC
  72: [OFLAG, 0o4], // ONLCR
  73: [OFLAG, 0o10], // OCRNL
  74: [OFLAG, 0o20], // ONOCR
  75: [OFLAG, 0o40], // ONLRET
  92: [CFLAG, 0o400], // PARENB
  93: [CFLAG, 0o1000], // PARODD
};

const CS7_OPCODE = 90, CS8_OPCODE = 91, CSIZE = 0o60, CS7 = 0o40, CS8 = 0o60;

const ISPEED_OPCODE = 128, OSPEED_OPCODE = 129;

/** CBAUD holds the speed of output; the same bits 16 places higher that of input, where it is another one. */
const CBAUD = 0o10017, INPUT_SHIFT = 16;

/** The speeds whose codes are 1 to 15, and 0o10001 to 0o10017. Code 0 would hang the line up. */
const SLOW = [50, 75, 110, 134, 150, 200, 300, 600, 1200, 1800, 2400, 4800, 9600, 19_200, 38_400];
const FAST = [57_600, 115_200, 230_400, 460_800, 500_000, 576_000, 921_600, 1_000_000, 1_152_000, 1_500_000].concat(
  [2_000_000, 2_500_000, 3_000_000, 3_500_000, 4_000_000],
);

/**
 * A terminal's `struct termios` with the modes of a client, opcode → argument. What the client does not name stays as it is. The
 * bytes given are not changed.
 */
export function withTerminalModes(termios: Uint8Array, modes: ReadonlyMap<number, number>): Uint8Array<ArrayBuffer> {
  const bytes = Uint8Array.from(termios);
  const view = new DataView(bytes.buffer);
  const set = (word: number, { mask, bits }: { mask: number; bits: number }) =>
    view.setUint32(word, view.getUint32(word, true) & ~mask | bits, true);
  for (const [opcode, argument] of modes) {
    const character = CHARACTER_OF[opcode];
    const flag = FLAG_OF[opcode];
    if (flag) set(flag[0], { mask: flag[1], bits: argument === 0 ? 0 : flag[1] });
    else if (character !== undefined && argument <= DISABLED_ARGUMENT) {
      bytes[CHARACTERS + character] = argument === DISABLED_ARGUMENT ? DISABLED : argument;
    }
  }
  // Two flags of which one is true, and no other size is to be had.
  const size = isTrue(modes, CS8_OPCODE) ? CS8 : isTrue(modes, CS7_OPCODE) ? CS7 : undefined;
  if (size !== undefined) set(CFLAG, { mask: CSIZE, bits: size });
  set(CFLAG, speeds(view.getUint32(CFLAG, true), modes));
  return bytes;
}

function isTrue(modes: ReadonlyMap<number, number>, opcode: number): boolean {
  return (modes.get(opcode) ?? 0) !== 0;
}

function speeds(cflag: number, modes: ReadonlyMap<number, number>): { mask: number; bits: number } {
  const output = speedCode(modes.get(OSPEED_OPCODE)) ?? cflag & CBAUD;
  const input = speedCode(modes.get(ISPEED_OPCODE)) ?? (cflag >>> INPUT_SHIFT & CBAUD);
  // Nothing in the place of the input's speed means that of the output.
  const bits = output | (input === output ? 0 : input << INPUT_SHIFT);
  return { mask: CBAUD | CBAUD << INPUT_SHIFT, bits };
}

/** The code of a speed in bits a second; `undefined` for one that has none. */
function speedCode(speed: number | undefined): number | undefined {
  const slow = SLOW.indexOf(speed ?? 0);
  const fast = FAST.indexOf(speed ?? 0);
  return slow >= 0 ? slow + 1 : fast >= 0 ? 0o10001 + fast : undefined;
}
