/** The cluster without a kubeconfig: metadata server, GKE, a real API server, a token, a Secret; and by way of the fleet. */
import assert from "node:assert/strict";
import { join } from "node:path";
import { CLOUD_RUN, DNS_NAME, REGION, RigFolder } from "./google_rig.ts";
import { asked, type Case, fails, fleetOnly, GKE, HUB, start, succeeds, tryAll } from "./google_start.ts";
import { sh } from "./shop.ts";

const CHOICE: readonly Case[] = [
  {
    name: "Cloud Run alone: no setting but what is mounted",
    test: async (rig) => {
      const since = rig.google.seen.length;
      succeeds(await start(rig), "cluster of Google Cloud found", `the only one in ${REGION}`);
      assert.deepEqual(asked(rig, since), [GKE]);
    },
  },
  {
    name: "nothing asks for a cluster, and the program has its service account all the same",
    test: async (rig) => {
      await using folder = await RigFolder.create();
      const script = "cut -d. -f2 <var/run/secrets/kubernetes.io/serviceaccount/token | base64 -d 2>/dev/null";
      const { stdout, stderr } = await rig.run(folder.path, CLOUD_RUN, sh(script));
      assert.ok(stdout.includes("system:serviceaccount:shop:default"), stderr);
    },
  },
  {
    name: "CLUSTER_NAME, CLUSTER_LOCATION and PROJECT_ID choose among several",
    test: async (rig) => {
      rig.google.clusters = [rig.cluster({ name: "dev", endpoint: "34.118.224.99" }), rig.cluster()];
      const place = { CLUSTER_NAME: "prod", CLUSTER_LOCATION: REGION, PROJECT_ID: rig.google.project.id };
      succeeds(await start(rig, place), `the only one named prod in ${REGION}`);
    },
  },
  {
    name: "several are equally good: an error that lists them, and no guess",
    test: async (rig) => {
      rig.google.clusters = [rig.cluster({ name: "dev" }), rig.cluster()];
      fails(
        await start(rig),
        "ClusterAmbiguous",
        "dev (us-central1), prod (us-central1)",
        "CLUSTER_NAME=dev CLUSTER_LOCATION",
      );
    },
  },
  {
    name: "a label mesh_id decides, and with MESH=gke:// it does not",
    test: async (rig) => {
      rig.google.clusters = [
        rig.cluster({ name: "other", location: "europe-west1", resourceLabels: { mesh_id: "m" } }),
        rig.cluster(),
      ];
      succeeds(
        await start(rig),
        "locations/europe-west1/clusters/other",
        "the only one labelled mesh_id of the project",
      );
      const mesh = { MESH: `gke://${rig.google.project.id}`, XDS_ADDR: "-" };
      succeeds(await start(rig, mesh), `the only one in ${REGION}`);
    },
  },
  {
    name: "MESH names the cluster by its resource",
    test: async (rig) => {
      rig.google.clusters = [rig.cluster({ name: "dev" }), rig.cluster()];
      const mesh = `//container.googleapis.com/projects/${rig.google.project.id}/locations/${REGION}/clusters/prod`;
      succeeds(await start(rig, { MESH: mesh, XDS_ADDR: "-" }), "MESH names it");
      fails(
        await start(rig, { MESH: mesh.replace("/prod", "/gone"), XDS_ADDR: "-" }),
        "ClusterNotFound",
        "there is no such cluster",
      );
    },
  },
  {
    name: "a name goes before ~/.kube/config, which goes before what is merely there",
    test: async (rig) => {
      await using home = await RigFolder.create();
      await Deno.mkdir(join(home.path, ".kube"));
      const kubeconfig = await rig.server.kubeconfig("nobody", { token: "nobody" });
      await Deno.copyFile(kubeconfig, join(home.path, ".kube", "config"));
      succeeds(await start(rig, { HOME: home.path, CLUSTER_NAME: "prod" }), "named prod");
      const since = rig.google.seen.length;
      fails(await start(rig, { HOME: home.path }), "ClusterUnreachable", "https://127.0.0.1:");
      assert.deepEqual(asked(rig, since), []);
    },
  },
  {
    name: "a cluster that is being made is told, not waited for in silence",
    test: async (rig) => {
      rig.google.clusters = [rig.cluster({ status: "PROVISIONING", endpoint: "" })];
      const end = await start(rig, { CLUSTER_NAME: "prod", KRUN_START_TIMEOUT: "0" });
      fails(end, "ClusterNotFound", "is PROVISIONING", "wait until it runs");
    },
  },
  {
    name: "who may not list clusters learns which role is missing, and for whom",
    test: async (rig) => {
      rig.google.revoke(rig.google.account!, "container.clusters.list");
      const role = `grant roles/container.clusterViewer to ${rig.google.account}`;
      fails(await start(rig), "GoogleForbidden", "container.clusters.list", role);
    },
  },
  {
    name: "a VM whose access scopes do not allow it learns that, and not that a role is missing",
    test: async (rig) => {
      rig.google.accessScopes = ["https://www.googleapis.com/auth/devstorage.read_only"];
      fails(await start(rig), "GoogleForbidden", "lacks a scope", "access scope cloud-platform");
    },
  },
  {
    name: "a program that asks for no cluster starts without one that may not be seen",
    test: async (rig) => {
      rig.google.revoke(rig.google.account!, "container.clusters.list");
      await using folder = await RigFolder.create();
      const { code, stdout, stderr } = await rig.run(folder.path, CLOUD_RUN, sh("echo started"));
      assert.deepEqual([code, stdout], [0, "started\n"], stderr);
      assert.match(stderr, /starting without a service account/);
    },
  },
  {
    name: "CLUSTER_NAME=- looks up none",
    test: async (rig) => {
      const since = rig.google.seen.length;
      await using folder = await RigFolder.create();
      const { code } = await rig.run(folder.path, { ...CLOUD_RUN, CLUSTER_NAME: "-" }, sh("true"));
      assert.equal(code, 0);
      assert.deepEqual(asked(rig, since), []);
    },
  },
];

