/**
 * Whether a network namespace is krun's own. In: /proc, through functions, since Deno opens it only to programs with all
 * permissions. Out: `own` or `shared`, who else is there, and their groups.
 *
 * @module
 */
import { descendants, isAlive, isExiting, isKernelThread, parseProcStat, type ProcessStat } from "../core/proc_stat.ts";
import { printable } from "../core/setting_invalid.ts";
import { type ListeningSocket, parseSocketTable } from "../core/socket_table.ts";

/** What krun reads of /proc and /etc. Nothing throws: what is not to be had is empty or `undefined`. */
export interface ProcReader {
  /** Names in a folder. */
  list(folder: string): readonly string[];
  /** Text of a symbolic link. */
  readLink(path: string): string | undefined;
  /** Text of a file. */
  readText(path: string): string | undefined;
}

/** What {@linkcode networkScope} found; part of an `InterceptionPlan`. */
export interface NetworkScope {
  readonly scope: "own" | "shared";
  /** Who else is there, one clause; `undefined` in a namespace of its own. */
  readonly sharedWith: string | undefined;
  /** Groups of the processes there that krun did not start, sorted. */
  readonly otherGids: readonly number[];
}

/** Options of {@linkcode networkScope}. */
export interface NetworkScopeOptions {
  /** Processes that krun is going to end before anything is intercepted, such as those of a krun that was killed. @default {none} */
  readonly leftovers?: readonly number[];
}

/**
 * Whose the network namespace of a krun is.
 *
 * It is its own when nothing else is there: no process but krun, what it started, and, where PID 1 is among them, those that
 * started it (an init such as tini, the shell of an entry point); and no socket that waits for others but krun's. A socket
 * shows processes of other containers, which krun cannot see. Docker's resolver is not somebody else. When in doubt: `shared`.
 */
export function networkScope(
  proc: ProcReader,
  pid: number,
  { leftovers = [] }: NetworkScopeOptions = {},
): NetworkScope {
  const own = networkOf(proc, pid);
  // A /proc of another PID namespace has other processes under these numbers.
  if (own === undefined || proc.readLink("/proc/self") !== `${pid}`) return shared("krun is not in /proc", []);
  const table = processes(proc);
  const mine = new Set([pid, ...leftovers, ...descendants(table, pid).map((entry) => entry.pid)]);
  const known = table.filter((entry) => !mine.has(entry.pid)).map((entry) => ({
    entry,
    same: isSame(proc, entry, own),
  }));
  const others = known.filter(({ same }) => same !== false).map(({ entry }) => entry);
  const gids = [...new Set(others.flatMap((entry) => groups(proc, entry.pid)))].sort((a, b) => a - b);
  const certain = new Set(known.filter(({ same }) => same === true).map(({ entry }) => entry));
  const starters = startersOf(table, pid).filter((starter) => certain.has(starter));
  const hasInit = pid === 1 || starters.some((starter) => starter.pid === 1);
  const stranger = others.find((entry) => !hasInit || !starters.includes(entry));
  if (stranger !== undefined) return shared(`${describeProcess(proc, stranger.pid)} is in it`, gids);
  const foreign = foreignSocket(proc, { pid, mine });
  if (foreign === undefined) return { scope: "own", sharedWith: undefined, otherGids: gids };
  const holder = others.find((entry) => socketInodes(proc, entry.pid).has(foreign.inode));
  const owner = holder === undefined ? "of no process that krun can see" : `of ${describeProcess(proc, holder.pid)}`;
  return shared(`socket ${endpoint(foreign)}, ${owner}, is in it`, gids);
}

function shared(sharedWith: string, otherGids: readonly number[]): NetworkScope {
  return { scope: "shared", sharedWith, otherGids };
}

/** What names a network namespace: the link, which only a process's equals may read, and what everybody may. */
interface Network {
  readonly link: string | undefined;
  readonly socket: string | undefined;
}

function networkOf(proc: ProcReader, pid: number): Network | undefined {
  const link = proc.readLink(`/proc/${pid}/ns/net`);
  // The kernel's own socket for routes: the first of every namespace, and another one in each.
  const [, socket] = /^\S+ +0 +0 .* (\d+) *$/m.exec(proc.readText(`/proc/${pid}/net/netlink`) ?? "") ?? [];
  return link === undefined && socket === undefined ? undefined : { link, socket };
}

