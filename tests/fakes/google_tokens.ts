/**
 * The tokens of a Google that is not there: who got one, for what, and until when. In: claims. Out: texts that nobody can guess, and
 * JWTs that anybody can check with the issuer's key.
 *
 * @module
 */
import { type JWTPayload, jwtVerify, SignJWT } from "jose";

/** What an access token is worth. */
export interface IssuedToken {
  /** E-mail address, or the principal of a federated identity. */
  readonly identity: string;
  readonly scopes: readonly string[];
  readonly expiresAtMs: number;
}

/** The issuer's name in ID tokens. */
export const GOOGLE_ISSUER = "https://accounts.google.com";

/** Seconds of life of everything that is issued. */
const LIFE_SECONDS = 3600;

/** Tokens of one fake. */
export class GoogleTokensIssued {
  readonly #access = new Map<string, IssuedToken>();
  readonly #key: CryptoKeyPair;
  /** How long access tokens live from now on. */
  lifeSeconds = LIFE_SECONDS;

  private constructor(key: CryptoKeyPair) {
    this.#key = key;
  }

  /** Makes the issuer's key. */
  static async create(): Promise<GoogleTokensIssued> {
    return new GoogleTokensIssued(await rsaKey());
  }

  /** A new access token. */
  access(
    identity: string,
    scopes: readonly string[],
    lifeSeconds = this.lifeSeconds,
  ): { token: string; expiresIn: number; expiresAtMs: number } {
    const token = `ya29.${crypto.randomUUID().replaceAll("-", "")}`;
    const expiresAtMs = Date.now() + lifeSeconds * 1000;
    this.#access.set(token, { identity, scopes, expiresAtMs });
    return { token, expiresIn: lifeSeconds, expiresAtMs };
  }

  /** What a token is worth; `undefined`: it was never issued, was revoked or has ended. */
  worth(token: string): IssuedToken | undefined {
    const issued = this.#access.get(token);
    return issued && issued.expiresAtMs > Date.now() ? issued : undefined;
  }

  /** Every access token so far ends. */
  revokeAll(): void {
    this.#access.clear();
  }

  /** A new ID token; whose it is stands in it by its number, and by the e-mail address only where that is asked for. */
  async identity(email: string, audience: string, { withEmail = true } = {}): Promise<string> {
    return await new SignJWT({ azp: "1".repeat(21), ...(withEmail && { email, email_verified: true, azp: email }) })
      .setProtectedHeader({ alg: "RS256", kid: "google" })
      .setIssuer(GOOGLE_ISSUER).setSubject("1".repeat(21)).setAudience(audience)
      .setIssuedAt().setExpirationTime(`${LIFE_SECONDS}s`)
      .sign(this.#key.privateKey);
  }

  /** The claims of an ID token that it has issued for an audience. @throws when it has not */
  async verify(token: string, audience: string): Promise<JWTPayload> {
    return (await jwtVerify(token, this.#key.publicKey, { issuer: GOOGLE_ISSUER, audience })).payload;
  }
}

/** A key as service accounts have it. */
export async function rsaKey(): Promise<CryptoKeyPair> {
  const algorithm = {
    name: "RSASSA-PKCS1-v1_5",
    modulusLength: 2048,
    publicExponent: new Uint8Array([1, 0, 1]),
    hash: "SHA-256",
  };
  return await crypto.subtle.generateKey(algorithm, true, ["sign", "verify"]);
}

/** The private half as PEM, as a service account's key file holds it. */
export async function privatePem({ privateKey }: CryptoKeyPair): Promise<string> {
  const bytes = new Uint8Array(await crypto.subtle.exportKey("pkcs8", privateKey));
  const base64 = btoa(String.fromCharCode(...bytes)).replaceAll(/(.{64})/g, "$1\n");
  return `-----BEGIN PRIVATE KEY-----\n${base64}\n-----END PRIVATE KEY-----\n`;
}
