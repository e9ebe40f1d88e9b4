/** Whose a network namespace is, told by the real /proc. */
import assert from "node:assert/strict";
import { networkScope, type ProcReader } from "../../src/mesh/network_namespace.ts";
import { loadLibc } from "../../src/pod/libc.ts";
import { waitFor } from "../wait.ts";
import { NetworkNamespace } from "./network_namespace.ts";

const libc = loadLibc();
const OWN = { scope: "own", sharedWith: undefined, otherGids: [] };

Deno.test("networkScope() is own for a krun alone in its network namespace, and for its servers", async () => {
  await using net = await NetworkNamespace.create();
  assert.deepEqual(networkScope(net.proc, net.pid), OWN);
  await net.serve("outer", ["tcp:10.9.0.1:80:web"]);
  assert.deepEqual(networkScope(net.proc, net.pid), OWN, "what is beyond the cable does not count");
  // The one that serves stands for krun now; the rig's own process is a stranger to it.
  const server = await net.serve("inner", ["tcp:127.0.0.1:8080:app"]);
  const { sharedWith } = networkScope(as(net.proc, server.pid), server.pid);
  assert.equal(sharedWith, `process sleep (${net.pid}) is in it`);
});

Deno.test("networkScope() takes no process of another namespace for one of its own that is about to end", async () => {
  await using net = await NetworkNamespace.create();
  const going = await Deno.makeTempFile();
  const script = 'for i in 1 2 3; do (while test -e "$0"; do ip -V; done) & done; wait';
  const busy = new Deno.Command("sh", { args: ["-c", script, going], stdin: "null", stdout: "null" }).spawn();
  const looks = Array.from({ length: 300 }, () => networkScope(net.proc, net.pid));
  await Deno.remove(going);
  await busy.status;
  assert.deepEqual(looks.filter(({ scope }) => scope !== "own"), []);
});

Deno.test("networkScope() names another process, and its groups", async () => {
  await using net = await NetworkNamespace.create();
  const server = await net.serve("inner", ["tcp:127.0.0.1:8022:sshd"], { uid: 2000, gid: 2001 });
  assert.deepEqual(networkScope(net.proc, net.pid), {
    scope: "shared",
    sharedWith: `process ${libc.procText(`/proc/${server.pid}/comm`)?.trim()} (${server.pid}) is in it`,
    otherGids: [2001],
  });
});

Deno.test("networkScope() sees the machine's own namespace as shared", () => {
  const proc: ProcReader = {
    list: (folder) => [...Deno.readDirSync(folder)].map((entry) => entry.name),
    readLink: (path) => {
      try {
        return Deno.readLinkSync(path);
      } catch {
        return undefined;
      }
    },
    readText: (path) => libc.procText(path),
  };
  assert.equal(networkScope(proc, Deno.pid).scope, "shared");
});

/** A container: PID 1 and what it starts see a /proc of their own, and share the network namespace with the rig's. */
async function container(net: NetworkNamespace, script: string): Promise<Container> {
  const flags = ["--pid", "--fork", "--kill-child", "--mount-proc"];
  const [program = "", ...args] = net.argv("inner", ["unshare", ...flags, "sh", "-c", script]);
  const child = new Deno.Command(program, { args, stdin: "null", stdout: "null" }).spawn();
  const one = await waitFor("PID 1", () => childrenOf(child.pid)[0]);
  return { one, child, [Symbol.asyncDispose]: () => end(child) };
}

interface Container extends AsyncDisposable {
  /** Its PID 1, as the machine counts. */
  readonly one: number;
  readonly child: Deno.ChildProcess;
}

async function end(child: Deno.ChildProcess): Promise<void> {
  child.kill("SIGKILL");
  await child.status;
}

function childrenOf(pid: number): number[] {
  return (libc.procText(`/proc/${pid}/task/${pid}/children`) ?? "").split(" ").filter((one) => one !== "").map(Number);
}

/** /proc as a process inside sees it; `self` is its number there. */
function inside(net: NetworkNamespace, { one }: Container, self: number): ProcReader {
  const at = (path: string) => `/proc/${one}/root${path}`;
  return {
    list: (folder) => net.proc.list(at(folder)),
    readLink: (path) => path === "/proc/self" ? `${self}` : net.proc.readLink(at(path)),
    readText: (path) => libc.procText(at(path)),
  };
}

function as(proc: ProcReader, pid: number): ProcReader {
  return { ...proc, readLink: (path) => path === "/proc/self" ? `${pid}` : proc.readLink(path) };
}

Deno.test("networkScope() sees a process of another PID namespace by its socket alone", async () => {
  await using net = await NetworkNamespace.create();
  await using mine = await container(net, "exec sleep infinity");
  await waitFor("its /proc", () => inside(net, mine, 1).readText("/proc/1/comm") === "sleep\n");
  const scope = () => networkScope(inside(net, mine, 1), 1);
  assert.deepEqual(scope(), OWN, "a process that waits for nobody cannot be seen: the limit of this");
  await net.serve("inner", ["tcp:127.0.0.1:22:sshd"]);
  assert.deepEqual(scope(), {
    scope: "shared",
    sharedWith: "socket tcp 127.0.0.1:22, of no process that krun can see, is in it",
    otherGids: [],
  });
});

Deno.test("networkScope() is own below an init that is PID 1, and shared beside another child of it", async () => {
  await using net = await NetworkNamespace.create();
  const waits = "sleep infinity & wait";
  await using alone = await container(net, `sh -c '${waits}' & wait`);
  // sh (1) started sh (2), which started sleep (3): krun is the last one.
  await waitFor("all three", () => inside(net, alone, 3).readText("/proc/3/comm") === "sleep\n");
  assert.deepEqual(networkScope(inside(net, alone, 3), 3), { ...OWN, otherGids: [0] });
  await using together = await container(net, `sleep infinity & sleep 1000000 & wait`);
  await waitFor("both", () => inside(net, together, 2).readText("/proc/3/comm") === "sleep\n");
  assert.equal(networkScope(inside(net, together, 2), 2).sharedWith, "process sleep (3) is in it");
});
