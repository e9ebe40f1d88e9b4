/**
 * What went wrong at the API server, in krun's words. In: an answer that is a failure, or the runtime's error of a failed
 * connection. Out: a {@linkcode KrunError}.
 *
 * @module
 */
import { accessRole, type MissingAccess } from "../core/access_role.ts";
import type { ClusterSource } from "../core/cluster.ts";
import { type ErrorCode, KrunError, type KrunErrorOptions } from "../core/errors.ts";
import { ClientCertificateError, HeaderError } from "./transport.ts";

/** What krun tried. */
export interface ApiOperation {
  /** After `Cannot`: `read Secret "payments/db"`. */
  readonly what: string;
  /** What RBAC must allow for it, and for what comes after it (a read is followed by a watch). */
  readonly access?: Omit<MissingAccess, "identity">;
  /** What else a person can do who may not have that access, after `or`. */
  readonly otherwise?: string;
  /** The ClusterRole of Kubernetes' own that has the right, where no Role can. */
  readonly clusterRole?: string;
}

/** Where krun tried it, and as whom. */
export interface ApiPlace {
  readonly server: string;
  readonly source: ClusterSource;
  /** Proxy on the way. */
  readonly proxyUrl?: string | undefined;
  /** Nobody gave the server's CA: those of the machine count. @default {false} */
  readonly trustsMachine?: boolean | undefined;
}

/** A failure that the API server described: an answer, or the object of an ERROR event. */
export interface ApiFailure {
  readonly status: number;
  /** Text of a Status object, or whatever a proxy before the server has sent. */
  readonly text: string;
  /** The header, in seconds. */
  readonly retryAfter?: string | undefined;
}

/** krun's credentials as a person would find them. */
export function credentialsOf({ kind, where, context, user }: ClusterSource): string {
  if (kind === "google") return `Google account ${user ?? "of this machine"}`;
  if (kind === "in-cluster") return `the service account files in "${where}"`;
  return `user "${user ?? ""}" of context "${context ?? ""}" in kubeconfig "${where}"`;
}

/** The server answered with a failure. */
export function statusError(operation: ApiOperation, failure: ApiFailure, place: ApiPlace): KrunError {
  const { message, details } = statusOf(failure.text);
  const end = (state: string) => ` at ${place.server}: ${failure.status}, ${state}`;
  const say = (state: string) => `Cannot ${operation.what}${end(state)}`;
  switch (failure.status) {
    case 401: {
      const state = `it does not accept the credentials of ${credentialsOf(place.source)}`;
      return new KrunError("Unauthorized", say(state), "renew these credentials", { sharedEnd: end(state) });
    }
    case 403:
      return forbidden(operation, message, say, place.source);
    case 404:
      if (operation.access?.resource === "serviceaccounts/token" && MISSING_ACCOUNT.has(details.kind)) {
        const hint = "create it, or set WORKLOAD_SERVICE_ACCOUNT and WORKLOAD_NAMESPACE to one that exists";
        return new KrunError("ServiceAccountNotFound", say(message), hint);
      }
  }
  const transient = failure.status === 429 || failure.status >= 500;
  const seconds = Number(failure.retryAfter ?? details.retryAfterSeconds ?? NaN);
  const options: KrunErrorOptions = {
    transient,
    sharedEnd: end(message),
    ...(seconds >= 0 ? { retryAfterMs: seconds * 1000 } : {}),
  };
  const hint = transient
    ? "try again later, or see the log of the API server"
    : "correct what the API server complains about";
  return new KrunError("ApiRequestFailed", say(message), hint, options);
}

/** What a 404 for a token names as missing, rather than a path that no API server knows. */
const MISSING_ACCOUNT: ReadonlySet<unknown> = new Set(["serviceaccounts", "namespaces"]);

/** Who comes without credentials: never somebody to give rights to. */
const ANONYMOUS = "system:anonymous";

