/** Sessions of the debug SSH server, with OpenSSH's own client: commands, shells, their environment and their end. */
import assert from "node:assert/strict";
import { SshRig } from "./ssh_rig.ts";

Deno.test("a command runs as with sshd: its output, its input, its status", async (t) => {
  await using rig = await SshRig.start({ env: { GREETING: "from the program's world" } });
  await t.step("standard output and error are apart, and the status is the command's", async () => {
    const { code, stdout, stderr } = await rig.ssh(["echo out; echo err >&2; exit 3"]);
    assert.deepEqual({ code, stdout, stderr }, { code: 3, stdout: "out\n", stderr: "err\n" });
  });
  await t.step("the end of the input is the command's", async () => {
    const { code, stdout } = await rig.ssh(["cat; echo over"], { input: "some\nlines\n" });
    assert.deepEqual([code, stdout], [0, "some\nlines\nover\n"]);
  });
  await t.step("the program's environment, and not krun's own", async () => {
    const { stdout } = await rig.ssh(["env"]);
    assert.match(stdout, /^GREETING=from the program's world$/m);
    assert.doesNotMatch(stdout, /^(?:SSH_AUTH|KRUN_SSH)=/m);
  });
});
