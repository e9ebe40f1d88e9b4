/**
 * The namespace that a Google account or project implies where nothing else says one. In: what is known of both. Out: a name with
 * the rule that decided it.
 *
 * The original's rules (cloud-run-mesh pkg/gcp), the first that says something wins: the account is called `k8s-NAMESPACE`; the
 * project has the label `mesh-namespace`; the second last part of a project id with more than two parts; `default`.
 *
 * @module
 */
import { isDnsLabel } from "./object_name.ts";

/** A namespace and why it is that one. */
export interface ImpliedNamespace {
  readonly namespace: string;
  /** For a person: `Google service account k8s-shop@p.iam.gserviceaccount.com`. */
  readonly rule: string;
}

/** By the e-mail of a Google service account. */
export function namespaceOfAccount(email: string | undefined): ImpliedNamespace | undefined {
  const [, namespace = ""] = /^k8s-([^@]+)@/.exec(email ?? "") ?? [];
  return isDnsLabel(namespace) ? { namespace, rule: `Google service account ${email}` } : undefined;
}

/** By a project and its labels. */
export function namespaceOfProject(
  projectId: string,
  labels: Readonly<Record<string, string>> = {},
): ImpliedNamespace {
  const label = Object.hasOwn(labels, "mesh-namespace") ? labels["mesh-namespace"]! : "";
  if (isDnsLabel(label)) return { namespace: label, rule: `label mesh-namespace of Google project ${projectId}` };
  const parts = projectId.split("-");
  const part = parts.length > 2 ? parts.at(-2)! : "";
  if (isDnsLabel(part)) return { namespace: part, rule: `the id of Google project ${projectId}` };
  return { namespace: "default", rule: `neither account nor project ${projectId} names another` };
}
