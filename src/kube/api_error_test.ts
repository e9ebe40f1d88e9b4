import fc from "fast-check";
import assert from "node:assert/strict";
import type { ClusterSource } from "../core/cluster.ts";
import { type ErrorCode, KrunError } from "../core/errors.ts";
import { type ApiFailure, type ApiOperation, connectionError, statusError } from "./api_error.ts";
import { ClientCertificateError } from "./transport.ts";

const source: ClusterSource = { kind: "kubeconfig", where: "/home/ann/.kube/config", context: "prod", user: "ann" };
const place = { server: "https://api:6443", source };
const read: ApiOperation = {
  what: 'read Secret "payments/db"',
  access: { namespace: "payments", verbs: ["get", "watch"], apiGroup: "", resource: "secrets", name: "db" },
};
const token: ApiOperation = {
  what: 'request token for service account "payments/web"',
  access: { namespace: "payments", verbs: ["create"], apiGroup: "", resource: "serviceaccounts/token", name: "web" },
};

function status(code: number, message: string, details: unknown = {}): ApiFailure {
  return { status: code, text: JSON.stringify({ kind: "Status", message, details }) };
}

interface StatusCase {
  readonly when: string;
  readonly operation?: ApiOperation;
  readonly failure: ApiFailure;
  readonly code: ErrorCode;
  readonly message: string;
  readonly transient?: boolean;
  readonly retryAfterMs?: number;
}

const forbiddenWords =
  'secrets "db" is forbidden: User "ann@x" cannot get resource "secrets" in API group "" in the namespace "payments"';
const statusCases: readonly StatusCase[] = [
  {
    when: "the credentials are refused",
    failure: status(401, "Unauthorized"),
    code: "Unauthorized",
    message: 'Cannot read Secret "payments/db" at https://api:6443: 401, it does not accept the credentials of ' +
      'user "ann" of context "prod" in kubeconfig "/home/ann/.kube/config"',
  },
  {
    when: "RBAC refuses",
    failure: status(403, forbiddenWords),
    code: "Forbidden",
    message: 'Cannot read Secret "payments/db" at https://api:6443: 403, user "ann@x" may not get secrets "db" in ' +
      'namespace "payments"',
  },
  {
    when: "something else than RBAC refuses",
    failure: status(403, "unable to create new content in namespace x because it is being terminated."),
    code: "Forbidden",
    message: 'Cannot read Secret "payments/db" at https://api:6443: 403, unable to create new content in namespace x ' +
      "because it is being terminated",
  },
  {
    when: "the service account is missing",
    operation: token,
    failure: status(404, 'serviceaccounts "web" not found', { kind: "serviceaccounts" }),
    code: "ServiceAccountNotFound",
    message:
      'Cannot request token for service account "payments/web" at https://api:6443: 404, serviceaccounts "web" not found',
  },
  {
    when: "no API server answers a token request",
    operation: token,
    failure: { status: 404, text: "404 page not found\n" },
    code: "ApiRequestFailed",
    message: 'Cannot request token for service account "payments/web" at https://api:6443: 404, 404 page not found',
  },
  {
    when: "the server is busy and says how long",
    failure: { ...status(429, "too many requests"), retryAfter: "7" },
    code: "ApiRequestFailed",
    message: 'Cannot read Secret "payments/db" at https://api:6443: 429, too many requests',
    transient: true,
    retryAfterMs: 7000,
  },
  {
    when: "an event says how long",
    failure: status(504, "Too large resource version", { retryAfterSeconds: 1 }),
    code: "ApiRequestFailed",
    message: 'Cannot read Secret "payments/db" at https://api:6443: 504, Too large resource version',
    transient: true,
    retryAfterMs: 1000,
  },
  {
    when: "a proxy answers with a page",
    failure: {
      status: 502,
      text: `<html>\n <h1>Bad gateway</h1>${"x".repeat(1000)}`,
      retryAfter: "Wed, 21 Oct 2015 07:28:00 GMT",
    },
    code: "ApiRequestFailed",
    message: `Cannot read Secret "payments/db" at https://api:6443: 502, <html> <h1>Bad gateway</h1>${
      "x".repeat(273)
    }...`,
    transient: true,
  },
  {
    when: "an answer has no body",
    failure: { status: 503, text: "" },
    code: "ApiRequestFailed",
    message: 'Cannot read Secret "payments/db" at https://api:6443: 503, without a word',
    transient: true,
  },
];

