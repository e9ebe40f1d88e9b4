/** What somebody who means ill has found once about the debug SSH server, and must not find again. */
import assert from "node:assert/strict";
import * as net from "node:net";
import { join } from "node:path";
import { waitFor } from "../wait.ts";
import { holdsAgain, steadyFootprint } from "./footprint.ts";
import { freePort } from "./server_process.ts";
import { audited, runClient, SshRig } from "./ssh_rig.ts";

Deno.test("connections that are reset before they are accepted keep nobody waiting", async () => {
  await using rig = await SshRig.start();
  const resets = Array.from({ length: 60 }, () =>
    new Promise<void>((resolve) => {
      const socket = net.connect(rig.port, "127.0.0.1", () => {
        socket.resetAndDestroy();
        resolve();
      });
    }));
  await Promise.all(resets);
  const { stdout } = await rig.ssh(["echo served"], { options: ["ConnectTimeout=5"] });
  assert.equal(stdout, "served\n");
  assert.doesNotMatch(rig.krun.stderr, /cannot accept a connection/);
});

Deno.test("internal-sftp is all of SFTP, and with an option that would take something of it nothing at all", async (t) => {
  const sftp = async (rig: SshRig, line: string) => {
    const batch = join(rig.folder, "batch");
    await Deno.writeTextFile(batch, `${line}\n`);
    return await runClient(["sftp", "-q", "-b", batch, ...rig.clientArgs(), "ann@127.0.0.1"]);
  };
  await t.step("without an option it serves", async () => {
    await using rig = await SshRig.start({ sshAuth: 'command="internal-sftp" $KEY' });
    assert.equal((await sftp(rig, "ls /")).code, 0);
  });
  await t.step("-R, which forbids to write, refuses", async () => {
    await using rig = await SshRig.start({ sshAuth: 'command="internal-sftp -R" $KEY' });
    const path = join(rig.folder, "written");
    assert.notEqual((await sftp(rig, `put ${rig.key} ${path}`)).code, 0);
    assert.notEqual((await rig.ssh(["echo in"])).code, 0);
    await assert.rejects(Deno.stat(path), Deno.errors.NotFound);
    await audited(rig, /ssh session refused .*reason="internal-sftp takes no options here"/);
  });
});

Deno.test("a place where is listened already is not listened at once more, and nothing is left of it", async () => {
  await using rig = await SshRig.start();
  const before = await steadyFootprint(rig.krun.pid);
  const path = join(rig.folder, "socket");
  const remote = `${path}:127.0.0.1:1`;
  const control = join(rig.folder, "control");
  const master = rig.spawn(["-M", "-S", control, "-N", "-R", remote]);
  await audited(rig, /ssh remote forward .* at="unix /);
  await Deno.remove(path);
  const again = await runClient([
    "ssh",
    "-S",
    control,
    ...rig.clientArgs(),
    "-O",
    "forward",
    "-R",
    `${path}:127.0.0.1:2`,
    "ann@127.0.0.1",
  ]);
  assert.notEqual(again.code, 0);
  await audited(rig, /ssh remote forward refused .*reason="it is listened there already"/);
  master.kill();
  await Promise.all([master.status, master.stdin.close(), master.stdout.cancel(), master.stderr.cancel()]);
  await holdsAgain(rig.krun.pid, before);
});

Deno.test("once krun is to stop nobody new comes in, and who is in gets nothing new", async () => {
  await using rig = await SshRig.start({
    program: ["sh", "-c", 'trap "echo stopping; sleep 3; exit 4" TERM; while :; do sleep 0.1; done'],
  });
  const control = join(rig.folder, "control");
  const master = rig.spawn(["-M", "-S", control, "-N"]);
  await audited(rig, /ssh login /);
  await waitFor("the master", () => Deno.stat(control).then(() => true, () => false));
  rig.krun.kill("SIGTERM");
  await rig.krun.sees("stdout", /stopping/);
  const late = await rig.ssh(["echo in"], { options: ["ConnectTimeout=5"] });
  assert.deepEqual([late.code, late.stdout], [255, ""]);
  const more = await runClient(["ssh", "-S", control, ...rig.clientArgs(), "ann@127.0.0.1", "echo in"]);
  assert.notEqual(more.stdout, "in\n");
  assert.equal((await rig.krun.end).code, 4);
  await Promise.all([master.status, master.stdin.close(), master.stdout.cancel(), master.stderr.cancel()]);
});

Deno.test("each forwarded connection has its line at the beginning, and at the end with what it carried", async () => {
  await using rig = await SshRig.start();
  const server = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  const serving = (async () => {
    for await (const conn of server) {
      await conn.write(new TextEncoder().encode("hello"));
      conn.close();
    }
  })();
  const port = freePort();
  const client = rig.spawn(["-N", "-R", `${port}:127.0.0.1:${server.addr.port}`]);
  await audited(rig, new RegExp(`ssh remote forward .* at=127.0.0.1:${port}`));
  using conn = await Deno.connect({ hostname: "127.0.0.1", port });
  const buffer = new Uint8Array(16);
  assert.equal(await conn.read(buffer), 5);
  while (await conn.read(buffer) !== null);
  await audited(rig, new RegExp(`ssh forward user=.* at=127.0.0.1:${port} from=127\\.0\\.0\\.1:\\d+$`, "m"));
  await conn.closeWrite();
  await audited(rig, new RegExp(`ssh forward over .* at=127.0.0.1:${port} .*receivedBytes=5 sentBytes=0$`, "m"));
  client.kill();
  await Promise.all([client.status, client.stdin.close(), client.stdout.cancel(), client.stderr.cancel()]);
  server.close();
  await serving;
});
