/**
 * What the runtime inside the compiled krun (Deno 2.6.10) lacks: krun refuses with one error that names the version it needs,
 * as PID 1 of a bare root file system, as root and as an ordinary user. The table is in docs/decisions.md.
 */
import assert from "node:assert/strict";
import { liveTool } from "../../scripts/live_tools.ts";
import { waitFor } from "../wait.ts";
import { Workspace } from "../workspace.ts";
import { type ApiServer, startApiServer } from "./api_server.ts";
import { freePort } from "./server_process.ts";
import { NOBODY, type RootFs, rootFs } from "./compiled.ts";

const USERS = [0, NOBODY];
const PAGE = new URL("../../docs/decisions.md", import.meta.url);

/** Standard input of every program but the one that was named; a container runtime always mounts it. */
const ROOT = { mounts: [{ target: "/dev/null", bind: "/dev/null" }] };

type Fields = Record<string, unknown>;

let server: ApiServer;
let root: RootFs;
Deno.test.beforeAll(async () => {
  [server, root] = await Promise.all([startApiServer(), rootFs(ROOT)]);
  await server.namespace("shop");
  const metadata = { namespace: "shop", name: "db" };
  await server.create({ apiVersion: "v1", kind: "Secret", metadata, stringData: { password: "s3cr3t" } });
  const manifest = { apiVersion: "v1", kind: "Secret", metadata, stringData: { password: "s3cr3t" } };
  for (const uid of USERS) await root.write(`/k8s-${uid}/db.json`, manifest, { uid });
});
Deno.test.afterAll(async () => {
  await root[Symbol.asyncDispose]();
  await server[Symbol.asyncDispose]();
});

/** An error of krun's that says what it needs, and for what. */
const TOO_OLD = (what: string) =>
  new RegExp(
    `^krun: Cannot use ${what}.*: it needs Deno 2\\.9\\.0 or later, and this krun has 2\\.6\\.10( \\(asked for.*)?; ` +
      `use a krun built with Deno 2\\.9\\.0 or later$`,
    "m",
  );

/** krun refuses to start, and its check says that it would; nothing is left in either case. */
async function refuses(env: Record<string, string>, { uid, what }: { uid: number; what: string }): Promise<void> {
  const before = await everything();
  await using krun = root.start({ args: ["/program", "describe"], env, uid });
  const start = await krun.end;
  assert.deepEqual([start.code, start.stdout], [125, ""], start.stderr);
  assert.match(start.stderr, TOO_OLD(what));
  assert.equal(start.stderr.match(/^krun: /gm)?.length, 1, "one error");
  await using checking = root.start({ args: ["--check=json", "/program", "describe"], env, uid });
  const check = await checking.end;
  assert.equal(check.code, 1, check.stderr);
  const { ok, problems } = JSON.parse(check.stdout);
  assert.equal(ok, false);
  assert.match(`krun: ${problems.join("\n")}`, TOO_OLD(what));
  assert.deepEqual(await everything(), before, "nothing was touched");
}

/** The control: the program runs. */
async function accepts(env: Record<string, string>, uid: number): Promise<void> {
  await using krun = root.start({ args: ["/program", "exit", "3"], env, uid });
  const { code, stderr } = await krun.end;
  assert.equal(code, 3, stderr);
}

async function everything(): Promise<string[]> {
  await using ls = root.startProgram(["/program", "ls", "/"]);
  return Object.keys(JSON.parse((await ls.end).stdout));
}

/** A kubeconfig below the root file system that its user alone may read; the settings that go with it. */
async function kubeconfig(
  { user, cluster = {} }: { user?: Fields; cluster?: Fields },
  uid: number,
): Promise<Record<string, string>> {
  const admin = JSON.parse(await Deno.readTextFile(server.adminKubeconfig)).users[0].user;
  const text = await Deno.readTextFile(await server.kubeconfig("admin", user ?? admin, cluster));
  await root.write(`/kubeconfig-${uid}`, text, { uid });
  return { KUBECONFIG: `/kubeconfig-${uid}`, WORKLOAD_NAMESPACE: "shop", K8S_SECRET_db: "./db" };
}

const token = { "access-token": "t", "expiry": "2999-01-01T00:00:00Z" };

/** Row of the page's table → kubeconfigs that need what it names, and how krun calls it. */
const KUBECONFIGS: Readonly<Record<string, { what: string; cluster?: Fields; user?: Fields }>> = {
  "`insecure-skip-tls-verify` in a kubeconfig": {
    what: "insecure-skip-tls-verify",
    cluster: { "insecure-skip-tls-verify": true, "certificate-authority-data": null },
  },
  "`tls-server-name` in a kubeconfig": {
    what: "tls-server-name",
    cluster: { "tls-server-name": "kubernetes.default.svc" },
  },
  "`gcp` and `azure` users": { what: 'auth-provider "gcp"', user: { "auth-provider": { name: "gcp", config: token } } },
  "`gcp` and `azure` users: azure": {
    what: 'auth-provider "azure"',
    user: { "auth-provider": { name: "azure", config: token } },
  },
};