/** Whether a process is in a network namespace; `undefined` for one that is there and does not let itself be asked. */
function isSame(proc: ProcReader, { pid, startTicks }: ProcessStat, own: Network): boolean | undefined {
  const its = networkOf(proc, pid);
  if (its?.link !== undefined && own.link !== undefined) return its.link === own.link;
  if (its?.socket !== undefined && own.socket !== undefined) return its.socket === own.socket;
  const text = proc.readText(`/proc/${pid}/stat`) ?? "";
  const now = parseProcStat(text);
  const isThere = now !== undefined && isAlive(now) && !isExiting(text) && now.startTicks === startTicks;
  return isThere ? undefined : false;
}

/** Everything alive that is a process. */
function processes(proc: ProcReader): ProcessStat[] {
  return proc.list("/proc").filter((name) => /^\d+$/.test(name)).flatMap((name) => {
    const text = proc.readText(`/proc/${name}/stat`) ?? "";
    const entry = parseProcStat(text);
    return entry === undefined || !isAlive(entry) || isKernelThread(text) ? [] : [entry];
  });
}

/** The parent of a process, its parent, and so on. */
function startersOf(table: readonly ProcessStat[], pid: number): ProcessStat[] {
  const byPid = new Map(table.map((entry) => [entry.pid, entry]));
  const starters: ProcessStat[] = [];
  for (let at = byPid.get(byPid.get(pid)?.parent ?? 0); at !== undefined; at = byPid.get(at.parent)) starters.push(at);
  return starters;
}

/** Real, effective, saved and file system group (proc_pid_status(5)). */
function groups(proc: ProcReader, pid: number): number[] {
  const [, ids = ""] = /^Gid:\t(.*)$/m.exec(proc.readText(`/proc/${pid}/status`) ?? "") ?? [];
  return ids.split("\t").filter((id) => id !== "").map(Number);
}

/** A process for a message. Its name is what it chose: it must not begin a line, or look like another clause. */
export function describeProcess(proc: ProcReader, pid: number): string {
  return `process ${printable(proc.readText(`/proc/${pid}/comm`)?.replace(/\n$/, "") ?? "")} (${pid})`;
}

interface ForeignSocketOptions {
  readonly pid: number;
  /** Processes whose sockets are krun's own. */
  readonly mine: ReadonlySet<number>;
}

function foreignSocket(proc: ProcReader, { pid, mine }: ForeignSocketOptions): ListeningSocket | undefined {
  const own = new Set([...mine].flatMap((one) => [...socketInodes(proc, one)]));
  const sockets = (["tcp", "udp"] as const).flatMap((protocol) =>
    ["", "6"].flatMap((version) =>
      parseSocketTable(proc.readText(`/proc/${pid}/net/${protocol}${version}`) ?? "", protocol)
    )
  );
  const resolver = dockerResolver(proc);
  return sockets.find(({ inode, address }) => !own.has(inode) && address !== resolver);
}

/** The sockets that a process holds, by inode. */
export function socketInodes(proc: ProcReader, pid: number): Set<number> {
  const folder = `/proc/${pid}/fd`;
  return new Set(
    proc.list(folder).flatMap((fd) => {
      const [, inode] = /^socket:\[(\d+)\]$/.exec(proc.readLink(`${folder}/${fd}`) ?? "") ?? [];
      return inode === undefined ? [] : [Number(inode)];
    }),
  );
}

/** The address on which docker answers DNS inside every container of a network that a user made, where it is the resolver. */
const DOCKER_RESOLVER = "127.0.0.11";

function dockerResolver(proc: ProcReader): string | undefined {
  const isResolver = /^\s*nameserver\s+127\.0\.0\.11\s*$/m.test(proc.readText("/etc/resolv.conf") ?? "");
  return isResolver ? DOCKER_RESOLVER : undefined;
}

function endpoint({ protocol, address, port }: ListeningSocket): string {
  return `${protocol} ${address.includes(":") ? `[${address}]` : address}:${port}`;
}
