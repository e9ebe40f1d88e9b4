/** An unmodified in-cluster client works as in a Pod, as the workload's service account and nobody else. */
import assert from "node:assert/strict";
import { join } from "node:path";
import { liveTool } from "../../scripts/live_tools.ts";
import { type KrunEnd, KrunProcess, runKrun } from "../krun_process.ts";
import { type ApiServer, startApiServer } from "./api_server.ts";
import { Workspace } from "../workspace.ts";
import { compiledKrun, NOBODY } from "./compiled.ts";

const REPOSITORY = new URL("../..", import.meta.url).pathname;
const CLIENT = [
  Deno.execPath(),
  "run",
  "-A",
  "--quiet",
  `--config=${join(REPOSITORY, "deno.json")}`,
  join(REPOSITORY, "tests/testdata/in_cluster_client/main.ts"),
];

/** Namespace `shop` with the Secret `db`, and a user that may do what krun needs there and nothing more. */
async function shop(server: ApiServer): Promise<{ admin: string; krun: string }> {
  await server.namespace("shop");
  await server.create({
    apiVersion: "v1",
    kind: "Secret",
    metadata: { namespace: "shop", name: "db" },
    stringData: { a: "1" },
  });
  const krun = await server.user("krun");
  await server.grant("shop", "krun", [
    { apiGroups: [""], resources: ["secrets", "configmaps"], verbs: ["get", "list", "watch"] },
    { apiGroups: [""], resources: ["serviceaccounts/token"], verbs: ["create"] },
  ]);
  const admin = await server.user("root", ["system:masters"]);
  return { admin: admin.kubeconfig, krun: krun.kubeconfig };
}

interface Place {
  readonly base?: string;
  readonly uid?: number;
  readonly cwd: string;
  /** Another krun than the one from source. */
  readonly argv?: readonly string[];
}

const run = (kubeconfig: string, program: readonly string[], { base, uid, cwd, argv }: Place): Promise<KrunEnd> =>
  runKrun({
    args: ["--", ...program],
    cwd,
    ...(argv && { argv }),
    env: {
      KUBECONFIG: kubeconfig,
      WORKLOAD_NAMESPACE: "shop",
      HOME: cwd,
      ...(base === undefined ? {} : { MESH_BASE_DIR: base }),
    },
    ...(uid === undefined ? {} : { uid, gid: uid }),
  });

