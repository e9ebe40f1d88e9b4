/**
 * Who may become whom at a Google that is not there: subjects of workload identity pools, and chains of accounts. In: bodies and
 * tokens. Out: identities, or what Google says against them.
 *
 * @module
 */
import { importJWK, jwtVerify } from "jose";
import { bodyOf, GoogleFault, OAuthFault } from "./google_answer.ts";

/** A provider of a workload identity pool. */
export interface FakeProvider {
  /** What STS is asked for. */
  readonly stsAudience: string;
  /** What the subject's token must be for. */
  readonly tokenAudience: string;
  /** By which the subject's token is checked. */
  keys(): Promise<readonly JsonWebKey[]>;
}

/** The accounts of a chain, from how Google names them. @throws {GoogleFault} 400 */
export function delegatesOf(delegates: unknown): string[] {
  return ((delegates ?? []) as string[]).map((name) => {
    const [, email] = /^projects\/-\/serviceAccounts\/([^/]+)$/.exec(name) ?? [];
    if (email === undefined) throw new GoogleFault(400, "INVALID_ARGUMENT", `delegates: invalid name ${name}`);
    return email;
  });
}

/** A service account of Kubernetes, as IAM names it. */
export function principalOf(
  { stsAudience, tokenAudience }: Pick<FakeProvider, "stsAudience" | "tokenAudience">,
  sub: string,
): string {
  const account = sub.replace(/^system:serviceaccount:([^:]+):([^:]+)$/, "$1/$2");
  return stsAudience.startsWith("identitynamespace:")
    ? `serviceAccount:${tokenAudience}[${account}]`
    : `principal:${stsAudience.replace(/\/providers\/[^/]*$/, "")}/subject/${sub}`;
}

/** What the Security Token Service is asked with. */
export type StsBody = Partial<
  Record<"audience" | "grantType" | "requestedTokenType" | "scope" | "subjectToken" | "subjectTokenType", string>
>;

/** JSON or a form; nothing that is not known. */
export async function stsBody(request: Request): Promise<StsBody> {
  const names = ["audience", "grantType", "requestedTokenType", "scope", "subjectToken", "subjectTokenType"];
  const fields = Object.fromEntries(names.map((name) => [name, { type: "string", required: true } as const]));
  if (!request.headers.get("content-type")?.startsWith("application/x-www-form-urlencoded")) {
    return await bodyOf(request, fields) as StsBody;
  }
  const form = [...new URLSearchParams(await request.text())].map(([name, value]) => {
    return [name.replaceAll(/_([a-z])/g, (_, letter: string) => letter.toUpperCase()), value] as const;
  });
  const body = Object.fromEntries(form);
  const unknown = Object.keys(body).find((name) => !names.includes(name));
  if (unknown !== undefined) throw new OAuthFault("invalid_request", `unknown parameter ${unknown}`);
  return body;
}

/** Who the subject is. @throws {OAuthFault} when the token is not one for that provider */
export async function subjectOf({ keys, tokenAudience }: FakeProvider, token: string): Promise<string> {
  for (const jwk of await keys()) {
    const key = await importJWK(jwk as Parameters<typeof importJWK>[0]);
    const verified = await jwtVerify(token, key, { audience: tokenAudience }).catch(() => undefined);
    if (verified?.payload.sub) return verified.payload.sub;
  }
  throw new OAuthFault("invalid_grant", "The given ID token is not one for this provider.");
}
