import assert from "node:assert/strict";
import { textOf } from "../../tests/session_rig.ts";
import { Workspace } from "../../tests/workspace.ts";
import { openDescriptors } from "../../tests/session_rig.ts";
import { AT_FDCWD, loadLibc, O_RDONLY } from "./libc.ts";
import { ownUser } from "./user.ts";
import { ProgramSockets } from "./user_sockets.ts";

const libc = loadLibc();
const user = ownUser(libc);
const sockets = new ProgramSockets(libc, { user, cwd: "/" });
const bytes = (text: string) => new TextEncoder().encode(text);

Deno.test("connectUnix() and listenUnix() carry bytes both ways, half-closed too", async () => {
  await using folder = await Workspace.create();
  const path = folder.path("socket");
  // Warm: the first wait of all opens what waits.
  await waitOnce(path);
  const before = openDescriptors();
  const listener = sockets.listenUnix(path);
  const accepted = listener.accept();
  const near = await sockets.connectUnix(path);
  const far = (await accepted)!;
  assert.equal(Deno.lstatSync(path).mode! & 0o777, 0o600);
  const much = new Uint8Array(1 << 20).fill(120);
  const sent = near.input.write(much).then(() => near.input.end());
  assert.equal((await textOf(far.output)).length, much.length);
  await sent;
  assert.equal(await far.input.write(bytes("back")), true);
  far.close();
  assert.equal(await textOf(near.output), "back");
  assert.equal(await near.input.write(bytes("x")), false);
  near.close();
  near.close();
  const last = listener.accept();
  listener.close();
  assert.equal(await last, undefined);
  assert.deepEqual(openDescriptors(), before);
});

async function waitOnce(path: string): Promise<void> {
  const listener = sockets.listenUnix(path);
  const accepted = listener.accept();
  listener.close();
  await accepted;
}

Deno.test("close() removes the socket's file, and nothing else that stands there by then", async () => {
  await using folder = await Workspace.create();
  const path = folder.path("socket");
  await waitOnce(path);
  assert.deepEqual([...Deno.readDirSync(folder.path())], []);
  const listener = sockets.listenUnix(path);
  Deno.removeSync(path);
  Deno.writeTextFileSync(path, "precious");
  listener.close();
  assert.equal(Deno.readTextFileSync(path), "precious");
});

Deno.test("connectUnix() waits for room in a full queue, and is there when somebody accepts", async () => {
  await using folder = await Workspace.create();
  const path = folder.path("socket");
  const listener = sockets.listenUnix(path);
  const near = Array.from({ length: 200 }, () => sockets.connectUnix(path));
  for (let count = 0; count < near.length; count++) (await listener.accept())!.close();
  for (const connection of await Promise.all(near)) connection.close();
  listener.close();
});

Deno.test("connectUnix() and listenUnix() say why not", async () => {
  await using folder = await Workspace.create();
  const path = folder.path("socket");
  await assert.rejects(sockets.connectUnix(path), { message: "there is no such file" });
  Deno.writeTextFileSync(path, "");
  await assert.rejects(sockets.connectUnix(path), { message: "nobody listens there" });
  assert.throws(() => sockets.listenUnix(path), { message: "there is a file already: remove it first" });
  await assert.rejects(sockets.connectUnix(`${path}\0`), { message: "that is no path of a socket" });
  await assert.rejects(sockets.connectUnix(""), { message: "that is no path of a socket" });
  assert.throws(() => sockets.listenUnix(`/${"x".repeat(107)}`), { message: "the path is longer than 107 bytes" });
  assert.throws(() => sockets.listenUnix(`/nowhere/socket`), { message: "there is no such file" });
  const before = openDescriptors();
  for (const name of [folder.path(), "/", folder.path(".")]) {
    await assert.rejects(sockets.connectUnix(name), { message: "nobody listens there" });
    assert.throws(() => sockets.listenUnix(name), { message: "there is a file already: remove it first" });
  }
  const long = `/tmp/${"x".repeat(86)}`;
  assert.throws(() => sockets.listenUnix(long), { message: "the name is longer than 85 bytes" });
  await assert.rejects(sockets.connectUnix(long), { message: "there is no such file" });
  assert.deepEqual(openDescriptors(), before);
});

