/** Lists of revoked keys as ssh-keygen writes them, each of their records: `ssh-keygen -Q` and krun say the same. Needs openssh-client. */
import assert from "node:assert/strict";
import { join } from "node:path";
import { certificateType } from "../../src/core/ssh_algorithm.ts";
import { isCertificateBlob, parseCertificate } from "../../src/core/ssh_certificate.ts";
import { parsePublicKey, sshFingerprint } from "../../src/core/ssh_public_key.ts";
import { parseRevokedKeys, revocationReason, type Revocations } from "../../src/core/ssh_revocation.ts";
import type { RevocationList, RevokedCertificates } from "../../src/core/ssh_revocation_list.ts";
import { runProgram } from "../ssh_keygen.ts";
import { certificateBlob, softwareKey } from "../ssh_keys.ts";

const ann = softwareKey("ssh-ed25519", "ann"), bob = softwareKey("ecdsa-sha2-nistp256", "bob");
const ours = softwareKey("ssh-ed25519", "ours"), theirs = softwareKey("ecdsa-sha2-nistp384", "theirs");

/** Keys of RSA that krun does not believe: too short, too long. */
const SIZES: Readonly<Record<string, string>> = { weak: "1024", large: "5120" };

const line = ({ publicKey }: typeof ann) => `${publicKey.type} ${publicKey.base64}`;

/** Certificates of both authorities: ends of ranges, neighbours in a bitmap, one without a number, ids that several have. */
const SERIALS = [0n, 1n, 2n, 3n, 499n, 500n, 501n, 1000n, 1001n, 4097n, 2n ** 63n, 2n ** 64n - 1n];

/** Everything that is asked about, by the name of its file. */
function offered(): Map<string, Uint8Array> {
  const offers = new Map([["ann", ann.publicKey.blob], ["bob", bob.publicKey.blob]]);
  for (const [authority, ca] of [["ours", ours], ["theirs", theirs]] as const) {
    for (const serial of SERIALS) {
      const certificate = { key: ann, ca, serial, keyId: serial === 0n ? "no number" : `id ${serial % 4n}` };
      offers.set(`${authority}-${serial}`, certificateBlob(certificate));
    }
  }
  return offers;
}

/** A folder with a file of each offer and each key. */
class Keygen implements Disposable {
  readonly #folder = Deno.makeTempDirSync({ prefix: "krun-ssh-revoked-" });
  readonly offers = offered();

  constructor() {
    for (const [name, blob] of this.offers) {
      const type = isCertificateBlob(blob) ? certificateType("ssh-ed25519") : parsePublicKey(blob).type;
      this.write(`${name}.pub`, `${type} ${blob.toBase64()}\n`);
    }
    for (const [name, key] of [["ours", ours], ["theirs", theirs]] as const) this.write(`${name}.pub`, line(key));
  }