const ENDPOINTS: readonly Case[] = [
  {
    name: "private endpoint: the cluster's CA",
    test: async (rig) => {
      const address = await rig.network.relay({ port: rig.server.port, address: "34.118.224.8" });
      const ip = { enabled: true, enablePublicEndpoint: false, privateEndpoint: address };
      rig.google.clusters = [
        rig.cluster({ endpoint: "34.118.224.77", controlPlaneEndpointsConfig: { ipEndpointsConfig: ip } }),
      ];
      succeeds(await start(rig), `server=https://${address}`);
    },
  },
  {
    name: "DNS endpoint: the public CAs, and IAM before RBAC",
    test: async (rig) => {
      const dns = { endpoint: DNS_NAME, allowExternalTraffic: true };
      const ip = { enabled: false };
      rig.google.clusters = [
        rig.cluster({ controlPlaneEndpointsConfig: { dnsEndpointConfig: dns, ipEndpointsConfig: ip } }),
      ];
      fails(await start(rig), "Forbidden", "container.clusters.connect");
      rig.google.grant(rig.google.account!, "container.clusters.connect");
      succeeds(await start(rig), `server=https://${DNS_NAME}`, "takes no service account tokens");
    },
  },
  {
    name: "an address with another CA than GKE gives is not believed",
    test: async (rig) => {
      const { pem } = rig.network.ca;
      rig.google.clusters = [rig.cluster({ masterAuth: { clusterCaCertificate: btoa(pem) } })];
      fails(await start(rig), "CertificateInvalid", "is not signed by the CA that krun was given");
    },
  },
  {
    name: "a host that no cluster of Google's has gets no token",
    test: async (rig) => {
      rig.google.clusters = [rig.cluster({ endpoint: "evil.example" })];
      fails(await start(rig), "GoogleApiFailed", "an address that no cluster can have");
    },
  },
];

