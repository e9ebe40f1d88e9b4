/**
 * Asks Cloud Run with which environment it runs this revision or execution: never the service, whose template may be newer. In: what
 * the platform calls it. Out: variables.
 *
 * @module
 */
import type { CloudRunNames } from "../core/cloud_run.ts";
import { deployedEnv, type DescribedRun } from "../core/cloud_run_spec.ts";
import { KrunError } from "../core/errors.ts";
import { isGoogleName, isProject } from "../core/google_resource.ts";
import type { Env } from "../core/pod_inputs.ts";
import type { GoogleAccount } from "../gcp/google_account.ts";
import type { GoogleTry } from "../gcp/google_http.ts";
import type { MetadataServer } from "../gcp/metadata_server.ts";

/** Options of {@linkcode cloudRunEnv}. */
export interface CloudRunEnvOptions extends GoogleTry {
  /** Unset: this is not Cloud Run. */
  readonly platform: CloudRunNames | undefined;
  /** krun's own environment. */
  readonly process: Env;
  readonly account: GoogleAccount;
  readonly metadata: MetadataServer;
}

/** The description of a run, where it is had. */
interface Place {
  readonly what: string;
  readonly host: string;
  readonly path: string;
  readonly permission: string;
}

/**
 * The environment as it was deployed.
 *
 * @throws {KrunError} `SettingInvalid` where this is not Cloud Run; `GoogleForbidden`, `GoogleApiFailed`, `GoogleCredentialsUnavailable`
 */
export async function cloudRunEnv(
  { platform, process, account, metadata, ...options }: CloudRunEnvOptions,
): Promise<Env> {
  const [project = "", region = ""] = platform === undefined
    ? []
    // With its name a 403 says to whom a role is to be granted.
    : await Promise.all([
      metadata.projectId(options),
      metadata.region(options),
      account.email(options).catch(() => {}),
    ]);
  const place = platform && isProject(project) && isGoogleName(region)
    ? placeOf(platform, { project, region })
    : undefined;
  if (place === undefined) {
    throw new KrunError(
      "SettingInvalid",
      "Cannot do what KRUN_ENV_SOURCE=cloudrun says: nothing says which revision or execution of Cloud Run this is",
      "unset KRUN_ENV_SOURCE",
    );
  }
  const run = await account.json<DescribedRun>(place, options);
  return deployedEnv(run ?? {}, process);
}

function placeOf(
  { service, revision, job, execution, workerPool }: CloudRunNames,
  { project, region }: { project: string; region: string },
): Place | undefined {
  // v1 has these paths only at the region's own host.
  const host = `${region}-run.googleapis.com`;
  const isName = (name: string | undefined): name is string => name !== undefined && isGoogleName(name);
  if (service !== undefined && isName(revision)) {
    const path = `/apis/serving.knative.dev/v1/namespaces/${project}/revisions/${revision}`;
    return { what: `read revision "${revision}"`, host, path, permission: "run.revisions.get" };
  }
  if (job !== undefined && isName(execution)) {
    const path = `/apis/run.googleapis.com/v1/namespaces/${project}/executions/${execution}`;
    return { what: `read execution "${execution}"`, host, path, permission: "run.executions.get" };
  }
  if (!isName(workerPool) || !isName(revision)) return undefined;
  const path = `/v2/projects/${project}/locations/${region}/workerPools/${workerPool}/revisions/${revision}`;
  return { what: `read revision "${revision}"`, host: "run.googleapis.com", path, permission: "run.workerpools.get" };
}
