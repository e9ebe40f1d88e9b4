/**
 * Makes the cases of tests/testdata/vectors/ssh_*&#47;made.json with the real ssh-keygen (OpenSSH 9.1 or later). By hand, when a case is added:
 * `deno run -A tests/ssh_vectors.ts tests/testdata/vectors`. Its keys are new each time, and their private halves are thrown away.
 *
 * In: a folder. Out: one file a unit. tests/live/ssh_keygen_test.ts makes them too, and holds krun against them.
 *
 * @module
 */
import { join } from "node:path";
import { concatBytes, SshReader, sshString } from "../src/core/ssh_wire.ts";
import { ALL, type CertificateCase, certificateRows, GOOD, JUNE, TAKEN, YEAR_2030 } from "./ssh_certificate_cases.ts";
import { runProgram } from "./ssh_keygen.ts";
import type { Vector } from "./vectors.ts";

/** A case before it has its files. */
export type Made = Vector<Record<string, unknown>, Record<string, unknown> | null>;

const KEYS: Readonly<Record<string, readonly string[]>> = {
  ed25519: ["-t", "ed25519"],
  p256: ["-t", "ecdsa", "-b", "256"],
  p384: ["-t", "ecdsa", "-b", "384"],
  p521: ["-t", "ecdsa", "-b", "521"],
  rsa: ["-t", "rsa", "-b", "2048"],
  rsa3072: ["-t", "rsa", "-b", "3072"],
  rsa1024: ["-t", "rsa", "-b", "1024"],
  rsa5120: ["-t", "rsa", "-b", "5120"],
  ca: ["-t", "ed25519"],
  rsaca: ["-t", "rsa", "-b", "3072"],
};

/** Those that krun does not take. */
const REFUSED_KEYS: Readonly<Record<string, { readonly why: string; readonly reason?: string }>> = {
  rsa1024: {
    why: "fewer than 2048 bits can be broken",
    reason: "an RSA key has at least 2048 bits, this one 1024",
  },
  rsa5120: {
    why: "node:crypto of Deno 2.9 takes no longer one",
    reason: "an RSA key has at most 4096 bits, this one 5120",
  },
};

/** ssh-keygen's own folder, and what it is asked. */
class Keygen {
  constructor(readonly folder: string) {}

  run(args: readonly string[], input = ""): Promise<string> {
    return runProgram(["ssh-keygen", ...args], { cwd: this.folder, input });
  }

  text(name: string): string {
    return Deno.readTextFileSync(join(this.folder, name)).trim();
  }

  write(name: string, content: string): void {
    Deno.writeTextFileSync(join(this.folder, name), content);
  }

  async makeKeys(): Promise<void> {
    for (const [name, args] of Object.entries(KEYS)) {
      await this.run(["-q", ...args, "-N", "", "-C", `${name} of a test`, "-f", name]);
    }
  }

  /** The line of a certificate. */
  async certificate({ key = "ed25519", ca = "ca", args = [] }: CertificateCase): Promise<string> {
    const given = (option: string, value: string) => args.includes(option) ? [] : [option, value];
    const names = args.includes("--no-principals") ? [] : given("-n", "shop,web");
    const rest = args.filter((arg) => arg !== "--no-principals");
    const common = [...given("-I", "somebody"), ...names, ...given("-V", YEAR_2030), ...given("-z", "7")];
    await this.run(["-q", "-s", ca, ...common, ...rest, `${key}.pub`]);
    return this.text(`${key}-cert.pub`);
  }
}

async function certificates(keygen: Keygen): Promise<Made[]> {
  const made: Made[] = [];
  for (const { id, why, question = {}, expect, reason, ...how } of certificateRows()) {
    const { ca = how.ca ?? "ca", ...rest } = question;
    const certificate = await keygen.certificate(how);
    const input = {
      certificate,
      ca: keygen.text(`${ca}.pub`),
      now: JUNE,
      principals: ["shop"],
      peer: "10.0.0.1",
      ...rest,
    };
    made.push({ id, why, input, expect: reason ? { reason } : { options: ALL, ...GOOD, ...expect } });
  }
  const forever = made.find(({ id }) => id === "for ever")!;
  delete (forever.expect as Record<string, unknown>).expiresAt;
  return made;
}

async function publicKeys(keygen: Keygen): Promise<Made[]> {
  const made: Made[] = [];
  for (const name of Object.keys(KEYS)) {
    const line = keygen.text(`${name}.pub`);
    const [bits, fingerprint] = (await keygen.run(["-l", "-f", `${name}.pub`])).split(" ");
    const key = { type: line.split(" ")[0], bits: Number(bits), fingerprint, comment: `${name} of a test` };
    const { why, reason } = REFUSED_KEYS[name] ?? { why: "as ssh-keygen -l prints it" };
    made.push({ id: name, why, input: { line }, expect: reason === undefined ? key : { reason } });
  }
  return made;
}

/** PROTOCOL.sshsig: what `ssh-keygen -Y sign` signs, and the signature in it. */
async function signatures(keygen: Keygen): Promise<Made[]> {
  const made: Made[] = [];
  keygen.write("message", "a message\n");
  for (const name of TAKEN) {
    await keygen.run(["-Y", "sign", "-f", name, "-n", "krun", "message"]);
    const armour = keygen.text("message.sig").replace(/-----.*-----|\s/g, "");
    Deno.removeSync(join(keygen.folder, "message.sig"));
    const reader = new SshReader(Uint8Array.fromBase64(armour));
    reader.bytes("SSHSIG".length + 4);
    reader.string();
    const parts = [reader.string(), reader.string(), reader.string()];
    const signature = reader.string();
    const hash = new Uint8Array(await crypto.subtle.digest("SHA-512", new TextEncoder().encode("a message\n")));
    const data = concatBytes(
      new TextEncoder().encode("SSHSIG"),
      ...parts.map((part) => sshString(part)),
      sshString(hash),
    );
    made.push({
      id: name,
      why: "made by ssh-keygen -Y sign",
      input: { line: keygen.text(`${name}.pub`), signature: signature.toBase64(), data: data.toBase64() },
      expect: { valid: true },
    });
  }
  return made;
}

