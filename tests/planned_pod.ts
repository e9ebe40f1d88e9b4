/**
 * Planned Pods for tests, by hand: no settings, and no defaults but those that the engine relies on.
 *
 * @module
 */
import assert from "node:assert/strict";
import type { V1PodSpec, V1Volume } from "@kubernetes/client-node";
import { type ErrorCode, KrunError } from "../src/core/errors.ts";
import type { PlannedPod } from "../src/core/pod_from_settings.ts";
import type { NodeFacts } from "../src/core/pod_inputs.ts";

/** A machine. */
export const NODE: NodeFacts = { name: "node-1", ips: ["192.0.2.7"], allocatable: { cpu: "2", memory: "1Gi" } };

/** The Pod's spec, and what krun adds to it. */
export type PlannedParts = Partial<V1PodSpec> & Partial<Omit<PlannedPod, "pod">> & { readonly namespace?: string };

/** A Pod `web` of service account `web`; a container `app` that mounts each volume by its name, unless others are given. */
export function plannedPod(parts: PlannedParts): PlannedPod {
  const { namespace = "shop", origins = new Map(), liveFiles = new Set(), ...others } = parts;
  const { localObjects = new Map(), localServices = [], volumeUsers = new Map(), googleTokens = new Map(), ...spec } =
    others;
  const volumeMounts = (spec.volumes ?? []).map(({ name }) => ({ name, mountPath: name }));
  const containers = spec.containers ?? [{ name: "app", volumeMounts }];
  return {
    pod: {
      metadata: { namespace, name: "web", uid: "0000", labels: { app: "web" } },
      spec: { serviceAccountName: "web", enableServiceLinks: false, ...spec, containers },
    },
    program: "app",
    ...{
      origins,
      liveFiles,
      localObjects,
      localServices,
      ownsKubernetesEnv: false,
      hidesKubeconfig: false,
      ownContainers: new Set(),
      volumeUsers,
      googleTokens,
      warnings: [],
    },
  };
}

/** A volume of the Secret of its name. */
export function secretVolume(name: string, { optional = false } = {}): V1Volume {
  return { name, secret: { secretName: name, defaultMode: 0o400, optional } };
}

/** A volume of the ConfigMap of its name. */
export function configMapVolume(name: string, { optional = false } = {}): V1Volume {
  return { name, configMap: { name, defaultMode: 0o644, optional } };
}

/** A projected volume with a token for `vault`, one hour long, and more sources. */
export function tokenVolume(name: string, ...more: { configMap: { name: string } }[]): V1Volume {
  const serviceAccountToken = { audience: "vault", expirationSeconds: 3600, path: "token" };
  return { name, projected: { defaultMode: 0o644, sources: [{ serviceAccountToken }, ...more] } };
}

/** Waits for a failure with this code, and gives it. */
export async function failure(promise: Promise<unknown>, code: ErrorCode): Promise<KrunError> {
  const error = await promise.then(() => assert.fail("it did not fail"), (error) => error);
  if (!(error instanceof KrunError)) throw error;
  assert.equal(error.code, code, error.message);
  return error;
}
