/** Who may log in: OpenSSH's client at krun and at sshd, with the same authorized_keys. Needs root, openssh-server and openssh-client. */
import assert from "node:assert/strict";
import { join } from "node:path";
import { silentLog } from "../../src/core/log.ts";
import { sshAuthorities } from "../../src/core/ssh_authorities.ts";
import { SshOutputBudget } from "../../src/core/ssh_output_budget.ts";
import { SshWindowBudget } from "../../src/core/ssh_window_budget.ts";
import { systemClock } from "../../src/pod/clock.ts";
import type { SshChannel } from "../../src/ssh/channel.ts";
import type { ConnectionServices } from "../../src/ssh/channel_table.ts";
import { P521 } from "../../src/ssh/p521.ts";
import { SshConnection } from "../../src/ssh/connection.ts";
import { createLoginJudge, type SshLogin } from "../../src/ssh/login_judge.ts";
import { loadSsh2, type Ssh2 } from "../../src/ssh/ssh2.ts";
import { type HostKey, readHostKey } from "../../src/ssh/host_key.ts";
import { RecordingLog } from "../recording_log.ts";
import { runProgram } from "../ssh_keygen.ts";
import { freePort, type ServerProcess, startProcess, untilReady } from "./server_process.ts";

/** One way in: the key and certificate of a client, a line for authorized_keys, and whether they let it in. */
interface Login {
  /** `@name` stands for the line of that public key. */
  readonly line: string;
  readonly key?: string;
  /** What ssh-keygen is told about a certificate. Unset: there is none. */
  readonly certificate?: readonly string[];
  readonly ca?: string;
  /** What the client is told. */
  readonly client?: readonly string[];
  readonly isAllowed: boolean;
  /** Where sshd decides otherwise, or each of its versions as it likes. */
  readonly sshd?: boolean | "either";
}

const TYPES: Readonly<Record<string, readonly string[]>> = {
  ed25519: ["-t", "ed25519"],
  p256: ["-t", "ecdsa", "-b", "256"],
  p384: ["-t", "ecdsa", "-b", "384"],
  p521: ["-t", "ecdsa", "-b", "521"],
  rsa: ["-t", "rsa", "-b", "2048"],
  ca: ["-t", "ed25519"],
};
const KEYS = Object.keys(TYPES);
const only = (algorithm: string) => ["-o", `PubkeyAcceptedAlgorithms=${algorithm}`];

