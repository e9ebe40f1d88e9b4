/** What src/mod.ts promises to another Deno program: how its functions end by a signal, and one run at a time. */
import assert from "node:assert/strict";
import { join } from "node:path";
import {
  type Cluster,
  findCluster,
  keepToken,
  KrunError,
  mountPod,
  type PodOptions,
  resolveReferences,
  runPod,
  silentLog,
} from "../src/mod.ts";
import { exists, tree } from "./workspace.ts";
import { waitFor } from "./wait.ts";

const REASON = new Error("the caller has changed its mind");
const REF = { namespace: "shop", serviceAccount: "default", audience: "vault", expirationSeconds: 3600 };
const log = silentLog;

/** A Pod of one container that says in `up` that it runs, and ends with 3 when it is told to stop. */
const POD = (up: string) => ({
  metadata: { name: "web", namespace: "shop" },
  spec: {
    volumes: [{ name: "app", configMap: { name: "app" } }],
    containers: [{
      name: "web",
      command: ["/bin/sh", "-c", `exec 2>/dev/null; trap 'exit 3' TERM; echo > ${up}; while :; do sleep 0.05; done`],
      volumeMounts: [{ name: "app", mountPath: "/etc/app" }],
    }],
  },
});

/** A folder with manifests, and a server that takes every request and answers none. */
class Caller implements AsyncDisposable {
  readonly root = Deno.makeTempDirSync({ prefix: "krun-test-" });
  readonly base = join(this.root, "base");
  readonly #over = new AbortController();
  asked = 0;
  readonly #silent = Deno.serve({ hostname: "127.0.0.1", port: 0, onListen() {} }, async () => {
    this.asked++;
    await new Promise((resolve) => this.#over.signal.addEventListener("abort", resolve));
    return new Response();
  });

  constructor() {
    Deno.mkdirSync(this.base);
    Deno.mkdirSync(join(this.root, "k8s"));
    const object = {
      apiVersion: "v1",
      kind: "ConfigMap",
      metadata: { name: "app", namespace: "shop" },
      data: { a: "b" },
    };
    Deno.writeTextFileSync(join(this.root, "k8s", "app.json"), JSON.stringify(object));
    const kubeconfig = {
      clusters: [{ name: "c", cluster: { server: `http://127.0.0.1:${this.#silent.addr.port}` } }],
      users: [{ name: "u", user: {} }],
      contexts: [{ name: "c", context: { cluster: "c", user: "u" } }],
      "current-context": "c",
    };
    Deno.writeTextFileSync(join(this.root, "kubeconfig"), JSON.stringify(kubeconfig));
  }

  manifests = () => findCluster({ manifests: join(this.root, "k8s"), stateFolder: join(this.root, "state") }, { log });

  silent = () =>
    findCluster({ kubeconfig: [join(this.root, "kubeconfig")], stateFolder: join(this.root, "state") }, { log });

  async [Symbol.asyncDispose](): Promise<void> {
    this.#over.abort();
    await this.#silent.shutdown();
    await Deno.remove(this.root, { recursive: true });
  }
}

type Use = (cluster: Cluster, signal: AbortSignal, caller: Caller) => Promise<unknown>;

const options = (cluster: Cluster, signal: AbortSignal, { base }: Caller): PodOptions => ({
  cluster,
  base,
  signal,
  log,
});

const USES: Readonly<Record<string, Use>> = {
  mountPod: (cluster, signal, caller) => mountPod(POD("/dev/null"), options(cluster, signal, caller)),
  runPod: (cluster, signal, caller) => runPod(POD(join(caller.root, "up")), options(cluster, signal, caller)),
  keepToken: (cluster, signal, { base }) => keepToken(cluster, REF, { path: join(base, "token"), signal, log }),
  resolveReferences: (cluster, signal) =>
    resolveReferences({ A: "$SecretKeyRef:/secrets/a/keys/k" }, { cluster, namespace: "shop", signal, log }),
};

for (const [name, use] of Object.entries(USES)) {
  Deno.test(`${name}() rejects with the reason of a signal that has aborted, and leaves nothing`, async () => {
    await using caller = new Caller();
    await using cluster = await caller.manifests();
    await assert.rejects(use(cluster, AbortSignal.abort(REASON), caller), (error) => error === REASON);
    assert.deepEqual(tree(caller.base), []);
    assert.equal(cluster.counts.requests, 0);
  });

  Deno.test(`${name}() rejects with the reason of a signal that aborts while it waits for the server, and leaves nothing`, async () => {
    await using caller = new Caller();
    await using cluster = await caller.silent();
    const stop = new AbortController();
    const used = use(cluster, stop.signal, caller);
    const rejected = assert.rejects(used, (error) => error === REASON);
    await waitFor("the request", () => caller.asked > 0);
    stop.abort(REASON);
    await rejected;
    assert.deepEqual(tree(caller.base), []);
  });
}

Deno.test("findCluster() rejects with the reason of a signal that has aborted", async () => {
  await using caller = new Caller();
  const request = { manifests: join(caller.root, "k8s"), stateFolder: caller.base };
  const finding = findCluster(request, { log, signal: AbortSignal.abort(REASON) });
  await assert.rejects(finding, (error) => error === REASON);
});