  write(name: string, content: string | Uint8Array): void {
    Deno.writeFileSync(
      join(this.#folder, name),
      typeof content === "string" ? new TextEncoder().encode(content) : content,
    );
  }

  /** Keys of RSA that krun does not believe, and certificates of the short one and by the long one: `weak-cert.pub`, `by-large-cert.pub`. */
  async makeUnbelieved(): Promise<void> {
    for (const [name, bits] of Object.entries(SIZES)) {
      await this.run("-q", "-t", "rsa", "-b", bits, "-N", "", "-C", name, "-f", name);
    }
    this.write("by-large.pub", line(ann));
    for (const name of ["weak", "by-large"]) {
      await this.run("-q", "-s", "large", "-I", name, "-n", "x", "-z", "7", `${name}.pub`);
    }
  }

  text(name: string): string {
    return Deno.readTextFileSync(join(this.#folder, name)).trim();
  }

  run(...args: readonly string[]): Promise<string> {
    return runProgram(["ssh-keygen", ...args], { cwd: this.#folder });
  }

  /** A list that is made in steps, the first of which makes it anew: lines for an authority, or files as they are. */
  async list(steps: readonly Step[]): Promise<Uint8Array> {
    for (const [at, { ca, lines, files }] of steps.entries()) {
      if (lines) this.write("lines", `${lines.join("\n")}\n`);
      const [update, issuer] = [at > 0 ? ["-u"] : [], ca ? ["-s", ca === "none" ? ca : `${ca}.pub`] : []];
      await this.run("-q", "-k", ...update, "-f", "krl", ...issuer, ...lines ? ["lines"] : [], ...files ?? []);
    }
    return Deno.readFileSync(join(this.#folder, "krl"));
  }

  /** What of the offers ssh-keygen calls revoked by a list; undefined: it does not take the list. */
  async asked(list: Uint8Array): Promise<string[] | undefined> {
    this.write("asked", list);
    const names = [...this.offers.keys()];
    const said = await this.run("-Q", "-f", "asked", ...names.map((name) => `${name}.pub`))
      .catch((error: Error) => error.message);
    const verdicts = names.map((name) => new RegExp(`^${name}\\.pub.*: (ok|REVOKED)$`, "m").exec(said)?.[1]);
    if (verdicts.includes(undefined)) return undefined;
    return names.filter((_, at) => verdicts[at] === "REVOKED");
  }

  /** What of them krun calls revoked. */
  judged(revocations: Revocations): string[] {
    return [...this.offers].filter(([, blob]) => {
      const certificate = isCertificateBlob(blob) ? parseCertificate(blob) : undefined;
      const key = certificate?.key ?? parsePublicKey(blob);
      return revocationReason(revocations, { key, ...certificate && { certificate } }) !== undefined;
    }).map(([name]) => name);
  }

  [Symbol.dispose](): void {
    Deno.removeSync(this.#folder, { recursive: true });
  }
}

interface Step {
  /** The authority that the lines are about; "none": every one. */
  readonly ca?: "ours" | "theirs" | "large" | "none";
  readonly lines?: readonly string[];
  readonly files?: readonly string[];
}

/** The records that a list holds. */
type Holds = keyof RevokedCertificates | "keys" | "sha1" | "sha256";

const scattered = Array.from({ length: 400 }, (_, at) => `serial: ${1 + 10 * at}`);

const LISTS: Readonly<Record<string, { readonly holds: Holds; readonly steps: readonly Step[] }>> = {
  "one number": { holds: "ranges", steps: [{ ca: "ours", lines: ["serial: 500"] }] },
  "a range": { holds: "ranges", steps: [{ ca: "ours", lines: ["serial: 1-1000"] }] },
  "a range up to the last number": {
    holds: "ranges",
    steps: [{ ca: "ours", lines: ["serial: 1001-0xffffffffffffffff"] }],
  },
  "ranges that meet": { holds: "ranges", steps: [{ ca: "ours", lines: ["serial: 1-499", "serial: 500-1000"] }] },
  "many numbers in a range": { holds: "bitmaps", steps: [{ ca: "ours", lines: scattered }] },
  "many numbers for every authority": {
    holds: "bitmaps",
    steps: [{ ca: "none", lines: [...scattered, "serial: 500"] }],
  },
  "many ids": {
    holds: "keyIds",
    steps: [{
      ca: "theirs",
      lines: ["id: id 1", "id: no number", ...Array.from({ length: 99 }, (_, at) => `id: x${at}`)],
    }],
  },
  "an id for every authority": { holds: "keyIds", steps: [{ ca: "none", lines: ["id: id 3"] }] },
  "a key, by the word": { holds: "keys", steps: [{ lines: [`key: ${line(bob)}`] }] },
  "a key, by its line": { holds: "keys", steps: [{ lines: [line(ann)] }] },
  "a key, by its file": { holds: "keys", steps: [{ files: ["bob.pub"] }] },
  "an authority": { holds: "keys", steps: [{ files: ["theirs.pub"] }] },
  "SHA-1 of a key": { holds: "sha1", steps: [{ lines: [`sha1: ${line(bob)}`] }] },
  "SHA-1 of an authority": { holds: "sha1", steps: [{ lines: [`sha1: ${line(ours)}`] }] },
  "SHA-256 of a key": { holds: "sha256", steps: [{ lines: [`sha256: ${line(ann)}`] }] },
  "a fingerprint": { holds: "sha256", steps: [{ lines: [`hash: ${sshFingerprint(theirs.publicKey.blob)}`] }] },
  "a certificate, without an authority named": { holds: "ranges", steps: [{ files: ["ours-500.pub"] }] },
  "a certificate without a number": { holds: "keyIds", steps: [{ files: ["theirs-0.pub"] }] },
  "the key of a certificate": {
    holds: "keys",
    steps: [{ lines: [`key: ${certificateType("ssh-ed25519")} $ours-500`] }],
  },
  "certificates of two authorities": {
    holds: "ranges",
    steps: [{ files: ["ours-1.pub", "theirs-1001.pub", "ours-3.pub"] }],
  },
  "two authorities, one after the other": {
    holds: "keyIds",
    steps: [{ ca: "ours", lines: ["serial: 1-3", "id: id 0"] }, { ca: "theirs", lines: ["serial: 500-501"] }],
  },
  "two authorities, and every one": {
    holds: "bitmaps",
    steps: [{ ca: "ours", lines: scattered }, { ca: "theirs", lines: ["id: id 2"] }, {
      ca: "none",
      lines: ["serial: 4097"],
    }],
  },
  "everything at once": {
    holds: "sha1",
    steps: [
      {
        ca: "ours",
        lines: ["serial: 2-3", "id: id 0", `sha1: ${line(bob)}`, `hash: ${sshFingerprint(theirs.publicKey.blob)}`],
      },
      { ca: "theirs", files: ["ours-1001.pub"] },
    ],
  },
  "nothing of these": { holds: "bitmaps", steps: [{ ca: "none", lines: ["serial: 7-9"] }] },
};

function sizeOf(list: RevocationList, record: Holds): number {
  const { keys, sha1, sha256, certificates } = list;
  if (record in { keys, sha1, sha256 }) return list[record as "keys" | "sha1" | "sha256"].size;
  return certificates.flatMap((one) => [...one[record as "ranges" | "bitmaps" | "keyIds"]]).length;
}

Deno.test("ssh-keygen -Q and krun say the same of every record that ssh-keygen writes", async (t) => {
  using keygen = new Keygen();
  const filled = (text: string) => text.replace(/\$(\S+)/, (_, name: string) => keygen.offers.get(name)!.toBase64());
  const revoked = new Set<string>();
  for (const [name, { holds, steps }] of Object.entries(LISTS)) {
    await t.step(name, async () => {
      const bytes = await keygen.list(
        steps.map((step) => ({ ...step, ...step.lines && { lines: step.lines.map(filled) } })),
      );
      const list = parseRevokedKeys(bytes);
      if ("everythingBecause" in list) return assert.fail(list.everythingBecause);
      assert.ok(sizeOf(list, holds) > 0, `no ${holds} in it`);
      const said = await keygen.asked(bytes);
      assert.deepEqual(keygen.judged(list), said);
      for (const one of said!) revoked.add(one);
    });
  }
  assert.deepEqual([...keygen.offers.keys()].filter((name) => !revoked.has(name)), [], "never revoked");
});

Deno.test("a list that ssh-keygen does not take lets nobody in, wherever it was cut or changed", async () => {
  using keygen = new Keygen();
  const whole = await keygen.list([
    { ca: "ours", lines: ["serial: 2-3", "id: id 0", `sha1: ${line(bob)}`, ...scattered.slice(0, 99)] },
    { ca: "theirs", files: ["bob.pub"] },
  ]);
  const everybody = [...keygen.offers.keys()];
  const seen = { refused: 0, taken: 0 };
  const judge = async (bytes: Uint8Array, what: string) => {
    const said = await keygen.asked(bytes);
    const judged = keygen.judged(parseRevokedKeys(bytes));
    seen[said ? "taken" : "refused"]++;
    if (said === undefined) return assert.deepEqual(judged, everybody, what);
    // What krun does not take and ssh-keygen does may refuse more, and never less.
    assert.deepEqual(said.filter((name) => !judged.includes(name)), [], what);
  };
  for (let length = 6; length < whole.length; length += 11) {
    await judge(whole.subarray(0, length), `its first ${length}`);
  }
  for (let at = 6; at < whole.length; at += 9) await judge(whole.with(at, whole[at]! ^ 0x41), `byte ${at} changed`);
  assert.ok(seen.refused > 15 && seen.taken > 5, JSON.stringify(seen));
});

Deno.test("a list may name keys of RSA that krun does not believe, and counts for what else it names", async (t) => {
  using keygen = new Keygen();
  await keygen.makeUnbelieved();
  const named = ["weak.pub", "large.pub", "weak-cert.pub", "by-large-cert.pub"].map((name) => keygen.text(name));
  const lists: Record<string, () => Promise<Uint8Array> | Uint8Array> = {
    "as lines": () => new TextEncoder().encode([...named, line(bob)].join("\n")),
    "as a binary list": () => keygen.list([{ lines: [...named, line(bob)] }]),
    "by an authority": () =>
      keygen.list([{ ca: "large", lines: ["serial: 7", "id: x"] }, { ca: "none", lines: [line(bob)] }]),
  };
  for (const [name, make] of Object.entries(lists)) {
    await t.step(name, async () => {
      const bytes = await make();
      assert.deepEqual(keygen.judged(parseRevokedKeys(bytes)), ["bob"]);
      // ssh-keygen -Q reads no lines; sshd does.
      if (name !== "as lines") assert.deepEqual(await keygen.asked(bytes), ["bob"]);
    });
  }
});
