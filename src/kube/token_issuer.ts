/**
 * Signs service account tokens where there is no API server: for whom goes in, a JWT that any OIDC library verifies comes out.
 *
 *   <stateFolder>/issuer/signing_key.json   0600   the private key (JWK, P-256); made at the first token
 *   <stateFolder>/issuer/jwks.json          0644   the public key (RFC 7517), for programs of any user that verify tokens
 *
 * Others may pass through both folders (0711), not list them.
 *
 * Neither lies in the manifests folder, which may be in git or read-only.
 *
 * @module
 */
import type { GrantedToken, TokenRef } from "../core/cluster.ts";
import { KrunError } from "../core/errors.ts";
import type { Logger } from "../core/log.ts";
import { dirname, join } from "../core/posix_path.ts";
import { readFailure } from "./deno_files.ts";
import { isTokenLife, serviceAccountClaims } from "../core/service_account_claims.ts";

/** Options of {@linkcode TokenIssuer}. */
export interface TokenIssuerOptions {
  /** krun's own folder, as `<base>/.krun`; made when it is absent. */
  readonly stateFolder: string;
  /** False: no file is read or made, and the key ends with the issuer. @default {true} */
  readonly keepKey?: boolean | undefined;
  readonly log: Logger;
  /** Milliseconds since the epoch. @default {Date.now} */
  readonly now?: () => number;
}

/** The `iss` of every token. It is nobody's address (RFC 2606): who verifies takes the keys from `jwks.json`. */
export const TOKEN_ISSUER = "https://manifests.krun.invalid";

const ALGORITHM = { name: "ECDSA", namedCurve: "P-256", hash: "SHA-256" } as const;

interface SigningKey {
  readonly key: CryptoKey;
  readonly kid: string;
}

interface PrivateJwk {
  readonly kty: "EC";
  readonly crv: "P-256";
  readonly x: string;
  readonly y: string;
  readonly d: string;
}

/** Signs tokens with one key, kept below krun's state folder. Needs `--allow-read` and `--allow-write` there. */
export class TokenIssuer {
  readonly #folder: string;
  readonly #keepKey: boolean;
  readonly #log: Logger;
  readonly #now: () => number;
  #key: Promise<SigningKey> | undefined;

  constructor({ stateFolder, keepKey = true, log, now = Date.now }: TokenIssuerOptions) {
    this.#folder = join(stateFolder, "issuer");
    this.#keepKey = keepKey;
    this.#log = log;
    this.#now = now;
  }