function forbidden(
  { access, otherwise, clusterRole }: ApiOperation,
  message: string,
  say: (state: string) => string,
  source: ClusterSource,
): KrunError {
  // RBAC names the user as the server knows it, which no kubeconfig says.
  const identity = /\bUser "([^"]*)" cannot\b/.exec(message)?.[1];
  if (identity !== undefined && clusterRole !== undefined) {
    const state = `user "${identity}" may not, which ClusterRole ${clusterRole} allows`;
    return new KrunError("Forbidden", say(state), `bind ClusterRole ${clusterRole} to "${identity}"`);
  }
  if (identity === undefined || access === undefined) {
    return new KrunError("Forbidden", say(message), `ask for this right for ${credentialsOf(source)}`);
  }
  if (identity === ANONYMOUS) {
    const state = `it takes krun for "${ANONYMOUS}", since ${credentialsOf(source)} gives it no token or certificate`;
    return new KrunError("Unauthorized", say(state), "give that user a token or a certificate");
  }
  const [verb] = access.verbs;
  const object = access.name === undefined ? "" : ` "${access.name}"`;
  const state = `user "${identity}" may not ${verb} ${access.resource}${object} in namespace "${access.namespace}"`;
  const hint = `apply the Role and RoleBinding that follow${otherwise === undefined ? "" : `, or ${otherwise}`}`;
  const missing = { ...access, identity };
  return new KrunError("Forbidden", say(state), hint, { details: accessRole(missing), missing });
}

interface StatusDetails {
  readonly kind?: unknown;
  readonly retryAfterSeconds?: unknown;
}

/** A Status object's words; else the beginning of what was sent, on one line. */
function statusOf(text: string): { message: string; details: StatusDetails } {
  try {
    const { message, details } = JSON.parse(text);
    if (typeof message === "string") return { message: oneLine(message), details: details ?? {} };
  } catch {
    // Not from the API server itself.
  }
  return { message: oneLine(text) || "without a word", details: {} };
}

function oneLine(text: string): string {
  const line = text.replaceAll(/\s+/g, " ").trim().replace(/\.$/, "");
  return line.length > 300 ? `${line.slice(0, 300)}...` : line;
}

/** No answer came. Give it what a transport threw; what is no failure of a connection is returned as it is. */
export function connectionError(operation: ApiOperation, error: unknown, place: ApiPlace): unknown {
  if (!(error instanceof Error) || error instanceof KrunError) return error;
  if (error instanceof ClientCertificateError) {
    const message = `Cannot use the client certificate of ${credentialsOf(place.source)}: ${oneLine(error.message)}`;
    const hint = error.message.includes("UnsupportedCertVersion")
      ? "give a certificate of X.509 version 3, as openssl x509 -req makes with -extfile"
      : "give a certificate and the key that belongs to it, both as PEM";
    return new KrunError("CredentialsUnavailable", message, hint, { cause: error });
  }
  if (error instanceof HeaderError) {
    const message = `Cannot use the credentials of ${credentialsOf(place.source)}: ${error.message}`;
    return new KrunError("CredentialsUnavailable", message, "give them again, as plain text on one line");
  }
  const words = wordsOf(error);
  const through = place.proxyUrl === undefined ? "" : ` through proxy ${withoutUser(place.proxyUrl)}`;
  const failed = (code: ErrorCode, state: string, hint: string, transient = false) => {
    const sharedEnd = ` at ${place.server}${through}: ${state}`;
    return new KrunError(code, `Cannot ${operation.what}${sharedEnd}`, hint, { cause: error, transient, sharedEnd });
  };
  for (const { pattern, state, hint } of CERTIFICATE_FAULTS) {
    const match = pattern.exec(words);
    if (match) return failed("CertificateInvalid", state(match, place), hint);
  }
  if (/received fatal alert: \w*(Certificate|UnknownCA|AccessDenied)/.test(words)) {
    const state = `it does not accept the client certificate of ${credentialsOf(place.source)}`;
    return failed("Unauthorized", state, "renew this certificate");
  }
  const [, port] = /Requests to port (\d+) are blocked/.exec(words) ?? [];
  if (port !== undefined) {
    const state =
      `krun opens no connection without TLS to port ${port}, which the Fetch standard keeps for other services`;
    return failed("ClusterUnreachable", state, "use another port");
  }
  const notTls = /InvalidContentType|wrong version number/i.test(words);
  const state = notTls ? "what answers there does not speak TLS" : lastWords(words);
  const hint = "check the address, the network, and that the API server runs";
  return failed("ClusterUnreachable", state, hint, !notTls);
}

