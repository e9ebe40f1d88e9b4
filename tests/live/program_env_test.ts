/** What the program sees of krun's settings: its environment, the modes of its files, its ports. The real krun. */
import assert from "node:assert/strict";
import { join } from "node:path";
import { KrunStatus } from "../krun_status.ts";
import { waitFor } from "../wait.ts";
import { Workspace } from "../workspace.ts";

const sh = (script: string): string[] => ["--", "/bin/sh", "-c", script];

Deno.test("krun hands every variable that is not its own alone on unchanged, in one-shot mode too", async (t) => {
  await using workspace = await Workspace.create();
  const given = {
    ...{ WORKLOAD_NAMESPACE: "shop", WORKLOAD_NAME: "web", WORKLOAD_SERVICE_ACCOUNT: "default" },
    ...{ K_SERVICE: "v1--shop-web", K_REVISION: "web-7", K_CONFIGURATION: "web", GCE_METADATA_HOST: "127.0.0.1:9" },
    ...{ CLUSTER_NAME: "prod", CLUSTER_LOCATION: "europe-west1", PROJECT_ID: "my project", PROJECT_NUMBER: "12" },
    ...{ LABEL_app: "shop", "LABEL_shop.example/tier": "gold", PORT: "8080", PORT_http: "8081", PORT_none: "-" },
    ...{ PLAIN: " a=b $(PORT) $$ é ", EMPTY: "" },
  };
  for (const KRUN_REFRESH of ["always", "never"]) {
    await t.step(`KRUN_REFRESH=${KRUN_REFRESH}`, async () => {
      const env = { ...given, K8S_SECRET_db: "./db", KRUN_REFRESH };
      const { code, stdout, stderr } = await workspace.run({ args: ["--", "/usr/bin/env", "-0"], env });
      assert.equal(code, 0, stderr);
      const seen = new Map(
        stdout.split("\0").map((line): [string, string] => {
          const at = line.indexOf("=");
          return [line.slice(0, at), line.slice(at + 1)];
        }),
      );
      const found = Object.fromEntries(Object.keys(given).map((name) => [name, seen.get(name)]));
      assert.deepEqual(found, given);
      assert.deepEqual([...seen.keys()].filter((name) => /^K(8S|RUN)_/.test(name)), [], "the control: krun's own");
    });
  }
});

Deno.test("?mode= of a mount is the mode of its files on disk, now and after a change", async () => {
  await using workspace = await Workspace.create();
  const env = {
    K8S_SECRET_db: "./plain",
    K8S_SECRET_shared: "db:./shared?mode=0440",
    K8S_SECRET_one: "db:./one?key=password&mode=0604",
    K8S_CM_app: "./conf",
    K8S_CM_run: "app:./run?mode=0755",
  };
  const modes = () =>
    ["plain/password", "shared/password", "shared/username", "one", "conf/app.conf", "run/app.conf"].map((path) =>
      (Deno.statSync(workspace.path(path)).mode! & 0o7777).toString(8)
    );
  await using krun = workspace.start({ args: sh("echo up; exec sleep 1000"), env });
  await krun.sees("stdout", /up/);
  const wanted = ["400", "440", "440", "604", "644", "755"];
  assert.deepEqual(modes(), wanted);
  await workspace.put({ kind: "Secret", name: "db", stringData: { username: "bob", password: "n3w" } });
  const paths = ["plain/password", "shared/password", "one"];
  await waitFor("the change", () => paths.every((path) => workspace.read(path) === "n3w"));
  assert.deepEqual(modes(), wanted);
});

Deno.test("PORT_<name> is a port of the program by that name: probes ask it, with a dash for an underscore", async (t) => {
  const asked: string[] = [];
  await using server = Deno.serve({ hostname: "127.0.0.1", port: 0, onListen() {} }, (request) => {
    asked.push(new URL(request.url).pathname);
    return new Response("ok");
  });
  const open = `${server.addr.port}`;
  const closed = (() => {
    using listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
    return `${listener.addr.port}`;
  })();
  const getsReady = async (env: (workspace: Workspace) => Promise<Record<string, string>>) => {
    await using workspace = await Workspace.create();
    const status = KrunStatus.onFreePort();
    const args = sh("exec sleep 1000");
    await using krun = workspace.start({ args, env: { ...status.env, ...await env(workspace) } });
    await waitFor("krun to be ready", async () => await status.code("readyz") === 200);
    assert.doesNotMatch(krun.stderr, /probe failed/);
  };
  const own = async (env: Record<string, string>) => await getsReady(() => Promise.resolve(env));
  await t.step("startupProbe.http asks PORT_http before PORT", async () => {
    await own({ "startupProbe.http": "/by-name", "PORT_http": open, "PORT": closed });
  });
  await t.step("and PORT where PORT_http is none", async () => {
    await own({ "startupProbe.http": "/by-port", "PORT_http": "-", "PORT": open });
  });
  await t.step("a probe of KRUN_POD names it", async () => {
    await getsReady(async (workspace) => {
      const KRUN_POD = join(workspace.root, "pod.json");
      const app = {
        name: "app",
        startupProbe: { httpGet: { port: "web-admin", path: "/by-pod" }, timeoutSeconds: 20 },
      };
      const metadata = { name: "web-0", namespace: "shop" };
      const pod = { apiVersion: "v1", kind: "Pod", metadata, spec: { containers: [app] } };
      await Deno.writeTextFile(KRUN_POD, JSON.stringify(pod));
      return { KRUN_POD, PORT_web_admin: open };
    });
  });
  assert.deepEqual([...new Set(asked)], ["/by-name", "/by-port", "/by-pod"]);
});
