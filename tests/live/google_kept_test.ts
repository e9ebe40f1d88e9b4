/** The cluster of Google Cloud that a start before has found, and what goes wrong on the way to one. */
import assert from "node:assert/strict";
import { join } from "node:path";
import { CLOUD_RUN, type GoogleRig, REGION, RigFolder } from "./google_rig.ts";
import {
  ASKED,
  asked,
  type Case,
  fails,
  fleetOnly,
  GKE,
  METADATA,
  READ,
  start,
  succeeds,
  tryAll,
} from "./google_start.ts";
import { sh } from "./shop.ts";

/** A start that has kept the cluster's address, where nobody listens any more. */
async function keptAndGone(rig: GoogleRig, folder: RigFolder) {
  const env = { ...CLOUD_RUN, ...ASKED };
  const old = await rig.network.relay({ port: rig.server.port, address: "34.118.224.9" });
  rig.google.clusters = [rig.cluster({ endpoint: old })];
  succeeds(await rig.run(folder.path, env, READ), old);
  await rig.network.close(old);
  return { env, old };
}

const CACHE: readonly Case[] = [
  {
    name: "the next start asks GKE nothing, and only the metadata server for a token",
    test: async (rig) => {
      await using folder = await RigFolder.create();
      const env = { ...CLOUD_RUN, ...ASKED };
      succeeds(await rig.run(folder.path, env, READ));
      const file = join(folder.path, ".krun", "cluster.json");
      const { mode } = await Deno.lstat(file);
      assert.equal(mode! & 0o777, 0o600);
      assert.doesNotMatch(await Deno.readTextFile(file), /ya29|token/);
      const since = rig.google.seen.length;
      succeeds(await rig.run(folder.path, env, READ));
      assert.deepEqual(asked(rig, since), []);
      // Another wish is another cluster.
      succeeds(await rig.run(folder.path, { ...env, CLUSTER_NAME: "prod" }, READ));
      assert.deepEqual(asked(rig, since), [GKE]);
    },
  },
  {
    name: "a cluster that has moved is looked up again",
    test: async (rig) => {
      await using folder = await RigFolder.create();
      const { env } = await keptAndGone(rig, folder);
      rig.google.clusters = [rig.cluster()];
      succeeds(await rig.run(folder.path, env, READ), "is looked up again", `server=https://${rig.address}`);
    },
  },
  {
    name: "an address that is another cluster's now gets no token",
    test: async (rig) => {
      await using folder = await RigFolder.create();
      const { env, old } = await keptAndGone(rig, folder);
      const heard: string[] = [];
      const stranger = await rig.network.stranger((request) => {
        heard.push(request.headers.get("authorization") ?? "none");
        return new Response("{}");
      });
      await rig.network.relay({ port: stranger.port, address: old });
      rig.google.clusters = [rig.cluster()];
      succeeds(await rig.run(folder.path, env, READ), "is looked up again");
      assert.deepEqual(heard, []);
      await rig.network.close(old);
      await stranger[Symbol.asyncDispose]();
    },
  },
  {
    name: "a membership is kept as well, and looked up again when it is gone",
    test: async (rig) => {
      fleetOnly(rig);
      await using folder = await RigFolder.create();
      const env = { ...CLOUD_RUN, ...ASKED };
      succeeds(await rig.run(folder.path, env, READ));
      const since = rig.google.seen.length;
      succeeds(await rig.run(folder.path, env, READ));
      assert.deepEqual(asked(rig, since), ["connectgateway.googleapis.com"]);
      rig.google.memberships = [];
      rig.google.clusters = [rig.cluster()];
      succeeds(await rig.run(folder.path, env, READ), "is looked up again", `server=https://${rig.address}`);
    },
  },
  {
    name: "a cluster chosen from a list that is not whole is not kept",
    test: async (rig) => {
      await using folder = await RigFolder.create();
      const env = { ...CLOUD_RUN, ...ASKED, CLUSTER_NAME: "prod", CLUSTER_LOCATION: REGION };
      rig.google.missingZones = ["us-central1-a"];
      succeeds(await rig.run(folder.path, env, READ), "GKE has not listed every location");
      const since = rig.google.seen.length;
      succeeds(await rig.run(folder.path, env, READ));
      assert.deepEqual(asked(rig, since), [GKE]);
    },
  },
  {
    name: "that the program's token is not taken there is kept as well",
    test: async (rig) => {
      fleetOnly(rig);
      await using folder = await RigFolder.create();
      const env = { ...CLOUD_RUN, ...ASKED };
      const script = sh('echo "${KUBERNETES_SERVICE_HOST:-none}"; test -s "$KUBECONFIG" && cat "$KUBECONFIG"; true');
      const [first, second] = [await rig.run(folder.path, env, script), await rig.run(folder.path, env, script)];
      assert.equal(first.stdout, "none\n", first.stderr);
      assert.equal(second.stdout, first.stdout, second.stderr);
      assert.ok(second.stderr.includes("Connect Gateway takes no service account tokens"), second.stderr);
    },
  },
  {
    name: "another account, or another region, looks for itself",
    test: async (rig) => {
      await using folder = await RigFolder.create();
      const { google } = rig;
      const [account, region] = [google.account!, google.metadata["instance/region"]];
      const other = "other@acme-shop-prod.iam.gserviceaccount.com";
      const env = { ...CLOUD_RUN, ...ASKED };
      succeeds(await rig.run(folder.path, env, READ));
      google.account = other;
      google.grant(other, "container.clusters.list");
      await rig.grantKrun("shop", other);
      succeeds(await rig.run(folder.path, env, READ), "krun is another account, or elsewhere", "is looked up again");
      google.clusters = [rig.cluster({ name: "eu", location: "europe-west1" }), rig.cluster()];
      google.metadata["instance/region"] = `projects/${google.project.number}/regions/europe-west1`;
      succeeds(await rig.run(folder.path, env, READ), "clusters/eu", "the only one in europe-west1");
      Object.assign(google, { account });
      google.metadata["instance/region"] = region;
    },
  },
  {
    name: "a file that others may have written is passed over",
    test: async (rig) => {
      await using folder = await RigFolder.create();
      const env = { ...CLOUD_RUN, ...ASKED };
      succeeds(await rig.run(folder.path, env, READ));
      const file = join(folder.path, ".krun", "cluster.json");
      for (const spoil of [() => Deno.chmod(file, 0o666), () => Deno.chown(file, 1000, 1000)]) {
        await spoil();
        const since = rig.google.seen.length;
        succeeds(await rig.run(folder.path, env, READ));
        assert.deepEqual(asked(rig, since), [GKE]);
      }
    },
  },
];

