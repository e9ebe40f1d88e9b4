/** The ends of the debug SSH server's sessions: clients that are killed, many at once, idle ones; and what is left of them. */
import assert from "node:assert/strict";
import { loadLibc } from "../../src/pod/libc.ts";
import { readProcesses } from "../../src/pod/process_table.ts";
import { waitFor } from "../wait.ts";
import { SSH_MESSAGE, sshMessage } from "../../src/core/ssh_messages.ts";
import { SshReader, sshString } from "../../src/core/ssh_wire.ts";
import { footprint, holdsAgain, residentBytes, steadyFootprint } from "./footprint.ts";
import { RawSshClient } from "./raw_ssh_client.ts";
import { audited, SshRig } from "./ssh_rig.ts";

const libc = loadLibc();

/** Processes of sleep(1) for so many seconds, which nobody else uses. */
function running(seconds: string): number[] {
  const isIt = (pid: number) => libc.procText(`/proc/${pid}/cmdline`) === `sleep\0${seconds}\0`;
  return readProcesses(libc).map(({ pid }) => pid).filter(isIt);
}

/** Sessions once, so that what krun loads and opens at the first one is there. */
async function warm(rig: SshRig): Promise<void> {
  await rig.ssh(["sleep 0.1"]);
  await rig.ssh(["-tt", "sleep 0.1"]);
}

Deno.test("a client that is killed takes its children along, nothing leaks, and what has left the session stays", async (t) => {
  await using rig = await SshRig.start();
  await warm(rig);
  const before = await steadyFootprint(rig.krun.pid);
  for (const tty of [false, true]) {
    await t.step(tty ? "with a terminal" : "with pipes", async () => {
      const [base, nohup, setsid] = [tty ? "7100" : "7000", tty ? "7101" : "7001", tty ? "7102" : "7002"];
      const script =
        `nohup sleep ${nohup} >/dev/null 2>&1 & setsid sleep ${setsid} >/dev/null 2>&1 & sleep ${base} & ` +
        `echo up; cat; wait`;
      const child = rig.spawn(tty ? ["-tt", script] : [script]);
      await waitFor("all of it", () => [base, nohup, setsid].every((seconds) => running(seconds).length === 1));
      child.kill("SIGKILL");
      await child.output();
      await child.stdin.close().catch(() => {});
      await waitFor("the child to be gone", () => running(base).length === 0);
      await audited(rig, /ssh session over .* gone=true/);
      assert.deepEqual([running(nohup).length, running(setsid).length], [1, 1]);
      for (const seconds of [nohup, setsid]) libc.kill(running(seconds)[0]!, 9);
      await holdsAgain(rig.krun.pid, before);
    });
  }
  await t.step("in the middle of much, both ways", async () => {
    const child = rig.spawn(["cat /dev/zero & cat >/dev/null"]);
    const feeding = new Blob([new Uint8Array(50 << 20)]).stream().pipeTo(child.stdin).catch(() => {});
    let received = 0;
    const reading = child.stdout.pipeTo(new WritableStream({ write: (bytes) => void (received += bytes.length) }));
    await waitFor("bytes", () => received > 1 << 20);
    child.kill("SIGKILL");
    await Promise.allSettled([child.status, feeding, reading, child.stderr.cancel()]);
    await holdsAgain(rig.krun.pid, before);
  });
  await t.step("one of two sessions of a connection ends without the other", async () => {
    const master = ["ControlMaster=auto", `ControlPath=${rig.folder}/cp-%C`, "ControlPersist=60"];
    await rig.ssh(["true"], { options: master });
    const [one, other] = ["7200", "7201"].map((seconds) => {
      return new Deno.Command("ssh", {
        args: [...rig.clientArgs({ options: master }), "ann@127.0.0.1", `exec sleep ${seconds}`],
        ...{ stdin: "null", stdout: "null", stderr: "null" },
      }).spawn();
    });
    await waitFor("both", () => running("7200").length + running("7201").length === 2);
    one!.kill("SIGKILL");
    await one!.status;
    await waitFor("its program to be gone", () => running("7200").length === 0);
    assert.equal(running("7201").length, 1);
    await rig.ssh(["-O", "exit", "true"], { options: master });
    await other!.status;
    await holdsAgain(rig.krun.pid, before);
  });
});

/** Runs `true` so many times over one connection, many at once. */
async function runOften(rig: SshRig, count: number): Promise<void> {
  await using client = await RawSshClient.connect(rig.port);
  await client.login(await Deno.readTextFile(rig.key));
  const runOne = async () => {
    const own = client.ask("session");
    const reader = new SshReader((await client.take(SSH_MESSAGE.channelOpenConfirmation, own)).subarray(5));
    const session = { own, peer: reader.uint32(), window: reader.uint32() };
    client.request(session, "exec", { rest: [sshString("true")] });
    await client.take(SSH_MESSAGE.channelClose, own);
    client.send(sshMessage(SSH_MESSAGE.channelClose, session.peer));
  };
  let left = count;
  await Promise.all(Array.from({ length: 30 }, async () => {
    while (left-- > 0) await runOne();
  }));
}

Deno.test("thousands of commands leave nothing open, and memory stays", async () => {
  await using rig = await SshRig.start();
  await warm(rig);
  const before = await steadyFootprint(rig.krun.pid);
  await runOften(rig, 1_500);
  const memory = residentBytes(rig.krun.pid);
  await runOften(rig, 1_500);
  await holdsAgain(rig.krun.pid, before);
  assert.equal(rig.krun.stderr.match(/ssh session over .*ran=true status=0/g)?.length, 3_000);
  const grown = residentBytes(rig.krun.pid) - memory;
  assert.ok(grown < 16 << 20, `${grown} bytes`);
});

