/** Sessions of the debug SSH server, with OpenSSH's own client: commands, their environment, their streams and their end. */
import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { join } from "node:path";
import { sshString } from "../../src/core/ssh_wire.ts";
import { unlessItHangs, waitFor } from "../wait.ts";
import { residentBytes } from "./footprint.ts";
import { RawSshClient } from "./raw_ssh_client.ts";
import { audited, SshRig } from "./ssh_rig.ts";

/** Bytes that nothing compresses, and of which no two pieces are the same. */
const MUCH = new Uint8Array(100 << 20);
for (let at = 0; at < MUCH.length; at += 65536) crypto.getRandomValues(MUCH.subarray(at, at + 65536));

function digest(bytes: Uint8Array): string {
  return createHash("sha256").update(bytes).digest("hex");
}

Deno.test("a command runs as with sshd: its output, its input, its status", async (t) => {
  await using rig = await SshRig.start();
  await t.step("standard output and error are apart, and the status is the command's", async () => {
    const { code, stdout, stderr } = await rig.ssh(["echo out; echo err >&2; exit 3"]);
    assert.deepEqual({ code, stdout, stderr }, { code: 3, stdout: "out\n", stderr: "err\n" });
    await audited(rig, /info ssh session user=ann .*runs="echo out; echo err >&2; exit 3"/);
    await audited(rig, /info ssh session over user=ann .* status=3/);
  });
  await t.step("the end of the input is the command's", async () => {
    const { code, stdout } = await rig.ssh(["cat; echo over"], { input: "some\nlines\n" });
    assert.deepEqual([code, stdout], [0, "some\nlines\nover\n"]);
  });
  await t.step("a command that reads no input ends, however much there is", async () => {
    const { code, stdout } = await rig.ssh(["head -c 4; exec <&-; sleep 0.2; exit 6"], {
      input: MUCH.subarray(0, 8 << 20),
    });
    assert.deepEqual([code, stdout.length > 0], [6, true]);
  });
  await t.step("a program whose output nobody reads any more is told so", async () => {
    // As in `ssh HOST yes | head`: the shell says how it ended.
    const child = rig.spawn(["yes; test $? = 141 && exit 9"]);
    await child.stdin.close();
    const reader = child.stdout.getReader();
    await reader.read();
    await reader.cancel();
    const [, { code }] = await unlessItHangs(
      "ssh to end",
      Promise.all([child.stderr.cancel(), child.status]),
      { seen: () => rig.krun.stderr },
    );
    assert.equal(code, 9);
  });
  await t.step("a command with bytes that are no UTF-8", async () => {
    await using client = await RawSshClient.connect(rig.port);
    await client.login(await Deno.readTextFile(rig.key));
    const session = await client.openSession();
    const command = new Uint8Array([..."printf %s '"].map((char) => char.charCodeAt(0)).concat([0xff, 0xe4, 0x27]));
    const piped = new TextEncoder().encode(" | od -An -tx1");
    client.request(session, "exec", { rest: [sshString(new Uint8Array([...command, ...piped]))] });
    assert.deepEqual(await client.exited(), { status: 0 });
    assert.equal(client.output, " ff e4\n");
  });
  await t.step("a program that is not there, and one that cannot be started", async () => {
    const { code, stderr } = await rig.ssh(["krun-no-such-program"]);
    assert.equal(code, 127);
    assert.match(stderr, /not found/);
  });
  await t.step("a program that ends by a signal", async () => {
    await using client = await RawSshClient.connect(rig.port);
    await client.login(await Deno.readTextFile(rig.key));
    await client.exec("kill -USR1 $$");
    assert.deepEqual(await client.exited(), { signal: "USR1" });
    await audited(rig, /ssh session over .* signal=USR1/);
    assert.equal((await rig.ssh(["kill -KILL $$"])).code, 255);
  });
  await t.step("a signal that the client sends reaches the whole group, and no unknown one does", async () => {
    await using client = await RawSshClient.connect(rig.port);
    await client.login(await Deno.readTextFile(rig.key));
    const session = await client.exec(
      `sh -c 'trap "echo child" TERM; echo up; sleep 9 & wait' & trap "wait; exit 4" TERM; wait`,
    );
    await waitFor("it to be up", () => client.output.includes("up"));
    client.request(session, "signal", { rest: [sshString("NONSENSE")] });
    client.request(session, "signal", { rest: [sshString("TERM")] });
    assert.deepEqual(await client.exited(), { status: 4 });
    assert.equal(client.output, "up\nchild\n");
  });
  await t.step("a subsystem that is none is refused, and the log says so", async () => {
    assert.equal((await rig.ssh(["-s", "bogus"])).code, 255);
    await audited(
      rig,
      /info ssh request refused user=ann .*request=subsystem reason="there is no subsystem \\"bogus\\""/,
    );
  });
  await t.step("only one program a session, and nothing is changed once it runs", async () => {
    await using client = await RawSshClient.connect(rig.port);
    await client.login(await Deno.readTextFile(rig.key));
    const session = await client.exec("sleep 0.2; exit 5");
    const later = { exec: [sshString("exit 9")], shell: [], env: [sshString("LANG"), sshString("C")] };
    for (const [type, rest] of Object.entries(later)) client.request(session, type, { rest, wantsReply: true });
    for (const _ of Object.keys(later)) await client.take(100);
    assert.deepEqual(await client.exited(), { status: 5 });
  });
});

