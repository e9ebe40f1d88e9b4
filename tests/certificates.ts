/**
 * Certificates for tests in TypeScript alone: any subject alternative name, also ones that no authority would write. In: names.
 * Out: PEM texts. The live tests' authority, by `openssl`, checks that this one agrees with the world.
 *
 * @module
 */
import { Buffer } from "node:buffer";
import { generateKeyPairSync, type KeyObject, sign } from "node:crypto";

/** A certificate, the rest of its chain, and its private key. */
export interface MadeCertificate {
  /** The certificate, then those of the intermediate authorities. */
  readonly certPem: string;
  readonly keyPem: string;
  /** The certificate alone. */
  readonly der: Uint8Array<ArrayBuffer>;
}

/** What a certificate says. */
export interface MadeCertificateOptions {
  /** URIs among the subject alternative names. */
  readonly uris?: readonly string[];
  readonly dnsNames?: readonly string[];
  readonly emails?: readonly string[];
  /** IPv4 addresses. */
  readonly addresses?: readonly string[];
  /** Milliseconds from now. @default {3_600_000} */
  readonly endsInMs?: number;
}

const OIDS = {
  ecdsaWithSha256: "1.2.840.10045.4.3.2",
  commonName: "2.5.4.3",
  subjectAltName: "2.5.29.17",
  basicConstraints: "2.5.29.19",
  keyUsage: "2.5.29.15",
  extendedKeyUsage: "2.5.29.37",
  serverAuth: "1.3.6.1.5.5.7.3.1",
  clientAuth: "1.3.6.1.5.5.7.3.2",
};

/** One element of DER: tag, length, content. */
export function der(tag: number, ...content: readonly (Uint8Array | number[])[]): Uint8Array<ArrayBuffer> {
  const body = Buffer.concat(content.map((part) => Uint8Array.from(part)));
  const length = body.length < 128 ? [body.length] : lengthBytes(body.length);
  return new Uint8Array([tag, ...length, ...body]);
}

function lengthBytes(length: number): number[] {
  const bytes = Array.from(Buffer.from(length.toString(16).padStart(6, "0"), "hex"));
  while (bytes[0] === 0) bytes.shift();
  return [0x80 | bytes.length, ...bytes];
}

function oid(text: string): Uint8Array {
  const [first = 0, second = 0, ...rest] = text.split(".").map(Number);
  const bytes = [40 * first + second];
  for (const part of rest) {
    const groups = [part & 0x7f];
    for (let left = part >>> 7; left > 0; left >>>= 7) groups.unshift(0x80 | (left & 0x7f));
    bytes.push(...groups);
  }
  return der(0x06, bytes);
}

function instant(ms: number): Uint8Array {
  const digits = new Date(ms).toISOString().replace(/\D/g, "").slice(0, 14);
  return der(0x18, Buffer.from(`${digits}Z`));
}

const ALGORITHM = der(0x30, oid(OIDS.ecdsaWithSha256));

function distinguishedName(commonName: string): Uint8Array {
  if (commonName === "") return der(0x30);
  return der(0x30, der(0x31, der(0x30, oid(OIDS.commonName), der(0x0c, Buffer.from(commonName)))));
}

function extension(id: string, critical: boolean, value: Uint8Array): Uint8Array {
  return der(0x30, oid(id), ...(critical ? [der(0x01, [0xff])] : []), der(0x04, value));
}

/** The value of a subjectAltName extension (RFC 5280, 4.2.1.6). */
export function subjectAltName(options: MadeCertificateOptions): Uint8Array<ArrayBuffer> {
  const { uris = [], dnsNames = [], emails = [], addresses = [] } = options;
  const texts = (tag: number, names: readonly string[]) => names.map((name) => der(tag, Buffer.from(name)));
  return der(
    0x30,
    ...texts(0x81, emails),
    ...texts(0x82, dnsNames),
    ...texts(0x86, uris),
    ...addresses.map((address) => der(0x87, address.split(".").map(Number))),
  );
}

function pem(label: string, bytes: Uint8Array): string {
  const lines = Buffer.from(bytes).toString("base64").match(/.{1,64}/g) ?? [];
  return `-----BEGIN ${label}-----\n${lines.join("\n")}\n-----END ${label}-----\n`;
}

interface Subject {
  readonly name: string;
  readonly publicKey: KeyObject;
  readonly extensions: readonly Uint8Array[];
  readonly endsInMs: number;
}

/** An authority of its own: EC P-256, SHA-256. */
export class TestAuthority {
  readonly #keys = generateKeyPairSync("ec", { namedCurve: "P-256" });
  readonly #name = `krun test CA ${crypto.randomUUID()}`;
  readonly #der: Uint8Array;
  /** What comes between a certificate and the root. */
  readonly #chainPem: string;
  /** Its certificate; of an intermediate authority, its root's. */
  readonly pem: string;

  constructor(readonly parent?: TestAuthority) {
    const extensions = [
      extension(OIDS.basicConstraints, true, der(0x30, der(0x01, [0xff]))),
      extension(OIDS.keyUsage, true, der(0x03, [1, 0x06])),
    ];
    const subject = { name: this.#name, publicKey: this.#keys.publicKey, extensions, endsInMs: 86_400_000 };
    this.#der = (parent ?? this).#sign(subject);
    this.#chainPem = parent === undefined ? "" : pem("CERTIFICATE", this.#der) + parent.#chainPem;
    this.pem = parent?.pem ?? pem("CERTIFICATE", this.#der);
  }

  /** A certificate for servers and clients, as istiod makes them: no subject, and a critical subjectAltName. */
  issue(options: MadeCertificateOptions): MadeCertificate {
    const { publicKey, privateKey } = generateKeyPairSync("ec", { namedCurve: "P-256" });
    const extensions = [
      extension(OIDS.keyUsage, true, der(0x03, [5, 0xa0])),
      extension(OIDS.extendedKeyUsage, false, der(0x30, oid(OIDS.serverAuth), oid(OIDS.clientAuth))),
      extension(OIDS.basicConstraints, true, der(0x30)),
      extension(OIDS.subjectAltName, true, subjectAltName(options)),
    ];
    const bytes = this.#sign({ name: "", publicKey, extensions, endsInMs: options.endsInMs ?? 3_600_000 });
    const keyPem = privateKey.export({ type: "pkcs8", format: "pem" }) as string;
    return { certPem: pem("CERTIFICATE", bytes) + this.#chainPem, keyPem, der: bytes };
  }

  /** RFC 5280, 4.1. */
  #sign({ name, publicKey, extensions, endsInMs }: Subject): Uint8Array<ArrayBuffer> {
    const serial = crypto.getRandomValues(new Uint8Array(16));
    serial[0]! &= 0x7f;
    serial[0]! |= 0x40;
    const now = Date.now();
    const content = der(
      0x30,
      der(0xa0, der(0x02, [2])),
      der(0x02, serial),
      ALGORITHM,
      distinguishedName(this.#name),
      der(0x30, instant(Math.min(now, now + endsInMs) - 3_600_000), instant(now + endsInMs)),
      distinguishedName(name),
      publicKey.export({ type: "spki", format: "der" }),
      der(0xa3, der(0x30, ...extensions)),
    );
    const signature = sign("sha256", content, this.#keys.privateKey);
    return der(0x30, content, ALGORITHM, der(0x03, [0], signature));
  }
}
