/** ansible, as it is installed: its shared connections, its `raw` module, and those that bring their own program along. */
import assert from "node:assert/strict";
import { join } from "node:path";
import { liveTool } from "../../scripts/live_tools.ts";
import { audited, runClient, SshRig } from "./ssh_rig.ts";

/** Text of an inventory of one host. Its login name must be one of the machine: ansible asks the shell for `~NAME`. */
function inventory(rig: SshRig): string {
  const variables = {
    ansible_host: "127.0.0.1",
    ansible_port: rig.port,
    ansible_user: "root",
    ansible_python_interpreter: "/usr/bin/python3",
    ansible_remote_tmp: join(rig.folder, "remote"),
    // All but the destination and the user.
    ansible_ssh_common_args: rig.clientArgs().join(" "),
  };
  return `krun ${Object.entries(variables).map(([name, value]) => `${name}='${value}'`).join(" ")}\n`;
}

Deno.test("ansible's modules run in the program's world", async (t) => {
  await using rig = await SshRig.start({ env: { GREETING: "hello" } });
  await Deno.writeTextFile(join(rig.folder, "inventory"), inventory(rig));
  const tool = await liveTool("ansible");
  const env = {
    ANSIBLE_HOME: join(rig.folder, "ansible"),
    ANSIBLE_SSH_CONTROL_PATH_DIR: join(rig.folder, "c"),
    ANSIBLE_NOCOLOR: "1",
  };
  const ansible = (module: string, args: string) =>
    runClient(
      [tool, "-m", "ansible", "adhoc", "-i", join(rig.folder, "inventory"), "krun", "-m", module, "-a", args],
      { env },
    );
  await t.step("raw, with its exit status", async () => {
    const { code, stdout, stderr } = await ansible("raw", 'echo "$GREETING" from "$0"');
    assert.equal(code, 0, stdout + stderr);
    assert.match(stdout, /^krun \| CHANGED \| rc=0 >>\nhello from \S+/);
    assert.match((await ansible("raw", "exit 3")).stdout, /^krun \| FAILED \| rc=3 >>/m);
  });
  await t.step("copy and fetch, by sftp", async () => {
    const [source, there, back] = ["source", "there", "back"].map((name) => join(rig.folder, name));
    const bytes = crypto.getRandomValues(new Uint8Array(50_000));
    await Deno.writeFile(source!, bytes);
    for (
      const [module, args] of [["copy", `src=${source} dest=${there}`], ["fetch", `src=${there} dest=${back} flat=yes`]]
    ) {
      const { code, stdout, stderr } = await ansible(module!, args!);
      assert.equal(code, 0, stdout + stderr);
    }
    assert.deepEqual(await Deno.readFile(back!), bytes);
    await audited(rig, /ssh session user=root .* runs=sftp/);
  });
  await t.step("all of that by one login", () => {
    assert.equal(rig.krun.stderr.match(/ssh login .*user=root/g)?.length, 1);
  });
});