for (const uid of USERS) {
  Deno.test(`krun 2.6.10 as PID 1, user ${uid}, refuses a kubeconfig that it would have to verify less for`, async (t) => {
    for (const [row, { what, ...fields }] of Object.entries(KUBECONFIGS)) {
      await t.step(row, async () => refuses(await kubeconfig(fields, uid), { uid, what }));
    }
    await t.step("the control: the same server and user without it", async () => {
      await accepts(await kubeconfig({}, uid), uid);
    });
  });
}

const at = (scheme: string) => ({ httpGet: { scheme, path: "/", port: 8443 } });

/** Every place of a container that can hold an HTTPS request. */
const HANDLERS: Readonly<Record<string, (handler: object) => object>> = {
  startupProbe: (startupProbe) => ({ startupProbe }),
  livenessProbe: (livenessProbe) => ({ livenessProbe }),
  readinessProbe: (readinessProbe) => ({ readinessProbe }),
  postStart: (postStart) => ({ lifecycle: { postStart } }),
  preStop: (preStop) => ({ lifecycle: { preStop } }),
};

const manifests = (uid: number) => ({ KRUN_MANIFESTS: `/k8s-${uid}`, WORKLOAD_NAMESPACE: "shop" });

async function podWith(
  container: object,
  { uid, place }: { uid: number; place: string },
): Promise<Record<string, string>> {
  const app = { name: "app", command: ["/program", "describe"] };
  const spec = place === "containers" ? { containers: [{ ...app, ...container }] } : {
    initContainers: [{ name: "side", command: ["/program", "wait"], restartPolicy: "Always", ...container }],
    containers: [app],
  };
  const metadata = { name: "web-0", namespace: "shop" };
  await root.write(`/pod-${uid}.json`, { apiVersion: "v1", kind: "Pod", metadata, spec }, { uid });
  return { ...manifests(uid), KRUN_POD: `/pod-${uid}.json` };
}

for (const uid of USERS) {
  Deno.test(`krun 2.6.10 as PID 1, user ${uid}, refuses HTTPS probes and hooks, whose certificate nobody verifies`, async (t) => {
    for (const [name, container] of Object.entries(HANDLERS)) {
      await t.step(name, async () => {
        const env = await podWith(container(at("HTTPS")), { uid, place: "containers" });
        await refuses(env, { uid, what: 'an HTTPS probe or hook of container "app"' });
      });
    }
    await t.step("of a sidecar", async () => {
      const env = await podWith({ readinessProbe: at("HTTPS") }, { uid, place: "initContainers" });
      await refuses(env, { uid, what: 'an HTTPS probe or hook of container "side"' });
    });
    await t.step("startupProbe.http of the original", async () => {
      const env = { ...manifests(uid), "startupProbe.http": "https://127.0.0.1:8443/" };
      await refuses(env, { uid, what: "an HTTPS probe or hook of container" });
    });
    await t.step("the control: the same hook over HTTP, where nobody listens, does not stop the program", async () => {
      await accepts(await podWith({ lifecycle: { preStop: at("HTTP") } }, { uid, place: "containers" }), uid);
    });
  });
}

Deno.test("krun 2.6.10 refuses a client certificate of version 1, or with another's key, where its runtime would abort", async () => {
  const folder = await Deno.makeTempDir();
  const openssl = async (...args: string[]) => {
    const { success } = await new Deno.Command("openssl", { args, cwd: folder, stderr: "null" }).output();
    assert.ok(success, args.join(" "));
  };
  for (const name of ["ca", "other"]) {
    await openssl("req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", `${name}.key`, "-out", `${name}.crt`, ...[
      "-subj",
      "/CN=x",
    ]);
  }
  await openssl("req", "-new", "-key", "ca.key", "-out", "v1.csr", "-subj", "/CN=x");
  await openssl(
    "x509",
    "-req",
    "-in",
    "v1.csr",
    "-CA",
    "other.crt",
    "-CAkey",
    "other.key",
    "-set_serial",
    "7",
    "-out",
    "v1.crt",
  );
  const data = async (file: string) => btoa(await Deno.readTextFile(`${folder}/${file}`));
  for (const [cert, key] of [["v1.crt", "ca.key"], ["ca.crt", "other.key"]] as const) {
    const user = { "client-certificate-data": await data(cert), "client-key-data": await data(key) };
    const kubeconfig = {
      clusters: [{ name: "c", cluster: { server: "https://127.0.0.1:9" } }],
      users: [{ name: "u", user }],
      contexts: [{ name: "x", context: { cluster: "c", user: "u", namespace: "shop" } }],
      "current-context": "x",
    };
    await root.write("/pair.json", kubeconfig);
    await using krun = root.start({ args: ["/program", "describe"], env: { KUBECONFIG: "/pair.json" } });
    const { code, stderr } = await krun.end;
    assert.equal(code, 125, stderr);
    assert.match(
      stderr,
      /^krun: Cannot use the client certificate of user "u" of context "x" in kubeconfig "\/pair\.json": /m,
    );
  }
  await Deno.remove(folder, { recursive: true });
});

