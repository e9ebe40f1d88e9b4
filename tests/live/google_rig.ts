/**
 * A Google Cloud with a cluster: fakes under Google's names, and as the cluster that they list a real kube-apiserver, which believes
 * their access tokens by a webhook, as GKE does.
 *
 * @module
 */
import { join } from "node:path";
import assert from "node:assert/strict";
import { type KrunEnd, type KrunOptions, runKrun } from "../krun_process.ts";
import { FakeGoogle } from "../fakes/google_cloud.ts";
import { GoogleNetwork, type GoogleNetworkOptions } from "../fakes/google_network.ts";
import { type ApiServer, startApiServer } from "./api_server.ts";
import { CertificateAuthority } from "./certificate_authority.ts";
import { freePort } from "./server_process.ts";
import { KRUN_RULES } from "./shop.ts";

/** Location of the cluster, and region of the machine. */
export const REGION = "us-central1";

/** Name of the cluster's DNS endpoint. */
export const DNS_NAME = "gke-0123456789abcdef.us-central1.gke.goog";

/** As Cloud Run starts a container. */
export const CLOUD_RUN = {
  K_SERVICE: "shop-web",
  K_REVISION: "shop-web-00001-abc",
  K_CONFIGURATION: "shop-web",
  PORT: "8080",
} as const;

/** How a run ended, and where its files were. */
export interface RigEnd extends KrunEnd {
  readonly base: string;
}

/** Options of {@linkcode GoogleRig.create}. */
export interface GoogleRigOptions extends Omit<GoogleNetworkOptions, "folder"> {
  /** Puts more APIs into `google.hosts`, before their names are given out. */
  addHosts?(google: FakeGoogle): void;
}

/** All of it. Made by {@linkcode GoogleRig.create}. */
export class GoogleRig implements AsyncDisposable {
  readonly google: FakeGoogle;
  readonly server: ApiServer;
  readonly network: GoogleNetwork;
  /** Address of the cluster in the network. */
  readonly address: string;
  readonly #stack: AsyncDisposableStack;

  private constructor(
    parts: Pick<GoogleRig, "google" | "server" | "network" | "address"> & { stack: AsyncDisposableStack },
  ) {
    this.google = parts.google;
    this.server = parts.server;
    this.network = parts.network;
    this.address = parts.address;
    this.#stack = parts.stack;
  }

  /**
   * Starts everything: cluster `prod` with namespace `shop`, its Secret `db`, and krun's account, which may list clusters and do what
   * krun needs there.
   */
  static async create(options: GoogleRigOptions = {}): Promise<GoogleRig> {
    await using stack = new AsyncDisposableStack();
    const google = await FakeGoogle.create();
    const front = new ApiFront(google);
    google.hosts[DNS_NAME] = (request) => front.byDns(request);
    options.addHosts?.(google);
    const folder = await Deno.makeTempDir({ prefix: "krun-google-" });
    stack.defer(() => Deno.remove(folder, { recursive: true }));
    const webhook = await serveWebhook(google, { folder, stack });
    const names = ["DNS:localhost", "IP:127.0.0.1", ...Array.from({ length: 9 }, (_, i) => `IP:34.118.224.${i + 1}`)];
    const args = [
      `--authentication-token-webhook-config-file=${webhook}`,
      "--authentication-token-webhook-version=v1",
      "--authentication-token-webhook-cache-ttl=1s",
    ];
    const server = stack.use(await startApiServer({ args, certificate: { names } }));
    const network = stack.use(await GoogleNetwork.create(google, { ...options, folder }));
    const address = await network.relay({ port: server.port });
    front.server = server;
    google.gateway = (request, path, user) => front.asUser(request, path, user);
    const rig = new GoogleRig({ google, server, network, address, stack: stack.move() });
    await rig.#prepare();
    return rig;
  }

  /** The cluster as GKE describes it, with other fields over it. */
  cluster(fields: Readonly<Record<string, unknown>> = {}): Record<string, unknown> {
    return {
      name: "prod",
      location: REGION,
      status: "RUNNING",
      endpoint: this.address,
      masterAuth: { clusterCaCertificate: btoa(this.server.caPem) },
      selfLink:
        `https://container.googleapis.com/v1/projects/${this.google.project.id}/locations/${REGION}/clusters/prod`,
      ...fields,
    };
  }

  /** The cluster as a member of the fleet. */
  membership(name = "prod", fields: Readonly<Record<string, unknown>> = {}): Record<string, unknown> {
    const { id } = this.google.project;
    const link = `//container.googleapis.com/projects/${id}/locations/${REGION}/clusters/prod`;
    return {
      name: `projects/${id}/locations/global/memberships/${name}`,
      state: { code: "READY" },
      endpoint: { gkeCluster: { resourceLink: link } },
      ...fields,
    };
  }

