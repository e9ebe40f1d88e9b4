/**
 * Istio's CRDs, as its chart applies them before istiod starts.
 *
 * @module
 */
import { loadAll } from "js-yaml";
import { liveTool } from "../../scripts/live_tools.ts";
import { waitFor } from "../wait.ts";
import type { ApiServer, KubeObject } from "./api_server.ts";

/** Puts them into a cluster, and waits until objects of each can be made. */
export async function applyIstioCrds(server: ApiServer): Promise<void> {
  const crds = loadAll(await Deno.readTextFile(await liveTool("istio-crds"))) as KubeObject[];
  await Promise.all(crds.map((crd) => server.create(crd)));
  for (const { apiVersion, kind, metadata: { name } } of crds) {
    await waitFor(`CRD ${name}`, async () => {
      const { conditions } = (await server.get({ apiVersion, kind, metadata: { name } })).status as CrdStatus;
      return conditions?.some(({ type, status }) => type === "Established" && status === "True");
    });
  }
}

interface CrdStatus {
  readonly conditions: { readonly type: string; readonly status: string }[] | null;
}
