/**
 * Private keys in a form that ssh2 reads. In: the PEM of OpenSSL 3 (PKCS#8), or with parameters before it. Out: PKCS#1, SEC 1, or OpenSSH's own form.
 *
 * Rule for the latter: OpenSSH's PROTOCOL.key.
 *
 * @module
 */
import { createPrivateKey, type KeyObject, randomBytes } from "node:crypto";
import { concatBytes, sshString, sshUint32 } from "../core/ssh_wire.ts";

/** The same key; the text itself where it is none that node:crypto reads, or of a kind that has no other form. */
export function readableForm(text: string): string {
  try {
    const key = createPrivateKey(text);
    if (key.asymmetricKeyType === "rsa") return key.export({ type: "pkcs1", format: "pem" }) as string;
    const fields = key.asymmetricKeyType === "ec"
      ? ecFields(key)
      : key.asymmetricKeyType === "ed25519"
      ? ed25519Fields(key)
      : undefined;
    return fields ? opensshForm(fields) : text;
  } catch {
    return text;
  }
}

/** The size of the blocks of no cipher at all. */
const BLOCK_BYTES = 8;

/** A key as OpenSSH writes it: fields that everybody may know, and those behind them. */
interface KeyFields {
  readonly open: readonly (Uint8Array | string)[];
  readonly secret: readonly Uint8Array[];
}

function ed25519Fields(key: KeyObject): KeyFields {
  const { d, x } = numbersOf(key);
  return { open: ["ssh-ed25519", x], secret: [concatBytes(d, x)] };
}

/** For ssh2, Deno's crypto would have to know the curve by a way that has no P-521. */
function ecFields(key: KeyObject): KeyFields {
  const { d, x, y, curve } = numbersOf(key);
  const name = curve.replace(/^P-/, "nistp");
  const point = concatBytes(Uint8Array.of(UNCOMPRESSED), x, y);
  // Else a number with a leading one would be negative (RFC 4251, section 5).
  const sign = new Uint8Array((d[0] ?? 0) & 0x80 ? 1 : 0);
  return { open: [`ecdsa-sha2-${name}`, name, point], secret: [concatBytes(sign, d)] };
}

/** SEC 1: what begins a point that is written with both of its coordinates. */
const UNCOMPRESSED = 4;

function numbersOf(key: KeyObject) {
  const { d = "", x = "", y = "", crv = "" } = key.export({ format: "jwk" });
  const bytes = (text: string) => Uint8Array.fromBase64(text, { alphabet: "base64url" });
  return { d: bytes(d), x: bytes(x), y: bytes(y), curve: crv };
}

function opensshForm({ open, secret }: KeyFields): string {
  const check = randomBytes(4);
  const known = concatBytes(...open.map((field) => sshString(field)));
  const pair = concatBytes(known, ...secret.map((field) => sshString(field)), sshString(""));
  const content = concatBytes(check, check, pair);
  const padding = Uint8Array.from({ length: -content.length & (BLOCK_BYTES - 1) }, (_, at) => at + 1);
  const file = concatBytes(
    new TextEncoder().encode("openssh-key-v1\0"),
    ...["none", "none", ""].map((nothing) => sshString(nothing)),
    sshUint32(1),
    sshString(known),
    sshString(concatBytes(content, padding)),
  );
  const base64 = file.toBase64().replaceAll(/(.{70})(?=.)/g, "$1\n");
  return `-----BEGIN OPENSSH PRIVATE KEY-----\n${base64}\n-----END OPENSSH PRIVATE KEY-----\n`;
}