const LOGINS: readonly Login[] = [
  ...KEYS.map((key) => ({ key, line: `@${key}`, isAllowed: true })),
  // Of the CA's own key the client offers both.
  ...KEYS.filter((key) => key !== "ca").map((key) => ({ key, line: "@ca", certificate: [], isAllowed: false })),
  ...KEYS.map((key) => ({ key, line: "cert-authority @ca", certificate: [], isAllowed: true })),
  ...KEYS.map((ca) => ({ ca, line: `cert-authority @${ca}`, certificate: [], isAllowed: true })),
  // ssh2 1.17 forgets a comma in server-sig-algs: the client does not see that rsa-sha2-512 is taken, and never offers it.
  { key: "rsa", line: "@rsa", client: only("rsa-sha2-256"), isAllowed: true },
  {
    key: "rsa",
    line: "cert-authority @ca",
    certificate: [],
    client: only("rsa-sha2-256-cert-v01@openssh.com,rsa-sha2-256"),
    isAllowed: true,
  },
  // sshd's lists leave it out by default; there too nothing is signed with it.
  { key: "rsa", line: "@rsa", client: only("ssh-rsa"), isAllowed: false },
  { line: "@p256", isAllowed: false },
  { line: "", isAllowed: false },
  { line: "cert-authority @ed25519", isAllowed: false },
  ...[
    ["restrict", true],
    ['from="127.0.0.1"', true],
    ['from="127.0.0.0/8"', true],
    ['from="10.0.0.0/8"', false],
    ['from="10.0.0.0/8,127.*"', true],
    ['from="*,!127.0.0.1"', false],
    ['from="!127.0.0.0/8,*"', false],
    ['from="127.0.0.?,!10.0.0.1"', true],
    ['from="127.0.0.1/8"', false],
    ['from="127.0.0.1,10.0.0.0/33"', false],
    ['from=""', false],
    ['from="127.0.0.1",from="127.0.0.1"', false],
    ['expiry-time="20200101Z"', false],
    ['expiry-time="29991231Z"', true],
    ['expiry-time="29991231Z",expiry-time="20200101Z"', false],
    ['expiry-time="soon"', false],
    ["no-fun", false],
    ["PTY,No-Pty", true],
    ['principals="root"', false],
    ['command="true"', true],
    ['command="true # \\" , "', true],
    ['command="true",command="true"', false],
    ['command="true', false],
    ["command=true", false],
    ['permitopen="db:5432",permitlisten="8080"', true],
    ['permitopen="db"', false],
  ].map(([options, isAllowed]) => ({ line: `${options} @ed25519`, isAllowed: isAllowed as boolean })),
  { line: 'environment="A=b" @ed25519', isAllowed: false, sshd: true },
  // sshd(8): options are separated by commas, without spaces. What comes after the comma is missing.
  { line: "pty, @ed25519", isAllowed: false, sshd: true },
  ...([
    [[], true],
    [["-V", "20200101Z:20210101Z"], false],
    [["-V", "29900101Z:29910101Z"], false],
    [["-V", "always:forever"], true],
    [["-h"], false],
    [["-n", "somebody"], false],
    [["-n", "somebody,root"], true],
    [["-O", "critical:zoo=1"], false],
    [["-O", "extension:zoo=1"], true],
    [["-O", "source-address=127.0.0.0/8"], true],
    [["-O", "source-address=10.0.0.0/8"], false],
    [["-O", "force-command=true"], true],
    [["-O", "clear"], true],
  ] as const).map(([certificate, isAllowed]) => ({ line: "cert-authority @ca", certificate, isAllowed })),
  // Refused since OpenSSH 10.3; before, only where the CA is one of TrustedUserCAKeys.
  { line: "cert-authority @ca", certificate: ["--no-principals"], isAllowed: false, sshd: "either" },
  { ca: "p256", line: "cert-authority @ca", certificate: [], isAllowed: false },
  { line: 'cert-authority,principals="ops" @ca', certificate: ["-n", "ops"], isAllowed: true },
  { line: 'cert-authority,principals="ops" @ca', certificate: ["-n", "root"], isAllowed: false },
  { line: 'cert-authority,from="10.0.0.0/8" @ca', certificate: [], isAllowed: false },
  { line: 'cert-authority,command="true" @ca', certificate: ["-O", "force-command=true"], isAllowed: true },
  { line: 'cert-authority,command="true" @ca', certificate: ["-O", "force-command=false"], isAllowed: false },
];

/** Whatever command is asked for succeeds. */
const ANY_COMMAND: ConnectionServices = {
  windows: new SshWindowBudget(),
  session: (channel: SshChannel) => ({
    request: ({ kind }) => {
      if (kind !== "exec") return false;
      queueMicrotask(() => {
        channel.exit({ status: 0 });
        channel.close();
      });
      return true;
    },
  }),
  forward: () => Promise.reject(new Error("there are no forwards")),
  request: () => Promise.resolve(false),
};

/** A folder with keys, and both servers, which read its `authorized_keys`. */
class Rig implements AsyncDisposable {
  readonly folder = Deno.makeTempDirSync({ prefix: "krun-ssh-login-" });
  readonly sshdPort = freePort();
  krunPort = 0;
  /** What krun says of those who try. */
  log = new RecordingLog();
  #sshd: ServerProcess | undefined;
  #krun: Deno.TcpListener | undefined;
  readonly #connections = new Set<Promise<void>>();

