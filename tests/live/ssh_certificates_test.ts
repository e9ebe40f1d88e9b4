/** Users' certificates, made by ssh-keygen and shown by OpenSSH's own client: which let in, and each way to be refused. */
import assert from "node:assert/strict";
import { join } from "node:path";
import { SSH_MESSAGE } from "../../src/core/ssh_messages.ts";
import { concatBytes, sshString } from "../../src/core/ssh_wire.ts";
import { loadSsh2 } from "../../src/ssh/ssh2.ts";
import { LoginClient } from "../ssh_login_client.ts";
import { waitFor } from "../wait.ts";
import {
  attempt,
  type AttemptOptions,
  type CertificateRequest,
  certify,
  isIn,
  isRefused,
  publicLine,
} from "./ssh_attempts.ts";
import { audited, type ClientEnd, type ClientOptions, keygen, makeKey, SshRig } from "./ssh_rig.ts";

/** Types of keys, of users and of CAs. */
const TYPES: Readonly<Record<string, string>> = {
  "ed25519": "-t ed25519",
  "ecdsa-256": "-t ecdsa -b 256",
  "ecdsa-384": "-t ecdsa -b 384",
  "ecdsa-521": "-t ecdsa -b 521",
  "rsa": "-t rsa -b 2048",
};

/** Everybody's keys, and a krun that follows a folder of manifests with the Secret. */
class Authority implements AsyncDisposable {
  readonly rig: SshRig;
  /** Signs; its line is in the Secret. */
  readonly ca: string;
  /** A user's key that is authorized nowhere itself. */
  readonly key: string;
  readonly #data: Record<string, string> = {};
  readonly #manifests: string;

  private constructor(rig: SshRig, { ca, key, manifests }: { ca: string; key: string; manifests: string }) {
    this.rig = rig;
    this.ca = ca;
    this.key = key;
    this.#manifests = manifests;
  }

  static async create(): Promise<Authority> {
    const manifests = await Deno.makeTempDir({ prefix: "krun-ssh-manifests-" });
    const env = { KRUN_MANIFESTS: manifests, WORKLOAD_NAMESPACE: "shop", WORKLOAD_NAME: "web" };
    const rig = await SshRig.start({ env, sshAuth: "", waits: false });
    const ca = await makeKey(rig.folder, "ca");
    const authority = new Authority(rig, { ca, key: await makeKey(rig.folder, "user"), manifests });
    await authority.put({ SSHCA_PUB: await publicLine(ca) });
    await rig.listens();
    return authority;
  }

