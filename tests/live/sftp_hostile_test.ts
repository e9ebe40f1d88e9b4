/** What clients of SFTP send that mean no good: krun's memory stays, and others are served; as root. */
import assert from "node:assert/strict";
import { join } from "node:path";
import "../load_libc.ts";
import { concatBytes, sshString, sshUint32 } from "../../src/core/ssh_wire.ts";
import { answersOf, handle, INIT, openRequest, READ, request, toldOf, uint64 } from "../sftp_client.ts";
import { waitFor } from "../wait.ts";
import { SftpRig, testSftp } from "./sftp_rig.ts";

const BOB = { uid: 54321, gid: 54321, groups: [54321] };

/** ssh(1) with the subsystem sftp, whose bytes are the test's. */
class RawClient implements AsyncDisposable {
  readonly #child: Deno.ChildProcess;
  readonly #writer: WritableStreamDefaultWriter<Uint8Array<ArrayBuffer>>;

  constructor(rig: SftpRig) {
    const args = [...rig.options("-p"), "-s", "krun@127.0.0.1", "sftp"];
    this.#child = new Deno.Command("ssh", { args, stdin: "piped", stdout: "piped", stderr: "null" }).spawn();
    this.#writer = this.#child.stdin.getWriter();
  }

  /** Resolves when the pipe to ssh(1) has room again. */
  async send(...packets: readonly Uint8Array[]): Promise<void> {
    await this.#writer.ready;
    await this.#writer.write(concatBytes(...packets));
  }

  /** Ends what is sent, and gives all that came. */
  async rest(): Promise<Uint8Array> {
    await this.#writer.close();
    return await new Response(this.#child.stdout).bytes();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    try {
      this.#child.kill("SIGKILL");
    } catch {
      // It has ended.
    }
    await this.#writer.abort().catch(() => {});
    if (!this.#child.stdout.locked) await this.#child.stdout.cancel();
    await this.#child.status;
  }
}

async function withRig(body: (rig: SftpRig, folder: string) => Promise<void>): Promise<void> {
  const folder = await Deno.makeTempDir({ prefix: "krun-hostile-" });
  await Deno.chown(folder, BOB.uid, BOB.gid);
  try {
    await using rig = await SftpRig.start({ user: BOB, cwd: folder });
    await body(rig, folder);
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
}

testSftp("a client that sends requests without end and reads no answer is held up, and others are not", async () => {
  await withRig(async (rig, folder) => {
    await Deno.truncate(join(folder, "big")).catch(() =>
      Deno.writeFile(join(folder, "big"), new Uint8Array(2 ** 20), { mode: 0o644 })
    );
    await using client = new RawClient(rig);
    await client.send(INIT, openRequest(1, "big", READ));
    await waitFor("the file to be open", () => rig.events.some(({ event }) => event === "sftp file opened"));
    const before = Deno.memoryUsage().rss;
    const reads = concatBytes(
      ...Array.from({ length: 1000 }, (_, id) => request("READ", id, handle(0, 0), sshUint32(0xffff_ffff))),
    );
    let sent = 0;
    const sending = (async () => {
      for (; sent < 2000; sent++) await client.send(reads);
    })().catch(() => {});
    const seen: number[] = [];
    // What ssh(1), both windows and the pipes hold is not endless: it takes no more for a second.
    await waitFor("no more to be taken", () => seen.push(sent) > 50 && seen.at(-50) === sent);
    assert.ok(sent > 0 && sent < 2000, `${sent * 1000} requests were taken`);
    const { code, stderr } = await rig.sftp(["pwd", "ls -l"]);
    assert.equal(code, 0, stderr);
    const grown = Deno.memoryUsage().rss - before;
    assert.ok(grown < 100e6, `${grown} bytes more`);
    await client[Symbol.asyncDispose]();
    await sending;
  });
});

testSftp("lengths that are too large, and bytes that are no SFTP, end their own channel alone", async () => {
  await withRig(async (rig) => {
    const before = Deno.memoryUsage().rss;
    const hostile = [
      sshUint32(0xffff_ffff),
      concatBytes(INIT, sshUint32(256 * 1024 + 1)),
      concatBytes(INIT, sshUint32(256 * 1024)),
      new TextEncoder().encode("GET / HTTP/1.1\r\n\r\n"),
      crypto.getRandomValues(new Uint8Array(60_000)),
    ];
    for (const bytes of hostile) {
      await using client = new RawClient(rig);
      await client.send(bytes).catch(() => {});
      await client.rest().catch(() => {});
    }
    await waitFor("all ends", () => rig.ends.length === hostile.length);
    assert.ok(rig.ends.every(({ kind }) => kind === "malformed"), JSON.stringify(rig.ends));
    assert.ok(Deno.memoryUsage().rss - before < 100e6);
  });
});

testSftp("requests that say nothing are answered one by one, and the session goes on", async () => {
  await withRig(async (rig) => {
    await using client = new RawClient(rig);
    await client.send(
      INIT,
      request("STAT", 1, sshUint32(0xffff_ffff)),
      request("OPEN", 2, sshString("x".repeat(200_000)), sshUint32(1), sshUint32(0)),
      request("READ", 3, handle(12345, 0), sshUint32(1)),
      request("WRITE", 4, sshString(new Uint8Array(100_000)), uint64(0), sshString("x")),
      request("STAT", 5, sshString("a\0b")),
      request("REALPATH", 6, sshString("/")),
    );
    const told = answersOf(await client.rest()).slice(1).map(toldOf);
    assert.deepEqual(told, ["status 5", "status 4", "status 4", "status 4", "status 4", "name /"]);
  });
});
