/**
 * OpenSSH's own server and client. In: a port. Out: a server that lets one key in, and the client's arguments. Needs root,
 * openssh-server and openssh-client.
 *
 * @module
 */
import { join } from "node:path";
import { type ServerProcess, startProcess, untilReady } from "./server_process.ts";

/** Options of {@linkcode OpenSsh.start}. */
export interface OpenSshOptions {
  readonly port: number;
  /** The words before a program that runs where the server is to run. @default {[]} */
  readonly under?: readonly string[];
}

/** A server on loopback. */
export class OpenSsh implements AsyncDisposable {
  readonly #folder: string;
  readonly #server: ServerProcess;

  private constructor(folder: string, server: ServerProcess) {
    this.#folder = folder;
    this.#server = server;
  }

  static async start({ port, under = [] }: OpenSshOptions): Promise<OpenSsh> {
    const folder = await Deno.makeTempDir({ prefix: "krun-ssh-" });
    for (const name of ["host", "user"]) {
      const args = ["-q", "-t", "ed25519", "-N", "", "-f", join(folder, name)];
      await new Deno.Command("ssh-keygen", { args }).output();
    }
    await Deno.mkdir("/run/sshd", { recursive: true });
    const options = [
      ...["ListenAddress=127.0.0.1", "StrictModes=no", "PidFile=none", "UsePAM=no", `HostKey=${join(folder, "host")}`],
      // The settings of whoever tests are not read by the shells of this server.
      ...[`AuthorizedKeysFile=${join(folder, "user.pub")}`, `SetEnv=HOME=${folder}`],
    ].flatMap((option) => ["-o", option]);
    const argv = [...under, "/usr/sbin/sshd", "-D", "-e", "-p", `${port}`, "-f", "/dev/null", ...options];
    const server = startProcess(argv, join(folder, "log"));
    await untilReady(server, async () => (await Deno.readTextFile(server.log)).includes("Server listening"));
    return new OpenSsh(folder, server);
  }

  /** Arguments of ssh(1) that run a command on the server as root, which is called `host`. */
  async client(host: string, proxyCommand: string, command: string): Promise<string[]> {
    const known = join(this.#folder, "known_hosts");
    await Deno.writeTextFile(known, `${host} ${(await Deno.readTextFile(join(this.#folder, "host.pub"))).trim()}\n`);
    const options = [`UserKnownHostsFile=${known}`, "BatchMode=yes", `ProxyCommand=${proxyCommand}`];
    const key = join(this.#folder, "user");
    return ["-F", "none", "-i", key, ...options.flatMap((option) => ["-o", option]), "-l", "root", host, command];
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#server.end("SIGTERM");
    await Deno.remove(this.#folder, { recursive: true });
  }
}
