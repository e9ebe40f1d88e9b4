/**
 * The forms that Kubernetes gives to names. In: a text. Out: whether it has the form.
 *
 * Source: k8s.io/apimachinery/pkg/util/validation/validation.go (v1.34.4).
 *
 * @module
 */

const LABEL = /^[a-z0-9]([-a-z0-9]*[a-z0-9])?$/;
const SUBDOMAIN = /^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$/;
const QUALIFIED = /^[A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?$/;

/** RFC 1123 label, at most 63 characters: a namespace, a container, a volume. */
export function isDnsLabel(name: string): boolean {
  return name.length <= 63 && LABEL.test(name);
}

/** RFC 1123 subdomain, at most 253 characters: a Pod, Secret, ConfigMap, service account. */
export function isDnsSubdomain(name: string): boolean {
  return name.length <= 253 && SUBDOMAIN.test(name);
}

/** Name of a container port (RFC 6335 service name): at most 15 characters, at least one letter. */
export function isPortName(name: string): boolean {
  return name.length <= 15 && LABEL.test(name) && /[a-z]/.test(name) && !name.includes("--");
}

/** Key of a label: a name of at most 63 characters, after a DNS subdomain and a slash if it has a prefix. */
export function isLabelKey(key: string): boolean {
  const [name = "", prefix, ...more] = key.split("/").reverse();
  return more.length === 0 && name.length <= 63 && QUALIFIED.test(name) &&
    (prefix === undefined || isDnsSubdomain(prefix));
}

/** Value of a label: empty, or at most 63 characters of the same form as a key's name. */
export function isLabelValue(value: string): boolean {
  return value === "" || (value.length <= 63 && QUALIFIED.test(value));
}

/** Key of a Secret or ConfigMap: the file name it becomes. */
export function isDataKey(key: string): boolean {
  return key.length <= 253 && /^[-._a-zA-Z0-9]+$/.test(key) && key !== "." && !key.startsWith("..");
}
