/**
 * The system calls that krun makes by itself. In: a name. Out: its number on this machine. Pure.
 *
 * @module
 */

/** System calls by name: their numbers on x86_64 and on aarch64 (asm/unistd_64.h, asm-generic/unistd.h). */
const SYSTEM_CALLS = {
  accept4: [288, 242],
  bind: [49, 200],
  capget: [125, 90],
  capset: [126, 91],
  chdir: [80, 49],
  clone: [56, 220],
  close: [3, 57],
  close_range: [436, 436],
  connect: [42, 203],
  dup3: [292, 24],
  epoll_create1: [291, 20],
  epoll_ctl: [233, 21],
  eventfd2: [290, 19],
  execve: [59, 221],
  exit_group: [231, 94],
  faccessat: [269, 48],
  faccessat2: [439, 439],
  fchmod: [91, 52],
  fchmodat: [268, 53],
  fchownat: [260, 54],
  fcntl: [72, 25],
  flock: [73, 32],
  fstatfs: [138, 44],
  ftruncate: [77, 46],
  getdents64: [217, 61],
  geteuid: [107, 175],
  getgroups: [115, 158],
  getpgid: [121, 155],
  getresgid: [120, 150],
  getresuid: [118, 148],
  ioctl: [16, 29],
  kill: [62, 129],
  linkat: [265, 37],
  listen: [50, 201],
  madvise: [28, 233],
  mkdirat: [258, 34],
  openat: [257, 56],
  openat2: [437, 437],
  pipe2: [293, 59],
  ppoll: [271, 73],
  prctl: [157, 167],
  pread64: [17, 67],
  prlimit64: [302, 261],
  pwrite64: [18, 68],
  pwritev2: [328, 287],
  read: [0, 63],
  readlinkat: [267, 78],
  renameat: [264, 38],
  renameat2: [316, 276],
  rt_sigaction: [13, 134],
  rt_sigprocmask: [14, 135],
  setfsgid: [123, 152],
  setgroups: [116, 159],
  setpgid: [109, 154],
  setresgid: [119, 149],
  setresuid: [117, 147],
  setsid: [112, 157],
  setsockopt: [54, 208],
  shutdown: [48, 210],
  socket: [41, 198],
  statfs: [137, 43],
  statx: [332, 291],
  symlinkat: [266, 36],
  unlinkat: [263, 35],
  utimensat: [280, 88],
  wait4: [61, 260],
  waitid: [247, 95],
  write: [1, 64],
} as const;

/** The name of a system call that krun uses. */
export type SystemCall = keyof typeof SYSTEM_CALLS;

/** The number of a system call. */
export function systemCallNumber(name: SystemCall): number {
  return SYSTEM_CALLS[name][Deno.build.arch === "x86_64" ? 0 : 1];
}