Deno.test("krun on Deno 2.9 asks an HTTPS probe without a look at the certificate, as the kubelet", async () => {
  await using workspace = await Workspace.create();
  const { certPem, keyPem } = await server.ca.issue({ names: ["DNS:elsewhere.test"], expired: true });
  let probes = 0;
  await using https = Deno.serve(
    { hostname: "127.0.0.1", port: 0, cert: certPem, key: keyPem, onListen() {} },
    () => new Response(`${++probes}`),
  );
  const status = `127.0.0.1:${freePort()}`;
  const env = { "startupProbe.http": `https://127.0.0.1:${https.addr.port}/ready`, "KRUN_STATUS": status };
  await using krun = workspace.start({ args: ["--", "/bin/sleep", "1000"], env });
  await waitFor("krun to be ready", async () => {
    const response = await fetch(`http://${status}/readyz`);
    await response.body?.cancel();
    return response.ok;
  });
  assert.ok(probes > 0, krun.stderr);
});

Deno.test("krun 2.6.10 runs init containers and programs as another user, where node:child_process would run them as root", async () => {
  const describe = ["/program", "describe"];
  const spec = {
    securityContext: { runAsUser: 1234, runAsGroup: 2345, supplementalGroups: [7, 8] },
    initContainers: [{ name: "first", command: describe }],
    containers: [{ name: "app", command: describe }],
  };
  await root.write("/pod.json", {
    apiVersion: "v1",
    kind: "Pod",
    metadata: { name: "web-0", namespace: "shop" },
    spec,
  });
  await using krun = root.start({ args: [], env: { ...manifests(0), KRUN_POD: "/pod.json" } });
  const { code, stdout, stderr } = await krun.end;
  assert.equal(code, 0, stderr);
  const seen = stdout.trim().split("\n").map((line) => JSON.parse(line));
  assert.equal(seen.length, 2, stdout);
  for (const { uid, gid, groups, status } of seen) {
    assert.deepEqual([uid, gid, groups], [1234, 2345, [7, 8]]);
    assert.equal(status.Uid, "1234\t1234\t1234\t1234");
    assert.match(status.CapEff, /^0+$/);
  }
});

for (const uid of USERS) {
  Deno.test(`krun 2.6.10 as PID 1, user ${uid}, refuses KRUN_TUNNEL and --connect, whose streams would hang`, async (t) => {
    await t.step("KRUN_TUNNEL", () => refuses({ ...manifests(uid), KRUN_TUNNEL: "h2c" }, { uid, what: "KRUN_TUNNEL" }));
    await t.step("--connect", async () => {
      await using krun = root.start({ args: ["--connect", "127.0.0.1:22"], uid });
      const { code, stderr } = await krun.end;
      assert.equal(code, 125);
      assert.match(stderr, TOO_OLD("--connect"));
    });
    await t.step("the control: a start that needs neither", () => accepts(manifests(uid), uid));
  });
}

Deno.test("what krun 2.6.10 ends hears of it, although garbage is collected meanwhile", async () => {
  const program = new URL("../programs/lost_abort.ts", import.meta.url).pathname;
  const args = ["run", "-qA", "--no-lock", "--v8-flags=--expose-gc", program];
  const { stdout, stderr } = await new Deno.Command(await liveTool("deno-2.6"), { args }).output();
  const { probes, signals } = JSON.parse(new TextDecoder().decode(stdout) || new TextDecoder().decode(stderr));
  assert.equal(probes, 0, "probes that wait for ever, and krun with them");
  assert.ok(signals > 0, "the control: AbortSignal.any, which loses nothing any more");
});

Deno.test("every row of the table on the runtime inside a binary is tried in this file", async () => {
  const [, section = ""] = (await Deno.readTextFile(PAGE)).split("## What the runtime inside a binary lacks\n");
  const rows = section.split("\n## ")[0]!.split("\n").filter((line) => line.startsWith("| ")).slice(1);
  const tried: Readonly<Record<string, RegExp>> = {
    ...Object.fromEntries(Object.keys(KUBECONFIGS).map((row) => [row, new RegExp(`^\\| ${row.split(":")[0]}`)])),
    "HTTPS probes and hooks": /HTTPS probes and hooks/,
    "other users": /^\| `uid` and `gid` of `node:child_process`/,
    // HBONE_ALLOW needs a mesh: tests/live/hbone_run_test.ts.
    "aborts": /^\| `AbortSignal.any`/,
    "HBONE": /^\| HTTP\/2 CONNECT/,
    // Every type of key: tests/live/ssh_compiled_test.ts.
    "ECDSA": /^\| `dsaEncoding: /,
    "P-521": /^\| P-521 /,
  };
  for (const row of rows) assert.ok(Object.values(tried).some((pattern) => pattern.test(row)), row);
  for (const [name, pattern] of Object.entries(tried)) assert.ok(rows.some((row) => pattern.test(row)), name);
});
