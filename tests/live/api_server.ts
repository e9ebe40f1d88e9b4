/**
 * A real kube-apiserver with its etcd, on free ports and in a temporary folder, for one test file.
 *
 * In: nothing but the live tools. Out: an {@linkcode ApiServer} with its own CA, RBAC on, an admin, users at will, calls to
 * make and change objects, and ways to hurt it: stop, start, freeze, wipe. There is no controller manager: nothing makes
 * default service accounts; {@linkcode ApiServer.namespace} does.
 *
 * ```ts
 * await using server = await startApiServer();
 * await server.namespace("payments");
 * const secret = { apiVersion: "v1", kind: "Secret", metadata: { namespace: "payments", name: "db" } };
 * await server.create({ ...secret, stringData: { password: "x" } });
 * const ann = await server.user("ann", ["dev"]);
 * await server.grant("payments", "ann", [{ apiGroups: [""], resources: ["secrets"], verbs: ["get"] }]);
 * // ann.kubeconfig is the path of a kubeconfig file
 * ```
 *
 * @module
 */
import { generateKeyPairSync } from "node:crypto";
import { join } from "node:path";
import { liveTool } from "../../scripts/live_tools.ts";
import { CertificateAuthority, type CertificateOptions, type KeyPair } from "./certificate_authority.ts";
import { clusterSeed, type Seed, SEEDS } from "./cluster_seed.ts";
import { Etcd, type EtcdEntry } from "./etcd.ts";
import { applyIstioCrds } from "./istio_crds.ts";
import { freePort, type ServerProcess, startProcess, untilReady } from "./server_process.ts";

/** Any Kubernetes object. */
export interface KubeObject {
  readonly apiVersion: string;
  readonly kind: string;
  readonly metadata: { readonly name: string; readonly namespace?: string; readonly [key: string]: unknown };
  readonly [key: string]: unknown;
}

/** One rule of a Role. */
export interface PolicyRule {
  readonly apiGroups: readonly string[];
  readonly resources: readonly string[];
  readonly verbs: readonly string[];
  readonly resourceNames?: readonly string[];
}

/** A user with a client certificate. */
export interface ApiUser extends KeyPair {
  readonly name: string;
  /** Path of a kubeconfig whose only context is `<name>@test`, certificates inline. */
  readonly kubeconfig: string;
}

/** Options of {@linkcode startApiServer}. */
export interface ApiServerOptions {
  /** More flags for kube-apiserver. A flag given here wins over ours. */
  readonly args?: readonly string[];
  /** Address the server listens on. @default {"127.0.0.1"} */
  readonly address?: string;
  /** The server's own certificate. */
  readonly certificate?: CertificateOptions;
  /** What is in the cluster at first. @default {"bare"} */
  readonly seed?: Seed;
}

/** Starts etcd and kube-apiserver and waits until `/readyz` says ok; about 2 s. */
export async function startApiServer({ seed = "bare", ...options }: ApiServerOptions = {}): Promise<ApiServer> {
  return await start({ ...options, content: await clusterSeed(seed, firstContent) });
}

/** Makes what later starts begin with; otherwise the first of them do, each for itself. */
export async function prepareSeeds(): Promise<void> {
  await Promise.all(SEEDS.map((seed) => clusterSeed(seed, firstContent)));
}

/** What is in a cluster that nobody has used. */
async function firstContent(seed: Seed): Promise<EtcdEntry[]> {
  await using server = await start({});
  if (seed === "istio") await applyIstioCrds(server);
  return await server.content();
}

async function start(options: ServerOptions): Promise<ApiServer> {
  const folder = await Deno.makeTempDir({ prefix: "krun-live-" });
  const server = new ApiServer(folder, options, await CertificateAuthority.create(join(folder, "pki")));
  try {
    await server.prepare();
  } catch (error) {
    await server[Symbol.asyncDispose]();
    throw error;
  }
  return server;
}

interface ServerOptions extends Omit<ApiServerOptions, "seed"> {
  /** A transaction for its etcd, which is empty. @default {none} */
  readonly content?: string;
}

