/**
 * A small user of `findCluster`, to be run by another Deno than the one of the tests: reads, follows and asks for a token of
 * namespace `payments`, and prints what came of it as one JSON line.
 *
 *     deno run -A runtime_client.ts <kubeconfig>
 *
 * @module
 */
import { KrunError } from "../../src/core/errors.ts";
import { findCluster } from "../../src/kube/find_cluster.ts";

const [kubeconfig = ""] = Deno.args;
const log = { error() {}, warn() {}, info() {}, debug() {} };
try {
  await using cluster = await findCluster({ kubeconfig: [kubeconfig], stateFolder: "/nowhere" }, { log });
  const ref = { kind: "Secret", namespace: "payments", name: "db" } as const;
  const read = await cluster.get(ref);
  const token = { namespace: "payments", serviceAccount: "default", audience: "", expirationSeconds: 3600 };
  const granted = await cluster.requestToken(token);
  const stop = new AbortController();
  let followed: string | undefined;
  await cluster.follow(ref, {
    signal: stop.signal,
    deliver: (object) => {
      followed = object?.metadata?.resourceVersion;
      stop.abort();
    },
  });
  const isSame = followed !== undefined && followed === read?.metadata?.resourceVersion;
  console.log(JSON.stringify({ isSame, hasToken: granted.token.split(".").length === 3 }));
} catch (error) {
  if (!(error instanceof KrunError)) throw error;
  console.log(JSON.stringify({ code: error.code, message: error.message }));
}
