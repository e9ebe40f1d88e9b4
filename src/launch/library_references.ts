/**
 * What `resolveReferences` does, loaded when it is called.
 *
 * @module
 */
import { KrunError } from "../core/errors.ts";
import { readGoogle } from "../core/google_settings.ts";
import type { Env } from "../core/pod_inputs.ts";
import { parseReference, type Reference, referenceText } from "../core/reference.ts";
import { isReference } from "../core/reference_prefix.ts";
import { type PlacedReference, referenceSecret } from "../core/reference_pod.ts";
import { type StartFailure, startFailure } from "../core/start_failure.ts";
import { GoogleAccount } from "../gcp/google_account.ts";
import { GoogleHttp } from "../gcp/google_http.ts";
import { MetadataServer } from "../gcp/metadata_server.ts";
import { referenceReader } from "../refs/reference_reader.ts";
import { OpenClusters } from "../refs/reference_clusters.ts";
import { References } from "../refs/references.ts";
import { systemClock } from "../pod/clock.ts";
import type { ResolveReferencesOptions } from "./resolve_references.ts";

/** How long a token is used that its giver says nothing of, milliseconds. */
const TOKEN_MS = 60_000;

/** As `resolveReferences`. @throws as it does */
export async function resolveNow(env: Env, options: ResolveReferencesOptions): Promise<Env> {
  const { cluster, namespace = "default", kubeconfig = [], signal, log } = options;
  await using http = new GoogleHttp();
  const account = googleAccount(http, options);
  await using clusters = new OpenClusters({
    own: cluster,
    google: () => Promise.resolve({ account, metadata: new MetadataServer({ isExpected: false }) }),
    settings: readGoogle({ text: () => undefined, read: () => undefined }),
    ...{ kubeconfig, log },
  });
  const failures: StartFailure[] = [];
  const attempt = async <T>(askedBy: string, action: () => T | Promise<T>): Promise<T | undefined> => {
    try {
      return await action();
    } catch (error) {
      signal.throwIfAborted();
      if (!(error instanceof KrunError)) throw error;
      failures.push({ error, askedBy, isListed: true });
    }
  };
  const parsed = await Promise.all(
    Object.entries(env).filter(([, value]) => isReference(value))
      .map(([name, value]) => attempt(name, () => inVariable(parseReference(name, value), namespace))),
  );
  const references = parsed.filter((reference) => reference !== undefined);
  const source = new References({
    ...{ references, namespace, log },
    reader: referenceReader({
      clusters,
      namespace,
      pollMs: 0,
      account: () => Promise.resolve(account),
      clock: systemClock,
    }),
  });
  const values = await Promise.all(references.map(async ({ variable }) => {
    const ref = { kind: "Secret" as const, namespace, name: referenceSecret(variable) };
    const secret = await attempt(variable, () => source.get(ref, { signal }));
    const value = secret?.data?.["value"];
    return value === undefined
      ? []
      : [[variable, new TextDecoder("utf-8", { ignoreBOM: true }).decode(Uint8Array.fromBase64(value))] as const];
  }));
  if (failures.length > 0) throw startFailure(failures);
  return Object.fromEntries([...Object.entries(env).filter(([, value]) => !isReference(value)), ...values.flat()]);
}

function inVariable({ destination: _file, ...reference }: Reference, namespace: string): PlacedReference {
  return { ...reference, shown: referenceText(reference.object, namespace) };
}

function googleAccount(http: GoogleHttp, { googleAccessToken, signal }: ResolveReferencesOptions): GoogleAccount {
  const describe = "the account of googleAccessToken";
  return new GoogleAccount({
    describe,
    email: () => Promise.resolve(undefined),
    token: async () => {
      if (googleAccessToken) return { token: await googleAccessToken(signal), expiresAtMs: Date.now() + TOKEN_MS };
      throw new KrunError(
        "GoogleCredentialsUnavailable",
        "Cannot ask Google: nobody gives an access token",
        "give resolveReferences() a googleAccessToken",
      );
    },
  }, { http });
}