/** Lines of a list, and what they revoke of: the plain key p256, a certificate 7 "somebody" of `ca` for ed25519, one 8 "else". */
const REVOCATION_ROWS: readonly { id: string; why: string; list: string; ca?: string; revoked: readonly string[] }[] = [
  { id: "nothing", why: "an empty list", list: "# nothing\n", revoked: [] },
  { id: "serial", why: "one number", list: "serial: 7\n", revoked: ["seven"] },
  { id: "serial of one CA", why: "made for that CA", list: "serial: 7\n", ca: "ca", revoked: ["seven"] },
  { id: "serial of another CA", why: "made for another CA", list: "serial: 7\n", ca: "p384", revoked: [] },
  { id: "range", why: "both ends count", list: "serial: 8-1000\n", revoked: ["eight"] },
  { id: "hexadecimal", why: "as strtoull(3) reads it", list: "serial: 0x7-010\n", revoked: ["seven", "eight"] },
  {
    id: "bitmap",
    why: "many single numbers",
    list: "serial: 3\nserial: 5\nserial: 8\nserial: 11\nserial: 13\n",
    revoked: ["eight"],
  },
  { id: "id", why: "the text of the CA", list: "id: else\n", revoked: ["eight"] },
  { id: "key", why: "a key, and the certificate for it", list: "key: @ed25519.pub\n", revoked: ["seven", "eight"] },
  { id: "plain key", why: "a line of a key", list: "@p256.pub\n", revoked: ["plain"] },
  { id: "sha1", why: "the SHA-1 of a key", list: "sha1: @p256.pub\n", revoked: ["plain"] },
  { id: "sha256", why: "the SHA-256 of a key", list: "sha256: @ed25519.pub\n", revoked: ["seven", "eight"] },
  { id: "hash", why: "a fingerprint", list: "hash: #p256.pub\n", revoked: ["plain"] },
  { id: "CA", why: "a CA's key revokes all its certificates", list: "@ca.pub\n", revoked: ["seven", "eight"] },
  { id: "certificate", why: "itself, by its number", list: "@seven-cert.pub\n", revoked: ["seven"] },
  ...["rsa1024.pub", "rsa5120.pub", "weak-cert.pub", "large-cert.pub"].map((name) => ({
    id: `${name} and others`,
    why: "the sizes of keys that are believed are no limits of what is revoked",
    list: `@${name}\n@p256.pub\n`,
    revoked: ["plain"],
  })),
  {
    id: "key of a certificate of an RSA key of 1024 bits",
    why: "the certificate need not be one that is believed",
    list: "key: @weak-cert.pub\nkey: @p256.pub\n",
    revoked: ["plain"],
  },
  {
    id: "serial of an RSA CA of 5120 bits",
    why: "made for another CA",
    list: "serial: 7\n",
    ca: "rsa5120",
    revoked: [],
  },
];

async function revocations(keygen: Keygen): Promise<Made[]> {
  const made: Made[] = [];
  keygen.write("seven-cert.pub", await keygen.certificate({}));
  keygen.write("weak-cert.pub", await keygen.certificate({ key: "rsa1024", args: ["-z", "99"] }));
  keygen.write("large-cert.pub", await keygen.certificate({ ca: "rsa5120" }));
  const eight = await keygen.certificate({ args: ["-z", "8", "-I", "else"] });
  const offers = { plain: keygen.text("p256.pub"), seven: keygen.text("seven-cert.pub"), eight };
  const prints = (await keygen.run(["-l", "-f", "p256.pub"])).split(" ")[1]!;
  for (const { id, why, list, ca, revoked } of REVOCATION_ROWS) {
    const text = list.replace(/@(\S+)/g, (_, name) => keygen.text(name)).replace("#p256.pub", prints);
    keygen.write("list", text);
    await keygen.run(["-q", "-k", "-f", "krl", ...ca ? ["-s", `${ca}.pub`] : ["-s", "none"], "list"]);
    const krl = Deno.readFileSync(join(keygen.folder, "krl")).toBase64();
    const expect = Object.fromEntries(Object.keys(offers).map((name) => [name, revoked.includes(name)]));
    made.push({ id, why, input: { ...ca ? {} : { text }, krl, ...offers }, expect });
  }
  return made;
}

/** Every unit with its cases. Takes seconds: some keys are RSA. */
export async function makeVectors(): Promise<Readonly<Record<string, readonly Made[]>>> {
  const folder = await Deno.makeTempDir({ prefix: "krun-ssh-vectors-" });
  try {
    const keygen = new Keygen(folder);
    await keygen.makeKeys();
    return {
      ssh_public_key: await publicKeys(keygen),
      ssh_signature: await signatures(keygen),
      ssh_certificate: await certificates(keygen),
      ssh_revocation: await revocations(keygen),
    };
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
}

if (import.meta.main) {
  for (const [unit, cases] of Object.entries(await makeVectors())) {
    await Deno.mkdir(join(Deno.args[0]!, unit), { recursive: true });
    await Deno.writeTextFile(join(Deno.args[0]!, unit, "made.json"), `${JSON.stringify(cases, null, 2)}\n`);
  }
}