for (const { when, operation = read, failure, code, message, transient = false, retryAfterMs } of statusCases) {
  Deno.test(`statusError() is ${code} when ${when}`, () => {
    const error = statusError(operation, failure, place);
    assert.equal(error.message, message);
    assert.deepEqual([error.code, error.transient, error.retryAfterMs], [code, transient, retryAfterMs]);
  });
}

Deno.test("statusError() prints the Role that would allow what was forbidden, for the name that the server says", () => {
  const { details } = statusError(read, status(403, forbiddenWords), place);
  assert.match(details ?? "", /verbs: \["get", "watch"\]/);
  assert.match(details ?? "", /kind: User, name: "ann@x"/);
});

Deno.test("statusError() never prints rights for the anonymous user", () => {
  const words = forbiddenWords.replace(/User "[^"]*"/, 'User "system:anonymous"');
  const { code, message, hint, details } = statusError(read, status(403, words), place);
  assert.deepEqual([code, details], ["Unauthorized", undefined]);
  assert.match(
    `${message}; ${hint}`,
    /"system:anonymous", since user "ann" .* gives it no token or certificate; give that/,
  );
});

Deno.test("statusError() says what else can be done about a 403", () => {
  const { hint } = statusError({ ...read, otherwise: "go without it" }, status(403, forbiddenWords), place);
  assert.equal(hint, "apply the Role and RoleBinding that follow, or go without it");
});

Deno.test("statusError() says which end of its message is the cause's alone", () => {
  const ends = [read, token].map((operation) => statusError(operation, status(401, "Unauthorized"), place).sharedEnd);
  assert.match(ends[0] ?? "", /^ at https:\/\/api:6443: 401, it does not accept the credentials of user "ann"/);
  assert.equal(ends[0], ends[1]);
  assert.equal(statusError(read, status(403, forbiddenWords), place).sharedEnd, undefined, "each lacks its own right");
});

Deno.test("statusError() names the files of a Pod's service account", () => {
  const inCluster: ClusterSource = { kind: "in-cluster", where: "/var/run/secrets/kubernetes.io/serviceaccount" };
  const { message } = statusError(read, status(401, "Unauthorized"), { ...place, source: inCluster });
  assert.match(message, /the service account files in "\/var\/run\/secrets\/kubernetes.io\/serviceaccount"$/);
});

Deno.test("statusError() makes one line of anything", () => {
  fc.assert(fc.property(fc.integer({ min: 300, max: 599 }), fc.string({ unit: "binary" }), (code, text) => {
    assert.doesNotMatch(statusError(read, { status: code, text }, place).message, /\n/);
  }));
});

/** As fetch of Deno 2.9 wraps it. */
const failedFetch = (words: string) =>
  new TypeError("fetch failed", {
    cause: new Error(`error sending request for url (https://api:6443/x): client error (Connect): ${words}`),
  });
/** As node:https says it. */
const failedNode = (code: string, words: string) => Object.assign(new Error(words), { code });

