/**
 * ID tokens of the account that a machine of Google Cloud runs as. In: the metadata server's address. Out: a token that says who calls
 * one audience, and is worth nothing for any other.
 *
 * Source: https://cloud.google.com/docs/authentication/get-id-token#metadata-server
 *
 * @module
 */

/** Options of {@linkcode metadataIdToken}. */
export interface MetadataIdTokenOptions {
  /** The metadata server, `host` or `host:port`. @default {"169.254.169.254"} */
  readonly host?: string | undefined;
  /** Gives up. */
  readonly signal: AbortSignal;
}

/** Link-local: no name has to be resolved, and nobody beyond the machine can answer. */
const METADATA_SERVER = "169.254.169.254";

/** Header of every request, and of every answer that is the metadata server's. */
const FLAVOR = "Metadata-Flavor";

/** Where there is no metadata server, its address often swallows what is sent to it. */
const TIMEOUT_MS = 5_000;

/**
 * A token for the audience, as text. Needs net permission for the host.
 *
 * @throws {Error} in words without a token, when there is no metadata server, or it refuses; the signal's reason
 */
export async function metadataIdToken(audience: string, options: MetadataIdTokenOptions): Promise<string> {
  const { host = METADATA_SERVER, signal } = options;
  const url = new URL(`http://${host}/computeMetadata/v1/instance/service-accounts/default/identity`);
  url.searchParams.set("audience", audience);
  const limit = AbortSignal.any([signal, AbortSignal.timeout(TIMEOUT_MS)]);
  let response: Response;
  try {
    // A proxy or a redirection would be somebody else.
    response = await fetch(url, { headers: { [FLAVOR]: "Google" }, redirect: "manual", signal: limit });
  } catch {
    signal.throwIfAborted();
    throw new Error(`no metadata server answers at ${host}`);
  }
  const text = (await response.text()).trim();
  if (response.headers.get(FLAVOR) !== "Google") throw new Error(`what answers at ${host} is no metadata server`);
  if (response.status !== 200) throw new Error(`the metadata server at ${host} answers ${response.status}`);
  return text;
}
