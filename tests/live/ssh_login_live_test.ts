// Who may log in: OpenSSH's client at krun's judgement behind ssh2's server, and at sshd, with the same authorized_keys. Needs root,
// openssh-server and openssh-client.
import assert from "node:assert/strict";
import { once } from "node:events";
import { join } from "node:path";
import ssh2 from "ssh2";
import { parseAuthorizedKeys } from "../../src/core/ssh_authorized_keys.ts";
import { judgeLogin, judgeOffer, type LoginIdentity } from "../../src/core/ssh_login.ts";
import { isSigned, sshOffer } from "../../src/core/ssh_offer.ts";
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

/** A folder with keys, and both servers, which read its `authorized_keys`. */
class Rig implements AsyncDisposable {
  readonly folder = Deno.makeTempDirSync({ prefix: "krun-ssh-login-" });
  readonly sshdPort = freePort();
  krunPort = 0;
  /** What krun has said of the last one who tried. */
  last: { allowed: boolean; reason?: string; who: LoginIdentity } | undefined;
  #sshd: ServerProcess | undefined;
  #krun: ReturnType<typeof ssh2.Server> | undefined;

  async start(): Promise<void> {
    for (const [name, args] of Object.entries({ ...TYPES, host: ["-t", "ed25519"] })) await this.#makeKey(name, args);
    this.authorize("");
    await Deno.mkdir("/run/sshd", { recursive: true });
    const options = [
      ...["ListenAddress=127.0.0.1", "StrictModes=no", "PidFile=none", "UsePAM=no", "PermitUserEnvironment=yes"],
      ...[`HostKey=${join(this.folder, "host")}`, `AuthorizedKeysFile=${join(this.folder, "authorized_keys")}`],
    ].flatMap((option) => ["-o", option]);
    const argv = ["/usr/sbin/sshd", "-D", "-e", "-p", `${this.sshdPort}`, "-f", "/dev/null", ...options];
    this.#sshd = startProcess(argv, join(this.folder, "log"));
    await untilReady(this.#sshd, async () => (await Deno.readTextFile(this.#sshd!.log)).includes("Server listening"));
    await this.#listen();
  }

  forget(): void {
    this.last = undefined;
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

  async #listen(): Promise<void> {
    const hostKeys = [Deno.readTextFileSync(join(this.folder, "host"))];
    this.#krun = new ssh2.Server({ hostKeys });
    // deno-lint-ignore no-explicit-any
    this.#krun.on("connection", (client: any, info: { ip: string }) => {
      client.on("error", () => {});
      // deno-lint-ignore no-explicit-any
      client.on("authentication", (context: any) => {
        if (context.method !== "publickey") return context.reject(["publickey"]);
        const offer = sshOffer(context);
        const { keys } = parseAuthorizedKeys(Deno.readTextFileSync(join(this.folder, "authorized_keys")));
        const question = {
          authorized: keys,
          revocations: [],
          principals: ["root"],
          peerAddress: info.ip,
          nowMs: Date.now(),
        };
        this.last = isSigned(offer) ? judgeLogin(offer, question) : judgeOffer(offer, question);
        return this.last.allowed ? context.accept() : context.reject(["publickey"]);
      });
      // deno-lint-ignore no-explicit-any
      client.on("session", (accept: any) => {
        // deno-lint-ignore no-explicit-any
        accept().on("exec", (accept: any) => {
          const channel = accept();
          channel.exit(0);
          channel.end();
        });
      });
    });
    this.#krun.listen(0, "127.0.0.1");
    await once(this.#krun, "listening");
    this.krunPort = this.#krun.address().port;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await new Promise<void>((resolve) => this.#krun ? this.#krun.close(() => resolve()) : resolve());
    await this.#sshd?.end("SIGTERM");
    await Deno.remove(this.folder, { recursive: true });
  }
}

// ssh2 never ends its ciphers, which are resources for Deno.
const sanitizers = { sanitizeResources: false };
Deno.test("krun lets in whom sshd lets in, and nobody else", sanitizers, async (t) => {
  await using rig = new Rig();
  await rig.start();
  for (const login of LOGINS) {
    const { key = "ed25519", line, certificate, ca, client = [] } = login;
    const what = certificate ? `certificate of ${ca ?? "ca"} ${certificate.join(" ")}` : "key";
    await t.step(`${[key, ...client].join(" ")}, ${what}, with: ${line}`, async () => {
      rig.authorize(line);
      if (certificate) await rig.certify(login);
      rig.forget();
      const ports = [rig.krunPort, rig.sshdPort];
      const [byKrun, bySshd] = await Promise.all(ports.map((port) => rig.connect(port, login)));
      assert.equal(byKrun, login.isAllowed, `krun: ${JSON.stringify(rig.last)}`);
      if (login.sshd !== "either") assert.equal(bySshd, login.sshd ?? login.isAllowed, "sshd");
      if (byKrun) assert.equal(rig.last?.who.kind, certificate ? "certificate" : "key");
    });
  }
});
