/**
 * Cloud Run's contract for a container: what it calls the instance, and what that means for the Pod. In: variables that the
 * platform sets, and the instance's id. Out: names, labels, annotations.
 *
 * Variables: https://cloud.google.com/run/docs/container-contract. Label keys: for a service those of Knative Serving, for a job
 * those that Cloud Run itself puts on executions and tasks.
 *
 * @module
 */
import { isLabelValue } from "./object_name.ts";
import type { SettingName } from "./settings_table.ts";

/** What Cloud Run calls this instance. */
export interface CloudRunNames {
  /** K_SERVICE. */
  readonly service?: string | undefined;
  /** K_REVISION, or CLOUD_RUN_WORKER_POOL_REVISION. */
  readonly revision?: string | undefined;
  /** K_CONFIGURATION. */
  readonly configuration?: string | undefined;
  /** CLOUD_RUN_JOB. */
  readonly job?: string | undefined;
  /** CLOUD_RUN_EXECUTION. */
  readonly execution?: string | undefined;
  /** CLOUD_RUN_TASK_INDEX. */
  readonly taskIndex?: string | undefined;
  /** CLOUD_RUN_TASK_ATTEMPT. */
  readonly taskAttempt?: string | undefined;
  /** CLOUD_RUN_WORKER_POOL. */
  readonly workerPool?: string | undefined;
}

/** Reads them; `undefined` elsewhere: Knative sets K_SERVICE and K_REVISION as well, but in a Pod. */
export function readCloudRun(text: (name: SettingName) => string | undefined): CloudRunNames | undefined {
  if (text("KUBERNETES_SERVICE_HOST") !== undefined) return undefined;
  const names: CloudRunNames = {
    service: text("K_SERVICE"),
    revision: text("K_REVISION") ?? text("CLOUD_RUN_WORKER_POOL_REVISION"),
    configuration: text("K_CONFIGURATION"),
    job: text("CLOUD_RUN_JOB"),
    execution: text("CLOUD_RUN_EXECUTION"),
    taskIndex: text("CLOUD_RUN_TASK_INDEX"),
    taskAttempt: text("CLOUD_RUN_TASK_ATTEMPT"),
    workerPool: text("CLOUD_RUN_WORKER_POOL"),
  };
  const isService = names.service !== undefined && text("K_REVISION") !== undefined;
  return isService || names.job !== undefined || names.workerPool !== undefined ? names : undefined;
}

/** Key of the annotation that holds the instance's whole id: a label's value is too short for it. */
export const INSTANCE_ANNOTATION = "run.googleapis.com/instance-id";

/** What a Pod says of the instance it is. */
export interface InstanceMetadata {
  /** Name of the Pod, which no other instance has; `undefined`: nothing tells this one from others. */
  readonly name: string | undefined;
  readonly labels: Readonly<Record<string, string>>;
  readonly annotations: Readonly<Record<string, string>>;
}

/**
 * Name, labels and annotations of an instance. As a Pod of a Deployment it is called after its revision, or its execution of a
 * job, and then by what it has for itself: the task's index for a job, since a task that is tried again is the same Pod's next
 * try, and 8 letters of the instance's id elsewhere, the last ones, as ids of one service begin alike.
 */
export function instanceMetadata(names: CloudRunNames, instanceId: string | undefined): InstanceMetadata {
  const { service, revision, configuration, job, execution, taskIndex, taskAttempt, workerPool } = names;
  const labels = {
    "serving.knative.dev/service": service,
    "serving.knative.dev/revision": service === undefined ? undefined : revision,
    "serving.knative.dev/configuration": configuration,
    "run.googleapis.com/job": job,
    "run.googleapis.com/execution": execution,
    "run.googleapis.com/task-index": taskIndex,
    "run.googleapis.com/task-attempt": taskAttempt,
    "run.googleapis.com/worker-pool": workerPool,
    "run.googleapis.com/worker-pool-revision": workerPool === undefined ? undefined : revision,
  };
  const known = Object.entries(labels).filter((label): label is [string, string] =>
    label[1] !== undefined && isLabelValue(label[1])
  );
  const ofId = instanceId?.toLowerCase().replaceAll(/[^a-z0-9]/g, "").slice(-8) || undefined;
  return {
    name: nameOf(execution ?? revision, job !== undefined && /^\d{1,9}$/.test(taskIndex ?? "") ? taskIndex : ofId),
    labels: Object.fromEntries(known),
    annotations: instanceId === undefined ? {} : { [INSTANCE_ANNOTATION]: instanceId },
  };
}

function nameOf(of: string | undefined, suffix: string | undefined): string | undefined {
  if (of === undefined || suffix === undefined) return undefined;
  const name = of.toLowerCase().replaceAll(/[^a-z0-9-]+/g, "-").slice(0, 200).replaceAll(/^-+|-+$/g, "");
  return name === "" ? undefined : `${name}-${suffix}`;
}