const connectionCases = [
  {
    words: failedFetch("tcp connect error: Connection refused (os error 111)"),
    code: "ClusterUnreachable",
    transient: true,
    says: "Connection refused",
  },
  {
    words: failedFetch("dns error: failed to lookup address information: Name or service not known"),
    code: "ClusterUnreachable",
    transient: true,
    says: "failed to lookup address information: Name or service not known",
  },
  { words: failedFetch("tls handshake eof"), code: "ClusterUnreachable", transient: true, says: "tls handshake eof" },
  {
    words: failedFetch("received corrupt message of type InvalidContentType"),
    code: "ClusterUnreachable",
    transient: false,
    says: "what answers there does not speak TLS",
  },
  {
    words: new Error("stream closed because of a broken pipe"),
    code: "ClusterUnreachable",
    transient: true,
    says: "stream closed because of a broken pipe",
  },
  {
    words: failedFetch("invalid peer certificate: UnknownIssuer"),
    code: "CertificateInvalid",
    transient: false,
    says: "its certificate is not signed by the CA that krun was given",
  },
  {
    words: failedFetch("invalid peer certificate: Other(OtherError(UnsupportedCertVersion))"),
    code: "CertificateInvalid",
    transient: false,
    says: "X.509 version 1",
  },
  {
    words: failedFetch(
      'invalid peer certificate: certificate not valid for name "127.0.0.1"; certificate is only valid for DnsName("other.test") or IpAddress(10.0.0.1)',
    ),
    code: "CertificateInvalid",
    transient: false,
    says: 'its certificate is not for "127.0.0.1", only for other.test or 10.0.0.1',
  },
  {
    words: failedFetch(
      "invalid peer certificate: certificate expired: verification time 1795361184 (UNIX), but certificate is not valid after 1",
    ),
    code: "CertificateInvalid",
    transient: false,
    says: "its certificate has expired",
  },
  {
    words: failedFetch("invalid peer certificate: certificate not valid yet: verification time 1"),
    code: "CertificateInvalid",
    transient: false,
    says: "its certificate is not valid yet",
  },
  {
    words: failedFetch("invalid peer certificate: BadSignature"),
    code: "CertificateInvalid",
    transient: false,
    says: "its certificate cannot be verified: BadSignature",
  },
  {
    words: failedNode("UNABLE_TO_VERIFY_LEAF_SIGNATURE", "unable to verify the first certificate"),
    code: "CertificateInvalid",
    transient: false,
    says: "not signed by the CA",
  },
  {
    words: failedNode(
      "ERR_TLS_CERT_ALTNAME_INVALID",
      "Hostname/IP does not match certificate's altnames: Host: a. is not in the cert's altnames: DNS:b",
    ),
    code: "CertificateInvalid",
    transient: false,
    says: "is not in the cert's altnames: DNS:b",
  },
  {
    words: failedNode("CERT_HAS_EXPIRED", "certificate has expired"),
    code: "CertificateInvalid",
    transient: false,
    says: "has expired",
  },
  {
    words: failedFetch("received fatal alert: CertificateRequired"),
    code: "Unauthorized",
    transient: false,
    says: 'the client certificate of user "ann"',
  },
  {
    words: new ClientCertificateError(new Error("keys may not be consistent: KeyMismatch")),
    code: "CredentialsUnavailable",
    transient: false,
    says: 'Cannot use the client certificate of user "ann" of context "prod"',
  },
] as const;

for (const { words, code, transient, says } of connectionCases) {
  Deno.test(`connectionError() is ${code} when the transport says ${wordsOf(words)}`, () => {
    const error = connectionError(read, words, place);
    assert.ok(error instanceof KrunError);
    assert.ok(error.message.includes(says), error.message);
    assert.deepEqual([error.code, error.transient], [code, transient]);
  });
}

Deno.test("connectionError() does not speak of a CA that krun was given where it was given none", () => {
  const words = failedFetch("invalid peer certificate: UnknownIssuer");
  const { message, sharedEnd } = connectionError(read, words, { ...place, trustsMachine: true }) as KrunError;
  assert.match(
    message,
    /: its certificate is not signed by a CA that this machine trusts, and krun was given no other$/,
  );
  assert.equal(message, `Cannot ${read.what}${sharedEnd}`);
});

Deno.test("connectionError() names the proxy without its password", () => {
  const through = { ...place, proxyUrl: "http://u:p4ss@proxy:3128" };
  const error = connectionError(read, failedFetch("tcp connect error: Connection refused"), through) as KrunError;
  assert.match(error.message, /at https:\/\/api:6443 through proxy http:\/\/proxy:3128: Connection refused$/);
});

Deno.test("connectionError() leaves alone what is no failure of a connection", () => {
  const error = new KrunError("CredentialsUnavailable", "m", "h");
  assert.equal(connectionError(read, error, place), error);
  assert.equal(connectionError(read, "reason", place), "reason");
});

function wordsOf(error: Error): string {
  return (error.cause instanceof Error ? error.cause : error).message.replace(/^.*\): /, "").slice(0, 60);
}