/** A running kube-apiserver. Made by {@linkcode startApiServer}; disposing it ends exactly what it started. */
export class ApiServer implements AsyncDisposable {
  /** Path of the admin's kubeconfig (group system:masters). */
  adminKubeconfig = "";
  #port = 0;
  #server: ServerProcess | undefined;
  #etcd!: Etcd;
  #admin: Deno.HttpClient | undefined;
  #certificate: CertificateOptions;

  constructor(readonly folder: string, readonly options: ServerOptions, readonly ca: CertificateAuthority) {
    this.#certificate = options.certificate ?? {};
  }

  /** `https://127.0.0.1:<port>`; the same after every restart. */
  get url(): string {
    return `https://${this.#address}:${this.#port}`;
  }

  get #address(): string {
    return this.options.address ?? "127.0.0.1";
  }

  get port(): number {
    return this.#port;
  }

  get caPem(): string {
    return this.ca.pem;
  }

  /** Path of the CA's PEM file. */
  get caFile(): string {
    return this.ca.file;
  }

  /** Process id of kube-apiserver. */
  get pid(): number {
    if (!this.#server) throw new Error("kube-apiserver does not run");
    return this.#server.pid;
  }

  /** Everything kube-apiserver has written so far. */
  log(): Promise<string> {
    return Deno.readTextFile(join(this.folder, "kube-apiserver.log"));
  }

  /** First start: keys, ports, processes. Called by {@linkcode startApiServer} only. */
  async prepare(): Promise<void> {
    await this.#writeServiceAccountKey();
    // Tests run at the same time and no port can be reserved, so a start that loses its port is tried on another one.
    for (let attempt = 1;; attempt++) {
      this.#port = freePort();
      this.#etcd = new Etcd(this.folder, freePort());
      this.adminKubeconfig = (await this.user("admin", ["system:masters"])).kubeconfig;
      try {
        await this.#startEtcd();
        await this.startServer();
        return;
      } catch (error) {
        await this.#end();
        await this.#emptyEtcd();
        if (attempt === 5 || !String(error).includes("address already in use")) throw error;
      }
    }
  }

  /** Makes a user: a client certificate of this CA and a kubeconfig. What the user may do: {@linkcode ApiServer.grant}. */
  async user(name: string, groups: readonly string[] = []): Promise<ApiUser> {
    const pair = await this.ca.issue({ commonName: name, organizations: groups });
    const data = { "client-certificate-data": btoa(pair.certPem), "client-key-data": btoa(pair.keyPem) };
    return { name, ...pair, kubeconfig: await this.kubeconfig(name, data) };
  }

  /**
   * Writes a kubeconfig for this server and returns its path. Cluster and user are given as the file spells them.
   *
   * @param user fields of `users[0].user`
   */
  async kubeconfig(
    name: string,
    user: Record<string, unknown>,
    cluster: Record<string, unknown> = {},
  ): Promise<string> {
    const own = { server: this.url, "certificate-authority-data": btoa(this.ca.pem) };
    const config = {
      apiVersion: "v1",
      kind: "Config",
      clusters: [{ name: "test", cluster: { ...own, ...cluster } }],
      users: [{ name, user }],
      contexts: [{ name: `${name}@test`, context: { cluster: "test", user: name, namespace: "default" } }],
      "current-context": `${name}@test`,
    };
    const path = join(this.folder, `${name.replaceAll(/[^\w-]/g, "_")}-${crypto.randomUUID().slice(0, 8)}.kubeconfig`);
    await Deno.writeTextFile(path, JSON.stringify(config, null, 2), { mode: 0o600 });
    return path;
  }

  /** Makes a namespace with what the controllers of a whole cluster put there: service account `default`, kube-root-ca.crt. */
  async namespace(name: string): Promise<void> {
    await this.create({ apiVersion: "v1", kind: "Namespace", metadata: { name } });
    const common = { apiVersion: "v1" };
    await Promise.all([
      this.create({ ...common, kind: "ServiceAccount", metadata: { namespace: name, name: "default" } }),
      this.create({
        ...common,
        kind: "ConfigMap",
        metadata: { namespace: name, name: "kube-root-ca.crt" },
        data: { "ca.crt": this.ca.pem },
      }),
    ]);
  }

  /** Makes a Role of these rules and binds it to a user; the name of both is returned. */
  async grant(namespace: string, user: string, rules: readonly PolicyRule[]): Promise<string> {
    const name = `grant-${crypto.randomUUID()}`;
    const apiVersion = "rbac.authorization.k8s.io/v1";
    const apiGroup = "rbac.authorization.k8s.io";
    await this.create({ apiVersion, kind: "Role", metadata: { namespace, name }, rules });
    await this.create({
      apiVersion,
      kind: "RoleBinding",
      metadata: { namespace, name },
      roleRef: { apiGroup, kind: "Role", name },
      subjects: [{ apiGroup, kind: "User", name: user }],
    });
    return name;
  }

  /** POST. Returns what the server stored. @throws {Error} with the server's words */
  create(object: KubeObject): Promise<KubeObject> {
    return this.#send("POST", objectPath(object, ""), object);
  }

  /** PUT, whatever resourceVersion is there now. */
  async replace(object: KubeObject): Promise<KubeObject> {
    return await this.#send("PUT", objectPath(object), object);
  }

  /** Server-side apply: makes or changes. */
  apply(object: KubeObject): Promise<KubeObject> {
    const path = `${objectPath(object)}?fieldManager=test&force=true`;
    return this.#send("PATCH", path, object, "application/apply-patch+yaml");
  }

  /** JSON merge patch of the object that `object` names, by the other fields of `object`. */
  patch(object: KubeObject): Promise<KubeObject> {
    return this.#send("PATCH", objectPath(object), object, "application/merge-patch+json");
  }

  /** Reads the object that `object` names. */
  get(object: KubeObject): Promise<KubeObject> {
    return this.#send("GET", objectPath(object));
  }

  /** DELETE, at once. */
  async delete(object: KubeObject): Promise<void> {
    await this.#send("DELETE", `${objectPath(object)}?gracePeriodSeconds=0`);
  }

  /** A request as admin, for everything else. The caller reads the body. */
  async request(path: string, init: RequestInit = {}): Promise<Response> {
    if (!this.#admin) throw new Error("the API server is not prepared");
    return await fetch(this.url + path, { ...init, client: this.#admin });
  }

  /** Ends kube-apiserver: at once, or in its own orderly way. Objects stay in etcd. */
  async stopServer(signal: "SIGKILL" | "SIGTERM" = "SIGKILL"): Promise<void> {
    await this.#server?.end(signal);
    this.#server = undefined;
  }

  /** Starts kube-apiserver again on the same port, with another certificate if one is given. */
  async startServer(options: { certificate?: CertificateOptions } = {}): Promise<void> {
    if (options.certificate) this.#certificate = options.certificate;
    const pair = await this.ca.issue({
      commonName: "kube-apiserver",
      names: [
        "DNS:localhost",
        "DNS:kubernetes.default.svc",
        `IP:${this.#address}`,
        "IP:10.0.0.1",
      ],
      ...this.#certificate,
    });
    await Deno.writeTextFile(join(this.folder, "server.crt"), pair.certPem);
    await Deno.writeTextFile(join(this.folder, "server.key"), pair.keyPem, { mode: 0o600 });
    const argv = [await liveTool("kube-apiserver"), ...this.#arguments()] as const;
    this.#server = startProcess([...argv], join(this.folder, "kube-apiserver.log"));
    const { version1, expired, names } = this.#certificate;
    const verifiable = !version1 && !expired && (!names || names.includes(`IP:${this.#address}`));
    await untilReady(this.#server, () => verifiable ? this.#readyz() : canConnect(this.#address, this.#port));
  }

  /** Empties etcd: every object is gone and resource versions start again. The API server is down meanwhile. */
  async wipeEtcd(): Promise<void> {
    await this.stopServer();
    await this.#emptyEtcd();
    await this.#startEtcd();
    await this.startServer();
  }

  /** Makes etcd forget every version but the present one of each object: whoever goes on from an older one is Gone (410). */
  async compactEtcd(): Promise<void> {
    await this.#etcd.compact();
  }

  /** Everything that etcd holds. */
  content(): Promise<EtcdEntry[]> {
    return this.#etcd.entries();
  }

  /** The process stops answering, its connections stay open: as a network that swallows every packet. */
  freeze(): void {
    Deno.kill(this.pid, "SIGSTOP");
  }

  /** The opposite of {@linkcode ApiServer.freeze}. */
  thaw(): void {
    Deno.kill(this.pid, "SIGCONT");
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#end();
    await this.#etcd?.end();
    await Deno.remove(this.folder, { recursive: true });
  }

  async #end(): Promise<void> {
    this.#admin?.close();
    this.#admin = undefined;
    await this.stopServer();
  }

  async #send(method: string, path: string, body?: KubeObject, type = "application/json"): Promise<KubeObject> {
    const init = body ? { body: JSON.stringify(body), headers: { "content-type": type } } : {};
    const response = await this.request(path, { method, ...init });
    const answer = await response.json();
    if (!response.ok) throw new Error(`${method} ${path}: ${response.status} ${answer.message}`);
    return answer;
  }

  #arguments(): string[] {
    const file = (name: string) => join(this.folder, name);
    const flags = {
      "etcd-servers": this.#etcd.url,
      "bind-address": this.#address,
      "secure-port": `${this.#port}`,
      "tls-cert-file": file("server.crt"),
      "tls-private-key-file": file("server.key"),
      "client-ca-file": this.ca.file,
      "authorization-mode": "RBAC",
      "service-cluster-ip-range": "10.0.0.0/24",
      "service-account-issuer": "https://kubernetes.default.svc.cluster.local",
      "service-account-signing-key-file": file("service-account.key"),
      "service-account-key-file": file("service-account.key"),
      // Without it the server wants a default route, to announce itself at the address of that interface.
      "endpoint-reconciler-type": "none",
      "advertise-address": this.#address,
    };
    return [...Object.entries(flags).map(([name, value]) => `--${name}=${value}`), ...this.options.args ?? []];
  }

  async #startEtcd(): Promise<void> {
    await this.#etcd.start();
    if (this.options.content !== undefined) await this.#etcd.write(this.options.content);
  }

  async #emptyEtcd(): Promise<void> {
    await this.#etcd.end();
    await this.#etcd.forget();
  }

  async #readyz(): Promise<boolean> {
    // A new client each time: one that met a dead server may still hold its connection.
    this.#admin?.close();
    const { users: [admin] } = JSON.parse(await Deno.readTextFile(this.adminKubeconfig));
    this.#admin = Deno.createHttpClient({
      caCerts: [this.ca.pem],
      cert: atob(admin.user["client-certificate-data"]),
      key: atob(admin.user["client-key-data"]),
    });
    const response = await this.request("/readyz");
    await response.body?.cancel();
    return response.ok;
  }

  async #writeServiceAccountKey(): Promise<void> {
    // SEC 1 is the one form of an EC key that kube-apiserver takes for both signing and checking.
    const pem = generateKeyPairSync("ec", { namedCurve: "P-256" }).privateKey.export({ type: "sec1", format: "pem" });
    await Deno.writeTextFile(join(this.folder, "service-account.key"), pem.toString(), { mode: 0o600 });
  }
}

async function canConnect(hostname: string, port: number): Promise<boolean> {
  (await Deno.connect({ hostname, port })).close();
  return true;
}

/** REST path of an object, or of the collection it belongs to. Namespaced is what has a namespace. */
export function objectPath(object: KubeObject, name: string = object.metadata.name): string {
  const { apiVersion, kind, metadata: { namespace } } = object;
  const root = apiVersion.includes("/") ? `/apis/${apiVersion}` : `/api/${apiVersion}`;
  const scope = namespace ? `/namespaces/${namespace}` : "";
  return `${root}${scope}/${plural(kind)}${name ? `/${name}` : ""}`;
}

function plural(kind: string): string {
  const word = kind.toLowerCase();
  if (/[^aeiou]y$/.test(word)) return `${word.slice(0, -1)}ies`;
  if (word.endsWith("endpoints")) return word;
  return word.endsWith("s") ? `${word}es` : `${word}s`;
}