Deno.test("krun makes kubectl and a client library work as in a Pod", async (t) => {
  await using server = await startApiServer();
  const { admin, krun } = await shop(server);
  const kubectl = await liveTool("kubectl");
  const folder = await Deno.makeTempDir({ prefix: "krun-in-cluster-" });
  const whoami = [kubectl, "auth", "whoami", "-o", "jsonpath={.status.userInfo.username}"];
  const account = "system:serviceaccount:shop:default";

  await t.step("kubectl in a Pod's own place, /var/run/secrets, is the service account", async () => {
    const { code, stdout, stderr } = await run(krun, whoami, { base: "/", cwd: folder });
    assert.equal(code, 0, stderr);
    assert.equal(stdout, account);
  });

  await t.step("kubectl below another base is the service account, by a kubeconfig of its own", async () => {
    const { code, stdout, stderr } = await run(krun, whoami, { base: folder, cwd: folder });
    assert.equal(code, 0, stderr);
    assert.equal(stdout, account);
  });

  await t.step("the client library finds user and namespace, and has the service account's rights alone", async () => {
    for (const base of ["/", folder]) {
      const { code, stdout, stderr } = await run(krun, CLIENT, { base, cwd: folder });
      assert.equal(code, 0, stderr);
      assert.deepEqual(JSON.parse(stdout), { user: account, namespace: "shop", secret: "refused 403" });
    }
  });

  await t.step("an admin's kubeconfig given to krun does not reach the program", async () => {
    const own = await new Deno.Command(kubectl, { args: whoami.slice(1), env: { KUBECONFIG: admin } }).output();
    assert.equal(
      new TextDecoder().decode(own.stdout),
      "root",
      "the control: with the file itself kubectl is the admin",
    );
    for (const base of ["/", folder]) {
      const { stdout, stderr } = await run(admin, whoami, { base, cwd: folder });
      assert.equal(stdout, account, stderr);
    }
  });

  await t.step("the kubeconfig of the home folder does not reach the program either", async () => {
    const home = await Deno.makeTempDir({ dir: folder });
    await Deno.mkdir(join(home, ".kube"));
    await Deno.copyFile(admin, join(home, ".kube", "config"));
    const own = await new Deno.Command(kubectl, { args: whoami.slice(1), env: { HOME: home, KUBECONFIG: "" } })
      .output();
    assert.equal(
      new TextDecoder().decode(own.stdout),
      "root",
      "the control: kubectl takes the file of the home folder",
    );
    for (const given of [krun, ""]) {
      const { stdout, stderr } = await run(given, whoami, { base: "/", cwd: home });
      assert.equal(stdout, account, stderr);
    }
  });

  await t.step("an ordinary user gets the same below its working directory", async () => {
    const home = await Deno.makeTempDir({ dir: folder });
    await Deno.chmod(folder, 0o755);
    await Deno.chown(home, NOBODY, NOBODY);
    const readable = join(home, "kubeconfig");
    await Deno.copyFile(krun, readable);
    await Deno.chown(readable, NOBODY, NOBODY);
    // Root's own cache, where the programs of this test lie, is shut to others.
    const mine = async (program: string, name: string) => {
      await Deno.copyFile(program, join(folder, name));
      await Deno.chmod(join(folder, name), 0o755);
      return join(folder, name);
    };
    const argv = [await mine(await compiledKrun(), "krun")];
    await mine(kubectl, "kubectl");
    const script = 'stat -L -c "%a %u" "$KUBECONFIG"; shift; exec ../kubectl "$@"';
    const command = ["/bin/sh", "-c", script, "sh", ...whoami];
    const { code, stdout, stderr } = await run(readable, command, { uid: NOBODY, cwd: home, argv });
    assert.equal(code, 0, stderr);
    assert.equal(stdout, `600 ${NOBODY}\n${account}`, "the kubeconfig made for it is for its reader alone");
  });

  await t.step("inside a real Pod the kubelet's own mount is used, whatever the base is, and not touched", async () => {
    const place = "/var/run/secrets/kubernetes.io/serviceaccount";
    const token = await new Deno.Command(kubectl, {
      args: ["create", "token", "default", "-n", "shop"],
      env: { KUBECONFIG: admin },
    }).output();
    const given = await Deno.makeTempDir({ dir: folder });
    await Deno.writeFile(join(given, "token"), token.stdout);
    await Deno.writeTextFile(join(given, "ca.crt"), server.caPem);
    await Deno.writeTextFile(join(given, "namespace"), "shop");
    // As the kubelet does: a memory file system of its own, in a mount namespace that ends with krun.
    const script = 'mkdir -p "$0" && mount -t tmpfs tmpfs "$0" && cp "$1"/* "$0" && shift && exec "$@"';
    const { code, stdout, stderr } = await runKrun({
      args: ["--", "/bin/sh", "-c", `cat ${place}/token; ls -A ${place} | wc -l; exec ${whoami.join(" ")}`],
      cwd: folder,
      env: {
        HOME: folder,
        MESH_BASE_DIR: folder,
        KUBERNETES_SERVICE_HOST: "127.0.0.1",
        KUBERNETES_SERVICE_PORT: String(server.port),
      },
      under: ["unshare", "--mount", "--propagation", "private", "/bin/sh", "-c", script, place, given],
    });
    await Deno.remove("/var/run/secrets", { recursive: true });
    assert.equal(code, 0, stderr);
    assert.equal(stdout, `${new TextDecoder().decode(token.stdout)}3\n${account}`);
  });

  await t.step(
    "an empty mount point in that place is not the kubelet's: the program gets its token there",
    async () => {
      const place = "/var/run/secrets/kubernetes.io/serviceaccount";
      const script = 'mkdir -p "$0" && mount -t tmpfs tmpfs "$0" && exec "$@"';
      const { code, stdout, stderr } = await runKrun({
        args: ["--", "/bin/sh", "-c", `stat -f -c %T ${place}; cat ${place}/namespace; echo; exec ${whoami.join(" ")}`],
        cwd: folder,
        env: { KUBECONFIG: krun, WORKLOAD_NAMESPACE: "shop", HOME: folder, MESH_BASE_DIR: "/" },
        under: ["unshare", "--mount", "--propagation", "private", "/bin/sh", "-c", script, place],
      });
      await Deno.remove("/var/run/secrets", { recursive: true });
      assert.equal(code, 0, stderr);
      assert.equal(stdout, `tmpfs\nshop\n${account}`);
      assert.doesNotMatch(stderr, /kubelet/);
    },
  );

  await t.step("a program without a token is not the admin of the home folder's kubeconfig", async (t) => {
    const home = await Deno.makeTempDir({ dir: folder });
    await Deno.mkdir(join(home, ".kube"));
    await Deno.copyFile(admin, join(home, ".kube", "config"));
    const pod = join(home, "pod.json");
    const spec = { automountServiceAccountToken: false, containers: [{ name: "app" }] };
    const metadata = { name: "app", namespace: "shop" };
    await Deno.writeTextFile(pod, JSON.stringify({ apiVersion: "v1", kind: "Pod", metadata, spec }));
    const whoIs = (env: Record<string, string>, args = whoami) =>
      runKrun({ args: ["--", ...args], cwd: home, env: { HOME: home, MESH_BASE_DIR: home, ...env } });
    const own = await new Deno.Command(kubectl, { args: whoami.slice(1), env: { HOME: home, KUBECONFIG: "" } })
      .output();
    assert.equal(new TextDecoder().decode(own.stdout), "root", "the control: kubectl finds the file");
    const nobody = ({ code, stdout, stderr }: KrunEnd) => {
      assert.equal(stdout, "");
      assert.notEqual(code, 0, "kubectl has neither a server nor credentials");
      assert.match(stderr, /info .*empty KUBECONFIG/);
    };
    for (const KUBECONFIG of ["", krun, admin]) {
      await t.step(`automountServiceAccountToken: false, KUBECONFIG=${KUBECONFIG && "given"}`, async () => {
        nobody(await whoIs({ KRUN_POD: pod, KUBECONFIG }));
      });
    }
    await t.step("the control: KRUN_PASS_ENV hands krun's own on", async () => {
      const { stdout, stderr } = await whoIs({ KRUN_POD: pod, KUBECONFIG: admin, KRUN_PASS_ENV: "KUBECONFIG" });
      assert.equal(stdout, "root", stderr);
    });
    // The context's namespace is "default", which has no service account here: the token request is a 404.
    await t.step("a token request that fails where nothing asks for a cluster", async () => {
      const end = await whoIs({});
      assert.match(end.stderr, /warn .*without a service account/);
      nobody(end);
      const passed = await whoIs({ KRUN_PASS_ENV: "KUBECONFIG" });
      assert.equal(passed.stdout, "root", "the control: the person who wants to be found is");
    });
    await t.step("a folder of manifests, which has no API server", async () => {
      const manifests = await Deno.makeTempDir({ dir: folder });
      nobody(await whoIs({ KRUN_MANIFESTS: manifests, WORKLOAD_NAMESPACE: "shop" }));
    });
  });

  await t.step("nothing of it stays", async () => {
    await assert.rejects(Deno.stat("/var/run/secrets/kubernetes.io"), Deno.errors.NotFound);
    await assert.rejects(Deno.stat("/.krun"), Deno.errors.NotFound);
  });
  await Deno.remove(folder, { recursive: true });
});