  /** What every krun there is started with: in the network, with the CA as the machine's, told nothing of a cluster. */
  krun({ env = {}, ...options }: KrunOptions): KrunOptions {
    return { ...options, under: this.network.under, env: { SSL_CERT_FILE: this.network.caFile, ...env } };
  }

  /** A krun there in a folder of its own, which `using` a {@linkcode RigFolder} gives. */
  async run(folder: string, env: Readonly<Record<string, string>>, args: readonly string[]): Promise<RigEnd> {
    const end = await runKrun(this.krun({ args, cwd: folder, env: { MESH_BASE_DIR: folder, ...env } }));
    // Whatever happens, nothing that is secret is told.
    for (const secret of ["ya29.", "s3cret", "PRIVATE KEY"]) {
      assert.ok(!end.stderr.includes(secret), `${secret} in ${end.stderr}`);
    }
    return { ...end, base: folder };
  }

  /** The account that krun has, with the rights that krun needs in a namespace. */
  async grantKrun(namespace: string, user: string): Promise<void> {
    await this.server.grant(namespace, user, KRUN_RULES);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.google.clearTroubles();
    await this.#stack[Symbol.asyncDispose]();
  }

  /** Google as it was at first. */
  reset(): void {
    const { google } = this;
    google.clusters = [this.cluster()];
    google.memberships = [];
    google.missingZones = [];
    google.accessScopes = undefined;
    google.providers = [];
    google.clearTroubles();
    google.revokeAll();
    google.grant(google.account!, "container.clusters.list", "container.clusters.get");
  }

  async #prepare(): Promise<void> {
    const { google, server } = this;
    this.reset();
    await server.namespace("shop");
    const metadata = { namespace: "shop", name: "db" };
    await server.create({
      apiVersion: "v1",
      kind: "Secret",
      metadata,
      stringData: { username: "alice", password: "s3cr3t" },
    });
    await this.grantKrun("shop", google.account!);
  }
}

/** What stands before the API server where Google's own names lead to it. */
class ApiFront {
  server: ApiServer | undefined;

  constructor(private readonly google: FakeGoogle) {}

  /** The DNS endpoint: IAM is asked first. */
  async byDns(request: Request): Promise<Response> {
    const { identity } = this.google.bearer(request, "container.clusters.connect", "prod");
    const { pathname, search } = new URL(request.url);
    return await this.asUser(request, pathname + search, identity);
  }

  /** The request as it is, by somebody who may stand for every user. */
  async asUser(request: Request, path: string, user: string): Promise<Response> {
    const headers = new Headers(request.headers);
    for (const name of ["authorization", "host", "content-length"]) headers.delete(name);
    headers.set("impersonate-user", user);
    headers.append("impersonate-group", "system:authenticated");
    const body = request.method === "POST" ? { body: await request.text() } : {};
    const answer = await this.server!.request(path, { method: request.method, headers, ...body });
    const type = answer.headers.get("content-type") ?? "";
    return new Response(answer.body, { status: answer.status, headers: { "content-type": type } });
  }
}

/** Serves the webhook, and writes the file by which kube-apiserver finds it. */
async function serveWebhook(
  google: FakeGoogle,
  { folder, stack }: { folder: string; stack: AsyncDisposableStack },
): Promise<string> {
  const ca = await CertificateAuthority.create(join(folder, "webhook-pki"));
  const { certPem: cert, keyPem: key } = await ca.issue({ names: ["DNS:localhost", "IP:127.0.0.1"] });
  const port = freePort();
  const server = Deno.serve({ hostname: "127.0.0.1", port, cert, key, onListen() {} }, async (request) => {
    return Response.json(google.tokenReview(await request.json()));
  });
  stack.defer(() => server.shutdown());
  const path = join(folder, "webhook.kubeconfig");
  const cluster = { server: `https://127.0.0.1:${port}/review`, "certificate-authority-data": btoa(ca.pem) };
  await Deno.writeTextFile(
    path,
    JSON.stringify({
      ...{ apiVersion: "v1", kind: "Config", "current-context": "w" },
      clusters: [{ name: "w", cluster }],
      contexts: [{ name: "w", context: { cluster: "w", user: "w" } }],
      users: [{ name: "w", user: {} }],
    }),
  );
  return path;
}

/** A folder that is gone at the end. */
export class RigFolder implements AsyncDisposable {
  private constructor(readonly path: string) {}

  /** Makes it. */
  static async create(): Promise<RigFolder> {
    return new RigFolder(await Deno.makeTempDir({ prefix: "krun-google-base-" }));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Deno.remove(this.path, { recursive: true });
  }
}