Deno.test("200 sessions at once, over 20 connections, all served, and nothing of them left", async () => {
  await using rig = await SshRig.start();
  await warm(rig);
  const before = await steadyFootprint(rig.krun.pid);
  const memory = residentBytes(rig.krun.pid);
  const masters = Array.from({ length: 20 }, (_, at) => [
    ...["ControlMaster=auto", `ControlPath=${rig.folder}/master-${at}`, "ControlPersist=60"],
  ]);
  await Promise.all(masters.map((options) => rig.ssh(["true"], { options })));
  const clients = masters.flatMap((options) =>
    Array.from({ length: 10 }, (_, at) => rig.spawn([`echo up; read line; echo $line; exit ${at}`], { options }))
  );
  const readers = clients.map(({ stdout }) => stdout.getReader());
  const word = async (reader: ReadableStreamDefaultReader<Uint8Array>) => {
    return new TextDecoder().decode((await reader.read()).value);
  };
  for (const reader of readers) assert.equal(await word(reader), "up\n");
  assert.equal(footprint(rig.krun.pid).processes.filter((name) => name === "bash").length, 200);
  const grown = residentBytes(rig.krun.pid) - memory;
  await Promise.all(clients.map(async ({ stdin }, at) => {
    await new Blob([`line ${at}\n`]).stream().pipeTo(stdin);
  }));
  for (const [at, reader] of readers.entries()) {
    assert.equal(await word(reader), `line ${at}\n`);
    await reader.cancel();
    const { status, stderr } = clients[at]!;
    assert.equal((await status).code, at % 10);
    await stderr.cancel();
  }
  await Promise.all(masters.map((options) => rig.ssh(["-O", "exit", "true"], { options })));
  await holdsAgain(rig.krun.pid, before);
  // sshd has 5 to 8 MB for each connection.
  assert.ok(grown < 100 << 20, `${grown} bytes`);
});

Deno.test("a connection has so many sessions, and the next one is refused with a reason", async () => {
  await using rig = await SshRig.start();
  const options = ["ControlMaster=auto", `ControlPath=${rig.folder}/cp-%C`, "ControlPersist=60"];
  await rig.ssh(["true"], { options });
  const args = [...rig.clientArgs({ options }), "ann@127.0.0.1", "exec sleep 7300"];
  const stdio = { stdin: "null", stdout: "null", stderr: "null" } as const;
  const clients = Array.from({ length: 64 }, () => new Deno.Command("ssh", { args, ...stdio }).spawn());
  await waitFor("64 of them", () => running("7300").length === 64);
  // The client opens a connection of its own then, unless it has no way to log in there.
  const { code, stderr } = await rig.ssh(["true"], { options: [...options, "IdentityFile=none"], key: "/dev/null" });
  assert.equal(code, 255);
  assert.match(stderr, /Session open refused by peer/);
  await rig.ssh(["-O", "exit", "true"], { options });
  await Promise.all(clients.map(({ status }) => status));
  await waitFor("their end", () => running("7300").length === 0);
});

Deno.test("a connection over which nothing goes is ended, after its terminal was told", async () => {
  await using rig = await SshRig.start({ env: { KRUN_SSH_IDLE_TIMEOUT: "1s" } });
  await warm(rig);
  const before = await steadyFootprint(rig.krun.pid);
  const idle = rig.spawn(["-tt", "exec sleep 7400"]);
  const busy = rig.spawn(["while :; do echo .; sleep 0.3; done"]);
  const { stderr } = await idle.output();
  assert.match(new TextDecoder().decode(stderr), /krun: this connection ends: it was idle too long/);
  await audited(rig, /ssh connection ended .* reason="it was idle too long"/);
  await waitFor("its program to be gone", () => running("7400").length === 0);
  assert.equal(footprint(rig.krun.pid).processes.filter((name) => name === "bash").length, 1);
  busy.kill("SIGKILL");
  await busy.output();
  await Promise.allSettled([idle, busy].map(({ stdin }) => stdin.close()));
  await holdsAgain(rig.krun.pid, before);
});

Deno.test("when the program ends clients are told so, and who has a status already keeps it", async () => {
  await using rig = await SshRig.start({ program: ["sh", "-c", "mkfifo end && read line < end"] });
  const forwarding = rig.spawn(["-N"]);
  const sessions = [rig.spawn(["echo up; exec sleep 7500"]), rig.spawn(["-s", "sftp"])];
  await waitFor("the sessions", () => rig.krun.stderr.match(/ssh session user/g)?.length === sessions.length);
  await waitFor("all logins", () => rig.krun.stderr.match(/ssh login from/g)?.length === sessions.length + 1);
  const last = await rig.ssh(['trap "exit 0" HUP; echo > end']);
  assert.equal(last.code, 0, last.stderr);
  const said = await Promise.all([forwarding, ...sessions].map(async (client) => {
    const { stderr } = await client.output();
    await client.stdin.close().catch(() => {});
    return new TextDecoder().decode(stderr);
  }));
  assert.match(said[0]!, /^Received disconnect from 127\.0\.0\.1 port \d+:11: the program has ended\r?$/m);
  assert.equal(said[1], "krun: this session ends: the program has ended\n");
  assert.doesNotMatch(said[2]!, /krun:/);
  assert.equal((await rig.krun.end).code, 0);
});
