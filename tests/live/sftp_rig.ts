/**
 * An SSH server that only serves SFTP, and the client's programs that talk to it. In: whose files. Out: a port, and arguments of
 * sftp(1) and scp(1). Needs openssh-client; root to serve the files of another user.
 *
 * @module
 */
import type { AddressInfo, Server as NetServer } from "node:net";
import type { Duplex } from "node:stream";
import { join } from "node:path";
import ssh2 from "ssh2";
import { accountNames } from "../../src/core/account_names.ts";
import { DuplexChannel } from "../../src/net/node_stream.ts";
import { systemClock } from "../../src/pod/clock.ts";
import { loadLibc } from "../../src/pod/libc.ts";
import type { User } from "../../src/pod/user.ts";
import { userFiles } from "../../src/pod/user_files.ts";
import { serveSftp, type SftpEnd } from "../../src/ssh/sftp_server.ts";
import type { SftpEvent } from "../../src/ssh/sftp_audit.ts";

/** As far as ssh2 is used here. */
interface SshChannel extends Duplex {
  exit(status: number): void;
}
interface SshSession {
  on(event: "subsystem", act: (accept: () => SshChannel, reject: () => void, info: { name: string }) => void): void;
}
interface SshClient {
  on(event: "authentication", act: (context: { method: string; accept(): void; reject(): void }) => void): SshClient;
  on(event: "session", act: (accept: () => SshSession) => void): SshClient;
  on(event: "error", act: (error: Error) => void): SshClient;
  setNoDelay(): void;
}
const { Server } = ssh2 as unknown as {
  Server: new (options: { hostKeys: string[] }, connected: (client: SshClient) => void) => NetServer;
};

/** Options of {@linkcode SftpRig.start}. */
export interface SftpRigOptions {
  readonly user: User;
  /** The session's working directory and home. */
  readonly cwd: string;
  readonly userName?: string;
}

/** How a program has ended. */
export interface ProgramEnd {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

/** A server on loopback that lets anybody in who offers a key. */
export class SftpRig implements AsyncDisposable {
  readonly port: number;
  /** What the audit was told. */
  readonly events: SftpEvent[] = [];
  /** How the channels have ended. */
  readonly ends: SftpEnd[] = [];
  readonly #folder: string;
  readonly #server: NetServer;

  private constructor(folder: string, { server, port }: { readonly server: NetServer; readonly port: number }) {
    this.#folder = folder;
    this.#server = server;
    this.port = port;
  }

  static async start(options: SftpRigOptions): Promise<SftpRig> {
    const folder = await Deno.makeTempDir({ prefix: "krun-sftp-" });
    for (const name of ["host", "user"]) {
      const args = ["-q", "-t", "ed25519", "-N", "", "-f", join(folder, name)];
      await new Deno.Command("ssh-keygen", { args }).output();
    }
    const hostKeys = [await Deno.readTextFile(join(folder, "host"))];
    const serve = (channel: SshChannel) => void rig.#serve(channel, options);
    const server = new Server({ hostKeys }, (client) => serveClient(client, serve));
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
    const rig: SftpRig = new SftpRig(folder, { server, port: (server.address() as AddressInfo).port });
    return rig;
  }

  /** Runs sftp(1) with the lines of a batch. */
  sftp(lines: readonly string[], args: readonly string[] = []): Promise<ProgramEnd> {
    return runProgram(["sftp", ...this.options("-P"), "-b", "-", ...args, "krun@127.0.0.1"], lines.join("\n") + "\n");
  }

  /** Runs scp(1); a path that begins with `:` is the server's. */
  scp(...args: readonly string[]): Promise<ProgramEnd> {
    return runProgram([
      "scp",
      ...this.options("-P"),
      ...args.map((arg) => arg.startsWith(":") ? `krun@127.0.0.1${arg}` : arg),
    ]);
  }

  /** Arguments of the client's programs; the port's option has two names. */
  options(portOption: "-P" | "-p"): string[] {
    const quiet = ["StrictHostKeyChecking=no", "UserKnownHostsFile=/dev/null", "LogLevel=ERROR", "BatchMode=yes"];
    const options = quiet.flatMap((option) => ["-o", option]);
    return ["-F", "none", "-i", join(this.#folder, "user"), "-c", "aes128-ctr", portOption, `${this.port}`, ...options];
  }

  async #serve(stream: SshChannel, { user, cwd, userName }: SftpRigOptions): Promise<void> {
    const channel = new DuplexChannel(stream, { reset: () => void stream.destroy() });
    const [passwd, group] = [await Deno.readTextFile("/etc/passwd"), await Deno.readTextFile("/etc/group")];
    const end = await serveSftp(channel, {
      files: userFiles(loadLibc(), { user, cwd }),
      ...{ home: cwd, userName, clock: systemClock, accounts: accountNames({ passwd, group }) },
      audit: (event) => void this.events.push(event),
    });
    this.ends.push(end);
    stream.exit(end.kind === "ended" ? 0 : 1);
    channel.end();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await new Promise((resolve) => this.#server.close(resolve));
    await Deno.remove(this.#folder, { recursive: true });
  }
}

function serveClient(client: SshClient, serve: (channel: SshChannel) => void): void {
  client.on("authentication", (context) => context.method === "publickey" ? context.accept() : context.reject());
  // Each small answer would wait for the other side's delayed acknowledgement, 40 ms.
  client.setNoDelay();
  // A client that is killed.
  client.on("error", () => {});
  client.on("session", (accept) => {
    accept().on("subsystem", (open, refuse, { name }) => name === "sftp" ? serve(open()) : refuse());
  });
}

/**
 * A test with a server in it. ssh2 does not end the ciphers of a connection, and Deno keeps what is not ended (2.9.6), so its leak
 * check would fail; files are looked for by the tests themselves.
 */
export function testSftp(name: string, body: (t: Deno.TestContext) => Promise<void>): void {
  Deno.test({ name, fn: body, sanitizeResources: false });
}

/** Runs a program to its end. */
export async function runProgram([program, ...args]: readonly string[], input = ""): Promise<ProgramEnd> {
  const child = new Deno.Command(program!, { args, stdin: "piped", stdout: "piped", stderr: "piped" }).spawn();
  const writer = child.stdin.getWriter();
  await writer.write(new TextEncoder().encode(input)).catch(() => {});
  await writer.close().catch(() => {});
  const { code, stdout, stderr } = await child.output();
  const decoder = new TextDecoder();
  return { code, stdout: decoder.decode(stdout), stderr: decoder.decode(stderr) };
}
