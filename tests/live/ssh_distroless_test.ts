/** The debug SSH server of krun's binary as PID 1 of an image that has nothing else: no shell, no files but krun and the program. */
import assert from "node:assert/strict";
import { join } from "node:path";
import { NOBODY, rootFs } from "./compiled.ts";
import { makeKey, runClient } from "./ssh_rig.ts";

/** A small script for python3's own terminal: types lines into a program, each when the prompt is there, and gives what was shown. */
const TYPIST = `
import os, pty, sys
lines = sys.argv[1].split("\\n")
pid, fd = pty.fork()
if pid == 0: os.execvp(sys.argv[2], sys.argv[2:])
shown = b""
while True:
    try: piece = os.read(fd, 65536)
    except OSError: break
    if not piece: break
    shown += piece
    if lines and shown.count(b"> ") > len(sys.argv[1].split("\\n")) - len(lines):
        os.write(fd, lines.pop(0).encode() + b"\\r")
sys.stdout.buffer.write(shown)
sys.exit(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
`;

for (const uid of [0, NOBODY]) {
  Deno.test(`one can look around in an image without a shell, as user ${uid}`, async (t) => {
    const folder = await Deno.makeTempDir({ prefix: "krun-ssh-" });
    await using _removed = { [Symbol.asyncDispose]: () => Deno.remove(folder, { recursive: true }) };
    const key = await makeKey(folder, "own");
    await using root = await rootFs();
    await root.write("/etc/app/settings", "debug=true\n", { uid });
    const SSH_AUTH = await Deno.readTextFile(`${key}.pub`);
    const env = { SSH_AUTH, KRUN_SSH: "127.0.0.1:0", GREETING: "hello" };
    await using krun = root.start({ args: ["--", "/program", "wait"], env, uid });
    const [, port = ""] = await krun.sees("stderr", /ssh server listens addresses=\S*:(\d+) /);
    const options = ["BatchMode=yes", "StrictHostKeyChecking=no", "UserKnownHostsFile=/dev/null", "LogLevel=ERROR"];
    const client = ["-F", "none", "-i", key, ...[`Port=${port}`, ...options].flatMap((option) => ["-o", option])];
    const ssh = async (...command: string[]) => {
      const { code, stdout, stderr } = await runClient(["ssh", ...client, "ann@127.0.0.1", ...command]);
      return { code, stdout, stderr };
    };

    await t.step("ls, cat, env and ps are krun's own", async () => {
      assert.match((await ssh("ls /")).stdout, /^home\nkrun\n/m);
      assert.deepEqual(await ssh("cat /etc/app/settings"), { code: 0, stdout: "debug=true\n", stderr: "" });
      assert.match((await ssh("env")).stdout, /^GREETING=hello$/m);
      assert.match((await ssh("ps")).stdout, /\/program wait/);
    });
    await t.step("a program is started as it is, with its input, output and status", async () => {
      const { code } = await ssh("/program exit 7");
      assert.equal(code, 7);
    });
    await t.step("a program's end by a signal is told as such", async () => {
      const { stderr } = await ssh("/program die 15");
      assert.equal(stderr, "");
      await krun.sees("stderr", /ssh session over .*ran="\/program die 15" signal=TERM/);
    });
    await t.step("a program is not started without the terminal that it is to have", async () => {
      const { code, stdout, stderr } = await ssh("-tt", "/program exit 7");
      assert.deepEqual([code, stdout], [126, ""]);
      assert.match(stderr, /Cannot open a terminal for program "\/program"/);
    });
    await t.step("what there is not is said in a line", async () => {
      const { code, stdout, stderr } = await ssh("vim /etc/app/settings");
      assert.deepEqual([code, stdout], [127, ""]);
      assert.match(stderr, /^krun: Cannot run "vim": this image has no shell; built in are: ls, cat, env, ps, .*\n$/);
    });
    await t.step("krun's own environment is nobody's", async () => {
      const { code, stdout, stderr } = await ssh("cat /proc/self/environ /proc/1/environ");
      assert.deepEqual([code, stdout], [1, ""], stderr);
    });
    await t.step("a prompt, where one types", async () => {
      const typed = ["pwd", "cd /etc/app", "ls", "exit 5"].join("\n");
      const { code, stdout } = await runClient([
        "python3",
        "-c",
        TYPIST,
        typed,
        "ssh",
        "-tt",
        ...client,
        "ann@127.0.0.1",
      ]);
      assert.equal(code, 5, stdout);
      assert.match(stdout, /krun:\/etc\/app> ls\r\nsettings\r\n/);
    });
    for (const [protocol, options] of [["SFTP", []], ["the legacy protocol", ["-O"]]] as const) {
      await t.step(`scp carries files both ways, by ${protocol}`, async () => {
        const [there, back] = [join(folder, "there"), join(folder, "back")];
        await Deno.writeFile(there, crypto.getRandomValues(new Uint8Array(60_000)));
        const remote = "ann@127.0.0.1:/home/carried";
        assert.equal((await runClient(["scp", ...options, ...client, there, remote])).code, 0);
        assert.equal((await runClient(["scp", ...options, ...client, remote, back])).code, 0);
        assert.deepEqual(await Deno.readFile(back), await Deno.readFile(there));
      });
    }
    await t.step("what of a path only a shell could expand is named by the legacy protocol", async () => {
      const { code, stderr } = await runClient(["scp", "-O", ...client, "ann@127.0.0.1:$HOME/x", folder]);
      assert.notEqual(code, 0);
      assert.match(stderr, /krun: scp: "\$HOME\/x" is not expanded: of a path krun expands ~, /);
    });
  });
}
