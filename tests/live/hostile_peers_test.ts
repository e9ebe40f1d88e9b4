/**
 * krun is often PID 1 of its program, so that nothing that a caller sends may end it. A server of node:http2 as it is does not
 * stand this on Deno 2.9.6 (`src/mesh/http2_session.ts`), which is shown as well.
 */
import { connect, type Socket } from "node:net";
import { fileURLToPath } from "node:url";
import * as tls from "node:tls";
import assert from "node:assert/strict";
import { misbehaveByHttp1 } from "../hostile_http1.ts";
import { Chance, type Head, misbehave } from "../hostile_http2.ts";
import { oddHttp1Program, oddTcpProgram } from "../hostile_programs.ts";
import { Peer } from "../mesh_rig.ts";
import type { WaysIn } from "../programs/ways_in.ts";
import { waitFor } from "../wait.ts";

const PROGRAM = fileURLToPath(new URL("../programs/ways_in.ts", import.meta.url));
const CONNECTIONS = 3_000;
const AT_ONCE = 12;

/** The process, its ports, and how it ended. */
class Served implements AsyncDisposable {
  readonly #child: Deno.ChildProcess;
  readonly ended: Promise<Deno.CommandStatus>;
  readonly #programs: AsyncDisposable[] = [];
  hasEnded = false;
  ways!: WaysIn;

  private constructor(args: readonly string[]) {
    this.#child = new Deno.Command(Deno.execPath(), {
      args: ["run", "-A", "--quiet", "--no-check", PROGRAM, ...args],
      ...{ stdin: "null", stdout: "piped", stderr: "null" },
    }).spawn();
    this.ended = this.#child.status.finally(() => this.hasEnded = true);
  }

  /** Descriptors and resident memory of the process now. */
  use(): { readonly descriptors: number; readonly bytes: number } {
    const { pid } = this.#child;
    const [, pages = "0"] = Deno.readTextFileSync(`/proc/${pid}/statm`).split(" ");
    return { descriptors: [...Deno.readDirSync(`/proc/${pid}/fd`)].length, bytes: 4096 * Number(pages) };
  }

  /** With programs in this process, whose descriptors are not its own. */
  static async start(kind?: "naive"): Promise<Served> {
    const programs = await Promise.all([oddTcpProgram(), oddHttp1Program()]);
    const served = new Served(kind ? [kind] : programs.map(({ port }) => `${port}`));
    served.#programs.push(...programs);
    const reader = served.#child.stdout.pipeThrough(new TextDecoderStream()).getReader();
    let said = "";
    while (!said.includes("\n")) said += (await reader.read()).value ?? "\n";
    await reader.cancel();
    served.ways = JSON.parse(said);
    return served;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (!this.hasEnded) this.#child.kill("SIGKILL");
    await this.ended;
    for (const program of this.#programs) await program[Symbol.asyncDispose]();
  }
}

function heads({ program }: WaysIn): { readonly hbone: readonly Head[]; readonly tunnel: readonly Head[] } {
  const connectTo = (port: number): Head => [[":method", "CONNECT"], [":authority", `localhost:${port}`]];
  const ask = (method: string, path: string): Head => [
    ...[[":method", method], [":scheme", "http"], [":path", path], [":authority", "a"]] as const,
  ];
  return {
    hbone: [connectTo(program), connectTo(program), connectTo(1), ask("GET", "/")],
    tunnel: [ask("POST", "/_hbone/22"), ask("POST", "/_hbone/22"), ask("POST", "/x"), ask("GET", "/_hbone/23")],
  };
}

/** A connection that is open; `undefined` when it was refused. */
function opened(socket: Socket, event: "connect" | "secureConnect"): Promise<Socket | undefined> {
  socket.on("error", () => {});
  return new Promise((resolve) => {
    socket.once(event, () => resolve(socket));
    socket.once("close", () => resolve(undefined));
  });
}

