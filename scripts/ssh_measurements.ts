/**
 * The debug SSH server beside Debian's sshd: the same client, the same key, the same commands, in turns. Each ratio is above 1 where krun
 * is the worse one.
 *
 * @module
 */
import { join } from "node:path";
import { KrunProcess } from "../tests/krun_process.ts";
import { freePort, type ServerProcess, startProcess, untilReady } from "../tests/live/server_process.ts";
import { waitFor } from "../tests/wait.ts";
import { type Measurement, type Rig, rounds, type Runtime } from "./measurements.ts";

/** What each way carries, MB; as often as streams are measured; how many sessions are idle. */
const STREAM_MB = 256, STREAM_ROUNDS = 3, IDLE = 60;

const ROUND_TRIPS = 200;

/** The servers of a run, and what a client needs. */
interface Servers {
  readonly folder: string;
  readonly sshd: Target;
  readonly krun: Target;
}

/** One server. */
interface Target {
  readonly port: number;
  /** All of the server's own processes. */
  processes(): number[];
}

/** Rows of every runtime, all of them ratios to sshd but what sshd itself takes. */
export async function ssh(rig: Rig): Promise<Measurement[]> {
  const rows: Measurement[] = [];
  for (const runtime of rig.runtimes) {
    // In memory: what is measured is not a disk.
    const folder = await Deno.makeTempDir({ dir: "/dev/shm", prefix: "krun-bench-" });
    await using _removed = { [Symbol.asyncDispose]: () => Deno.remove(folder, { recursive: true }) };
    await keygen(folder);
    await using sshd = await Sshd.start(folder);
    await using krun = await startKrun(folder, runtime);
    const servers = { folder, sshd, krun: krun.target };
    rows.push(...await compare(servers, { runtime, rounds: rig.rounds }));
  }
  return rows;
}

async function compare(
  servers: Servers,
  { runtime: { name: runtime }, rounds: count }: { runtime: Runtime; rounds: number },
): Promise<Measurement[]> {
  const both = (sample: (target: Target) => Promise<number>, count: number) =>
    rounds(count, { sshd: () => sample(servers.sshd), krun: () => sample(servers.krun) });
  const idle = await idleMemory(servers, runtime);
  const rows: Measurement[] = [];
  const time = async (what: string, sample: (target: Target) => Promise<number>, options: {
    count: number;
    unit: "ms" | "MB/s";
    target?: number;
  }) => {
    const { sshd, krun } = await both(sample, options.count);
    const { unit, target } = options;
    for (const [server, value] of [["sshd", sshd], ["krun", krun]] as const) {
      rows.push({ what: `${what}, ${server}`, runtime, value, unit });
    }
    const which = unit === "ms" ? "krun's over sshd's" : "sshd's over krun's";
    rows.push({
      what: `${what}: ${which}`,
      runtime,
      value: ratio({ sshd, krun, unit }),
      unit: "times",
      ...(target && { target }),
    });
  };
  const stream = { count: STREAM_ROUNDS, unit: "MB/s", target: 1.43 } as const;
  await time("ssh HOST true", (target) => connectMs(servers, target), { count, unit: "ms", target: 0.8 });
  await time("a stream to cat", (target) => upload(servers, target), stream);
  await time("a stream from cat", (target) => download(servers, target), stream);
  await time("scp to the server", (target) => copy(servers, target, "to"), stream);
  await time("scp from the server", (target) => copy(servers, target, "from"), stream);
  await time("a stream through ssh -L", (target) => forward(servers, target), stream);
  await time("64 bytes there and back through ssh -L, p50", (target) => forwardTripMs(servers, target), {
    count: STREAM_ROUNDS,
    unit: "ms",
  });
  return [...rows, ...idle];
}

/** To be measured first: later krun has memory of earlier connections, and takes none of the system for new ones. */
async function idleMemory(servers: Servers, runtime: string): Promise<Measurement[]> {
  const [sshd, krun] = [await idleMb(servers, servers.sshd), await idleMb(servers, servers.krun)];
  const what = "memory of an idle session";
  return [
    { what: `${what}, sshd`, runtime, value: sshd, unit: "MB" },
    { what: `${what}, krun`, runtime, value: krun, unit: "MB" },
    { what: `${what}: krun's over sshd's`, runtime, value: krun / sshd, unit: "times", target: 1 },
  ];
}

function ratio({ sshd, krun, unit }: { sshd: number; krun: number; unit: "ms" | "MB/s" }): number {
  return unit === "ms" ? krun / sshd : sshd / krun;
}

async function keygen(folder: string): Promise<void> {
  for (const name of ["host", "user"]) {
    const args = ["-q", "-t", "ed25519", "-N", "", "-f", join(folder, name)];
    const { success } = await new Deno.Command("ssh-keygen", { args }).output();
    if (!success) throw new Error("ssh-keygen failed");
  }
  const passwd = await Deno.readTextFile("/etc/passwd");
  await Deno.writeTextFile(join(folder, "passwd"), passwd.replace(/^(root:.*:)[^:\n]*$/m, "$1/bin/sh"));
}

