/** KRUN_POD: every volume, environment and probe type, end to end, with the real API server, files and processes. */
import assert from "node:assert/strict";
import { join } from "node:path";
import { type KrunOptions, KrunProcess, runKrun } from "../krun_process.ts";
import { waitFor } from "../wait.ts";
import { tree } from "../workspace.ts";
import { type ApiServer, startApiServer } from "./api_server.ts";
import { freePort } from "./server_process.ts";

const REPOSITORY = new URL("../..", import.meta.url).pathname;

const object = (kind: string, name: string, data: Record<string, unknown>) => ({
  apiVersion: "v1",
  kind,
  metadata: { namespace: "shop", name },
  ...data,
});

/** A folder and a kubeconfig of an admin, for Pods of namespace `shop`. */
class Place implements AsyncDisposable {
  private constructor(readonly folder: string, readonly kubeconfig: string) {}

  static async create(server: ApiServer): Promise<Place> {
    const admin = await server.user(`admin-${crypto.randomUUID()}`, ["system:masters"]);
    return new Place(await Deno.makeTempDir({ prefix: "krun-pod-" }), admin.kubeconfig);
  }

  async options(spec: object, more: { metadata?: object; env?: Record<string, string> } = {}): Promise<KrunOptions> {
    const file = `${this.folder}.json`;
    const metadata = { name: "web-0", namespace: "shop", ...more.metadata };
    await Deno.writeTextFile(file, JSON.stringify({ apiVersion: "v1", kind: "Pod", metadata, spec }));
    const env = { KUBECONFIG: this.kubeconfig, KRUN_POD: file, MESH_BASE_DIR: this.folder, ...more.env };
    return { args: [], cwd: this.folder, env };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Deno.remove(this.folder, { recursive: true });
    await Deno.remove(`${this.folder}.json`).catch(() => {});
  }
}

let server: ApiServer;
Deno.test.beforeAll(async () => {
  server = await startApiServer();
  await server.namespace("shop");
  await server.create(object("Secret", "db", { data: { user: btoa("alice"), key: btoa("\x00\xff") } }));
  await server.create(
    object("ConfigMap", "conf", {
      data: { A: "1", B: "$(A)", "x.conf": "level=1\n" },
      binaryData: { bin: btoa("\x01\x02") },
    }),
  );
  await server.create(object("Service", "my-svc", { spec: { ports: [{ name: "http-web", port: 80 }] } }));
});
Deno.test.afterAll(() => server?.[Symbol.asyncDispose]());

const sh = (name: string, script: string, more: object = {}) => ({ name, command: ["/bin/sh", "-c", script], ...more });

Deno.test("krun makes every volume type of a Pod true", async () => {
  await using place = await Place.create(server);
  const volumes = [
    {
      name: "secret",
      secret: {
        secretName: "db",
        defaultMode: 0o440,
        items: [{ key: "user", path: "deep/name", mode: 0o400 }, { key: "key", path: "key" }],
      },
    },
    { name: "config", configMap: { name: "conf" } },
    {
      name: "all",
      projected: {
        sources: [
          { secret: { name: "db", items: [{ key: "user", path: "user" }] } },
          { configMap: { name: "conf", items: [{ key: "x.conf", path: "etc/x.conf" }] } },
          { downwardAPI: { items: [{ path: "namespace", fieldRef: { fieldPath: "metadata.namespace" } }] } },
          { serviceAccountToken: { path: "token", audience: "vault", expirationSeconds: 600 } },
        ],
      },
    },
    {
      name: "info",
      downwardAPI: {
        items: [
          { path: "annotations", fieldRef: { fieldPath: "metadata.annotations" } },
          { path: "memory", resourceFieldRef: { containerName: "app", resource: "limits.memory", divisor: "1Mi" } },
        ],
      },
    },
    { name: "scratch", emptyDir: {} },
    { name: "fast", emptyDir: { medium: "Memory" } },
    { name: "unused", secret: { secretName: "does-not-exist" } },
    { name: "absent", configMap: { name: "does-not-exist", optional: true } },
  ];
  const mounts = volumes.filter(({ name }) => name !== "unused").map(({ name }) => ({ name, mountPath: `/${name}` }));
  const script = [
    "set -e",
    'show() { for f in "$@"; do echo "$f $(stat -L -c %a $f) $(od -An -tx1 $f | tr -d \' \\n\')"; done; }',
    "cd $BASE",
    "show secret/deep/name secret/key config/A config/bin config/x.conf all/user all/etc/x.conf all/namespace info/annotations info/memory",
    'echo "scratch $(stat -c %a scratch)"; touch scratch/mine fast/mine',
    'echo "absent $(ls absent | wc -l)"',
    'echo "sub $(cat sub.conf)"',
    'echo "token $(stat -L -c %a all/token) $(cut -d. -f2 all/token)"',
  ].join("\n");
  const app = sh("app", script, {
    env: [{ name: "BASE", value: place.folder }],
    resources: { limits: { memory: "64Mi" } },
    volumeMounts: [...mounts, { name: "config", mountPath: "/sub.conf", subPath: "x.conf" }],
  });
  const { code, stdout, stderr } = await runKrun(
    await place.options({ volumes, containers: [app] }, { metadata: { annotations: { b: "2", a: 'x"y' } } }),
  );
  assert.equal(code, 0, stderr);
  const hex = (text: string) =>
    [...new TextEncoder().encode(text)].map((b) => b.toString(16).padStart(2, "0")).join("");
  const lines = stdout.trim().split("\n");
  assert.deepEqual(lines.slice(0, -1), [
    `secret/deep/name 400 ${hex("alice")}`,
    "secret/key 440 00ff",
    `config/A 644 ${hex("1")}`,
    "config/bin 644 0102",
    `config/x.conf 644 ${hex("level=1\n")}`,
    `all/user 644 ${hex("alice")}`,
    `all/etc/x.conf 644 ${hex("level=1\n")}`,
    `all/namespace 644 ${hex("shop")}`,
    `info/annotations 644 ${hex('a="x\\"y"\nb="2"')}`,
    `info/memory 644 ${hex("64")}`,
    "scratch 777",
    "absent 0",
    "sub level=1",
  ]);
  const [, mode, claims] = lines.at(-1)!.split(" ");
  assert.equal(mode, "600");
  assert.deepEqual(JSON.parse(atob(claims!.replaceAll("-", "+").replaceAll("_", "/"))).aud, ["vault"]);
  assert.deepEqual(tree(place.folder), [], "emptyDir and all, nothing stays");
});