/** Callers, one after the other in several rows, until they are enough or nobody answers; how many were let in. */
async function attack(served: Served, chance: Chance): Promise<number> {
  const { ways } = served;
  const { hbone, tunnel } = heads(ways);
  const shown = { ca: ways.rootPem, cert: ways.certPem, key: ways.keyPem, ALPNProtocols: ["h2"] };
  const byMesh = () =>
    tls.connect({ port: ways.hbone, host: "127.0.0.1", ...shown, checkServerIdentity: () => undefined });
  let [left, made] = [CONNECTIONS, 0];
  const row = async () => {
    while (left-- > 0 && !served.hasEnded) {
      const isMesh = ways.hbone !== undefined && chance.below(2) === 0;
      const socket = isMesh
        ? await opened(byMesh(), "secureConnect")
        : await opened(connect(ways.tunnel, "127.0.0.1"), "connect");
      if (socket === undefined) continue;
      made++;
      await misbehave(socket, { chance, heads: isMesh ? hbone : tunnel });
    }
  };
  await Promise.all(Array.from({ length: AT_ONCE }, row));
  return made;
}

/** Another one for each run; a failure tells it. */
function newChance(): Chance {
  return new Chance(crypto.getRandomValues(new Uint32Array(1))[0]!);
}

Deno.test("nothing that callers send ends the process that serves them", async () => {
  await using served = await Served.start();
  const { ways } = served;
  const chance = newChance();
  const made = await attack(served, chance);
  assert.ok(!served.hasEnded, `seed ${chance.seed}: ${JSON.stringify(served.hasEnded && await served.ended)}`);
  assert.ok(made > CONNECTIONS / 2, `${made} connections`);
  const certificate = { certPem: ways.certPem, keyPem: ways.keyPem, der: new Uint8Array() };
  await using peer = new Peer(ways.hbone, { certificate, rootPem: ways.rootPem });
  await waitFor("a peer that behaves to be served", async () => {
    const { channel, status } = peer.open(`localhost:${ways.program}`);
    assert.equal(await status, 200);
    channel.end();
    return true;
  });
});

/** The same by HTTP/1.1. */
async function attackByHttp1(served: Served, { chance, connections }: { chance: Chance; connections: number }) {
  const { tunnel, tunnelHttp1 } = served.ways;
  let left = connections;
  const row = async () => {
    while (left-- > 0 && !served.hasEnded) {
      const port = chance.below(4) === 0 ? tunnel : tunnelHttp1;
      const socket = await opened(connect(port, "127.0.0.1"), "connect");
      if (socket) await misbehaveByHttp1(socket, chance);
    }
  };
  await Promise.all(Array.from({ length: AT_ONCE }, row));
}

/** More than the heap needs that a garbage collector has not looked at, and less than a leak in each of some thousand connections. */
const MORE_BYTES = 128 << 20;

Deno.test("nothing that callers send by HTTP/1.1 ends the process that serves them, or stays in it", async () => {
  await using served = await Served.start();
  const chance = newChance();
  const isServed = async () => {
    const url = `http://127.0.0.1:${served.ways.tunnelHttp1}/`;
    const ask = () => fetch(url).then((answer) => answer.text()).catch(() => "");
    const answers = Array.from({ length: 20 }, ask);
    return (await Promise.all(answers)).includes("hi");
  };
  assert.ok(await isServed());
  // What is made once, and the first garbage, are there by then.
  await attackByHttp1(served, { chance, connections: CONNECTIONS / 3 });
  const before = served.use();
  await attackByHttp1(served, { chance, connections: CONNECTIONS });
  assert.ok(!served.hasEnded, `seed ${chance.seed}: ${JSON.stringify(served.hasEnded && await served.ended)}`);
  assert.ok(await isServed(), `seed ${chance.seed}`);
  await waitFor(
    `as many descriptors as before, seed ${chance.seed}: ${before.descriptors}`,
    () => served.use().descriptors <= before.descriptors + 2 * AT_ONCE,
  );
  const { bytes } = served.use();
  assert.ok(bytes < before.bytes + MORE_BYTES, `seed ${chance.seed}: ${before.bytes} bytes before, ${bytes} after`);
});

Deno.test("the same ends a server of node:http2 as it is", async () => {
  await using naive = await Served.start("naive");
  await attack(naive, newChance());
  assert.ok(naive.hasEnded, "Deno no longer crashes: endBetweenTurns() can go");
  assert.ok((await naive.ended).signal !== null);
});
