import assert from "node:assert/strict";
import { join } from "node:path";
import { RecordingLog } from "../../tests/recording_log.ts";
import { type ClusterRequest, findCluster } from "./find_cluster.ts";

/** A folder with every source in it, so that each test takes away or breaks some. */
class Machine implements AsyncDisposable {
  private constructor(readonly folder: string) {}

  static async create(): Promise<Machine> {
    const machine = new Machine(await Deno.makeTempDir());
    await machine.write("k8s/ns.yaml", "apiVersion: v1\nkind: Namespace\nmetadata: {name: shop}\n");
    await machine.write("kubeconfig", kubeconfig("explicit"));
    await machine.write("home/.kube/config", kubeconfig("home"));
    await machine.write("sa/token", "t");
    await machine.write("sa/namespace", "pod-namespace\n");
    return machine;
  }

  async write(name: string, text: string): Promise<void> {
    const path = join(this.folder, name);
    await Deno.mkdir(join(path, ".."), { recursive: true });
    await Deno.writeTextFile(path, text);
  }

  /** Where `findCluster` ends up. */
  async find(request: Partial<ClusterRequest>): Promise<Record<string, unknown>> {
    const whole = { stateFolder: join(this.folder, "state"), inClusterFolder: join(this.folder, "sa"), ...request };
    await using cluster = await findCluster(whole, { log: new RecordingLog() });
    return { ...cluster.source, server: cluster.endpoint?.server };
  }

  get everything() {
    return {
      manifests: join(this.folder, "k8s"),
      kubeconfig: [join(this.folder, "kubeconfig")],
      kubernetesServiceHost: "10.0.0.1",
      kubernetesServicePort: "6443",
      home: join(this.folder, "home"),
    };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Deno.remove(this.folder, { recursive: true });
  }
}

function kubeconfig(name: string): string {
  return `apiVersion: v1
kind: Config
clusters: [{name: c, cluster: {server: "https://${name}:6443"}}]
users: [{name: u, user: {token: t}}]
contexts:
- {name: ${name}, context: {cluster: c, user: u, namespace: ${name}-namespace}}
- {name: second, context: {cluster: c, user: u}}
current-context: ${name}
`;
}

Deno.test("findCluster() takes the first source that exists: manifests, KUBECONFIG, the Pod's account, ~/.kube/config", async () => {
  await using machine = await Machine.create();
  const { everything } = machine;
  const manifests = await machine.find(everything);
  assert.deepEqual([manifests.kind, manifests.where], ["manifests", everything.manifests]);
  const explicit = await machine.find({ ...everything, manifests: undefined });
  assert.deepEqual([explicit.server, explicit.namespace], ["https://explicit:6443", "explicit-namespace"]);
  assert.deepEqual(await machine.find({ ...everything, manifests: "", kubeconfig: [] }), {
    kind: "in-cluster",
    where: join(machine.folder, "sa"),
    namespace: "pod-namespace",
    server: "https://10.0.0.1:6443",
  });
  const atHome = await machine.find({ home: everything.home });
  assert.deepEqual([atHome.kind, atHome.where, atHome.server], [
    "kubeconfig",
    join(machine.folder, "home/.kube/config"),
    "https://home:6443",
  ]);
});

Deno.test("findCluster() takes the context that is asked for", async () => {
  await using machine = await Machine.create();
  const { kubeconfig, home } = machine.everything;
  assert.equal((await machine.find({ kubeconfig, context: "second" })).context, "second");
  assert.equal((await machine.find({ home, context: "second" })).context, "second");
});

Deno.test("findCluster() refuses a context where the first source that exists is no kubeconfig", async () => {
  await using machine = await Machine.create();
  const { everything } = machine;
  for (const request of [everything, { ...everything, manifests: undefined, kubeconfig: [] }]) {
    await assert.rejects(machine.find({ ...request, context: "second" }), {
      code: "SettingConflict",
      message: /KRUN_CONTEXT "second": the cluster is from the .* which has no contexts$/,
    });
  }
});

Deno.test("findCluster() takes the service account from the token of the Pod", async () => {
  await using machine = await Machine.create();
  const claims = btoa(JSON.stringify({ sub: "system:serviceaccount:pod-namespace:web" }));
  await machine.write("sa/token", `e30.${claims}.c2ln`);
  const inPod = { ...machine.everything, manifests: undefined, kubeconfig: [] };
  assert.equal((await machine.find(inPod)).serviceAccount, "web");
});

