/**
 * What an editor such as VS Code does over SSH, with OpenSSH's own client: `ssh -T -D PORT HOST sh`, a script on its standard input that
 * starts a server in the background unless there is one, markers in the output, and connections to the server by the same ssh.
 * Needs openssh-client, python3.
 */
import assert from "node:assert/strict";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { loadLibc } from "../../src/pod/libc.ts";
import { waitFor } from "../wait.ts";
import { connectBySocks, freePort, hashOf, randomBytes, writeAll } from "./ssh_forward_rig.ts";
import { audited, SshRig } from "./ssh_rig.ts";

const SERVER = fileURLToPath(new URL("../programs/editor_server.py", import.meta.url));
const libc = loadLibc();

interface Place {
  /** Where the server keeps its pid and log. */
  readonly folder: string;
  /** How the server is told where to listen. */
  readonly listens: string;
  /** The words before the server. */
  readonly under?: string;
}

/** The script, whose lines a shell reads one by one. Its markers are `ID: start` and `ID: end`. */
function script(id: string, { folder, listens, under = "" }: Place): string {
  return `
echo "${id}: running"
mkdir -p ${folder}
cd ${folder}
if [ -f pid ] && kill -0 "$(cat pid)" 2>/dev/null; then
  found=true
else
  found=false
  : > log
  ${under} python3 ${SERVER} ${listens} > log 2>&1 < /dev/null &
  echo $! > pid
fi
until grep -q 'listening on' log; do sleep 0.05; done
echo "${id}: start"
echo "found==$found=="
echo "listeningOn==$(sed -n 's/.*listening on //p' log)=="
echo "pid==$(cat pid)=="
echo "arch==$(uname -m)=="
echo "${id}: end"
`;
}

/** An editor's connection: a shell that has run the script and waits for more, and a SOCKS proxy. */
class Editor implements AsyncDisposable {
  readonly #child: Deno.ChildProcess;
  readonly #writer: WritableStreamDefaultWriter<Uint8Array>;
  readonly #reading: Promise<unknown>;
  #stdout = "";
  #stderr = "";

  private constructor(rig: SshRig, args: readonly string[]) {
    this.#child = rig.spawn([...args, "sh"], { options: ["LogLevel=VERBOSE", "StreamLocalBindUnlink=yes"] });
    this.#writer = this.#child.stdin.getWriter();
    const read = async (stream: ReadableStream<Uint8Array>, take: (text: string) => void) => {
      for await (const chunk of stream) take(new TextDecoder().decode(chunk));
    };
    this.#reading = Promise.all([
      read(this.#child.stdout, (text) => this.#stdout += text),
      read(this.#child.stderr, (text) => this.#stderr += text),
    ]);
  }