  async start(): Promise<void> {
    for (const [name, args] of Object.entries({ ...TYPES, host: ["-t", "ed25519"] })) await this.#makeKey(name, args);
    this.authorize("");
    await Deno.mkdir("/run/sshd", { recursive: true });
    const options = [
      ...["ListenAddress=127.0.0.1", "StrictModes=no", "PidFile=none", "UsePAM=no", "PermitUserEnvironment=yes"],
      // The settings of whoever tests are not read by the shells of this server.
      `SetEnv=HOME=${this.folder}`,
      ...[`HostKey=${join(this.folder, "host")}`, `AuthorizedKeysFile=${join(this.folder, "authorized_keys")}`],
    ].flatMap((option) => ["-o", option]);
    const argv = ["/usr/sbin/sshd", "-D", "-e", "-p", `${this.sshdPort}`, "-f", "/dev/null", ...options];
    this.#sshd = startProcess(argv, join(this.folder, "log"));
    await untilReady(this.#sshd, async () => (await Deno.readTextFile(this.#sshd!.log)).includes("Server listening"));
    this.#krun = Deno.listen({ hostname: "127.0.0.1", port: 0 });
    this.krunPort = this.#krun.addr.port;
    const ssh2 = await loadSsh2();
    const hostKey = readHostKey(ssh2, Deno.readTextFileSync(join(this.folder, "host"))) as HostKey;
    void this.#accept(ssh2, hostKey);
  }

  /** @param line where `@name` stands for the line of a public key */
  authorize(line: string): void {
    const text = line.replace(/@(\w+)$/, (_, name) => Deno.readTextFileSync(join(this.folder, `${name}.pub`)).trim());
    Deno.writeTextFileSync(join(this.folder, "authorized_keys"), `${text}\n`);
  }

  async certify({ key = "ed25519", ca = "ca", certificate = [] }: Login): Promise<string> {
    const names = certificate.includes("-n") || certificate.includes("--no-principals") ? [] : ["-n", "root"];
    const rest = certificate.filter((word) => word !== "--no-principals");
    Deno.copyFileSync(join(this.folder, `${key}.pub`), join(this.folder, "offered.pub"));
    await this.#keygen(["-q", "-s", ca, "-I", "somebody", "-z", "7", ...names, ...rest, "offered.pub"]);
    return "offered-cert.pub";
  }

  /** Whether OpenSSH's client gets in. */
  async connect(port: number, login: Login): Promise<boolean> {
    const options = ["BatchMode=yes", "StrictHostKeyChecking=no", "UserKnownHostsFile=/dev/null", "IdentitiesOnly=yes"];
    const certificate = login.certificate ? [`CertificateFile=offered-cert.pub`] : [];
    const args = [
      ...["-F", "none", "-q", "-p", `${port}`, "-i", login.key ?? "ed25519", ...login.client ?? []],
      ...[...options, ...certificate].flatMap((option) => ["-o", option]),
      ...["root@127.0.0.1", "true"],
    ];
    const { code } = await new Deno.Command("ssh", { args, cwd: this.folder, stdin: "null" }).output();
    return code === 0;
  }

  #makeKey(name: string, args: readonly string[]): Promise<string> {
    return this.#keygen(["-q", ...args, "-N", "", "-f", name]);
  }

  #keygen(args: readonly string[]): Promise<string> {
    return runProgram(["ssh-keygen", ...args], { cwd: this.folder });
  }

  async #accept(ssh2: Ssh2, hostKey: HostKey): Promise<void> {
    for await (const socket of this.#krun!) {
      const over = new AbortController();
      const judge = createLoginJudge({
        peerAddress: socket.remoteAddr.hostname,
        authorities: () => sshAuthorities(Deno.readTextFileSync(join(this.folder, "authorized_keys")), undefined),
        ...{
          principals: ["root"],
          p521: new P521(),
          clock: systemClock,
          log: this.log,
          over: over.signal,
          onFailure: () => {},
        },
      });
      const options = {
        ssh2,
        hostKeys: [hostKey],
        judge,
        welcome: () => ANY_COMMAND,
        output: new SshOutputBudget(),
        clock: systemClock,
        log: silentLog,
      };
      const connection = new SshConnection<SshLogin>(socket, options);
      const running = connection.run().finally(() => this.#connections.delete(running));
      this.#connections.add(running);
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#krun?.close();
    await Promise.all(this.#connections);
    await this.#sshd?.end("SIGTERM");
    await Deno.remove(this.folder, { recursive: true });
  }
}

Deno.test("krun lets in whom sshd lets in, and nobody else", async (t) => {
  await using rig = new Rig();
  await rig.start();
  for (const login of LOGINS) {
    const { key = "ed25519", line, certificate, ca, client = [] } = login;
    const what = certificate ? `certificate of ${ca ?? "ca"} ${certificate.join(" ")}` : "key";
    await t.step(`${[key, ...client].join(" ")}, ${what}, with: ${line}`, async () => {
      rig.authorize(line);
      if (certificate) await rig.certify(login);
      rig.log = new RecordingLog();
      const ports = [rig.krunPort, rig.sshdPort];
      const [byKrun, bySshd] = await Promise.all(ports.map((port) => rig.connect(port, login)));
      assert.equal(byKrun, login.isAllowed, `krun: ${JSON.stringify(rig.log.lines)}`);
      if (login.sshd !== "either") assert.equal(bySshd, login.sshd ?? login.isAllowed, "sshd");
      if (byKrun) assert.ok((certificate ? "certificate" : "key") in loginOf(rig.log));
    });
  }
});

/** The fields of the line that tells of a login. */
function loginOf(log: RecordingLog): object {
  return log.lines.find(({ event }) => event === "ssh login")?.fields ?? {};
}
