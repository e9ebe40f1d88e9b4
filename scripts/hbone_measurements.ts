/**
 * How much slower a stream is through krun's HBONE endpoint than through the least that a TCP relay can be. The program, the relay and
 * the endpoint each have a thread; the caller is this one, by TCP or by HTTP/2 over mutual TLS. Both ways are measured in turns.
 *
 * @module
 */
import type { Channel } from "../src/net/channel.ts";
import { connectLocally, tcpChannel } from "../src/net/tcp_channel.ts";
import { TestAuthority } from "../tests/certificates.ts";
import { CertificateFolder, Peer, workloadId } from "../tests/mesh_rig.ts";
import { ECHO, SINK, type WorkerRole } from "./hbone_worker.ts";
import type { Measurement } from "./measurements.ts";

/** Options of {@linkcode hbone}. */
export interface HboneMeasurementOptions {
  /** How often each thing is done. */
  readonly rounds: number;
}

/** A way to the program. */
type Open = () => Promise<Channel>;

const THROUGHPUT_BYTES = 64 << 20;
const CHUNK_BYTES = 65_536;
const ROUND_TRIPS = 200;
const WINDOW_BYTES = 512 * 1024;

function median(values: readonly number[]): number {
  return values.toSorted((a, b) => a - b)[values.length >> 1]!;
}

/** A server on a thread of its own, until it is disposed. */
class Served implements Disposable {
  private constructor(readonly worker: Worker, readonly port: number) {}

  static async start(role: WorkerRole): Promise<Served> {
    const worker = new Worker(new URL("hbone_worker.ts", import.meta.url), { type: "module" });
    const port = new Promise<number>((resolve) => worker.onmessage = ({ data }) => resolve(data));
    worker.postMessage(role);
    return new Served(worker, await port);
  }

  [Symbol.dispose](): void {
    this.worker.terminate();
  }
}

async function begun(open: Open, mode: number): Promise<Channel> {
  const channel = await open();
  await channel.write(new Uint8Array([mode]));
  return channel;
}

/** Megabytes a second, until the program has it all. */
async function throughput(open: Open): Promise<number> {
  const channel = await begun(open, SINK);
  const chunk = new Uint8Array(CHUNK_BYTES);
  const from = performance.now();
  for (let sent = 0; sent < THROUGHPUT_BYTES; sent += CHUNK_BYTES) await channel.write(chunk);
  channel.end();
  while (await channel.read() !== undefined);
  return THROUGHPUT_BYTES / 1000 / (performance.now() - from);
}

/** Milliseconds that 64 bytes take there and back, median. */
async function roundTripMs(open: Open): Promise<number> {
  const channel = await begun(open, ECHO);
  const ms: number[] = [];
  for (let i = 0; i < ROUND_TRIPS; i++) {
    const from = performance.now();
    await channel.write(new Uint8Array(64));
    for (let got = 0; got < 64;) got += (await channel.read())!.length;
    ms.push(performance.now() - from);
  }
  channel.end();
  while (await channel.read() !== undefined);
  return median(ms);
}

/** Milliseconds until a new stream has brought its first byte back. */
async function openingMs(open: Open): Promise<number> {
  const from = performance.now();
  const channel = await begun(open, ECHO);
  await channel.write(new Uint8Array(1));
  await channel.read();
  const ms = performance.now() - from;
  channel.end();
  while (await channel.read() !== undefined);
  return ms;
}

/** What is measured: name, unit, and whether more is better. */
const FIGURES = [
  { name: `64 MiB to the program`, unit: "MB/s", measure: throughput },
  { name: "64 bytes there and back, p50", unit: "ms", measure: roundTripMs },
  { name: "a new stream, to its first byte back", unit: "ms", measure: openingMs },
] as const;

/** Rows for throughput, latency and a stream's opening, each by both ways, and how much worse HBONE is. */
export async function hbone({ rounds }: HboneMeasurementOptions): Promise<Measurement[]> {
  const authority = new TestAuthority();
  const issue = (name: string) => authority.issue({ uris: [workloadId(name)] });
  await using folder = await CertificateFolder.create(issue("web"), authority.pem);
  using program = await Served.start({ kind: "program" });
  using relay = await Served.start({ kind: "relay", port: program.port });
  using endpoint = await Served.start({ kind: "hbone", port: program.port, certificates: folder.path });
  const options = { certificate: issue("client"), rootPem: authority.pem, windowBytes: WINDOW_BYTES };
  await using peer = new Peer(endpoint.port, options);
  const signal = new AbortController().signal;
  const bare: Open = async () => tcpChannel(await connectLocally(relay.port, { timeoutMs: 10_000, signal }));
  const byHbone: Open = async () => {
    const { status, channel } = peer.open(`localhost:${program.port}`);
    if (await status !== 200) throw new Error(`the endpoint answers ${await status}`);
    return channel;
  };
  const runtime = `deno run ${Deno.version.deno}`;
  const rows: Measurement[] = [];
  for (const { name, unit, measure } of FIGURES) {
    const values: { bare: number[]; hbone: number[] } = { bare: [], hbone: [] };
    for (let round = 0; round <= rounds; round++) {
      const [one, other] = [await measure(bare), await measure(byHbone)];
      // The first round translates the code.
      if (round === 0) continue;
      values.bare.push(one);
      values.hbone.push(other);
    }
    const [tcp, mesh] = [median(values.bare), median(values.hbone)];
    rows.push({ what: `${name}, through a bare TCP relay`, runtime, value: tcp, unit });
    rows.push({ what: `${name}, through the HBONE endpoint`, runtime, value: mesh, unit });
    const ratio = unit === "ms" ? mesh / tcp : tcp / mesh;
    rows.push({ what: `HBONE over bare TCP: ${name}`, runtime, value: ratio, unit: "times" });
  }
  return rows;
}