Deno.test("krun makes every environment type of a Pod true, and expands command and args", async () => {
  await using place = await Place.create(server);
  const env = [
    { name: "FIRST", value: "$(P_A)-$(LATE)" },
    { name: "LATE", value: "z" },
    { name: "USER_NAME", valueFrom: { secretKeyRef: { name: "db", key: "user" } } },
    { name: "LEVEL", valueFrom: { configMapKeyRef: { name: "conf", key: "B" } } },
    { name: "GONE", valueFrom: { configMapKeyRef: { name: "nope", key: "B", optional: true } } },
    { name: "POD", valueFrom: { fieldRef: { fieldPath: "metadata.name" } } },
    { name: "TIER", valueFrom: { fieldRef: { fieldPath: "metadata.labels['tier']" } } },
    { name: "CPU", valueFrom: { resourceFieldRef: { resource: "limits.cpu", divisor: "1m" } } },
    { name: "HOME_OF", value: "$(MY_SVC_SERVICE_PORT_HTTP_WEB)" },
  ];
  const app = {
    name: "app",
    command: ["/bin/sh", "-c", "env; echo ARG $0 $1", "$(POD)"],
    args: ["$$(POD)"],
    env,
    envFrom: [{ prefix: "P_", configMapRef: { name: "conf" } }],
    resources: { limits: { cpu: "1500m" } },
  };
  const { code, stdout, stderr } = await runKrun(
    await place.options({ enableServiceLinks: true, containers: [app] }, { metadata: { labels: { tier: "gold" } } }),
  );
  assert.equal(code, 0, stderr);
  const lines = stdout.trim().split("\n");
  for (
    const line of [
      "FIRST=1-$(LATE)",
      "USER_NAME=alice",
      "LEVEL=$(A)",
      "POD=web-0",
      "TIER=gold",
      "CPU=1500",
      "HOME_OF=80",
      "P_B=$(A)",
      "MY_SVC_SERVICE_PORT=80",
      "ARG web-0 $(POD)",
    ]
  ) assert.ok(lines.includes(line), `${line} in\n${stdout}`);
  assert.ok(!lines.some((line) => line.startsWith("GONE=")));
});

