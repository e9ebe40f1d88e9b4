/**
 * A private certificate authority for tests, by the `openssl` program. In: a folder that the caller owns. Out: PEM texts.
 *
 * @module
 */
import { join } from "node:path";

/** A certificate and its private key. */
export interface KeyPair {
  readonly certPem: string;
  readonly keyPem: string;
}

/** What a certificate says, and how it can be wrong on purpose. */
export interface CertificateOptions {
  /** @default {"test"} */
  readonly commonName?: string;
  /** Kubernetes reads groups from these. */
  readonly organizations?: readonly string[];
  /** Subject alternative names: `DNS:localhost`, `IP:127.0.0.1`. */
  readonly names?: readonly string[];
  /** An X.509 version 1 certificate: no extensions, so no names either. @default {false} */
  readonly version1?: boolean;
  /** Its time is over. @default {false} */
  readonly expired?: boolean;
}

async function openssl(args: readonly string[]): Promise<void> {
  const { success, stderr } = await new Deno.Command("openssl", { args: [...args], stdin: "null" }).output();
  if (!success) throw new Error(`openssl ${args.join(" ")}: ${new TextDecoder().decode(stderr)}`);
}

function subject({ commonName = "test", organizations = [] }: CertificateOptions): string {
  const escaped = (text: string) => text.replace(/[\\/]/g, "\\$&");
  return [...organizations.map((o) => `/O=${escaped(o)}`), `/CN=${escaped(commonName)}`].join("");
}

/** One authority; every certificate it issues is an EC P-256 one, valid for a day. */
export class CertificateAuthority {
  #serial = 0;

  private constructor(private readonly folder: string, readonly pem: string, readonly file: string) {}

  /** Makes the authority's own key and its X.509 version 3 certificate below `folder`. */
  static async create(folder: string): Promise<CertificateAuthority> {
    await Deno.mkdir(folder, { recursive: true });
    const file = join(folder, "ca.crt");
    const config = join(folder, "ca.cnf");
    await Deno.writeTextFile(config, "[req]\ndistinguished_name=dn\n[dn]\n");
    const make = ["req", "-x509", "-config", config, "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"];
    const extensions = ["basicConstraints=critical,CA:TRUE", "keyUsage=critical,keyCertSign,digitalSignature"];
    await openssl([
      ...make,
      ...[
        "-days",
        "1",
        "-subj",
        `/CN=krun test CA ${crypto.randomUUID()}`,
        "-keyout",
        join(folder, "ca.key"),
        "-out",
        file,
      ],
      ...extensions.flatMap((e) => ["-addext", e]),
    ]);
    return new CertificateAuthority(folder, await Deno.readTextFile(file), file);
  }

  /** Issues a certificate for server and client use. */
  async issue(options: CertificateOptions): Promise<KeyPair> {
    const base = join(this.folder, `issued-${this.#serial++}`);
    const [key, certificate] = [`${base}.key`, `${base}.crt`];
    const config = join(this.folder, "ca.cnf");
    const make = ["req", "-config", config, "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"];
    const whose = ["-subj", subject(options), "-keyout", key];
    const by = ["-CA", this.file, "-CAkey", join(this.folder, "ca.key"), "-set_serial", `0x${randomSerial()}`];
    if (options.version1 || options.expired) {
      // What `req` cannot make itself. Without an extension file, `x509` makes an X.509 version 1 certificate.
      const request = `${base}.csr`;
      await openssl([...make, "-new", ...whose, "-out", request]);
      const file = options.version1 ? [] : ["-extfile", await this.#extensionFile(base, options)];
      const days = options.expired ? "-1" : "1";
      await openssl(["x509", "-req", "-in", request, "-out", certificate, ...by, "-days", days, ...file]);
    } else {
      const added = extensions(options).flatMap((extension) => ["-addext", extension]);
      await openssl([...make, "-x509", ...whose, "-out", certificate, ...by, "-days", "1", ...added]);
    }
    return { certPem: await Deno.readTextFile(certificate), keyPem: await Deno.readTextFile(key) };
  }

  async #extensionFile(base: string, options: CertificateOptions): Promise<string> {
    const path = `${base}.ext`;
    await Deno.writeTextFile(path, extensions(options).join("\n") + "\n");
    return path;
  }
}

function extensions({ names = [] }: CertificateOptions): string[] {
  const usual = ["basicConstraints=CA:FALSE", "extendedKeyUsage=serverAuth,clientAuth"];
  return names.length > 0 ? [...usual, `subjectAltName=${names.join(",")}`] : usual;
}

function randomSerial(): string {
  return crypto.randomUUID().replaceAll("-", "").slice(1);
}