/** Runs the test by openat2(2) and name by name, with a relative path's beginning at the folder. */
function testPaths(name: string, body: (sockets: ProgramSockets, folder: Workspace) => void | Promise<void>): void {
  for (const atOnce of [true, false]) {
    Deno.test(`ProgramSockets ${name} (${atOnce ? "openat2" : "name by name"})`, async () => {
      await using folder = await Workspace.create();
      await body(new ProgramSockets(libc, { user, cwd: folder.path(), atOnce }), folder);
    });
  }
}

testPaths("go through no link of a process, which would be krun's own", async (sockets, folder) => {
  using listener = Deno.listen({ transport: "unix", path: folder.path("there") });
  const fd = libc.open(folder.path(), O_RDONLY);
  Deno.symlinkSync("/proc/self", folder.path("self"));
  Deno.symlinkSync(`/proc/self/root${folder.path()}/there`, folder.path("link"));
  const ways = [
    ...["self", "thread-self", `${Deno.pid}`, "self/task/../../self"].flatMap((process) => [
      `/proc/${process}/root${folder.path()}`,
      `/proc/${process}/fd/${fd}`,
    ]),
    ...[`/dev/fd/${fd}`, folder.path(`self/fd/${fd}`), `self/fd/${fd}`],
  ];
  const denied = { message: "permission denied" };
  for (const way of ways) {
    // The control: krun itself gets there.
    assert.equal(libc.attempt("faccessat", AT_FDCWD, way.startsWith("/") ? way : folder.path(way), 0), 0, way);
    await assert.rejects(sockets.connectUnix(`${way}/there`), denied, way);
    assert.throws(() => sockets.listenUnix(`${way}/made`), denied, way);
  }
  await assert.rejects(sockets.connectUnix("link"), denied);
  assert.throws(() => Deno.lstatSync(folder.path("made")), Deno.errors.NotFound);
  libc.call("close", fd);
  (await sockets.connectUnix("there")).close();
  (await listener.accept()).close();
});

testPaths("follow the links of other file systems, and begin where the program does", async (sockets, folder) => {
  Deno.mkdirSync(folder.path("real"));
  Deno.symlinkSync("real", folder.path("folder"));
  Deno.symlinkSync("folder/socket", folder.path("link"));
  const listener = sockets.listenUnix("folder/socket");
  assert.equal(Deno.lstatSync(folder.path("real/socket")).isSocket, true);
  assert.throws(() => sockets.listenUnix("link"), { message: "there is a file already: remove it first" });
  for (const path of ["link", folder.path("link"), folder.path("folder/../folder/socket"), "real/socket"]) {
    const accepted = listener.accept();
    (await sockets.connectUnix(path)).close();
    (await accepted)!.close();
  }
  listener.close();
  assert.deepEqual([...Deno.readDirSync(folder.path("real"))], []);
});

testPaths(
  "remove the file of a listener by no link of a process that has taken its folder's place",
  async (sockets, folder) => {
    Deno.mkdirSync(folder.path("real"));
    for (const [to, remains] of [["moved", 0], [`/proc/self/root${folder.path("moved")}`, 1]] as const) {
      const listener = sockets.listenUnix("real/socket");
      Deno.renameSync(folder.path("real"), folder.path("moved"));
      Deno.symlinkSync(to, folder.path("real"));
      listener.close();
      assert.equal([...Deno.readDirSync(folder.path("moved"))].length, remains, to);
      Deno.removeSync(folder.path("real"));
      Deno.renameSync(folder.path("moved"), folder.path("real"));
    }
    await Promise.resolve();
  },
);