Deno.test("krun's program goes on while the API server is away, and everything is fresh again after it", async () => {
  await using server = await startApiServer();
  const { krun } = await shop(server);
  const folder = await Deno.makeTempDir({ prefix: "krun-away-" });
  {
    await using process = new KrunProcess({
      args: [
        "--",
        "/bin/sh",
        "-c",
        'last=; while :; do now=$(cat db/a); [ "$now" = "$last" ] || echo "a=$now"; last=$now; sleep 0.05; done',
      ],
      cwd: folder,
      env: { KUBECONFIG: krun, WORKLOAD_NAMESPACE: "shop", K8S_SECRET_db: "./db", MESH_BASE_DIR: folder },
    });
    await process.sees("stdout", /a=1/);
    await server.stopServer();
    await process.sees("stderr", /retry|unreachable|Cannot/i);
    await server.startServer();
    await server.patch({
      apiVersion: "v1",
      kind: "Secret",
      metadata: { namespace: "shop", name: "db" },
      stringData: { a: "2" },
    });
    await process.sees("stdout", /a=2/);
    process.kill("SIGTERM");
    assert.equal((await process.end).code, 143);
  }
  await Deno.remove(folder, { recursive: true });
});

Deno.test("krun does not take for the kubelet's what a killed krun left in a mount at the service account's place", async (t) => {
  const place = "/var/run/secrets/kubernetes.io/serviceaccount";
  // The first is killed when its token is there; the second runs a program that shows what is there then.
  const script = [
    'mkdir -p "$0" && mount -t tmpfs tmpfs "$0" || exit 99',
    '"$@" $FIRST & krun=$!',
    'for i in $(seq 200); do test -e "$0/token" && break; sleep 0.05; done',
    "kill -9 $krun; wait $krun",
    'head -c 10 "$0/token"; echo',
    `exec "$@" -- /bin/sh -c 'head -c 10 "$0/token"; echo; ls "$0"' "$0"`,
  ].join("\n");
  for (const FIRST of ["", "/bin/sleep 1000"]) {
    await t.step(FIRST || "without a program", async () => {
      await using workspace = await Workspace.create();
      const { code, stdout, stderr } = await workspace.run({
        args: [],
        env: { MESH_BASE_DIR: "/", FIRST },
        under: ["unshare", "--mount", "--propagation", "private", "/bin/sh", "-c", script, place],
      });
      await Deno.remove("/var/run/secrets", { recursive: true });
      assert.equal(code, 0, stderr);
      assert.match(stdout, /^eyJ\S*\neyJ\S*\nnamespace\ntoken\n$/, stderr);
      assert.doesNotMatch(stderr, /kubelet/);
    });
  }
});
