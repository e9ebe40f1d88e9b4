import assert from "node:assert/strict";
import { captureAnnotations, captureMetadata } from "./traffic_director_capture.ts";
import { trafficDirectorNode, type TrafficDirectorNodeOptions } from "./traffic_director_node.ts";

const OPTIONS: TrafficDirectorNodeOptions = {
  pod: {
    metadata: {
      ...{ name: "web-1", namespace: "shop", labels: { a: "label", b: "label", c: "label", NAME: "label" } },
      annotations: { "cloud.google.com/proxyMetadata": '{"b":"annotation","c":"annotation","d":"annotation"}' },
    },
    spec: { containers: [], serviceAccountName: "web" },
  },
  ...{ workloadName: "web", nodeId: "n-1", zone: "us-central1-a", ip: "10.0.0.1" },
  agentEnv: new Map([
    ["ISTIO_METAJSON_X", '{"d":"object","e":1}'],
    ["ISTIO_META_c", "variable"],
    ["ISTIO_META_d", "variable"],
    ["XDS_HEADER_x", "no metadata"],
  ]),
};

Deno.test("trafficDirectorNode() lets a variable win over the annotation, that over krun, and that over a label", () => {
  const { metadata } = trafficDirectorNode({ projectNumber: "1", network: "default" }, OPTIONS);
  assert.deepEqual(metadata, {
    ...{ a: "label", b: "annotation", c: "variable", d: "object", e: 1 },
    ...{ NAME: "web-1", NAMESPACE: "shop", SERVICE_ACCOUNT: "web", INSTANCE_IP: "10.0.0.1" },
    ...{ TRAFFICDIRECTOR_GCP_PROJECT_NUMBER: "1", TRAFFICDIRECTOR_NETWORK_NAME: "default" },
  });
});

Deno.test("trafficDirectorNode() takes the zone of the machine, else that of the label, else none", () => {
  const mesh = { projectNumber: "1", mesh: "m" };
  assert.deepEqual(trafficDirectorNode(mesh, OPTIONS).locality, { zone: "us-central1-a" });
  const pod = { metadata: { labels: { "topology.kubernetes.io/zone": "europe-west1-b" } } };
  const others = { ...OPTIONS, zone: undefined };
  assert.deepEqual(trafficDirectorNode(mesh, { ...others, pod }).locality, { zone: "europe-west1-b" });
  assert.deepEqual(trafficDirectorNode(mesh, others).locality, {});
});

Deno.test("trafficDirectorNode() says where the workload runs by Google's names", () => {
  const environment = { "GCE-VM": "vm-1", "GCP-ZONE": "us-central1-a" };
  const { metadata, id } = trafficDirectorNode({ projectNumber: "7", scope: "edge" }, { ...OPTIONS, environment });
  assert.deepEqual(metadata.TRAFFIC_DIRECTOR_CLIENT_ENVIRONMENT, environment);
  assert.equal(id, "projects/7/networks/scope:edge/nodes/n-1");
});

Deno.test("captureAnnotations() has Istio's names for Google's, Google's defaults, and leaves what Istio's say", () => {
  const istio = "traffic.sidecar.istio.io/";
  const unset = { [`${istio}excludeOutboundIPRanges`]: "169.254.169.254/32", [`${istio}includeInboundPorts`]: "" };
  assert.deepEqual(captureAnnotations({}), unset);
  const google = {
    "cloud.google.com/includeOutboundCIDRs": "10.0.0.0/8",
    "cloud.google.com/includeInboundPorts": "80",
  };
  assert.deepEqual(captureAnnotations({ ...google, [`${istio}includeInboundPorts`]: "81" }), {
    ...unset,
    ...google,
    [`${istio}includeOutboundIPRanges`]: "10.0.0.0/8",
    [`${istio}includeInboundPorts`]: "81",
  });
});

Deno.test("captureMetadata() names the backend ports only where inbound traffic is captured, and all of the program's for *", () => {
  const name = "traffic.sidecar.istio.io/includeInboundPorts";
  const outbound = { TRAFFICDIRECTOR_INTERCEPTION_PORT: "15001" };
  assert.deepEqual(captureMetadata({}, [8080]), outbound);
  assert.deepEqual(captureMetadata({ [name]: "*" }, []), outbound);
  const inbound = { ...outbound, TRAFFICDIRECTOR_INBOUND_INTERCEPTION_PORT: "15006" };
  assert.deepEqual(captureMetadata({ [name]: "*" }, [80, 81]), {
    ...inbound,
    TRAFFICDIRECTOR_INBOUND_BACKEND_PORTS: "80,81",
  });
  assert.deepEqual(captureMetadata({ [name]: "82" }, [80, 81]), {
    ...inbound,
    TRAFFICDIRECTOR_INBOUND_BACKEND_PORTS: "82",
  });
});