Deno.test("much goes through a command whole, both ways at once, and for a program that reads slowly", async (t) => {
  await using rig = await SshRig.start();
  const sent = digest(MUCH);
  await t.step("100 MiB there", async () => {
    const { code, stdout } = await rig.ssh(["sha256sum"], { input: MUCH });
    assert.deepEqual([code, stdout], [0, `${sent}  -\n`]);
  });
  const path = join(rig.folder, "much");
  await Deno.writeFile(path, MUCH);
  await t.step("100 MiB back, and 20 MiB of error beside it", async () => {
    const child = rig.spawn([`head -c ${20 << 20} ${path} >&2 & cat ${path}; wait`]);
    child.stdin.close();
    const { stdout, stderr } = await child.output();
    assert.deepEqual([digest(stdout), digest(stderr)], [sent, digest(MUCH.subarray(0, 20 << 20))]);
  });
  await t.step("both ways through cat, of which neither waits for the other", async () => {
    const child = rig.spawn(["cat"]);
    const feeding = new Blob([MUCH.subarray(0, 30 << 20)]).stream().pipeTo(child.stdin);
    const { stdout } = await child.output();
    await feeding;
    assert.equal(digest(stdout), digest(MUCH.subarray(0, 30 << 20)));
  });
  await t.step(
    "a program that does not read stops the client, krun holds no more than a window, and all goes on",
    async () => {
      const before = residentBytes(rig.krun.pid);
      const child = rig.spawn([`while ! test -e ${rig.folder}/go; do sleep 0.05; done; sha256sum`]);
      const output = child.output();
      const writer = child.stdin.getWriter();
      let [written, since] = [0, performance.now()];
      const feeding = (async () => {
        for (; written < 40 << 20; written += 65536, since = performance.now()) {
          await writer.write(MUCH.subarray(written, written + 65536));
        }
        await writer.close();
      })();
      await waitFor("the client to stop", () => performance.now() - since > 500);
      assert.ok(written < 16 << 20, `${written}`);
      assert.ok(residentBytes(rig.krun.pid) - before < 24 << 20);
      await Deno.writeTextFile(`${rig.folder}/go`, "");
      await feeding;
      const { stdout } = await output;
      assert.equal(new TextDecoder().decode(stdout), `${digest(MUCH.subarray(0, 40 << 20))}  -\n`);
    },
  );
});

