/**
 * The machine code that krun brings along: three functions of a few instructions, for what can be done neither in JavaScript nor
 * with a function of libc. In: the machine. Out: bytes, for `Libc.executable`. Pure.
 *
 * They are written down as an assembler gives them (binutils 2.40, LLVM 14), beside what they say in it.
 *
 * @module
 */

/** The machines that krun runs on. */
export type Machine = typeof Deno.build.arch;

/** What a system call takes and gives, as 64-bit numbers: its number, six arguments, and the answer. */
export const FRAME_LENGTH = 8, FRAME_ANSWER = 7;

/**
 * In the frames of {@linkcode childCode}, whose calls have five arguments: whether the child goes on where the call fails; in the
 * first frame the descriptor to which a child writes the frame of the call that ends it.
 */
export const FRAME_MAY_FAIL = 6, FRAME_PIPE = 6;

/** The number of a call and its first arguments, from the frame at rbx (five arguments) or x9 (four) to where the kernel wants them. */
const LOAD_RBX = "488b03" + // mov rax, [rbx]
  "488b7b08" + // mov rdi, [rbx + 8]
  "488b7310" + // mov rsi, [rbx + 16]
  "488b5318" + // mov rdx, [rbx + 24]
  "4c8b5320" + // mov r10, [rbx + 32]
  "4c8b4328"; // mov r8, [rbx + 40]
const LOAD_X9 = "280140f9" + // ldr x8, [x9]
  "208540a9" + // ldp x0, x1, [x9, #8]
  "228d41a9"; // ldp x2, x3, [x9, #24]

/**
 * `int call(long frame[8], void *)`: makes the system call of a frame and puts the kernel's answer into it, a negative errno
 * for a failure. errno itself has no part in it. Returns 0.
 */
export function systemCallCode(machine: Machine): Uint8Array<ArrayBuffer> {
  return Uint8Array.fromHex(
    machine === "x86_64"
      ? "53" + // push rbx
        "4889fb" + // mov rbx, rdi
        LOAD_RBX +
        "4c8b4b30" + // mov r9, [rbx + 48]
        "0f05" + // syscall
        "48894338" + // mov [rbx + 56], rax
        "31c0" + // xor eax, eax
        "5b" + // pop rbx
        "c3" // ret
      : "e90300aa" + // mov x9, x0
        LOAD_X9 +
        "249542a9" + // ldp x4, x5, [x9, #40]
        "010000d4" + // svc #0
        "201d00f9" + // str x0, [x9, #56]
        "00008052" + // mov w0, #0
        "c0035fd6", // ret
  );
}

/**
 * `int start(long frames[][8], void *)`: makes the clone(2) of the first frame and puts its answer there, as
 * {@linkcode systemCallCode}. The child makes the calls of the frames that follow, one after the other, with their answers; the last
 * is to be execve(2). Where one fails that may not, the child writes its frame into a pipe and ends with status 127. Returns 0, to
 * the parent alone.
 *
 * The child needs no stack and changes nothing but answers: it may share its parent's memory (CLONE_VM) while the parent goes on.
 */
export function childCode(machine: Machine): Uint8Array<ArrayBuffer> {
  return Uint8Array.fromHex(
    machine === "x86_64"
      ? "53" + // push rbx
        "4889fb" + // mov rbx, rdi
        LOAD_RBX +
        "0f05" + // syscall
        "4885c0" + // test rax, rax
        "7408" + // je child
        "48894338" + // mov [rbx + 56], rax
        "31c0" + // xor eax, eax
        "5b" + // pop rbx
        "c3" + // ret
        "4989dc" + // child: mov r12, rbx
        "4883c340" + // next: add rbx, 64
        LOAD_RBX +
        "0f05" + // syscall
        "48894338" + // mov [rbx + 56], rax
        "4885c0" + // test rax, rax
        "79da" + // jns next
        "48837b3000" + // cmp qword ptr [rbx + 48], 0
        "75d3" + // jne next
        "b801000000" + // mov eax, 1 (write)
        "498b7c2430" + // mov rdi, [r12 + 48]
        "4889de" + // mov rsi, rbx
        "ba40000000" + // mov edx, 64
        "0f05" + // syscall
        "bf7f000000" + // mov edi, 127
        "b8e7000000" + // mov eax, 231 (exit_group)
        "0f05" // syscall
      : "e90300aa" + // mov x9, x0
        LOAD_X9 +
        "241540f9" + // ldr x4, [x9, #40]
        "010000d4" + // svc #0
        "800000b4" + // cbz x0, child
        "201d00f9" + // str x0, [x9, #56]
        "00008052" + // mov w0, #0
        "c0035fd6" + // ret
        "ea0309aa" + // child: mov x10, x9
        "29010191" + // next: add x9, x9, #64
        LOAD_X9 +
        "241540f9" + // ldr x4, [x9, #40]
        "010000d4" + // svc #0
        "201d00f9" + // str x0, [x9, #56]
        "20ffffb6" + // tbz x0, #63, next
        "211940f9" + // ldr x1, [x9, #48]
        "e1feffb5" + // cbnz x1, next
        "401940f9" + // ldr x0, [x10, #48]
        "e10309aa" + // mov x1, x9
        "020880d2" + // mov x2, #64
        "080880d2" + // mov x8, #64 (write)
        "010000d4" + // svc #0
        "e00f80d2" + // mov x0, #127
        "c80b80d2" + // mov x8, #94 (exit_group)
        "010000d4", // svc #0
  );
}

/**
 * `void handler(int signal, siginfo_t *info, void *)`: `write(fd, info, length)` as a bare system call, which leaves errno
 * alone. The second argument is already where the call wants it. Both numbers are at most 65,535.
 */
export function signalHandlerCode(machine: Machine, fd: number, length: number): Uint8Array<ArrayBuffer> {
  const code = new DataView(
    Uint8Array.fromHex(
      machine === "x86_64"
        ? "b801000000" + // mov eax, 1 (write)
          "bf00000000" + // mov edi, fd
          "ba00000000" + // mov edx, length
          "0f05" + // syscall
          "c3" // ret
        : "000080d2" + // mov x0, fd
          "020080d2" + // mov x2, length
          "080880d2" + // mov x8, 64 (write)
          "010000d4" + // svc #0
          "c0035fd6", // ret
    ).buffer,
  );
  const put = (at: number, number: number) =>
    machine === "x86_64"
      ? code.setUint32(at + 1, number, true)
      : code.setUint32(at, code.getUint32(at, true) | number << 5, true);
  put(machine === "x86_64" ? 5 : 0, fd);
  put(machine === "x86_64" ? 10 : 4, length);
  return new Uint8Array(code.buffer);
}