  /** Connects with forwards, runs the script, and gives what it says between its markers. */
  static async open(
    rig: SshRig,
    { forwards, ...place }: Place & { readonly forwards: readonly string[] },
  ): Promise<{ readonly editor: Editor; readonly said: Readonly<Record<string, string>> }> {
    const editor = new Editor(rig, ["-T", ...forwards]);
    const id = crypto.randomUUID();
    await editor.#writer.write(new TextEncoder().encode(script(id, place)));
    const marked = new RegExp(`^${id}: start\n([^]*)^${id}: end$`, "m");
    const [, text = ""] = await waitFor("the markers", () => {
      return marked.exec(editor.#stdout) ?? assert.fail(`${editor.#stdout}\n${editor.#stderr}`);
    });
    const said = Object.fromEntries([...text.matchAll(/^(\w+)==(.*)==$/gm)].map(([, name, value]) => [name, value]));
    return { editor, said };
  }

  /** Ends the shell's input, as an editor does that is closed; gives ssh's exit status. */
  async close(): Promise<number> {
    await this.#writer.close();
    return (await this.#child.status).code;
  }

  /** The network is gone, or the machine has slept: no goodbye. */
  async lose(): Promise<void> {
    this.#child.kill("SIGKILL");
    await this.#child.status;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    try {
      this.#child.kill("SIGKILL");
    } catch {
      // It has ended.
    }
    await Promise.allSettled([this.#child.status, this.#writer.close(), this.#reading]);
  }
}

/** The pid that the server at the other end says, once it has brought back what it was given. */
async function talk(conn: Deno.Conn): Promise<string> {
  const bytes = randomBytes(1 << 20);
  const sending = writeAll(conn, bytes).then(() => conn.closeWrite());
  const all = new Uint8Array(bytes.length + 20);
  let length = 0;
  for (let count; (count = await conn.read(all.subarray(length))) !== null;) length += count;
  await sending;
  conn.close();
  const end = all.indexOf(10);
  assert.equal(hashOf(all.subarray(end + 1, length)), hashOf(bytes));
  return new TextDecoder().decode(all.subarray(0, end));
}

function runs(pid: string): boolean {
  return libc.procText(`/proc/${pid}/cmdline`)?.includes(SERVER) ?? false;
}

/** Ends a server that is to be the test's no longer. */
async function end(pid: string): Promise<void> {
  libc.kill(Number(pid), 15);
  await waitFor("the server to end", () => !runs(pid));
}

Deno.test("an editor's script starts a server, which stays when the editor is closed and serves the next one", async (t) => {
  await using rig = await SshRig.start();
  const kinds = { "a port, by -D": "--port=0", "a socket, by -L": `--socket-path=${join(rig.folder, "socket")}` };
  for (const [name, listens] of Object.entries(kinds)) {
    await t.step(name, async () => {
      const folder = join(rig.folder, crypto.randomUUID());
      const local = freePort();
      const isSocket = listens.startsWith("--socket");
      const forwards = isSocket ? ["-L", `${local}:${listens.replace(/.*=/, "")}`] : ["-D", `${local}`];
      const connect = (listeningOn: string) =>
        isSocket
          ? Deno.connect({ hostname: "127.0.0.1", port: local })
          : connectBySocks(local, { host: "127.0.0.1", port: Number(listeningOn) });
      const pids: string[] = [];
      for (const found of ["false", "true"]) {
        const { editor, said } = await Editor.open(rig, { folder, listens, forwards });
        await using _ = editor;
        assert.equal(said.found, found);
        assert.ok(said.arch);
        // Several at once, as an editor has them.
        const all = await Promise.all(
          Array.from({ length: 3 }, async () => await talk(await connect(said.listeningOn!))),
        );
        assert.deepEqual(all, Array(3).fill(said.pid));
        pids.push(said.pid!);
        assert.equal(await editor.close(), 0);
        assert.ok(runs(said.pid!), "it stays");
      }
      await audited(rig, /ssh session over .*ran=sh status=0$/m);
      assert.equal(pids[0], pids[1]);
      await end(pids[0]!);
    });
  }
});

Deno.test("where the connection breaks off, a server that has left its session stays, and the editor finds it again", async (t) => {
  await using rig = await SshRig.start();
  for (const [under, stays] of [["setsid", true], ["nohup", true], ["", false]] as const) {
    await t.step(under || "one that has not ends with its shell", async () => {
      const place = { folder: join(rig.folder, crypto.randomUUID()), listens: "--port=0", under };
      const local = freePort();
      const lost = await Editor.open(rig, { ...place, forwards: ["-D", `${local}`] });
      await using _lost = lost.editor;
      const pid = lost.said.pid!;
      assert.ok(runs(pid));
      const lostOnes = () => rig.krun.stderr.match(/ssh session over .*gone=true/g)?.length ?? 0;
      const before = lostOnes();
      await lost.editor.lose();
      await waitFor("the session to be over", () => lostOnes() > before);
      assert.equal(runs(pid), stays);
      // Until it is reaped the script would take it for one that runs.
      if (!stays) await waitFor("nothing of it", () => libc.procText(`/proc/${pid}/stat`) === undefined);
      const { editor, said } = await Editor.open(rig, { ...place, forwards: ["-D", `${local}`] });
      await using _editor = editor;
      assert.deepEqual([said.found, said.pid === pid], [`${stays}`, stays]);
      assert.equal(
        await talk(await connectBySocks(local, { host: "127.0.0.1", port: Number(said.listeningOn) })),
        said.pid,
      );
      await editor.close();
      await end(said.pid!);
    });
  }
});
