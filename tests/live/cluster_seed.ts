/**
 * What a cluster holds after the first start of its API server: namespaces, the roles of RBAC, priority levels, Istio's CRDs.
 * A server that finds all of it in its etcd, as one that is started again does, takes a third of the processor time of one that
 * has to make it; each CRD that is made under a running server makes it compute the description of its whole API again.
 *
 * In: the real API server, once. Out: transactions for etcd, in files that are kept.
 *
 * @module
 */
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { liveTool } from "../../scripts/live_tools.ts";
import { cached } from "./cached.ts";
import { type EtcdEntry, writing } from "./etcd.ts";

/** `bare`: what every cluster has. `istio`: and the CRDs of Istio. */
export type Seed = "bare" | "istio";

/** All of them. */
export const SEEDS: readonly Seed[] = ["bare", "istio"];

/** What belongs to one server, or names its keys: each has its own. */
const OF_ONE_SERVER = /^\/registry\/(?:leases|configmaps|secrets|masterleases|events)\//;

const HERE = fileURLToPath(new URL(".", import.meta.url));

/** What it is made of: anew when the servers' versions or the flags they are started with change. */
async function sources(): Promise<string[]> {
  const modules = ["api_server.ts", "cluster_seed.ts", "etcd.ts", "istio_crds.ts"].map((name) => join(HERE, name));
  return [...modules, join(HERE, "../../scripts/live_tools.ts"), await liveTool("istio-crds")];
}

/**
 * The transaction that makes an empty etcd that of a cluster.
 *
 * @param make starts a cluster of an empty etcd, and gives what is in it then
 */
export async function clusterSeed(seed: Seed, make: (seed: Seed) => Promise<readonly EtcdEntry[]>): Promise<string> {
  const path = await cached(`seed-${seed}`, {
    sources: await sources(),
    make: async (out) => {
      const entries = (await make(seed)).filter(({ key }) => !OF_ONE_SERVER.test(atob(key)));
      await Deno.writeTextFile(out, writing(entries));
    },
  });
  return await Deno.readTextFile(path);
}
