/**
 * The form of a Pod's manifest: each field that Kubernetes 1.34 has. What it is to krun stands in `pod_fields.ts`. A field that is
 * missing in both is misspelt.
 *
 * What is checked where: the form here; what fields say of each other in `pod_manifest.ts`; references, names of variables,
 * paths and the timing of probes where they are used.
 *
 * @module
 */
import { isDnsLabel, isDnsSubdomain, isLabelKey, isLabelValue, isPortName } from "./object_name.ts";
import { asksInVain, POD_FIELDS } from "./pod_fields.ts";
import type { PodObject, PodObjectName } from "./pod_fields.ts";
import {
  anything,
  flag,
  ignoredWhen,
  integer,
  listOf,
  mapOf,
  objectOf,
  oneOf,
  refused,
  ShapeFault,
  text,
  textOrNumber,
  textThat,
} from "./shape.ts";
import type { Shape } from "./shape.ts";

const dnsLabel = textThat(isDnsLabel, "a name of lower case letters, digits and dashes");
const dnsSubdomain = textThat(isDnsSubdomain, "a name of lower case letters, digits, dashes and dots");
const texts = listOf(text);
/** The largest that the API's 32 bit numbers hold. */
const count = integer(0, 2 ** 31 - 1);
/** User and group ids: `validation.IsValidUserID` of apimachinery. */
const id = integer(0, 2 ** 31 - 1);
const mode = integer(0, 0o777);
const port = integer(1, 65535);

/**
 * The fields of an object by {@linkcode POD_FIELDS}, which says what becomes of each. Every honoured field has a form here; one
 * that is not may have one as well.
 */
function fieldsOf<Name extends PodObjectName>(
  name: Name,
  forms: Readonly<Record<keyof (typeof POD_FIELDS)[Name]["honoured"], Shape>>,
  others: Readonly<Record<string, Shape>> = {},
): Readonly<Record<string, Shape>> {
  const { ignored = {}, moot = {}, refused: wrong = {} }: PodObject = POD_FIELDS[name];
  const each = <Value>(of: Readonly<Record<string, Value>>, shape: (value: Value, form: Shape) => Shape) =>
    Object.entries(of).map(([field, value]): [string, Shape] => [field, shape(value, others[field] ?? anything)]);
  return {
    ...forms,
    ...Object.fromEntries([
      ...each(ignored, (field, form) => ignoredWhen((value) => asksInVain(field, value), form)),
      ...each(moot, (_says, form) => form),
      ...each(wrong, (says) => refused(says)),
    ]),
  };
}

const metadata = objectOf(fieldsOf("metadata", {
  name: dnsSubdomain,
  namespace: dnsLabel,
  uid: text,
  labels: labelMap,
  annotations: mapOf(text),
}));

const exec = objectOf({ command: texts }, ["command"]);
const httpGet = objectOf({
  host: text,
  httpHeaders: listOf(objectOf({ name: text, value: text }, ["name"])),
  path: text,
  port: textOrNumber,
  scheme: oneOf("HTTP", "HTTPS"),
}, ["port"]);
const tcpSocket = objectOf({ host: text, port: textOrNumber }, ["port"]);

const probe = exactlyOne(["exec", "httpGet", "tcpSocket", "grpc"], {
  exec,
  httpGet,
  tcpSocket,
  grpc: objectOf({ port, service: text }, ["port"]),
  initialDelaySeconds: count,
  timeoutSeconds: count,
  periodSeconds: count,
  successThreshold: count,
  failureThreshold: count,
  terminationGracePeriodSeconds: count,
});

const handler = exactlyOne(["exec", "httpGet", "tcpSocket", "sleep"], {
  exec,
  httpGet,
  tcpSocket,
  sleep: objectOf({ seconds: count }, ["seconds"]),
});

const fieldRef = objectOf({ apiVersion: text, fieldPath: text }, ["fieldPath"]);
const resourceFieldRef = objectOf({ containerName: text, divisor: textOrNumber, resource: text }, ["resource"]);
const keyRef = objectOf({ name: dnsSubdomain, key: text, optional: flag }, ["name", "key"]);
const objectRef = objectOf({ name: dnsSubdomain, optional: flag }, ["name"]);

const env = objectOf({
  name: text,
  // Not `text`: YAML makes numbers and booleans of what people mean as text, and the API refuses them too.
  value: text,
  valueFrom: objectOf({
    fieldRef,
    resourceFieldRef,
    secretKeyRef: keyRef,
    configMapKeyRef: keyRef,
    fileKeyRef: refused("needs the feature gate EnvFiles, which is off in Kubernetes 1.34"),
  }),
}, ["name"]);

const resources = objectOf({ limits: mapOf(textOrNumber), requests: mapOf(textOrNumber), claims: anything });

const users = { runAsUser: id, runAsGroup: id, runAsNonRoot: flag };

const podSecurity = objectOf(fieldsOf("spec.securityContext", {
  ...users,
  fsGroup: id,
  supplementalGroups: listOf(id),
  supplementalGroupsPolicy: oneOf("Merge", "Strict"),
}));

const containerSecurity = objectOf(fieldsOf("spec.containers[].securityContext", users));

