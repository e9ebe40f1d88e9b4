/**
 * What root's krun does for sessions of an ordinary user with sockets and ports, from source and compiled: each attack beside its
 * control. Needs root.
 *
 * @module
 */
import assert from "node:assert/strict";
import { join } from "node:path";
import { SSH_MESSAGE } from "../../src/core/ssh_messages.ts";
import { sshString, sshUint32 } from "../../src/core/ssh_wire.ts";
import { waitFor } from "../wait.ts";
import { RawSshClient } from "./raw_ssh_client.ts";
import { echo, Forwarding, freePort, serveUnix } from "./ssh_forward_rig.ts";
import { audited, SshRig } from "./ssh_rig.ts";

const USER = 54321;

/** A folder with one of root's and one of the user's inside. */
async function folders(): Promise<{ path(...names: string[]): string; [Symbol.asyncDispose](): Promise<void> }> {
  const root = await Deno.makeTempDir({ prefix: "krun-ssh-sockets-" });
  await Deno.chmod(root, 0o755);
  for (const [name, uid] of [["user", USER], ["root", 0]] as const) {
    await Deno.mkdir(join(root, name));
    await Deno.chown(join(root, name), uid, uid);
  }
  return {
    path: (...names) => join(root, ...names),
    [Symbol.asyncDispose]: () => Deno.remove(root, { recursive: true }),
  };
}

async function refusesListen(rig: SshRig, forward: string): Promise<void> {
  const options = ["ExitOnForwardFailure=yes"];
  const { code, stderr } = await rig.ssh(["-R", forward, "true"], { options });
  assert.equal(code, 255, forward);
  assert.match(stderr, /remote port forwarding failed/);
}