/** Words that start a server where root's shell is sh: bash reads the files of root's home for a command of a session. */
function whereRootHasSh(folder: string): string[] {
  const script = 'mount --bind "$0" /etc/passwd && exec "$@"';
  return ["/usr/bin/unshare", "--mount", "/bin/sh", "-c", script, join(folder, "passwd")];
}

/** Debian's sshd, as it is installed, but for PAM. */
class Sshd implements Target, AsyncDisposable {
  private constructor(readonly port: number, readonly server: ServerProcess) {}

  static async start(folder: string): Promise<Sshd> {
    const port = freePort();
    await Deno.mkdir("/run/sshd", { recursive: true });
    const options = [
      ...[
        "ListenAddress=127.0.0.1",
        "StrictModes=no",
        "PidFile=none",
        "UsePAM=no",
        "MaxStartups=100",
        "MaxSessions=100",
      ],
      ...[`HostKey=${join(folder, "host")}`, `AuthorizedKeysFile=${join(folder, "user.pub")}`],
      "Subsystem=sftp /usr/lib/openssh/sftp-server",
    ].flatMap((option) => ["-o", option]);
    const argv = [
      ...whereRootHasSh(folder),
      "/usr/sbin/sshd",
      "-D",
      "-e",
      "-p",
      `${port}`,
      "-f",
      "/dev/null",
      ...options,
    ];
    const server = startProcess(argv, join(folder, "sshd.log"));
    await untilReady(server, async () => (await Deno.readTextFile(server.log)).includes("Server listening"));
    return new Sshd(port, server);
  }

  processes(): number[] {
    return [...Deno.readDirSync("/proc")].map(({ name }) => Number(name)).filter((pid) => isSshd(pid, this.server.pid));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.server.end("SIGTERM");
  }
}

/** Whether a process is that server, or one of the processes it has for each connection. */
function isSshd(pid: number, server: number): boolean {
  for (let at = pid; at > 1;) {
    const stat = Number.isInteger(at) ? textOf(`/proc/${at}/stat`) : "";
    const [, name = "", parent = "0"] = /^\d+ \((.*)\) \S (\d+)/.exec(stat) ?? [];
    if (at === pid && !name.startsWith("sshd")) return false;
    if (at === server) return true;
    at = Number(parent);
  }
  return false;
}

function textOf(path: string): string {
  try {
    return Deno.readTextFileSync(path);
  } catch {
    return ""; // It has ended.
  }
}

async function startKrun(folder: string, { krun: argv }: Runtime) {
  const krun = new KrunProcess({
    args: ["--", "sleep", "infinity"],
    argv,
    under: whereRootHasSh(folder),
    cwd: folder,
    env: {
      SSH_AUTH: await Deno.readTextFile(join(folder, "user.pub")),
      KRUN_SSH: "127.0.0.1:0",
      HOME: Deno.env.get("HOME") ?? "/root",
    },
  });
  const [, port] = await krun.sees("stderr", /ssh server listens addresses=\S*:(\d+) /);
  const target = { port: Number(port), processes: () => [krun.pid] };
  return { target, [Symbol.asyncDispose]: () => krun[Symbol.asyncDispose]() };
}

function clientArgs({ folder }: Servers, { port }: Target): string[] {
  const options = [
    "BatchMode=yes",
    "StrictHostKeyChecking=no",
    "UserKnownHostsFile=/dev/null",
    "LogLevel=ERROR",
    `Port=${port}`,
  ];
  return ["-F", "none", "-i", join(folder, "user"), ...options.flatMap((option) => ["-o", option])];
}

async function client(program: string, args: string[], stdin: "null" | "zeros" = "null"): Promise<number> {
  const from = performance.now();
  const command = new Deno.Command(program, {
    args,
    stdin: stdin === "null" ? "null" : "piped",
    stdout: "null",
    stderr: "piped",
  });
  const child = command.spawn();
  const feeding = stdin === "zeros" ? feed(child.stdin) : undefined;
  const { success, stderr } = await child.output();
  await feeding;
  if (!success) throw new Error(`${program}: ${new TextDecoder().decode(stderr)}`);
  return performance.now() - from;
}

async function feed(stdin: WritableStream<Uint8Array>): Promise<void> {
  const writer = stdin.getWriter();
  const chunk = new Uint8Array(1 << 20);
  for (let sent = 0; sent < STREAM_MB; sent++) await writer.write(chunk);
  await writer.close();
}

const HOST = "root@127.0.0.1";

function connectMs(servers: Servers, target: Target): Promise<number> {
  return client("ssh", [...clientArgs(servers, target), HOST, "true"]);
}

const perSecond = (ms: number) => STREAM_MB * 1.048576 / (ms / 1000);