  /** Puts values into the Secret, or removes those that are empty. */
  async put(values: Readonly<Record<string, string | Uint8Array>>): Promise<void> {
    for (const [name, value] of Object.entries(values)) {
      const bytes = typeof value === "string" ? new TextEncoder().encode(value) : value;
      if (bytes.length === 0) delete this.#data[name];
      else this.#data[name] = bytes.toBase64();
    }
    const metadata = { namespace: "shop", name: "sshdebug" };
    const path = join(this.#manifests, "secret.json");
    await Deno.writeTextFile(
      `${path}.new`,
      JSON.stringify({ apiVersion: "v1", kind: "Secret", metadata, data: this.#data }),
    );
    await Deno.rename(`${path}.new`, path);
  }

  /** What ssh(1) is given to show a certificate of the user's key by the CA. */
  async options(name: string, request: Partial<CertificateRequest> = {}): Promise<AttemptOptions> {
    const { ca = this.ca, key = this.key } = request;
    return { key, options: [await certify(name, { ...request, ca, key })] };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.rig[Symbol.asyncDispose]();
    await Deno.remove(this.#manifests, { recursive: true });
  }
}

/** Certificates that are refused: what is asked of ssh-keygen, and the reason in krun's log. */
const REFUSED: Readonly<Record<string, readonly [Partial<CertificateRequest>, RegExp]>> = {
  "expired": [{ validity: "-2h:-1h" }, /the certificate has expired at 2/],
  "not yet valid": [{ validity: "+1h:+2h" }, /the certificate is not valid before 2/],
  "of another principal": [
    { principals: ["db", "root"] },
    /none of the certificate's principals .*db.* is among .*web.*shop/,
  ],
  "without principals": [{ principals: [] }, /the certificate has no principals/],
  "unknown critical option": [{ more: ["-O", "critical:x=y"] }, /critical option \\"x\\" is unknown/],
  "for elsewhere": [
    { more: ["-O", "source-address=10.0.0.0/8"] },
    /the certificate is for .*, not from 127\.0\.0\.1/,
  ],
};

Deno.test("a certificate lets in whom its CA means, and each that is not right is refused for its reason", async (t) => {
  await using authority = await Authority.create();
  const { rig } = authority;
  const short = inside(rig, { ...await authority.options("short", { validity: "-1m:+8s" }), user: "soon" });
  await t.step("one that is right is let in, and named in the log", async () => {
    const options = await authority.options("right", { principals: ["db", "web"], more: ["-z", "4711"] });
    const { stdout, log } = await attempt(rig, options);
    assert.equal(stdout, "in\n");
    assert.match(log, /ssh login .* certificate=SHA256:\S+ id="id of right" serial=4711 principal=web ca=SHA256:\S+/);
  });
  await t.step("the namespace is a principal too", async () => {
    await isIn(rig, await authority.options("namespace", { principals: ["shop"] }));
  });
  for (const [name, [request, reason]] of Object.entries(REFUSED)) {
    await t.step(`refused: ${name}`, async () => isRefused(rig, reason, await authority.options(name, request)));
  }
  await t.step("refused: by a CA that nobody trusts", async () => {
    const options = await authority.options("untrusted", { ca: await makeKey(rig.folder, "other-ca") });
    await isRefused(rig, /the certificate's CA SHA256:\S+ is not trusted/, options);
  });
  await t.step("refused: by a user's key that is authorized, but is no CA", async () => {
    await authority.put({ authorized_keys: await publicLine(rig.key) });
    await waitFor("the key to count", async () => (await attempt(rig)).code === 0);
    const options = await authority.options("by-user", { ca: rig.key });
    await isRefused(rig, /the certificate's CA SHA256:\S+ is not trusted/, options);
  });
  await t.step("refused: forged, whichever byte of it is another", async () => {
    const real = await authority.options("real");
    const at = (text: string) => (bytes: Uint8Array) => new TextDecoder("latin1").decode(bytes).lastIndexOf(text);
    const places = [at("web"), at("id of real"), (bytes: Uint8Array) => bytes.length - 10];
    for (const place of places) {
      const forged = await shows(rig, real, (bytes) => void (bytes[place(bytes)]! ^= 1));
      assert.match(forged, /ssh login refused .*reason="the certificate is forged: /);
    }
    assert.match(await shows(rig, real, () => {}), /ssh login from/);
  });
  await t.step("refused: a host's", async () => {
    const log = await shows(rig, await authority.options("host", { more: ["-h"] }), () => {});
    assert.match(log, /ssh login refused .*reason="the certificate is a host's, and no user's"/);
  });
  await t.step("force-command, and what its extensions leave out", async () => {
    const forced = await authority.options("forced", {
      more: ["-O", 'force-command=echo "not $SSH_ORIGINAL_COMMAND"'],
    });
    assert.equal((await attempt(rig, forced)).stdout, "not echo in\n");
    const here = await authority.options("here", { more: ["-O", "source-address=127.0.0.0/8"] });
    await isIn(rig, here);
    const bare = await authority.options("bare", { more: ["-O", "clear"] });
    await isIn(rig, bare);
    const forcing = (options: AttemptOptions): AttemptOptions => ({
      ...options,
      options: [...options.options!, "RequestTTY=force", "LogLevel=QUIET"],
    });
    assert.equal((await attempt(rig, forcing(here))).stdout, "in\r\n");
    assert.equal((await attempt(rig, forcing(bare))).code, 255);
    const listening = {
      ...bare,
      options: [...bare.options!, "RemoteForward=0 127.0.0.1:1", "ExitOnForwardFailure=yes"],
    };
    assert.equal((await attempt(rig, listening)).code, 255);
  });
  await t.step("whose certificate ends while they are in is put out", async () => {
    const { code, stdout } = await short;
    assert.deepEqual([code, stdout], [255, "in\n"]);
    await audited(rig, /ssh connection ended user=soon certificate=.* reason="the certificate has expired at \S+"/);
  });
});

Deno.test("a CA and a user may have a key of any type", async (t) => {
  await using authority = await Authority.create();
  const { rig } = authority;
  const names = Object.keys(TYPES);
  const cas = Object.fromEntries(
    await Promise.all(
      names.map(async (name) => [name, await makeKey(rig.folder, `ca-${name}`, TYPES[name]!.split(" "))] as const),
    ),
  );
  const lines = await Promise.all(names.map((name) => publicLine(cas[name]!)));
  await authority.put({ ca_all: lines.join("\n") });
  for (const [index, name] of names.entries()) {
    await t.step(`${name} by ${names.at(-1 - index)}`, async () => {
      const key = await makeKey(rig.folder, `user-${name}`, TYPES[name]!.split(" "));
      const options = await authority.options(`of-${name}`, { key, ca: cas[names.at(-1 - index)!]! });
      await waitFor("the CAs to count", async () => (await attempt(rig, options)).code === 0);
    });
  }
  for (const hash of ["rsa-sha2-256", "rsa-sha2-512"]) {
    await t.step(`an RSA user signs with ${hash}, an RSA CA with -t ${hash}`, async () => {
      const key = join(rig.folder, "user-rsa");
      const { options } = await authority.options(hash, { key, ca: cas["rsa"]!, more: ["-t", hash] });
      await isIn(rig, { key, options: [...options!, `PubkeyAcceptedAlgorithms=${hash}-cert-v01@openssh.com,${hash}`] });
    });
  }
  await t.step("an RSA CA that signs with SHA-1 is refused", async () => {
    const options = await authority.options("sha1", { ca: cas["rsa"]!, more: ["-t", "ssh-rsa"] });
    const { options: [file] = [] } = options;
    await isRefused(rig, /the certificate is forged: .*\\"ssh-rsa\\"/, {
      ...options,
      options: [file!, "CASignatureAlgorithms=+ssh-rsa"],
    });
  });
});

Deno.test("what is revoked is refused, and whoever is in by it is put out", async (t) => {
  await using authority = await Authority.create();
  const { rig, ca, key } = authority;
  const good = await authority.options("good", { more: ["-z", "7"] });
  const krl = async (...lines: string[]) => {
    const [source, list] = [join(rig.folder, "spec"), join(rig.folder, "krl")];
    await Deno.writeTextFile(source, lines.join("\n") + "\n");
    await keygen("-q", "-k", "-f", list, "-s", `${ca}.pub`, source);
    return await Deno.readFile(list);
  };
  const LISTS: Readonly<Record<string, [() => Promise<string | Uint8Array>, RegExp]>> = {
    "its key, text": [() => publicLine(key), /the key SHA256:\S+ is revoked/],
    "its key, KRL": [async () => await krl(await publicLine(key)), /the key SHA256:\S+ is revoked/],
    "its serial, text": [() => Promise.resolve("serial: 5-9\n"), /the certificate's serial 7 is revoked/],
    "its serial, KRL": [() => krl("serial: 7"), /the certificate's serial 7 is revoked/],
    "its id, KRL": [() => krl("id: id of good"), /the certificate's id .*id of good.* is revoked/],
    "its CA, text": [() => publicLine(ca), /the certificate's CA SHA256:\S+ is revoked/],
    "its CA, KRL": [async () => await krl(await publicLine(ca)), /the certificate's CA SHA256:\S+ is revoked/],
    "a KRL that is cut short": [async () => (await krl("serial: 900")).subarray(0, -1), /revoked keys cannot be read/],
    "a list that cannot be read": [() => Promise.resolve("serial: seven\n"), /the list of revoked keys cannot be read/],
  };
  for (const [name, [list, reason]] of Object.entries(LISTS)) {
    await t.step(name, async () => {
      const user = `inside-${name.replaceAll(/\W+/g, "-")}`;
      const session = inside(rig, { ...good, user });
      await audited(rig, new RegExp(`ssh session user=${user} `));
      await authority.put({ revoked_keys: await list() });
      assert.equal((await session).code, 255);
      await audited(rig, new RegExp(`ssh connection ended user=${user} .*reason=.*(?:${reason.source})`));
      await isRefused(rig, reason, good);
      await authority.put({ revoked_keys: "" });
      await waitFor("the list to be gone", async () => (await attempt(rig, good)).code === 0);
    });
  }
  await t.step("what is not revoked goes on: a list of others", async () => {
    await authority.put({
      revoked_keys: await krl("serial: 8-100", await publicLine(rig.key)),
      authorized_key_own: await publicLine(rig.key),
    });
    await waitFor("the list to count", async () => /key SHA256:\S+ is revoked/.test((await attempt(rig)).log));
    await isIn(rig, good);
  });
});

/** A session that ends only by itself where its connection does. */
function inside(rig: SshRig, options: ClientOptions): Promise<ClientEnd> {
  return rig.ssh(["echo in; sleep 600"], options);
}

/** Shows a certificate that ssh(1) would not; gives what krun says of it. */
async function shows(rig: SshRig, { key, options = [] }: ClientOptions, change: (bytes: Uint8Array) => void) {
  const { parseKey } = await loadSsh2();
  const own = parseKey(await Deno.readTextFile(key!)) as unknown as { sign(data: Uint8Array): Uint8Array };
  const file = options[0]!.replace("CertificateFile=", "");
  const [algorithm = "", base64 = ""] = (await Deno.readTextFile(file)).split(" ");
  const blob = Uint8Array.fromBase64(base64);
  change(blob);
  const user = `shows-${crypto.randomUUID()}`;
  const sign = (data: Uint8Array) => concatBytes(sshString("ssh-ed25519"), sshString(own.sign(data)));
  await using client = await LoginClient.connect(rig.port);
  client.offer({ user, algorithm, blob, sign });
  const { userauthFailure, userauthSuccess } = SSH_MESSAGE;
  const [answer] = await client.next();
  const [line] = await audited(rig, new RegExp(`^.*ssh login .*user=${user} .*$`, "m"));
  assert.equal(answer, / refused /.test(line) ? userauthFailure : userauthSuccess);
  return line;
}
