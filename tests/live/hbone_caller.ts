/**
 * Callers by HBONE: Istio's own test client, and `krun --connect`, each with the certificate of a workload that istiod knows. In: a mesh.
 * Out: what they are answered.
 *
 * @module
 */
import { createHash } from "node:crypto";
import { join } from "node:path";
import { waitFor } from "../wait.ts";
import { type MeshLab, ORDINARY, type Workload, type WorkloadOptions } from "./mesh_lab.ts";
import type { HostOutput, MeshHost } from "./mesh_network.ts";

/** Where the agent puts its certificates, below a base folder. */
const CERTIFICATES = "var/lib/istio/data";

/** One text for many bytes. */
export const digest = (bytes: Uint8Array) => createHash("sha256").update(bytes).digest("hex");

/** A workload whose certificate callers show, on a host of its own. */
export class Caller implements AsyncDisposable {
  static #count = 0;

  private constructor(readonly lab: MeshLab, readonly host: MeshHost, readonly workload: Workload) {}

  static async start(lab: MeshLab, name: string, more: Partial<WorkloadOptions> = {}): Promise<Caller> {
    const host = await lab.network.host(`${name}${++Caller.#count}`);
    const args = ["/bin/sleep", "1000"];
    const workload = await lab.workload(host, { name, args, uid: ORDINARY, without: ["envoy"], ...more });
    await workload.krun.sees("stderr", /program started/);
    return new Caller(lab, host, workload);
  }

  /** The words that run `krun --connect` as the workload's user, and their environment. */
  async connectArgv(address: string): Promise<{ argv: string[]; env: Record<string, string> }> {
    const { argv, env } = await this.lab.krunOn29(ORDINARY);
    const become = ["setpriv", `--reuid=${ORDINARY}`, `--regid=${ORDINARY}`, "--clear-groups"];
    return {
      argv: [...this.host.under, ...become, ...argv, "--connect", address],
      env: { PATH: "/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin", MESH_BASE_DIR: this.workload.base, ...env },
    };
  }

  async connect(address: string): Promise<Connection> {
    const { argv: [program = "", ...args], env } = await this.connectArgv(address);
    return new Connection(program, args, env);
  }

  /** Istio's client, which shows the workload's certificate unless told otherwise. */
  async call(
    url: string,
    hbone: string,
    { anonymous = false, fields = [] }: { anonymous?: boolean; fields?: readonly string[] } = {},
  ): Promise<HostOutput> {
    const file = (name: string) => join(this.workload.base, CERTIFICATES, name);
    const shown = ["--hbone-client-cert", file("cert-chain.pem"), "--hbone-client-key", file("key.pem")];
    const programs = await this.lab.programs();
    return await this.lab.network.run(this.host, [
      ...[join(programs, "echo-client"), url, "--hbone", hbone, "--timeout", "10s"],
      // A SPIFFE id is no name of a host: the client has no other way to take it.
      ...["--hbone-ca", file("root-cert.pem"), "--hbone-insecure-skip-verify", ...anonymous ? [] : shown],
      ...fields.flatMap((field) => ["-H", field]),
    ]);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.workload[Symbol.asyncDispose]();
  }
}

/** A `krun --connect` that runs. */
export class Connection implements AsyncDisposable {
  readonly #child: Deno.ChildProcess;
  readonly #writer: WritableStreamDefaultWriter<Uint8Array>;
  readonly #reading: Promise<void>;
  readonly #complaining: Promise<void>;
  readonly got: Uint8Array[] = [];
  stderr = "";

  constructor(program: string, args: string[], env: Record<string, string>) {
    const options = { args, env, clearEnv: true, stdin: "piped", stdout: "piped", stderr: "piped" } as const;
    this.#child = new Deno.Command(program, options).spawn();
    this.#writer = this.#child.stdin.getWriter();
    this.#reading = this.#child.stdout.pipeTo(new WritableStream({ write: (part) => void this.got.push(part) }));
    this.#complaining = this.#child.stderr.pipeThrough(new TextDecoderStream())
      .pipeTo(new WritableStream({ write: (part) => void (this.stderr += part) }));
  }

  async write(bytes: Uint8Array): Promise<void> {
    await this.#writer.write(bytes);
  }

  /** Everything, once it is there. */
  async bytes(count: number): Promise<Uint8Array> {
    const all = () => Uint8Array.from(this.got.flatMap((part) => [...part]));
    return await waitFor(`${count} bytes; ${this.stderr}`, () => all().length >= count ? all() : undefined);
  }

  /** Ends the input; the exit status. */
  async end(): Promise<number> {
    await this.#writer.close().catch(() => {});
    const { code } = await this.#child.status;
    await Promise.all([this.#reading, this.#complaining]);
    return code;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.end();
  }
}

/** What comes back of what is sent. */
export async function echoed(
  caller: Caller,
  address: string,
  sent: Uint8Array,
): Promise<{ code: number; got: string; stderr: string }> {
  await using connection = await caller.connect(address);
  await connection.write(sent).catch(() => {});
  const code = await connection.end();
  const got = Uint8Array.from(connection.got.flatMap((part) => [...part]));
  return { code, got: digest(got), stderr: connection.stderr };
}