async function upload(servers: Servers, target: Target): Promise<number> {
  return perSecond(await client("ssh", [...clientArgs(servers, target), HOST, "cat >/dev/null"], "zeros"));
}

async function download(servers: Servers, target: Target): Promise<number> {
  const command = `head -c ${STREAM_MB}M /dev/zero | cat`;
  return perSecond(await client("ssh", [...clientArgs(servers, target), HOST, command]));
}

async function copy(servers: Servers, target: Target, way: "to" | "from"): Promise<number> {
  const [local, remote] = [join(servers.folder, "local"), join(servers.folder, "remote")];
  for (const path of [local, remote]) await sized(path);
  const words = way === "to" ? [local, `${HOST}:${remote}`] : [`${HOST}:${remote}`, local];
  return perSecond(await client("scp", ["-q", ...clientArgs(servers, target), ...words]));
}

async function sized(path: string): Promise<void> {
  using file = await Deno.open(path, { create: true, write: true });
  await file.truncate(STREAM_MB << 20);
}

/** A port of this process that is forwarded to a server which takes or echoes what comes. */
async function forwarded<Result>(
  servers: Servers,
  target: Target,
  { serve, use }: { serve(conn: Deno.Conn): Promise<void>; use(conn: Deno.Conn): Promise<Result> },
): Promise<Result> {
  using listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  void (async () => {
    for await (const conn of listener) void serve(conn);
  })().catch(() => {});
  const port = freePort();
  const args = [...clientArgs(servers, target), "-N", "-L", `${port}:127.0.0.1:${listener.addr.port}`, HOST];
  const tunnel = new Deno.Command("ssh", { args, stdin: "null", stdout: "null", stderr: "null" }).spawn();
  try {
    using conn = await waitFor("the tunnel", () => Deno.connect({ port }).catch(() => undefined));
    conn.setNoDelay(true);
    return await use(conn);
  } finally {
    // OpenSSH's client may miss a polite signal, and waits for ever then.
    tunnel.kill("SIGKILL");
    await tunnel.status;
  }
}

async function forward(servers: Servers, target: Target): Promise<number> {
  const total = STREAM_MB << 20;
  const ms = await forwarded(servers, target, {
    serve: async (conn) => {
      const buffer = new Uint8Array(1 << 18);
      for (let got = 0; got < total;) got += await conn.read(buffer) ?? total;
      await conn.write(new Uint8Array(1));
      conn.close();
    },
    use: async (conn) => {
      const chunk = new Uint8Array(1 << 18);
      const from = performance.now();
      for (let sent = 0; sent < total;) {
        sent += await conn.write(chunk.subarray(0, Math.min(chunk.length, total - sent)));
      }
      await conn.read(new Uint8Array(1));
      return performance.now() - from;
    },
  });
  return perSecond(ms);
}

function forwardTripMs(servers: Servers, target: Target): Promise<number> {
  return forwarded(servers, target, {
    serve: async (conn) => {
      await conn.readable.pipeTo(conn.writable).catch(() => {});
    },
    use: async (conn) => {
      const ms: number[] = [];
      const buffer = new Uint8Array(64);
      for (let trip = 0; trip < ROUND_TRIPS; trip++) {
        const from = performance.now();
        await conn.write(buffer);
        for (let got = 0; got < buffer.length;) got += await conn.read(buffer) ?? buffer.length;
        ms.push(performance.now() - from);
      }
      return ms.toSorted((a, b) => a - b)[ROUND_TRIPS >> 1]!;
    },
  });
}

/**
 * What each session adds to the server's proportional memory, once it has had one. The programs in them are the same for both. They end
 * with their input: sshd tells a program without a terminal nothing when its client has gone.
 */
async function idleMb(servers: Servers, target: Target): Promise<number> {
  await memoryWith(1, servers, target);
  const before = proportionalMb(target);
  return (await memoryWith(IDLE, servers, target) - before) / IDLE;
}

/** Memory of the server while it has so many sessions, MB. */
async function memoryWith(sessions: number, servers: Servers, target: Target): Promise<number> {
  const args = [...clientArgs(servers, target), HOST, "echo here; exec cat"];
  const clients = Array.from(
    { length: sessions },
    () => new Deno.Command("ssh", { args, stdin: "piped", stdout: "piped", stderr: "null" }).spawn(),
  );
  try {
    await Promise.all(clients.map(async ({ stdout }) => {
      const reader = stdout.getReader();
      await reader.read();
      await reader.cancel();
    }));
    return proportionalMb(target);
  } finally {
    await Promise.all(clients.map(({ stdin }) => stdin.close()));
    await Promise.all(clients.map(({ status }) => status));
  }
}

function proportionalMb(target: Target): number {
  const kilobytes = target.processes().map((pid) =>
    Number(/^Pss:\s+(\d+) kB/m.exec(textOf(`/proc/${pid}/smaps_rollup`))?.[1] ?? 0)
  );
  return kilobytes.reduce((sum, kb) => sum + kb, 0) / 1000;
}