Deno.test("findCluster() never goes on to the next source because one is faulty or away", async () => {
  await using machine = await Machine.create();
  const { everything } = machine;
  await assert.rejects(machine.find({ ...everything, manifests: join(machine.folder, "none") }), {
    code: "ManifestInvalid",
  });
  const rest = { ...everything, manifests: undefined };
  await assert.rejects(machine.find({ ...rest, kubeconfig: ["/nowhere/config"] }), { code: "KubeconfigInvalid" });
  await assert.rejects(machine.find({ ...rest, context: "none" }), { code: "KubeconfigInvalid", message: /"none"/ });
  const inPod = { ...rest, kubeconfig: [], kubernetesServiceHost: "fd00::1", kubernetesServicePort: undefined };
  await machine.write("sa/ca.crt", "CA");
  await assert.rejects(machine.find(inPod), { code: "CredentialsUnavailable", message: /no PEM certificate$/ });
  await machine.write("sa/ca.crt", "-----BEGIN CERTIFICATE-----\n");
  // Nobody listens there; that is for the first request to find out.
  const away = await machine.find(inPod);
  assert.equal(away.server, "https://[fd00::1]:443");
});

Deno.test("findCluster() is ClusterNotFound listing every place that was tried when there is none", async () => {
  await using machine = await Machine.create();
  const tokenFile = join(machine.folder, "empty/token");
  const request = { kubernetesServiceHost: "10.0.0.1", inClusterFolder: join(tokenFile, ".."), home: machine.folder };
  await assert.rejects(machine.find(request), {
    code: "ClusterNotFound",
    message: "Cannot find a cluster: KRUN_MANIFESTS: not set; KUBECONFIG: not set; " +
      `service account of a Pod: there is no "${tokenFile}"; ~/.kube/config: there is no "${machine.folder}/.kube/config"`,
  });
  await assert.rejects(machine.find({ inClusterFolder: join(machine.folder, "sa") }), {
    message: /service account of a Pod: KUBERNETES_SERVICE_HOST is not set; ~\/.kube\/config: HOME is not set$/,
  });
});

Deno.test("findCluster() ends when its signal aborts, also while a file is a pipe that nobody writes into", async () => {
  const asked = Promise.withResolvers<void>();
  const answer = Promise.withResolvers<string>();
  const files = {
    text: () => (asked.resolve(), answer.promise),
    textSync: () => "",
  };
  const stop = new AbortController();
  const request = { kubeconfig: ["/dev/fd/63"], stateFolder: "/nowhere", files };
  const finding = findCluster(request, { log: new RecordingLog(), signal: stop.signal });
  await asked.promise;
  stop.abort(new Error("enough"));
  await assert.rejects(finding, { message: "enough" });
  answer.resolve(kubeconfig("late"));
  await assert.rejects(findCluster(request, { log: new RecordingLog(), signal: stop.signal }), { message: "enough" });
});

Deno.test("findCluster() reads the kubeconfig and the CA that it names by the reader that it is given", async () => {
  const read: string[] = [];
  const ca = "-----BEGIN CERTIFICATE-----\nAA==\n-----END CERTIFICATE-----\n";
  const config = kubeconfig("a").replace(
    '"https://a:6443"',
    '"https://a:6443", certificate-authority: /dev/shm/ca.crt',
  );
  const files = {
    text: (path: string) => (read.push(path), Promise.resolve(config)),
    textSync: (path: string) => (read.push(path), ca),
  };
  const request = { kubeconfig: ["/dev/stdin"], stateFolder: "/nowhere", files };
  await using cluster = await findCluster(request, { log: new RecordingLog() });
  assert.equal(cluster.endpoint?.caPem, ca);
  assert.deepEqual(read, ["/dev/stdin", "/dev/shm/ca.crt"]);
});

Deno.test("findCluster() asks for roots only where nobody gives a CA", async () => {
  let asked = 0;
  const request = { kubeconfig: ["/k"], stateFolder: "/nowhere", roots: () => Promise.resolve((asked++, [])) };
  const ca = btoa("-----BEGIN CERTIFICATE-----\nAA==\n-----END CERTIFICATE-----\n");
  for (
    const [cluster, count] of [
      [`server: "https://a", certificate-authority-data: ${ca}`, 0],
      ['server: "http://a"', 0],
      ['server: "https://a", insecure-skip-tls-verify: true', 0],
      ['server: "https://a"', 1],
    ] as const
  ) {
    asked = 0;
    const text = kubeconfig("a").replace('server: "https://a:6443"', cluster);
    const files = { text: () => Promise.resolve(text), textSync: () => "" };
    await using _cluster = await findCluster({ ...request, files }, { log: new RecordingLog() });
    assert.equal(asked, count, cluster);
  }
});
