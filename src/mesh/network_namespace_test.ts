import assert from "node:assert/strict";
import { networkScope, type ProcReader } from "./network_namespace.ts";

interface FakeProcess {
  readonly parent: number;
  readonly name?: string;
  /** Empty for one that krun may not read. */
  readonly net?: string;
  /** Inode of the kernel's socket for routes; unset where there is no such table. */
  readonly routes?: number;
  readonly gid?: number;
  readonly sockets?: readonly number[];
  readonly state?: string;
  readonly flags?: number;
}

interface FakeNet {
  readonly tcp?: string;
  readonly udp?: string;
  readonly resolvConf?: string;
  /** What /proc/self points to; the krun that is asked about where unset. */
  readonly self?: string;
}

const NET = "net:[1]";

/** A /proc with these processes, as `pid` sees it. */
function proc(pid: number, table: Readonly<Record<number, FakeProcess>>, net: FakeNet = {}): ProcReader {
  const links: Record<string, string> = { "/proc/self": net.self ?? `${pid}` };
  const texts: Record<string, string> = {
    [`/proc/${pid}/net/tcp`]: net.tcp ?? "",
    [`/proc/${pid}/net/udp`]: net.udp ?? "",
    "/etc/resolv.conf": net.resolvConf ?? "",
  };
  for (
    const [id, { parent, name = "app", net: its = NET, gid = 0, sockets = [], state = "S", flags = 0, routes }]
      of Object
        .entries(table)
  ) {
    if (its !== "") links[`/proc/${id}/ns/net`] = its;
    sockets.forEach((inode, fd) => links[`/proc/${id}/fd/${fd}`] = `socket:[${inode}]`);
    texts[`/proc/${id}/stat`] =
      `${id} (${name}) ${state} ${parent} 1 1 0 -1 ${flags} 0 0 0 0 0 0 0 0 20 0 1 0 77 0 0\n`;
    if (routes !== undefined) texts[`/proc/${id}/net/netlink`] = netlink(routes);
    texts[`/proc/${id}/comm`] = `${name}\n`;
    texts[`/proc/${id}/status`] = `Name:\t${name}\nGid:\t${gid}\t${gid}\t${gid}\t${gid}\nGroups:\t7 \n`;
  }
  const names = (folder: string) =>
    [...Object.keys(links), ...Object.keys(texts)].filter((path) => path.startsWith(`${folder}/`))
      .map((path) => path.slice(folder.length + 1).split("/")[0]!);
  return {
    list: (folder) => [...new Set(names(folder))],
    readLink: (path) => links[path],
    readText: (path) => texts[path],
  };
}

function netlink(inode: number): string {
  const row = (protocol: number, pid: number, at: number) =>
    `00000000ffaba7c0 ${protocol}   ${pid}          00000000 0        0        0     2        0        ${at}       \n`;
  return `sk               Eth Pid        Groups   Rmem     Wmem     Dump  Locks    Drops    Inode\n` +
    row(0, 4711, 1) + row(0, 0, inode) + row(4, 0, 570);
}

function tcp(address: string, inode: number): string {
  return `   0: ${address} 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 ${inode} 1 0 100 0 0 10 0\n`;
}

const SSH = tcp("0100007F:0016", 55);
const OWN = { scope: "own", sharedWith: undefined };

Deno.test("networkScope() is own for a krun that is PID 1 and alone, with what it started and its sockets", () => {
  const table = { 1: { parent: 0, sockets: [40] }, 9: { parent: 1, sockets: [55], gid: 1337 } };
  assert.deepEqual(networkScope(proc(1, table, { tcp: SSH }), 1), { ...OWN, otherGids: [] });
});

Deno.test("networkScope() takes a process in the midst of its end, which has left its namespaces, for nobody", () => {
  const table = (flags: number) => ({
    1: { parent: 0, net: "net:[2]" },
    7: { parent: 1 },
    8: { parent: 1, net: "", flags },
  });
  assert.deepEqual(networkScope(proc(7, table(0x4)), 7), { ...OWN, otherGids: [] });
  assert.equal(networkScope(proc(7, table(0)), 7).scope, "shared", "one that does not let itself be asked");
});

Deno.test("networkScope() takes what a killed krun left, and krun is going to end, for nobody", () => {
  const table = {
    1: { parent: 0, net: "net:[2]" },
    7: { parent: 1 },
    8: { parent: 1, name: "envoy", gid: 1337, sockets: [55] },
  };
  const reader = proc(7, table, { tcp: SSH });
  assert.deepEqual(networkScope(reader, 7, { leftovers: [8] }), { ...OWN, otherGids: [] });
  assert.deepEqual(networkScope(reader, 7), {
    scope: "shared",
    sharedWith: "process envoy (8) is in it",
    otherGids: [1337],
  });
});

Deno.test("networkScope() is own below an init and a shell that started krun", () => {
  const table = { 1: { parent: 0, name: "tini" }, 6: { parent: 1, name: "sh", gid: 5 }, 7: { parent: 6 } };
  assert.deepEqual(networkScope(proc(7, table), 7), { ...OWN, otherGids: [0, 5] });
});