  /** Where the public key is, once a token was issued and when the key is kept. */
  get jwksFile(): string {
    return join(this.#folder, "jwks.json");
  }

  /**
   * Signs one token.
   *
   * @param uid The service account's own; absent: one made from its namespace and name, the same at every start.
   * @throws {KrunError} `ApiRequestFailed` for a life that an API server would refuse; `TargetUnwritable` or `NoSpace` when
   * the key cannot be kept.
   */
  async issue(ref: TokenRef, uid?: string): Promise<GrantedToken> {
    const { namespace, serviceAccount, audience, expirationSeconds } = ref;
    if (!isTokenLife(expirationSeconds)) {
      throw new KrunError(
        "ApiRequestFailed",
        `Cannot request token for service account "${namespace}/${serviceAccount}": ` +
          `expirationSeconds ${expirationSeconds} is not from 600 to ${2 ** 32}`,
        "ask for 600 seconds or more",
      );
    }
    const { key, kid } = await this.#signingKey();
    const issuedAt = Math.floor(this.#now() / 1000);
    const claims = serviceAccountClaims({
      issuer: TOKEN_ISSUER,
      namespace,
      serviceAccount,
      uid: uid ?? await steadyUid(`${namespace}/${serviceAccount}`),
      audience,
      issuedAt,
      expirationSeconds,
      id: crypto.randomUUID(),
    });
    const token = await sign(key, { header: { alg: "ES256", kid }, claims });
    return { token, issuedAtMs: issuedAt * 1000, expiresAtMs: (issuedAt + expirationSeconds) * 1000 };
  }

  /** The key, read or made once; a failure is not remembered. */
  #signingKey(): Promise<SigningKey> {
    const loadOrMake = () => this.#keepKey ? this.#loadOrMake() : makeKey().then(namedKey);
    this.#key ??= loadOrMake().catch((error) => {
      this.#key = undefined;
      throw error;
    });
    return this.#key;
  }

  async #loadOrMake(): Promise<SigningKey> {
    const file = join(this.#folder, "signing_key.json");
    try {
      const jwk = await this.#load(file) ?? await this.#make(file);
      const signing = await namedKey(jwk);
      for (const folder of [dirname(this.#folder), this.#folder]) await letThrough(folder);
      const { d: _private, ...publicKey } = jwk;
      const jwks = { keys: [{ ...publicKey, kid: signing.kid, use: "sig", alg: "ES256" }] };
      await publish(this.jwksFile, { text: `${JSON.stringify(jwks, undefined, 2)}\n`, mode: 0o644 });
      return signing;
    } catch (error) {
      const full = (error as { code?: string }).code === "ENOSPC";
      throw new KrunError(
        full ? "NoSpace" : "TargetUnwritable",
        `Cannot keep signing key "${file}": ${readFailure(error)}`,
        "set MESH_BASE_DIR to a folder that this user may write, not below /dev",
        { cause: error },
      );
    }
  }

  /** `undefined` when there is none that may be trusted. */
  async #load(file: string): Promise<PrivateJwk | undefined> {
    try {
      const { isFile, mode } = await Deno.lstat(file);
      if (!isFile || ((mode ?? 0) & 0o077) !== 0) {
        this.#log.warn("signing key replaced, it was open to others", { file });
        return undefined;
      }
      const jwk: PrivateJwk = JSON.parse(await Deno.readTextFile(file));
      await importKey(jwk);
      return jwk;
    } catch (error) {
      if (error instanceof Deno.errors.NotFound) return undefined;
      if (!(error instanceof SyntaxError || error instanceof TypeError || error instanceof DOMException)) throw error;
      this.#log.warn("signing key replaced, it was no key", { file });
      return undefined;
    }
  }

  async #make(file: string): Promise<PrivateJwk> {
    const stateFolder = dirname(this.#folder);
    await Deno.mkdir(dirname(stateFolder), { recursive: true, mode: 0o755 });
    await Deno.mkdir(stateFolder, { recursive: true, mode: 0o711 });
    await Deno.mkdir(this.#folder, { recursive: true, mode: 0o711 });
    const jwk = await makeKey();
    await publish(file, { text: `${JSON.stringify(jwk)}\n`, mode: 0o600 });
    return jwk;
  }
}

/** Lets other users reach a file whose name they know; whoever made the folder, and whatever the umask was. */
async function letThrough(folder: string): Promise<void> {
  const mode = (await Deno.stat(folder)).mode ?? 0;
  if ((mode & 0o011) !== 0o011) await Deno.chmod(folder, (mode | 0o011) & 0o7777);
}

async function makeKey(): Promise<PrivateJwk> {
  const { privateKey } = await crypto.subtle.generateKey(ALGORITHM, true, ["sign", "verify"]);
  const { x, y, d } = await crypto.subtle.exportKey("jwk", privateKey);
  return { kty: "EC", crv: "P-256", x: x!, y: y!, d: d! };
}

async function namedKey(jwk: PrivateJwk): Promise<SigningKey> {
  return { key: await importKey(jwk), kid: await thumbprint(jwk) };
}

function importKey(jwk: PrivateJwk): Promise<CryptoKey> {
  return crypto.subtle.importKey("jwk", { ...jwk }, ALGORITHM, false, ["sign"]);
}

/** A whole file or none, with its mode from the first byte: made new under another name, then moved into place. */
async function publish(file: string, { text, mode }: { text: string; mode: number }): Promise<void> {
  const draft = `${file}.${crypto.randomUUID()}`;
  try {
    await Deno.writeTextFile(draft, text, { createNew: true, mode });
    // The umask may have taken bits away that others need.
    await Deno.chmod(draft, mode);
    await Deno.rename(draft, file);
  } catch (error) {
    await Deno.remove(draft).catch(() => {});
    throw error;
  }
}

async function sign(key: CryptoKey, { header, claims }: { header: object; claims: object }): Promise<string> {
  const signed = [header, claims].map((part) => base64url(new TextEncoder().encode(JSON.stringify(part)))).join(".");
  const signature = await crypto.subtle.sign(ALGORITHM, key, new TextEncoder().encode(signed));
  return `${signed}.${base64url(new Uint8Array(signature))}`;
}

/** JWK thumbprint, RFC 7638: the required members in the order of their names, nothing else. */
async function thumbprint({ crv, kty, x, y }: PrivateJwk): Promise<string> {
  return base64url(await sha256(JSON.stringify({ crv, kty, x, y })));
}

/** A UUID of version 8 (RFC 9562) that is the same for the same name. */
async function steadyUid(name: string): Promise<string> {
  const bytes = (await sha256(`krun service account ${name}`)).slice(0, 16);
  bytes[6] = bytes[6]! & 0x0f | 0x80;
  bytes[8] = bytes[8]! & 0x3f | 0x80;
  return bytes.toHex().replace(/^(.{8})(.{4})(.{4})(.{4})(.{12})$/, "$1-$2-$3-$4-$5");
}

async function sha256(text: string): Promise<Uint8Array> {
  return new Uint8Array(await crypto.subtle.digest("SHA-256", new TextEncoder().encode(text)));
}

function base64url(bytes: Uint8Array): string {
  return bytes.toBase64({ alphabet: "base64url", omitPadding: true });
}