const FLEET: readonly Case[] = [
  {
    name: "a member of the fleet, by Connect Gateway: membership, token, Secret",
    test: async (rig) => {
      fleetOnly(rig);
      const since = rig.google.seen.length;
      succeeds(
        await start(rig),
        "a member of the fleet",
        `projects/${rig.google.project.number}/locations/global/gkeMemberships/prod`,
      );
      assert.deepEqual(asked(rig, since), [GKE, HUB, "connectgateway.googleapis.com"]);
    },
  },
  {
    name: "the program is told that the gateway does not take its token",
    test: async (rig) => {
      fleetOnly(rig);
      const { stdout, stderr } = await start(rig, {}, sh("echo ${KUBERNETES_SERVICE_HOST:-none}"));
      assert.equal(stdout, "none\n", stderr);
      assert.ok(stderr.includes("Connect Gateway takes no service account tokens"), stderr);
    },
  },
  {
    name: "a member on the second page of the list",
    test: async (rig) => {
      fleetOnly(rig);
      rig.google.pageSize = 1;
      rig.google.memberships = [rig.membership("dev"), rig.membership()];
      succeeds(await start(rig, { CLUSTER_NAME: "prod" }), "named prod");
      rig.google.pageSize = 100;
    },
  },
  {
    name: "KRUN_GKE_ENDPOINT=gateway for a cluster that has an address too",
    test: async (rig) => {
      fleetOnly(rig);
      rig.google.clusters = [rig.cluster()];
      succeeds(await start(rig, { KRUN_GKE_ENDPOINT: "gateway" }), "connectgateway.googleapis.com");
    },
  },
  {
    name: "MESH names the membership",
    test: async (rig) => {
      fleetOnly(rig);
      const mesh = `//gkehub.googleapis.com/projects/${rig.google.project.id}/locations/global/memberships/prod`;
      rig.google.grant(rig.google.account!, "gkehub.memberships.get");
      succeeds(await start(rig, { MESH: mesh, XDS_ADDR: "-" }), "MESH names it");
    },
  },
  {
    name: "no role for the gateway: refused, with its words",
    test: async (rig) => {
      fleetOnly(rig);
      rig.google.revoke(rig.google.account!, "gkehub.gateway.post", "gkehub.gateway.get");
      fails(await start(rig), "Forbidden", "gkehub.gateway.");
    },
  },
  {
    name: "while GKE is away the fleet's cluster is not taken in place of it",
    test: async (rig) => {
      fleetOnly(rig);
      rig.google.clusters = [rig.cluster()];
      rig.google.memberships = [rig.membership("staging")];
      rig.google.trouble({ host: GKE, status: 503, times: 99 });
      const since = rig.google.seen.length;
      fails(await start(rig, { KRUN_START_TIMEOUT: "1" }), "GoogleApiFailed", "503");
      assert.deepEqual(asked(rig, since), [GKE]);
    },
  },
  {
    name: "who may not ask GKE has the fleet's cluster, and is told so",
    test: async (rig) => {
      fleetOnly(rig);
      rig.google.revoke(rig.google.account!, "container.clusters.list");
      succeeds(await start(rig), "only the fleet is looked at", "container.clusters.list", "a member of the fleet");
    },
  },
  {
    name: "a list of clusters that is not whole is no reason to take the fleet's, nor one that is far away",
    test: async (rig) => {
      fleetOnly(rig);
      rig.google.missingZones = ["us-central1-a"];
      const says = `Cannot choose a cluster of project \\"${rig.google.project.id}\\": GKE leaves out us-central1-a`;
      fails(await start(rig, { KRUN_START_TIMEOUT: "0" }), "GoogleApiFailed", says);
      rig.google.clusters = [rig.cluster({ name: "far", location: "europe-west1" })];
      fails(await start(rig, { KRUN_START_TIMEOUT: "0" }), "GoogleApiFailed", says);
      // What is left out is not where one is wanted: nothing is missing.
      succeeds(await start(rig, { CLUSTER_LOCATION: "europe-west1" }), "locations/europe-west1/clusters/far");
    },
  },
  {
    name: "two memberships of one cluster: an error whose advice tells them apart",
    test: async (rig) => {
      fleetOnly(rig);
      const { id } = rig.google.project;
      const second = { name: `projects/${id}/locations/us-central1/memberships/prod` };
      rig.google.memberships = [rig.membership(), rig.membership("prod", second)];
      const advice = `MESH=//gkehub.googleapis.com/projects/${id}/locations/global/memberships/prod`;
      fails(await start(rig), "ClusterAmbiguous", advice, advice.replace("global", "us-central1"));
    },
  },
  {
    name: "KRUN_GKE_ENDPOINT=private is not obeyed by Connect Gateway",
    test: async (rig) => {
      fleetOnly(rig);
      const since = rig.google.seen.length;
      fails(await start(rig, { KRUN_GKE_ENDPOINT: "private" }), "ClusterNotFound", "have no private endpoint");
      assert.deepEqual(asked(rig, since), [GKE]);
    },
  },
  {
    name: "neither GKE nor the fleet has it",
    test: async (rig) => {
      fleetOnly(rig);
      const said = "has no GKE cluster called gone, and no such member of its fleet";
      fails(await start(rig, { CLUSTER_NAME: "gone" }), "ClusterNotFound", said);
    },
  },
  {
    name: "the fleet may not be looked at: that is said, not that there is no such member",
    test: async (rig) => {
      const said = "and its fleet may not be looked at (Cannot list the fleet of project";
      fails(await start(rig, { CLUSTER_NAME: "gone" }), "ClusterNotFound", said);
    },
  },
  {
    name: "CLUSTER_LOCATION leaves out the one that is meant: where it is, and what to correct",
    test: async (rig) => {
      const env = { CLUSTER_NAME: "prod", CLUSTER_LOCATION: "europe-west1" };
      const said = `has no GKE cluster called prod (elsewhere prod in ${REGION})`;
      fails(await start(rig, env), "ClusterNotFound", said, "correct or unset CLUSTER_LOCATION");
    },
  },
];

tryAll("krun finds its cluster on Google Cloud", [...CHOICE, ...ENDPOINTS, ...FLEET]);