interface CertificateFault {
  /** Looked for in the words of rustls (`fetch`) and of OpenSSL (`node:https`). First match wins. */
  readonly pattern: RegExp;
  readonly state: (match: RegExpExecArray, place: ApiPlace) => string;
  readonly hint: string;
}

const CERTIFICATE_FAULTS: readonly CertificateFault[] = [
  {
    pattern: /UnsupportedCertVersion/,
    state: () => "its certificate is X.509 version 1, which says neither for which names it is nor for what",
    hint: "issue the server certificate again as X.509 version 3, with subjectAltName",
  },
  {
    pattern: /certificate not valid for name "([^"]*)"(?:; certificate is only valid for (.*))?/,
    state: ([, name, names]) => `its certificate is not for "${name}"${names ? `, only for ${namesIn(names)}` : ""}`,
    hint: "use an address that is in the certificate, or set tls-server-name in the kubeconfig",
  },
  {
    pattern: /does not match certificate's altnames: (.*)/,
    state: ([, words]) => `its certificate is not for this name: ${words}`,
    hint: "use an address that is in the certificate, or set tls-server-name in the kubeconfig",
  },
  {
    pattern: /invalid peer certificate: (?:certificate expired|Expired)|CERT_HAS_EXPIRED|certificate has expired/,
    state: () => "its certificate has expired",
    hint: "renew the server certificate, or set this machine's clock",
  },
  {
    pattern: /invalid peer certificate: (?:certificate not valid yet|NotValidYet)|CERT_NOT_YET_VALID|is not yet valid/,
    state: () => "its certificate is not valid yet",
    hint: "set this machine's clock",
  },
  {
    pattern: /UnknownIssuer|UNABLE_TO_VERIFY|UNABLE_TO_GET_ISSUER|SELF_SIGNED|self.signed certificate|unable to verify/,
    state: (_match, { trustsMachine }) =>
      trustsMachine
        ? "its certificate is not signed by a CA that this machine trusts, and krun was given no other"
        : "its certificate is not signed by the CA that krun was given",
    hint: "set certificate-authority in the kubeconfig to the CA of this cluster",
  },
  {
    pattern: /invalid peer certificate: (.*)/,
    state: ([, words]) => `its certificate cannot be verified: ${words}`,
    hint: "set certificate-authority in the kubeconfig to the CA of this cluster",
  },
];

/** `DnsName("a") or IpAddress(1.2.3.4)` without the names of Rust. */
function namesIn(words: string): string {
  return words.replaceAll(/\w+\("?([^")]*)"?\)/g, "$1").slice(0, 200);
}

/** The words of an error and of everything that caused it. */
function wordsOf(error: Error): string {
  const words: string[] = [];
  for (let at: unknown = error; at instanceof Error && words.length < 5; at = at.cause) {
    const { code } = at as { code?: unknown };
    words.push(typeof code === "string" ? `${code} ${at.message}` : at.message);
  }
  return oneLineOf(words);
}

function oneLineOf(words: readonly string[]): string {
  return words.join(": ").replaceAll(/\s+/g, " ").trim();
}

/** What comes after the wrappings of the HTTP client. */
function lastWords(words: string): string {
  const inner = /client error \(\w+\): (.*)$/.exec(words)?.[1] ??
    words.replace(/^(fetch failed|error sending request): /, "");
  return inner.replace(/^(tcp connect error|dns error|connection error): /, "").replace(/ \(os error \d+\)$/, "")
    .slice(0, 300);
}

/** Why a connection failed, without the words of the HTTP client around it. */
export function connectionState(error: Error): string {
  return lastWords(wordsOf(error));
}

function withoutUser(url: string): string {
  const parsed = new URL(url);
  return `${parsed.protocol}//${parsed.host}`;
}
