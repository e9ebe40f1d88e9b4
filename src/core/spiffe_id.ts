/**
 * Who a workload of the mesh is, and whom an endpoint admits. In: the names in a certificate, and a list of patterns. Out: the
 * identity, and whether a pattern covers it.
 *
 * Rule: the SPIFFE standards SPIFFE-ID (section 2) and X509-SVID (section 2), and the form that Istio gives to workloads,
 * `spiffe://<trust domain>/ns/<namespace>/sa/<service account>`.
 *
 * @module
 */
import { quoted, settingInvalid } from "./setting_invalid.ts";
import { readNames, type SettingText } from "./setting_value.ts";

/** The identity of a workload. */
export interface SpiffeId {
  /** As in `cluster.local`. */
  readonly trustDomain: string;
  readonly namespace: string;
  readonly serviceAccount: string;
}

/** A set of identities; what is left out may be anything. */
export interface PeerPattern {
  readonly trustDomain: string;
  /** @default {any} */
  readonly namespace?: string;
  /** @default {any} */
  readonly serviceAccount?: string;
}

/** Bytes that an id may have (SPIFFE-ID, 2.3). */
const LONGEST_BYTES = 2048;

const TRUST_DOMAIN = "[a-z0-9._-]{1,255}";
const SEGMENT = "[A-Za-z0-9._-]+";
const ID = new RegExp(`^spiffe://(${TRUST_DOMAIN})/ns/(${SEGMENT})/sa/(${SEGMENT})$`);
const PATTERN = new RegExp(`^spiffe://(${TRUST_DOMAIN})(?:/ns/(\\*|${SEGMENT})/sa/(\\*|${SEGMENT}))?$`);

/** Reads one id; `undefined` when it has another form. Nothing is decoded or cleaned: an id is compared as it is written. */
export function parseSpiffeId(text: string): SpiffeId | undefined {
  const [, trustDomain, namespace, serviceAccount] = text.length <= LONGEST_BYTES ? ID.exec(text) ?? [] : [];
  if (trustDomain === undefined || isDots(namespace) || isDots(serviceAccount)) return undefined;
  return { trustDomain, namespace: namespace!, serviceAccount: serviceAccount! };
}

/** The id as one text. */
export function formatSpiffeId({ trustDomain, namespace, serviceAccount }: SpiffeId): string {
  return `spiffe://${trustDomain}/ns/${namespace}/sa/${serviceAccount}`;
}

/** The identity in a certificate with these URIs: it must have exactly one, and that must be an id (X509-SVID, 2). */
export function certificateIdentity(uris: readonly string[] | undefined): SpiffeId | undefined {
  return uris?.length === 1 ? parseSpiffeId(uris[0]!) : undefined;
}

/**
 * Reads a list of patterns: an id, one with `*` as its whole namespace or service account, or a trust domain alone, as in
 * `spiffe://cluster.local`.
 *
 * @throws {KrunError} `SettingInvalid`
 */
export function readPeerPatterns(setting: SettingText): readonly [PeerPattern, ...PeerPattern[]] {
  const [first, ...more] = readNames(setting).map((text) => readPattern(text, setting.env));
  if (first === undefined) throw invalid(setting.env, `${quoted(setting.text)} names nobody`);
  return [first, ...more];
}

/** A pattern as one text. */
export function formatPeerPattern({ trustDomain, namespace, serviceAccount }: PeerPattern): string {
  const isDomain = namespace === undefined && serviceAccount === undefined;
  return isDomain
    ? `spiffe://${trustDomain}`
    : `spiffe://${trustDomain}/ns/${namespace ?? "*"}/sa/${serviceAccount ?? "*"}`;
}

function readPattern(text: string, env: string): PeerPattern {
  const [, trustDomain, namespace, serviceAccount] = text.length <= LONGEST_BYTES ? PATTERN.exec(text) ?? [] : [];
  if (trustDomain === undefined || isDots(namespace) || isDots(serviceAccount)) {
    throw invalid(env, `${quoted(text)} is not a SPIFFE id, nor a pattern of one`);
  }
  return {
    trustDomain,
    ...(namespace === undefined || namespace === "*" ? {} : { namespace }),
    ...(serviceAccount === undefined || serviceAccount === "*" ? {} : { serviceAccount }),
  };
}

function invalid(env: string, fault: string): Error {
  return settingInvalid(env, fault, "spiffe://cluster.local/ns/shop/sa/*,spiffe://cluster.local/ns/ops/sa/admin");
}

/** Everyone in the trust domain of `id`: whom a workload admits where nothing else is said. */
export function sameTrustDomain({ trustDomain }: SpiffeId): readonly PeerPattern[] {
  return [{ trustDomain }];
}

/** Whether one of the patterns covers the identity. */
export function admitsPeer(patterns: readonly PeerPattern[], id: SpiffeId): boolean {
  return patterns.some(({ trustDomain, namespace, serviceAccount }) =>
    trustDomain === id.trustDomain && (namespace ?? id.namespace) === id.namespace &&
    (serviceAccount ?? id.serviceAccount) === id.serviceAccount
  );
}

/** A path segment that a path may not have (SPIFFE-ID, 2.2). */
function isDots(segment: string | undefined): boolean {
  return segment === "." || segment === "..";
}
