/**
 * The text of docs/performance.md: what the machine is, and the table of measurements.
 *
 * @module
 */
import type { Measurement } from "./measurements.ts";

/** A table as lines of Markdown, and how many targets it misses. */
export interface PerformanceTable {
  readonly lines: readonly string[];
  readonly missed: number;
}

function verdict({ value, target }: Measurement): string {
  if (target === undefined) return "";
  return value <= target ? `at most ${target}: met` : `at most ${target}: **missed**`;
}

/** Makes the table. */
export function table(measurements: readonly Measurement[]): PerformanceTable {
  const rows = measurements.map((m) => `| ${m.what} | ${m.runtime} | ${format(m.value)} ${m.unit} | ${verdict(m)} |`);
  const missed = measurements.filter((m) => m.target !== undefined && !(m.value <= m.target)).length;
  return { lines: ["| What | krun as | Result | Target |", "|---|---|---|---|", ...rows], missed };
}

/**
 * The page with the rows of measurements that were made anew, each in the place where it was; those of one that is not there yet come
 * last.
 *
 * @throws {Error} when the page has other rows there: then all have to be made.
 */
export function withRows(page: string, { lines }: PerformanceTable): string {
  const [, , ...rows] = lines;
  const key = (line: string | undefined) => line?.split("|").slice(1, 3).join("|");
  const all = page.split("\n");
  const known = new Set(all.map(key));
  const isNew = rows.every((row) => !known.has(key(row)));
  if (isNew) return all.toSpliced(all.findLastIndex((line) => line.startsWith("| ")) + 1, 0, ...rows).join("\n");
  const at = all.findIndex((line) => key(line) === key(rows[0]));
  if (at < 0 || rows.some((row, i) => key(all[at + i]) !== key(row))) {
    throw new Error("the page has other rows: measure all");
  }
  return [...all.slice(0, at), ...rows, ...all.slice(at + rows.length)].join("\n");
}

function format(value: number): string {
  return value >= 100 ? value.toFixed(0) : value >= 10 ? value.toFixed(1) : value.toFixed(2);
}

/** What the figures do not say of themselves. */
export const READING: readonly string[] = [
  "## How to read it",
  "",
  "- The first ratio is to an empty file run by the same Deno, since two versions of Deno differ by more than krun adds.",
  "- The row of three requests is the least that any program on that Deno needs for such a start: TLS, fetch, answers. Deno",
  "  2.7.14 and later gather entropy for 30 ms of processor time before the first TLS of a process (main.ts has it done beside",
  "  the start). That, and some 130 modules that are read and compiled anew each time, is why a start by `deno run` of the sources",
  "  is above 4 times an empty file; docs/decisions.md has what was tried. The binary is what is meant to be deployed.",
  "- Resident memory counts the pages of Deno's own executable that the kernel has mapped, which all its processes share: 28 to 37 MB,",
  "  by what else ran on the machine. krun's own is 24 MB.",
  "- A round trip is 20 ms: 10 ms each way. Three belong to the connection itself (TLS with a retry, Nagle), one to everything",
  "  that krun asks for.",
  "- References: a fake Secret Manager and metadata server behind the same delay. The connections (one to the metadata server, three with",
  "  TLS) are taken off; what is left is the token, and then every secret at once. It is less than two where krun works meanwhile.",
  '- Mesh: istiod, agent, Envoy and krun are on one machine, so that the agent waits for nobody\'s network. "By hand" is the same',
  "  `istio-iptables` and the same `pilot-agent proxy` with the files that krun had made, one after the other, from a shell's view:",
  "  what is left is krun's own start, its requests, its own rules beside Istio's, and one look at what iptables there is.",
  '- On "Cloud Run" Google\'s servers are fakes (`tests/fakes`) and the cluster that they list is the real API server, all of them as',
  "  far away. TCP's own handshake, which the proxies answer at once, is not counted: one more round trip for each server.",
  "- HBONE: caller, relay or krun's endpoint, and program are threads of one process, so that a way with two hops of HTTP/2 and",
  "  mutual TLS shares the cores with one of plain TCP. The bare relay is the least that a relay in the same language can be.",
  "  The endpoint's connection is open already; what is new is a stream of it, where bare TCP has two connections.",
  "- SSH: krun and Debian's sshd have the same client, key and shell, and are measured in turns; 256 MB a stream, by the algorithms that the",
  "  two agree on, from memory to memory. Memory is what each of 60 sessions at once adds to the server's proportional share (PSS) when it",
  "  has had one before.",
  "- What comes in by SSH from a client that has AES-GCM is decrypted, as what goes out is encrypted, by the Web's crypto beside krun's one",
  "  thread, which takes 0.3 s of it for 256 MB through `ssh -L` by `deno run` and 0.6 s in the binary, whose Deno hands a packet over and back in",
  "  25 µs instead of 10; the other threads take as much again. sshd has a process for each connection, with OpenSSL, and chacha20-poly1305, which its client",
  "  prefers and krun has not. All of them share the two cores. A login of sshd's takes 60 to 240 ms from one run to the next, krun's 20 to 25.",
  "- Files are made in an ext4 file system that is new, and krun is told to keep them (`KRUN_FILES=keep`): ext4 makes a file",
  "  slower while thousands of others were deleted less than a minute ago, by 40 ms for 50 mounts.",
  "- Resident memory is taken when krun is at rest: 2 s after a start it lets go of the pages of Deno's code that only a start",
  "  needs (`src/pod/resident_code.ts`). Idleness is measured 40 s after that, when V8 has collected what the start left.",
];

/** The head of the page. */
export async function machine(): Promise<string[]> {
  const model = /^model name\s*: (.+)$/m.exec(await Deno.readTextFile("/proc/cpuinfo"))?.[1] ?? Deno.build.arch;
  const memoryGb = Math.round(Deno.systemMemoryInfo().total / 1e9);
  return [
    "# Performance",
    "",
    "Written by `deno task bench`; do not edit. Every figure is on the real API server (kube-apiserver 1.34.4 with etcd, same",
    "machine, loopback). Compare within this page, not across machines.",
    "",
    `Machine: ${navigator.hardwareConcurrency} cores of ${model}, ${memoryGb} GB, Linux ${Deno.osRelease()}; ` +
    `Deno ${Deno.version.deno}; ${new Date().toISOString().slice(0, 10)}.`,
  ];
}
