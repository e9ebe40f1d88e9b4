import assert from "node:assert/strict";
import { join } from "node:path";
import "../../tests/load_libc.ts";
import { fewDescriptors } from "../../tests/few_descriptors.ts";
import { MemoryChannel } from "../../tests/memory_channel.ts";
import { RecordingLog } from "../../tests/recording_log.ts";
import { SessionRig, TERMINAL, textOf } from "../../tests/session_rig.ts";
import { answersOf, handle, INIT, openRequest, READ, request, toldOf } from "../../tests/sftp_client.ts";
import { waitFor } from "../../tests/wait.ts";
import { accountNames } from "../core/account_names.ts";
import { parseScpCommand } from "../core/scp_command.ts";
import { sshString } from "../core/ssh_wire.ts";
import { FileFault } from "../core/user_files.ts";
import { systemClock } from "../pod/clock.ts";
import { loadLibc } from "../pod/libc.ts";
import { ownUser } from "../pod/user.ts";
import { userFiles } from "../pod/user_files.ts";
import { budgetedFiles, budgetedStarter } from "./descriptor_budget.ts";
import { serveScp } from "./scp_server.ts";
import { serveSftp } from "./sftp_server.ts";

const libc = loadLibc();
const accounts = accountNames({ passwd: "", group: "" });

/** A folder with a file in a folder, and a budget. */
function scene(count: number) {
  const folder = Deno.realPathSync(Deno.makeTempDirSync({ prefix: "krun-budget-" }));
  Deno.mkdirSync(join(folder, "d"));
  Deno.writeTextFileSync(join(folder, "d", "x"), "hi");
  const budget = fewDescriptors(count);
  const files = budgetedFiles(userFiles(libc, { user: ownUser(libc), cwd: folder }), budget.take);
  const sftp = { files, home: folder, accounts, clock: systemClock, audit: () => {} };
  return { budget, files, sftp, folder, [Symbol.dispose]: () => Deno.removeSync(folder, { recursive: true }) };
}

Deno.test("budgetedFiles(): SFTP opens no more than there is left, and each one closed makes room", async () => {
  using at = scene(2);
  const channel = new MemoryChannel();
  const openFolder = (id: number) => request("OPENDIR", id, sshString("d"));
  const packets = [openRequest(1, "d/x", READ), openFolder(2), openRequest(3, "d/x", READ), openFolder(4)];
  channel.send(INIT, ...packets, request("CLOSE", 5, handle(0)), openRequest(6, "d/x", READ), undefined);
  assert.deepEqual(await serveSftp(channel, at.sftp), { kind: "ended" });
  const answers = answersOf(channel.bytes()).slice(1);
  const FAILURE = "status 4";
  assert.deepEqual(answers.map(toldOf), ["handle 0", "handle 1", FAILURE, FAILURE, "status 0", "handle 2"]);
  assert.match(new TextDecoder().decode(answers[2]!.rest), /Too many open files/);
  assert.equal(at.budget.taken, 0);
});

Deno.test("budgetedFiles(): a client of SFTP that is cut off gives all back", async () => {
  using at = scene(3);
  const channel = new MemoryChannel();
  const end = serveSftp(channel, at.sftp);
  channel.send(INIT, openRequest(1, "d/x", READ), openRequest(2, "d/x", READ));
  await waitFor("both", () => at.budget.taken === 2);
  channel.reset();
  assert.deepEqual(await end, { kind: "cut" });
  assert.equal(at.budget.taken, 0);
});

Deno.test("budgetedFiles(): what cannot be opened takes nothing, and closing twice gives back once", () => {
  using at = scene(1);
  assert.throws(() => at.files.open("none", { read: true }), FileFault);
  assert.throws(() => at.files.openFolder("d/x"), FileFault);
  assert.equal(at.budget.taken, 0);
  const file = at.files.open("d/x", { read: true });
  assert.equal(at.budget.taken, 1);
  file.close();
  file.close();
  assert.equal(at.budget.taken, 0);
});

Deno.test("budgetedFiles(): scp says which file it could not open, and carries the rest", async () => {
  using at = scene(1);
  for (const [line, said] of [["scp -r -f d", "\0".repeat(8)], ["scp -t y", "C0644 2 y\nhi\0"]] as const) {
    const channel = new MemoryChannel();
    const { files, budget } = at;
    channel.send(new TextEncoder().encode(said), undefined);
    await serveScp(channel, {
      ...{ command: parseScpCommand(line)!, files, clock: systemClock, home: () => undefined, audit: () => {} },
    });
    // The one that there is left is the folder's.
    if (line.includes("-f")) assert.match(channel.text(), /scp: d\/x: Too many open files\n/);
    else assert.equal(channel.text(), "\0\0\0");
    assert.equal(budget.taken, 0);
  }
});

Deno.test("budgetedStarter() takes three for pipes and two for a terminal, until the program's end is seen", async () => {
  await using rig = new SessionRig();
  const [budget, log] = [fewDescriptors(5), new RecordingLog()];
  const starter = budgetedStarter(rig.sessions, { take: budget.take, log });
  const spec = { argv: ["cat"], env: { PATH: "/usr/bin:/bin" }, cwd: "/" } as const;
  const piped = starter.start(spec);
  assert.equal(budget.taken, 3);
  assert.throws(() => starter.start(spec), {
    code: "Internal",
    message: 'Cannot start program "cat": too many files are open',
  });
  assert.deepEqual([budget.taken, log.events], [3, ["warn ssh session's program refused"]]);
  const shown = starter.start({ ...spec, terminal: TERMINAL });
  assert.equal(budget.taken, 5);
  await shown.hangUp({ graceMs: 1000 });
  assert.equal(budget.taken, 3);
  piped.input.end();
  await Promise.all([textOf(piped.output), piped.ended]);
  piped.close();
  piped.close();
  assert.equal(budget.taken, 0);
  assert.throws(() => starter.start({ ...spec, argv: ["krun-no-such"] }), { code: "ProgramNotFound" });
  assert.equal(budget.taken, 0);
});