Deno.test("runPod() resolves to the status of the polite end that a later abort asks for, and leaves nothing", async () => {
  await using caller = new Caller();
  await using cluster = await caller.manifests();
  const stop = new AbortController();
  const up = join(caller.root, "up");
  const run = runPod(POD(up), options(cluster, stop.signal, caller));
  await waitFor("the program", () => exists(up));
  stop.abort(REASON);
  assert.equal(await run, 3);
  assert.deepEqual(tree(caller.base), []);
});

Deno.test("runPod() refuses to run beside another run of the process, which goes on, and runs after it", async () => {
  await using caller = new Caller();
  const stop = new AbortController();
  const up = join(caller.root, "up");
  await using cluster = await caller.manifests();
  const first = runPod(POD(up), options(cluster, stop.signal, caller));
  await waitFor("the program", () => exists(up));
  const base = join(caller.root, "other");
  const job = { spec: { containers: [{ name: "job", command: ["/bin/sh", "-c", "exit 5"] }] } };
  const other = { base, signal: new AbortController().signal, log };
  await assert.rejects(runPod(job, other), (error) => error instanceof KrunError && error.code === "AlreadyRunning");
  assert.equal(exists(base), false);
  await using mounted = await mountPod(POD(up), { ...options(cluster, stop.signal, caller), base });
  assert.equal(Deno.readTextFileSync(join(base, "etc", "app", "a")), "b", "files alone can be had beside it");
  stop.abort();
  assert.equal(await first, 3, "the first run was not disturbed");
  await mounted[Symbol.asyncDispose]();
  assert.equal(await runPod(job, other), 5);
});

Deno.test("a program of another project is told which import it lacks for a YAML file, and works with it", async () => {
  await using caller = new Caller();
  Deno.writeTextFileSync(
    join(caller.root, "k8s", "more.yaml"),
    "{apiVersion: v1, kind: Namespace, metadata: {name: shop}}",
  );
  const library = new URL("../src/mod.ts", import.meta.url).href;
  const program = [
    `import { findCluster, silentLog } from "${library}";`,
    "const [manifests, stateFolder] = Deno.args;",
    "try {",
    "  await using cluster = await findCluster({ manifests, stateFolder }, { log: silentLog });",
    "  console.log(cluster.source.kind);",
    "} catch ({ code, message, hint }) {",
    "  console.log(code, message, hint);",
    "}",
  ];
  Deno.writeTextFileSync(join(caller.root, "main.ts"), program.join("\n"));
  const run = async (config: unknown): Promise<string> => {
    Deno.writeTextFileSync(join(caller.root, "deno.json"), JSON.stringify(config));
    const args = ["run", "-A", "--quiet", "--no-lock", "main.ts", join(caller.root, "k8s"), join(caller.root, "state")];
    const { stdout, stderr } = await new Deno.Command(Deno.execPath(), { args, cwd: caller.root }).output();
    const text = new TextDecoder();
    return text.decode(stdout) + text.decode(stderr);
  };
  const { imports } = JSON.parse(Deno.readTextFileSync(new URL("../deno.json", import.meta.url)));
  const lacking = await run({});
  assert.match(lacking, /^PackageMissing Cannot load package "js-yaml": /);
  assert.ok(lacking.includes(`add "js-yaml": "${imports["js-yaml"]}" to the imports in the deno.json`), lacking);
  assert.equal(await run({ imports: { "js-yaml": imports["js-yaml"] } }), "manifests\n");
});

Deno.test("resolveReferences() gives values, leaves out what is optional and missing, and leaves all else as it is", async () => {
  await using caller = new Caller();
  await using cluster = await caller.manifests();
  const env = {
    LEVEL: "$ConfigMapKeyRef:/configmaps/app/keys/a",
    FILE: "$ConfigMapKeyRef:/configmaps/app/keys/a?tempFile=true",
    NONE: "$SecretKeyRef:/secrets/gone/keys/k?optional=true",
    ELSE: "$SecretKeyRef:/secrets/gone/keys/k?default=x",
    PLAIN: "x sm://p/s",
  };
  const options = { cluster, namespace: "shop", signal: new AbortController().signal, log };
  assert.deepEqual(await resolveReferences(env, options), {
    LEVEL: "b",
    FILE: "b",
    ELSE: "x",
    PLAIN: "x sm://p/s",
  });
});

Deno.test("resolveReferences() fails with all failures at once, and by its signal with the signal's reason", async () => {
  const signal = new AbortController().signal;
  const env = { A: "$SecretKeyRef:/secrets/a/keys/k", B: "sm://p/s", C: "berglas://" };
  await assert.rejects(resolveReferences(env, { signal, log }), (error) => {
    assert.ok(error instanceof KrunError);
    for (const part of ["Cannot resolve A from Secret", "cannot ask Google", "Cannot resolve C as"]) {
      assert.ok(error.details?.includes(part), `${error.details}`);
    }
    return true;
  });
  await assert.rejects(resolveReferences(env, { signal: AbortSignal.abort(REASON), log }), REASON);
});
