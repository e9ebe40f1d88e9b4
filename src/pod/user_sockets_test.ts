import assert from "node:assert/strict";
import { textOf } from "../../tests/session_rig.ts";
import { Workspace } from "../../tests/workspace.ts";
import { openDescriptors } from "../../tests/session_rig.ts";
import { loadLibc } from "./libc.ts";
import { ownUser } from "./user.ts";
import { ProgramSockets } from "./user_sockets.ts";

const libc = loadLibc();
const sockets = new ProgramSockets(libc, ownUser(libc));
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
});