Deno.test("krun tells a Pod of its namespace's Services unless it says no, and of the API server always", async (t) => {
  await using place = await Place.create(server);
  const seen = async (options: KrunOptions) => {
    const { code, stdout, stderr } = await runKrun(options);
    assert.equal(code, 0, stderr);
    return ["MY_SVC_SERVICE_PORT=80", "KUBERNETES_SERVICE_HOST=127.0.0.1"].map((line) => stdout.includes(`${line}\n`));
  };
  const containers = [{ name: "app", command: ["env"] }];
  for (const [enableServiceLinks, isTold] of [[undefined, true], [true, true], [false, false]] as const) {
    await t.step(`enableServiceLinks ${enableServiceLinks}`, async () => {
      assert.deepEqual(await seen(await place.options({ enableServiceLinks, containers })), [isTold, true]);
    });
  }
  for (const [KRUN_SERVICE_LINKS, isTold] of [["", false], ["true", true]] as const) {
    await t.step(`without a Pod, KRUN_SERVICE_LINKS=${KRUN_SERVICE_LINKS}`, async () => {
      const env = { KRUN_POD: "", K8S_SECRET_db: "./db", WORKLOAD_NAMESPACE: "shop", KRUN_SERVICE_LINKS };
      const options = await place.options({}, { env });
      assert.deepEqual(await seen({ ...options, args: ["/usr/bin/env"] }), [isTold, true]);
    });
  }
});

Deno.test("krun honours startup, readiness and liveness probes of every kind", async (t) => {
  const kinds = {
    exec: ({ file }: { file: string }) => ({ exec: { command: ["test", "-e", file] } }),
    httpGet: ({ http }: { http: number }) => ({ httpGet: { port: http, path: "/ready" } }),
    tcpSocket: ({ http }: { http: number }) => ({ tcpSocket: { port: http } }),
    grpc: ({ grpc }: { grpc: number }) => ({ grpc: { port: grpc } }),
  };
  for (const [kind, handler] of Object.entries(kinds)) {
    await t.step(kind, async () => {
      await using place = await Place.create(server);
      const at = { http: freePort(), grpc: freePort(), file: join(place.folder, "healthy"), status: freePort() };
      const probe = { ...handler(at), periodSeconds: 1, timeoutSeconds: 20, failureThreshold: 60 };
      // An open port cannot tell that the program is unwell; this one closes.
      using alive = Deno.listen({ hostname: "127.0.0.1", port: 0 });
      const liveness = kind === "tcpSocket" ? { ...probe, tcpSocket: { port: alive.addr.port } } : probe;
      const app = {
        name: "app",
        command: [
          Deno.execPath(),
          "run",
          "-A",
          "-q",
          `--config=${join(REPOSITORY, "deno.json")}`,
          join(REPOSITORY, "tests/programs/probed_server.ts"),
        ],
        args: [String(at.http), String(at.grpc), at.file],
        startupProbe: probe,
        readinessProbe: { ...probe, failureThreshold: 1 },
        livenessProbe: { ...liveness, failureThreshold: 2 },
      };
      const env = { KRUN_STATUS: `127.0.0.1:${at.status}`, HOME: "/root" };
      await using krun = new KrunProcess(await place.options({ containers: [app] }, { env }));
      const ready = async () => {
        const response = await fetch(`http://127.0.0.1:${at.status}/readyz`);
        await response.body?.cancel();
        return response.status;
      };
      if (kind !== "tcpSocket") {
        await waitFor("krun not to be ready", async () => await ready() === 503);
        await Deno.writeTextFile(at.file, "");
      }
      await waitFor("krun to be ready", async () => await ready() === 200);
      if (kind === "tcpSocket") alive.close();
      else await Deno.remove(at.file);
      await krun.sees("stderr", /liveness probe failed/);
      assert.notEqual((await krun.end).code, 0);
    });
  }
});

Deno.test("krun runs init containers and sidecars of a Pod, and its hooks, with the program's status", async () => {
  await using place = await Place.create(server);
  const log = join(place.folder, "log");
  const say = (word: string) => `echo ${word} >> ${log}`;
  const spec = {
    initContainers: [
      sh("prepare", say("prepare")),
      sh("helper", `trap '${say("helper-ends")}; exit 0' TERM; ${say("helper")}; while :; do sleep 0.02; done`, {
        restartPolicy: "Always",
      }),
    ],
    containers: [
      sh("app", `until grep -q helper ${log} && grep -q hook ${log}; do sleep 0.02; done; ${say("app")}; exit 4`, {
        lifecycle: { postStart: { exec: { command: ["/bin/sh", "-c", say("hook")] } } },
      }),
    ],
  };
  const { code, stderr } = await runKrun(await place.options(spec));
  assert.equal(code, 4, stderr);
  const lines = (await Deno.readTextFile(log)).trim().split("\n");
  assert.equal(lines[0], "prepare");
  assert.equal(lines.at(-1), "helper-ends");
  for (const line of ["hook", "app", "helper"]) assert.ok(lines.includes(line), stderr);
  await Deno.remove(log);
});
