/**
 * A machine on which the commands of a page about SSH can be given as they stand there: a network of its own, since ports stand in the
 * page too; `krun`, `kubectl` and `./server`; a home for the person, who is called ann; a cluster. Needs root, ip(8), dnsmasq, script(1).
 *
 * @module
 */
import assert from "node:assert/strict";
import { generateKeyPairSync } from "node:crypto";
import { join } from "node:path";
import { liveTool } from "../../scripts/live_tools.ts";
import { denoDir, krunArgv, KrunProcess } from "../krun_process.ts";
import { type ApiServer, startApiServer } from "./api_server.ts";
import { type MeshHost, MeshNetwork } from "./mesh_network.ts";
import { type ClientEnd, keygen, runClient } from "./ssh_rig.ts";
import { TerminalSession } from "./terminal.ts";

const PEER = new URL("../programs/net_peer.py", import.meta.url).pathname;

/** OpenSSH's `~` is the home of passwd(5), whatever HOME is: each program has a mount namespace with the site's own passwd. */
const ENTER_SITE = 'cd "$0" && mount --bind passwd /etc/passwd && exec env -i "$@"';

/** The machine. Made by {@linkcode SshDocsSite.create}. */
export class SshDocsSite implements AsyncDisposable {
  readonly #stack = new AsyncDisposableStack();
  #server!: ApiServer;
  #network!: MeshNetwork;
  #host!: MeshHost;
  #folder = "";
  #env: Readonly<Record<string, string>> = {};
  #krunEnv: Readonly<Record<string, string>> = {};

  /** Makes it; krun is not started. */
  static async create(): Promise<SshDocsSite> {
    const site = new SshDocsSite();
    try {
      await site.#build();
    } catch (error) {
      await site[Symbol.asyncDispose]();
      throw error;
    }
    return site;
  }

  /** Its API server. The person is the admin; krun is user `ann`, of workload `web` in namespace `shop`, and has no rights at first. */
  get server(): ApiServer {
    return this.#server;
  }

  /** Path of a file of the folder in which commands are given; `home` is the person's home. */
  path(name: string): string {
    return join(this.#folder, name);
  }

  async #build(): Promise<void> {
    this.#folder = await Deno.makeTempDir({ prefix: "krun-docs-" });
    this.#stack.defer(() => Deno.remove(this.#folder, { recursive: true }));
    this.#network = this.#stack.use(await MeshNetwork.create());
    this.#host = await this.#network.host("web");
    await this.#startServer();
    await this.#furnish();
    const shell = { PATH: `${this.path("bin")}:${Deno.env.get("PATH")}`, HOME: this.path("home"), TERM: "dumb" };
    this.#env = { ...shell, KUBECONFIG: this.#server.adminKubeconfig };
    const workload = { WORKLOAD_NAMESPACE: "shop", WORKLOAD_NAME: "web", WORKLOAD_SERVICE_ACCOUNT: "web" };
    const { kubeconfig } = await this.#server.user("ann");
    this.#krunEnv = { ...workload, KUBECONFIG: kubeconfig, KRUN_SSH_RBAC: "true" };
  }

  async #startServer(): Promise<void> {
    // The longest key in use: ssh(1) does not take a token of it at once.
    const { privateKey } = generateKeyPairSync("rsa", { modulusLength: 4096 });
    await Deno.writeTextFile(this.path("issuer"), `${privateKey.export({ type: "pkcs1", format: "pem" })}`);
    const args = ["signing-key-file", "key-file"].map((flag) => `--service-account-${flag}=${this.path("issuer")}`);
    const { address } = this.#network;
    const certificate = { names: [`IP:${address}`, "IP:127.0.0.1"] };
    this.#server = this.#stack.use(await startApiServer({ address, args, certificate }));
  }

  async #furnish(): Promise<void> {
    for (const name of ["bin", "home/.ssh"]) await Deno.mkdir(this.path(name), { recursive: true, mode: 0o700 });
    await Deno.symlink(await liveTool("kubectl"), this.path("bin/kubectl"));
    const krun = krunArgv().map((word) => `'${word}'`).join(" ");
    await this.writeScript("bin/krun", `#!/bin/sh\nexport DENO_DIR='${denoDir()}'\nexec ${krun} "$@"\n`);
    await this.writeScript("server", `#!/bin/sh\nexec python3 ${PEER} serve tcp:127.0.0.1:8080:web\n`);
    await Deno.writeTextFile(this.path("passwd"), `ann:x:0:0::${this.path("home")}:/bin/bash\n`);
    await keygen("-q", "-t", "ed25519", "-N", "", "-C", "ann@laptop", "-f", this.path("home/.ssh/id_ed25519"));
  }

  /** Writes a program into the folder. */
  async writeScript(name: string, text: string): Promise<void> {
    await Deno.writeTextFile(this.path(name), text, { mode: 0o700 });
  }

  /** The words that give a command to the person's shell, and nothing of the test's own environment. */
  #argv(command: string, more: Readonly<Record<string, string>> = {}): string[] {
    const env = Object.entries({ ...this.#env, ...more }).map(([name, value]) => `${name}=${value}`);
    return [...this.#host.under, "sh", "-c", ENTER_SITE, this.#folder, ...env, "sh", "-c", command];
  }

  /** Runs a command without a terminal and without input; it must end well. */
  async run(command: string): Promise<ClientEnd> {
    const end = await runClient(this.#argv(command));
    assert.equal(end.code, 0, `${command}\n${end.stdout}${end.stderr}`);
    return end;
  }

  /** Runs a command that starts krun and ends with `&`; then lets clients know its host key, as `--check` says it. */
  async startKrun(command: string): Promise<KrunProcess> {
    assert.match(command, / krun .*&$/);
    const [base] = /^MESH_BASE_DIR=\S+ /.exec(command) ?? [];
    assert.ok(base, "the host key would be another one at the next start");
    const argv = this.#argv(`${command}\ntrap 'kill $!' TERM; wait; wait`, this.#krunEnv);
    const krun = this.#stack.use(new KrunProcess({ args: [], argv, cwd: "/" }));
    await krun.sees("stderr", /ssh server listens addresses=\[::\]:15022 /);
    // It also says that this krun works there, and ends with 1 for it.
    const { stdout } = await runClient(this.#argv(`${base}krun --check ./server`, this.#krunEnv));
    const known = /known_hosts: (\[HOST\]:15022 \S+ [\w+/=]+)/.exec(stdout)?.[1];
    assert.ok(known, stdout);
    await Deno.writeTextFile(this.path("home/.ssh/known_hosts"), `${known.replace("HOST", "localhost")}\n`);
    return krun;
  }

  /** Gives a command that leads to a shell, at a terminal, and waits for its prompt; whoever opens it ends it. */
  async openShell(command: string): Promise<TerminalSession> {
    const person = new TerminalSession(this.#argv(command));
    try {
      await person.sees(/[#$] $/);
    } catch (error) {
      await person[Symbol.asyncDispose]();
      throw error;
    }
    return person;
  }

  /** What is said by whoever listens on a port of 127.0.0.1. */
  async hears(port: string): Promise<string> {
    const argv = ["bash", "-c", 'exec 3<>/dev/tcp/127.0.0.1/"$0" && cat <&3', port];
    return (await this.#network.run(this.#host, argv)).stdout;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#stack.disposeAsync();
  }
}