Deno.test("a client that stops reading stops the program, and krun's memory does not grow", async () => {
  await using rig = await SshRig.start();
  await rig.ssh(["head -c 50000000 /dev/zero"]);
  const before = residentBytes(rig.krun.pid);
  const COUNT = 200_000_000;
  const child = rig.spawn([`echo $$ >${rig.folder}/pid; exec head -c ${COUNT} /dev/zero`]);
  child.stdin.close();
  let received = 0;
  const reading = child.stdout.pipeTo(new WritableStream({ write: (bytes) => void (received += bytes.length) }));
  await waitFor("bytes", () => received > 0);
  child.kill("SIGSTOP");
  const pid = Number(await Deno.readTextFile(`${rig.folder}/pid`));
  const written = () => Number(/^wchar: (\d+)$/m.exec(Deno.readTextFileSync(`/proc/${pid}/io`))![1]);
  let [last, since] = [-1, 0];
  await waitFor("the program to wait", () => {
    if (written() !== last) [last, since] = [written(), performance.now()];
    return performance.now() - since > 500;
  });
  assert.ok(last < COUNT, "it has written everything");
  assert.ok(residentBytes(rig.krun.pid) - before < 24 << 20, `${residentBytes(rig.krun.pid) - before}`);
  // Others are served meanwhile.
  assert.equal((await rig.ssh(["echo other"])).stdout, "other\n");
  child.kill("SIGCONT");
  await reading;
  assert.equal(received, COUNT);
  assert.equal((await child.status).code, 0);
  await child.stderr.cancel();
});

Deno.test("what other programs do over ssh", async (t) => {
  await using rig = await SshRig.start();
  const there = join(rig.folder, "there");
  await Deno.mkdir(there);
  await t.step("rsync, both ways", async () => {
    const here = join(rig.folder, "here");
    await Deno.mkdir(join(here, "deep"), { recursive: true });
    await Deno.writeFile(join(here, "deep", "file"), MUCH.subarray(0, 5 << 20));
    await Deno.symlink("deep/file", join(here, "link"));
    const shell = ["ssh", ...rig.clientArgs()].join(" ");
    const rsync = async (...paths: string[]) => {
      const { code, stderr } = await new Deno.Command("rsync", { args: ["-a", "-e", shell, ...paths] }).output();
      assert.equal(code, 0, new TextDecoder().decode(stderr));
    };
    await rsync(`${here}/`, `ann@127.0.0.1:${there}/`);
    await rsync(`ann@127.0.0.1:${there}/`, `${here}2/`);
    assert.equal(digest(await Deno.readFile(join(`${here}2`, "link"))), digest(MUCH.subarray(0, 5 << 20)));
  });
  await t.step("ansible's raw module with pipelining: a shell with its script on standard input", async () => {
    const script = `printf 'BECOME-SUCCESS\\n'; cat /proc/self/comm; exit 3\n`;
    const options = ["ControlMaster=auto", `ControlPath=${rig.folder}/cp-%C`, "ControlPersist=5"];
    for (let round = 0; round < 3; round++) {
      const { code, stdout } = await rig.ssh([`/bin/sh -c 'exec sh'`], { input: script, options });
      assert.deepEqual([code, stdout], [3, "BECOME-SUCCESS\ncat\n"]);
    }
    await rig.ssh(["-O", "exit", "true"], { options });
  });
  await t.step("VS Code's: bash without a terminal, with a script that starts a server which stays", async () => {
    const script = `echo start; nohup sleep 3600 >/dev/null 2>&1 & echo "pid==$!"\nexit 0\n`;
    const { code, stdout } = await rig.ssh(["bash"], { input: script });
    assert.equal(code, 0);
    const pid = Number(/pid==(\d+)/.exec(stdout)![1]);
    assert.equal((await rig.ssh([`kill -0 ${pid} && kill ${pid}; echo $?`])).stdout, "0\n");
  });
});
