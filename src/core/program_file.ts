/**
 * What kind of program a file is. In: its first bytes. Out: what the kernel would do with it, enough to say why it cannot.
 *
 * @module
 */

/** A file, as execve(2) sees it. */
export type ProgramFile =
  /** Begins with `#!`. `interpreter` is the path as written; it may end in a carriage return. */
  | { readonly kind: "script"; readonly interpreter: string }
  /** `machine` as uname(1) names it; `loader` is the dynamic linker that the file asks for. */
  | { readonly kind: "elf"; readonly machine: string; readonly loader?: string }
  | { readonly kind: "empty" }
  /** Text without `#!`. */
  | { readonly kind: "text" }
  | { readonly kind: "other" };

/** How many bytes of a file {@linkcode programFile} wants to see; the program headers of an ELF file lie within. */
export const PROGRAM_FILE_BYTES = 4096;

/** e_machine of ELF files that a person may meet (elf(5)). */
const MACHINES: Readonly<Record<number, string>> = {
  3: "i386",
  8: "mips",
  20: "ppc",
  21: "ppc64",
  22: "s390x",
  40: "arm",
  62: "x86_64",
  183: "aarch64",
  243: "riscv64",
  258: "loongarch64",
};

/** Recognises a file by its first bytes, {@linkcode PROGRAM_FILE_BYTES} or fewer. Never throws. */
export function programFile(head: Uint8Array): ProgramFile {
  if (head.length === 0) return { kind: "empty" };
  if (head[0] === 0x7f && latin1(head.subarray(1, 4)) === "ELF") return elf(head);
  const line = latin1(head.subarray(0, 256)).split("\n", 1)[0] ?? "";
  if (line.startsWith("#!")) {
    return { kind: "script", interpreter: line.slice(2).trimStart().split(/[ \t]/, 1)[0] ?? "" };
  }
  return { kind: head.includes(0) ? "other" : "text" };
}

/** Offsets of elf(5) that differ between 32 and 64 bits. */
const LAYOUTS = {
  32: { headers: 28, headerSize: 42, headerCount: 44, offset: 4, size: 16 },
  64: { headers: 32, headerSize: 54, headerCount: 56, offset: 8, size: 32 },
} as const;

function elf(head: Uint8Array): ProgramFile {
  const PT_INTERP = 3, CLASS = 4, DATA = 5, MACHINE = 18;
  const wide = head[CLASS] === 2;
  const little = head[DATA] !== 2;
  const at = LAYOUTS[wide ? 64 : 32];
  const view = new DataView(head.buffer, head.byteOffset, head.byteLength);
  const u16 = (offset: number) => offset + 2 <= head.length ? view.getUint16(offset, little) : 0;
  const u32 = (offset: number) => offset + 4 <= head.length ? view.getUint32(offset, little) : 0;
  // The upper half of a 64-bit offset is 0 for all that lies within the head.
  const word = (offset: number) => u32(wide && !little ? offset + 4 : offset);

  const number = u16(MACHINE);
  const machine = MACHINES[number] ?? `machine ${number}`;
  for (let index = 0; index < u16(at.headerCount); index++) {
    const header = word(at.headers) + index * u16(at.headerSize);
    if (u32(header) !== PT_INTERP) continue;
    const start = word(header + at.offset);
    const loader = latin1(head.subarray(start, start + word(header + at.size))).replace(/\0.*$/s, "");
    if (loader !== "") return { kind: "elf", machine, loader };
  }
  return { kind: "elf", machine };
}

function latin1(bytes: Uint8Array): string {
  return String.fromCharCode(...bytes);
}