Deno.test("networkScope() is own in a namespace made for krun alone, on a machine full of others", () => {
  const table = { 1: { parent: 0, net: "net:[2]" }, 6: { parent: 1, net: "net:[2]" }, 7: { parent: 6 } };
  assert.deepEqual(networkScope(proc(7, table), 7), { ...OWN, otherGids: [] });
});

Deno.test("networkScope() knows a process that it may not ask by the kernel's own socket", () => {
  const table = (routes: number) => ({ 1: { parent: 0, net: "", routes }, 7: { parent: 1, routes: 4 } });
  assert.deepEqual(networkScope(proc(7, table(5)), 7), { ...OWN, otherGids: [] });
  assert.deepEqual(networkScope(proc(7, table(4)), 7), { ...OWN, otherGids: [0] });
  assert.equal(networkScope(proc(8, { ...table(4), 8: { parent: 0, routes: 4 } }), 8).scope, "shared");
});

Deno.test("networkScope() leaves out the kernel's threads, and processes that have ended or are about to", () => {
  const table = {
    1: { parent: 0 },
    2: { parent: 0, name: "kthreadd", flags: 0x208040 },
    8: { parent: 1, net: "", state: "Z" },
    // Elsewhere; it has given up its namespaces and is no zombie yet.
    9: { parent: 0, name: "readlink", net: "", state: "R", flags: 0x40010c },
  };
  assert.equal(networkScope(proc(1, table), 1).scope, "own");
});

const SHARED = [
  {
    why: "another child of the init",
    pid: 7,
    table: { 1: { parent: 0, name: "tini" }, 7: { parent: 1 }, 8: { parent: 1, name: "sshd", gid: 22 } },
    sharedWith: "process sshd (8) is in it",
    otherGids: [0, 22],
  },
  {
    why: "a shell that started krun, and no init is there: it may have started anything",
    pid: 7,
    table: { 1: { parent: 0, net: "net:[2]" }, 6: { parent: 1, name: "sh" }, 7: { parent: 6 } },
    sharedWith: "process sh (6) is in it",
    otherGids: [0],
  },
  {
    why: "krun entered a container from outside",
    pid: 7,
    table: { 1: { parent: 0, name: "server" }, 7: { parent: 0 } },
    sharedWith: "process server (1) is in it",
    otherGids: [0],
  },
  {
    why: "a process whose namespace krun may not see",
    pid: 1,
    table: { 1: { parent: 0 }, 8: { parent: 0, name: "secretive", net: "", gid: 8 } },
    sharedWith: "process secretive (8) is in it",
    otherGids: [8],
  },
  {
    why: "an init whose namespace krun may not see: it may be that of everybody",
    pid: 7,
    table: { 1: { parent: 0, name: "init", net: "" }, 7: { parent: 1 } },
    sharedWith: "process init (1) is in it",
    otherGids: [0],
  },
  {
    why: "a name that looks like another line",
    pid: 1,
    table: { 1: { parent: 0 }, 8: { parent: 0, name: "a\nb" } },
    sharedWith: 'process "a\\nb" (8) is in it',
    otherGids: [0],
  },
  {
    why: "a socket of a process in another PID namespace",
    pid: 1,
    table: { 1: { parent: 0, sockets: [54] } },
    net: { tcp: SSH },
    sharedWith: "socket tcp 127.0.0.1:22, of no process that krun can see, is in it",
    otherGids: [],
  },
  {
    why: "a UDP server counts as well",
    pid: 1,
    table: { 1: { parent: 0 } },
    net: { udp: tcp("00000000:0044", 9).replace(" 0A ", " 07 ") },
    sharedWith: "socket udp 0.0.0.0:68, of no process that krun can see, is in it",
    otherGids: [],
  },
  {
    why: "the init itself serves others: it is not there for krun alone",
    pid: 7,
    table: { 1: { parent: 0, name: "sshd", sockets: [55] }, 7: { parent: 1 } },
    net: { tcp: SSH },
    sharedWith: "socket tcp 127.0.0.1:22, of process sshd (1), is in it",
    otherGids: [0],
  },
  {
    why: "an address of docker's resolver that is no resolver",
    pid: 1,
    table: { 1: { parent: 0 } },
    net: { tcp: tcp("0B00007F:9C40", 3), resolvConf: "nameserver 10.0.0.1\n# nameserver 127.0.0.11\n" },
    sharedWith: "socket tcp 127.0.0.11:40000, of no process that krun can see, is in it",
    otherGids: [],
  },
  {
    why: "/proc is that of another PID namespace",
    pid: 1,
    table: { 1: { parent: 0 } },
    net: { self: "4711" },
    sharedWith: "krun is not in /proc",
    otherGids: [],
  },
  { why: "there is no /proc", pid: 1, table: {}, sharedWith: "krun is not in /proc", otherGids: [] },
];

for (const { why, pid, table, net, sharedWith, otherGids } of SHARED) {
  Deno.test(`networkScope() is shared: ${why}`, () => {
    assert.deepEqual(networkScope(proc(pid, table, net), pid), { scope: "shared", sharedWith, otherGids });
  });
}

Deno.test("networkScope() takes docker's resolver for nobody", () => {
  const net = { tcp: tcp("0B00007F:9C40", 3), resolvConf: "search a\nnameserver 127.0.0.11\noptions ndots:0\n" };
  assert.equal(networkScope(proc(1, { 1: { parent: 0 } }, net), 1).scope, "own");
});