const ports = listOf(objectOf(
  fieldsOf("spec.containers[].ports[]", {
    name: textThat(isPortName, "a port name of at most 15 lower case letters, digits and dashes"),
    containerPort: port,
  }, { hostPort: port, hostIP: text, protocol: oneOf("TCP", "UDP", "SCTP") }),
  ["containerPort"],
));

const volumeMounts = listOf(objectOf(
  fieldsOf("spec.containers[].volumeMounts[]", { name: text, mountPath: text, subPath: text, subPathExpr: text }, {
    readOnly: flag,
  }),
  ["name", "mountPath"],
));

const container = objectOf(
  fieldsOf("spec.containers[]", {
    name: dnsLabel,
    command: texts,
    args: texts,
    workingDir: text,
    env: listOf(env),
    envFrom: listOf(objectOf({ prefix: text, configMapRef: objectRef, secretRef: objectRef })),
    ports,
    volumeMounts,
    startupProbe: probe,
    livenessProbe: probe,
    readinessProbe: probe,
    lifecycle: objectOf(fieldsOf("spec.containers[].lifecycle", { postStart: handler, preStop: handler })),
    restartPolicy: text,
    securityContext: containerSecurity,
  }, { resources }),
  ["name"],
);

const items = listOf(objectOf({ key: text, path: text, mode }, ["key", "path"]));
const downwardItems = listOf(objectOf({ path: text, mode, fieldRef, resourceFieldRef }, ["path"]));

const projectedSource = objectOf({
  secret: objectOf({ name: dnsSubdomain, items, optional: flag }, ["name"]),
  configMap: objectOf({ name: dnsSubdomain, items, optional: flag }, ["name"]),
  downwardAPI: objectOf({ items: downwardItems }),
  serviceAccountToken: objectOf({ audience: text, expirationSeconds: integer(600, 2 ** 32), path: text }, ["path"]),
  clusterTrustBundle: refused("is a source that krun has not"),
  podCertificate: refused("is a source that krun has not"),
});

/** The kinds that krun has. The others stand as they are: one that no container mounts is no fault. */
const volumeSources: Readonly<Record<string, Shape>> = {
  secret: objectOf({ secretName: dnsSubdomain, items, defaultMode: mode, optional: flag }, ["secretName"]),
  configMap: objectOf({ name: dnsSubdomain, items, defaultMode: mode, optional: flag }, ["name"]),
  projected: objectOf({ defaultMode: mode, sources: listOf(projectedSource) }, ["sources"]),
  downwardAPI: objectOf({ defaultMode: mode, items: downwardItems }),
  emptyDir: objectOf(fieldsOf("spec.volumes[].emptyDir", { medium: text }, { sizeLimit: textOrNumber })),
  hostPath: objectOf({ path: text, type: text }, ["path"]),
  ...Object.fromEntries(
    ("awsElasticBlockStore azureDisk azureFile cephfs cinder csi ephemeral fc flexVolume flocker gcePersistentDisk gitRepo " +
      "glusterfs image iscsi nfs persistentVolumeClaim photonPersistentDisk portworxVolume quobyte rbd scaleIO storageos " +
      "vsphereVolume").split(" ").map((kind) => [kind, anything]),
  ),
};

const spec = objectOf(
  fieldsOf("spec", {
    containers: listOf(container),
    initContainers: listOf(container),
    volumes: listOf(atMostOne(Object.keys(volumeSources), { name: dnsLabel, ...volumeSources }, ["name"])),
    restartPolicy: oneOf("Always", "OnFailure", "Never"),
    terminationGracePeriodSeconds: count,
    serviceAccountName: dnsSubdomain,
    serviceAccount: dnsSubdomain,
    automountServiceAccountToken: flag,
    enableServiceLinks: flag,
    securityContext: podSecurity,
    nodeName: anything,
  }, { resources }),
  ["containers"],
);

/** A Pod's manifest. */
export const podShape: Shape = objectOf({
  apiVersion: oneOf("v1"),
  kind: oneOf("Pod"),
  metadata,
  spec,
  status: anything,
}, ["apiVersion", "kind", "spec"]);

function labelMap(value: unknown, place: Parameters<Shape>[1]): void {
  mapOf(textThat(isLabelValue, "a label value"))(value, place);
  const wrong = Object.keys(value as object).find((key) => !isLabelKey(key));
  if (wrong !== undefined) {
    throw new ShapeFault(place.path, `has the key ${JSON.stringify(wrong)}, which is no label key`);
  }
}

function exactlyOne(names: readonly string[], fields: Readonly<Record<string, Shape>>): Shape {
  const shape = atMostOne(names, fields);
  return (value, place) => {
    shape(value, place);
    if (names.every((name) => !Object.hasOwn(value as object, name))) {
      throw new ShapeFault(place.path, `must have one of ${names.join(", ")}`);
    }
  };
}

function atMostOne(
  names: readonly string[],
  fields: Readonly<Record<string, Shape>>,
  required: readonly string[] = [],
): Shape {
  const shape = objectOf(fields, required);
  return (value, place) => {
    shape(value, place);
    const found = names.filter((name) => Object.hasOwn(value as object, name));
    if (found.length > 1) throw new ShapeFault(place.path, `has ${found.join(" and ")}, and may have only one of them`);
  };
}