/** The test. */
export async function userForwards(t: Deno.TestContext): Promise<void> {
  await using rig = await SshRig.start({ env: { KRUN_RUN_AS: `${USER}` } });
  await using own = await SshRig.start();
  await using found = await folders();
  const { path } = found;
  const say = async (where: SshRig, socket: string) => {
    const at = path(`to-${crypto.randomUUID()}`);
    await using _ssh = await Forwarding.start(where, ["-L", `${at}:${socket}`], { local: at });
    using conn = await Deno.connect({ transport: "unix", path: at });
    await conn.write(new TextEncoder().encode("hello"));
    const buffer = new Uint8Array(5);
    // What was refused is ended, or reset because of the word that nobody read.
    const count = await conn.read(buffer).catch(() => null);
    return count === null ? undefined : new TextDecoder().decode(buffer);
  };
  await t.step("a socket that only root may connect to is refused, and root's session may", async () => {
    await using _server = serveUnix(path("root", "socket"), echo);
    await Deno.chmod(path("root", "socket"), 0o600);
    assert.equal(await say(rig, path("root", "socket")), undefined);
    await audited(rig, /ssh forward refused .* reason="?permission denied/);
    assert.equal(await say(own, path("root", "socket")), "hello");
  });
  await t.step("one of the user's own is led to, as that user", async () => {
    await using _server = serveUnix(path("user", "socket"), echo);
    await Deno.chown(path("user", "socket"), USER, USER);
    await Deno.chmod(path("user", "socket"), 0o600);
    assert.equal(await say(rig, path("user", "socket")), "hello");
  });
  await t.step("no socket is made where the user may not, and one that is made is the user's", async () => {
    const at = (where: string) => path(where, "made");
    await refusesListen(rig, `${at("root")}:/nowhere`);
    await using _ssh = await Forwarding.start(rig, ["-R", `${at("user")}:/nowhere`]);
    const stat = await waitFor("the socket", () => Deno.lstatSync(at("user")));
    assert.deepEqual([stat.uid, stat.mode! & 0o777], [USER, 0o600]);
    await using _own = await Forwarding.start(own, ["-R", `${at("root")}:/nowhere`]);
    assert.equal((await waitFor("root's socket", () => Deno.lstatSync(at("root")))).uid, 0);
  });
  await t.step("the end of a forward removes nothing of root's, wherever its path leads by then", async () => {
    const precious = path("root", "precious");
    await Deno.writeTextFile(precious, "of root");
    const ssh = await Forwarding.start(rig, ["-R", `${path("user", "precious")}:/nowhere`]);
    await waitFor("the socket", () => Deno.lstatSync(path("user", "precious")));
    // As the user could: the folder is replaced by a link to root's.
    await Deno.rename(path("user"), path("moved"));
    await Deno.symlink(path("root"), path("user"));
    await ssh[Symbol.asyncDispose]();
    await waitFor("its end", () => /ssh logout/.exec(rig.krun.stderr.slice(rig.krun.stderr.lastIndexOf("precious"))));
    // What krun does at that end is done when it serves the next one.
    assert.equal((await rig.ssh(["echo served"])).stdout, "served\n");
    assert.equal(await Deno.readTextFile(precious), "of root");
  });
  await t.step("a privileged port is refused, another is not, and root's session may have it", async () => {
    const privileged = await waitFor("a free one", () => {
      const port = 600 + Math.floor(Math.random() * 400);
      Deno.listen({ hostname: "127.0.0.1", port }).close();
      return port;
    });
    await refusesListen(rig, `${privileged}:127.0.0.1:1`);
    await audited(rig, /ssh remote forward refused .* reason="the program's user may not listen on that port"/);
    for (const [where, port] of [[rig, freePort()], [own, privileged]] as const) {
      const options = ["ExitOnForwardFailure=yes"];
      assert.equal((await where.ssh(["-R", `${port}:127.0.0.1:1`, "true"], { options })).code, 0);
    }
  });
  await t.step(
    "krun's own working directory and files lead no user past a folder that is shut",
    () => pastAFolder(path),
  );
}

async function login(rig: SshRig): Promise<RawSshClient> {
  const client = await RawSshClient.connect(rig.port);
  await client.login(await Deno.readTextFile(rig.key));
  return client;
}

/** Whether krun says yes, by the types of both of its answers. */
async function says(client: RawSshClient, [yes, no]: readonly [number, number]): Promise<boolean> {
  return await waitFor("an answer", () => {
    const at = client.received.findIndex(([type]) => type === yes || type === no);
    return at < 0 ? undefined : client.received.splice(at, 1)[0];
  }).then(([type]) => type === yes);
}

/** Whether a client is led to a socket. */
async function opens(client: RawSshClient, socket: string): Promise<boolean> {
  client.ask("direct-streamlocal@openssh.com", { rest: [sshString(socket), sshString(""), sshUint32(0)] });
  return await says(client, [SSH_MESSAGE.channelOpenConfirmation, SSH_MESSAGE.channelOpenFailure]);
}

/** Whether krun listens on a socket for a client. */
async function listens(client: RawSshClient, socket: string): Promise<boolean> {
  const wantsReply = Uint8Array.of(1);
  const name = sshString("streamlocal-forward@openssh.com");
  client.send(Uint8Array.of(SSH_MESSAGE.globalRequest), name, wantsReply, sshString(socket));
  return await says(client, [SSH_MESSAGE.requestSuccess, SSH_MESSAGE.requestFailure]);
}

/** krun's working directory is one that everybody may write to, in one that is root's alone from when the program runs. */
async function pastAFolder(path: (...names: string[]) => string): Promise<void> {
  const [shut, cwd] = [path("shut"), path("shut", "cwd")];
  await Deno.mkdir(cwd, { recursive: true });
  await Deno.chmod(cwd, 0o777);
  await using rig = await SshRig.start({ cwd, env: { KRUN_RUN_AS: `${USER}` } });
  await Deno.chmod(shut, 0o700);
  await using _server = serveUnix(join(cwd, "socket"), echo);
  await Deno.chmod(join(cwd, "socket"), 0o777);
  await using client = await login(rig);
  const ways = [
    ...["self", "thread-self", `${rig.krun.pid}`].flatMap((process) => [`${process}/cwd`, `${process}/root${cwd}`]),
    ...[...Deno.readDirSync(`/proc/${rig.krun.pid}/fd`)].slice(0, 5).map(({ name }) => `self/fd/${name}`),
  ].map((way) => `/proc/${way}/`);
  for (const way of [...ways, `${cwd}/`, ""]) {
    assert.equal(await opens(client, `${way}socket`), false, way);
    assert.equal(await listens(client, `${way}made`), false, way);
  }
  await assert.rejects(Deno.lstat(join(cwd, "made")), Deno.errors.NotFound);
  // The control: where the user may go, all of it is there.
  await Deno.chmod(shut, 0o755);
  for (const way of [`${cwd}/`, ""]) assert.equal(await opens(client, `${way}socket`), true, way);
  assert.equal(await listens(client, "made"), true);
  assert.equal((await Deno.lstat(join(cwd, "made"))).uid, USER);
}