const FAULTS: readonly Case[] = [
  {
    name: "a metadata server that is not up yet is tried again where something says that there is one",
    test: async (rig) => {
      rig.google.trouble({ host: METADATA, status: 503, times: 6 });
      succeeds(await start(rig, { KRUN_START_TIMEOUT: "30" }));
    },
  },
  {
    name: "a metadata server that is slow is waited for",
    test: async (rig) => {
      rig.google.trouble({ host: METADATA, delayMs: 2_000, times: 5 });
      succeeds(await start(rig, { KRUN_START_TIMEOUT: "30" }));
    },
  },
  {
    name: "what never answers is waited for until KRUN_START_TIMEOUT, and said to be what it is",
    test: async (rig) => {
      rig.google.trouble({ host: METADATA, delayMs: 60_000, times: 99 });
      const short = { KRUN_START_TIMEOUT: "2" };
      const no = { CLUSTER_NAME: "-", GCP_ACCESS_TOKEN: "./access" };
      for (
        const [env, args, says] of [
          [ASKED, READ, /Cannot ask the metadata server at 169\.254\.169\.254: no answer within \d+ ms/],
          [{}, ["--kubeconfig"], /Cannot ask the metadata server at 169\.254\.169\.254: no answer within \d+ ms/],
          [no, READ, /Cannot (?:ask the metadata server|get a google access token).*check .*metadata server/s],
        ] as const
      ) {
        const from = performance.now();
        await using folder = await RigFolder.create();
        const { code, stderr } = await rig.run(folder.path, { ...CLOUD_RUN, ...env, ...short }, args);
        // One answer may take 10 s where there is time.
        assert.ok(performance.now() - from < 9_500, `${performance.now() - from} ms`);
        assert.equal(code, 125, stderr);
        assert.match(stderr, says);
        assert.doesNotMatch(stderr, /API server|service account \\"shop/);
      }
    },
  },
  {
    name: "429 and 503 of GKE are tried again, a Retry-After is obeyed",
    test: async (rig) => {
      rig.google.trouble({ host: GKE, status: 429, retryAfter: "1" }, { host: GKE, status: 503 }, {
        host: GKE,
        delayMs: 300,
      });
      const from = performance.now();
      succeeds(await start(rig, { KRUN_START_TIMEOUT: "30" }));
      assert.ok(performance.now() - from > 1000);
    },
  },
  {
    name: "an access token that has ended is got anew",
    test: async (rig) => {
      rig.google.trouble({
        host: GKE,
        response:
          () => (rig.google.tokens.revokeAll(),
            Response.json({ error: { code: 401, status: "UNAUTHENTICATED", message: "ended" } }, { status: 401 })),
      });
      succeeds(await start(rig));
    },
  },
  {
    name: "a server at that address that is not Google's is not believed",
    test: async (rig) => {
      rig.google.trouble({ host: METADATA, times: 99, response: () => new Response("us-central1", { status: 200 }) });
      fails(await start(rig), "GoogleCredentialsUnavailable", "what answers there is not Google's");
      rig.google.clearTroubles();
    },
  },
  {
    name: "no proxy is used for the metadata server",
    test: async (rig) => {
      const nobody = "http://127.0.0.1:9";
      succeeds(await start(rig, { HTTP_PROXY: nobody, http_proxy: nobody, ALL_PROXY: nobody, all_proxy: nobody }));
      // The twin: an API beyond this machine is asked through the proxy that is named for it.
      fails(await start(rig, { HTTPS_PROXY: nobody, KRUN_START_TIMEOUT: "1" }), "GoogleApiFailed", "127.0.0.1:9");
    },
  },
  {
    name: "only the machine's CAs count for Google's names: not DENO_CERT",
    test: async (rig) => {
      const { caFile } = rig.network;
      fails(
        await start(rig, { SSL_CERT_FILE: "/etc/hostname", DENO_CERT: caFile }),
        "GoogleApiFailed",
        "SSL_CERT_FILE",
      );
    },
  },
  {
    name: "no keys of TLS connections are written down",
    test: async (rig) => {
      await using folder = await RigFolder.create();
      const keys = join(folder.path, "keys");
      const since = rig.google.seen.length;
      fails(await start(rig, { SSLKEYLOGFILE: keys }), "SettingConflict", "Cannot start with SSLKEYLOGFILE");
      // The runtime has made the file before krun ran; that is all.
      assert.equal(await Deno.readTextFile(keys).catch(() => ""), "");
      assert.deepEqual(rig.google.seen.slice(since), []);
    },
  },
  {
    name: "no variable but GCE_METADATA_HOST leads a request elsewhere",
    test: async (rig) => {
      const since = rig.google.seen.length;
      const elsewhere = "https://127.0.0.1:9";
      succeeds(
        await start(rig, {
          GOOGLE_CLOUD_UNIVERSE_DOMAIN: "evil.example",
          CLOUDSDK_API_ENDPOINT_OVERRIDES_CONTAINER: elsewhere,
          CLOUDSDK_CORE_UNIVERSE_DOMAIN: "evil.example",
          CLOUDSDK_CONFIG: "/nonexistent",
          GOOGLE_API_USE_CLIENT_CERTIFICATE: "true",
          GOOGLE_API_USE_MTLS_ENDPOINT: "always",
          GOOGLE_CLOUD_PROJECT: "another-project",
          GCE_METADATA_IP: "127.0.0.1:9",
          GCE_METADATA_ROOT: "127.0.0.1:9",
          CONTAINER_ENDPOINT: elsewhere,
        }),
      );
      assert.deepEqual(asked(rig, since), [GKE]);
      const there = await rig.network.metadataElsewhere(rig.google);
      const before = rig.google.count(METADATA);
      succeeds(await start(rig, { GCE_METADATA_HOST: there }));
      assert.ok(rig.google.count(METADATA) > before);
    },
  },
];

tryAll("krun keeps where its cluster is", CACHE);
tryAll("krun obeys nobody but Google on Google Cloud, and waits for it", FAULTS);
