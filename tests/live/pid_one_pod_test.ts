/** KRUN_POD and --check with the compiled krun as PID 1 of a bare root file system, as root and as an ordinary user. */
import assert from "node:assert/strict";
import { NOBODY, type PidOne, type RootFs, rootFs } from "./compiled.ts";

const USERS = [0, NOBODY];
const baseOf = (uid: number) => uid === 0 ? "" : "/home";

const object = (kind: string, name: string, data: object) => {
  return { apiVersion: "v1", kind, metadata: { name, namespace: "shop" }, ...data };
};

/** Manifests that their user alone may read, and the settings that name them. */
async function shop(
  uid: number,
  spec: object,
  mounts = [{ target: "/dev/null", bind: "/dev/null" }],
): Promise<{ root: RootFs; env: Record<string, string> }> {
  const root = await rootFs({ mounts });
  const files = {
    "k8s/db.json": object("Secret", "db", { stringData: { user: "alice", password: "s3cr3t" } }),
    "k8s/conf.json": object("ConfigMap", "conf", { data: { LEVEL: "7", "x.conf": "level=1" } }),
    "pod.json": {
      ...object("Pod", "web-0", { spec }),
      metadata: { name: "web-0", namespace: "shop", labels: { tier: "gold" } },
    },
  };
  for (const [name, content] of Object.entries(files)) await root.write(`/home/${name}`, content, { uid });
  return { root, env: { KRUN_MANIFESTS: "/home/k8s", KRUN_POD: "/home/pod.json" } };
}

const VOLUMES = [
  { name: "secret", secret: { secretName: "db", defaultMode: 0o440, items: [{ key: "password", path: "deep/word" }] } },
  { name: "config", configMap: { name: "conf" } },
  {
    name: "all",
    projected: {
      sources: [
        { secret: { name: "db", items: [{ key: "user", path: "user" }] } },
        { serviceAccountToken: { path: "token", audience: "vault", expirationSeconds: 600 } },
      ],
    },
  },
  { name: "info", downwardAPI: { items: [{ path: "labels", fieldRef: { fieldPath: "metadata.labels" } }] } },
  { name: "scratch", emptyDir: {} },
];
const VOLUME_MOUNTS = VOLUMES.map(({ name }) => ({ name, mountPath: `/${name}` }));

/** A Pod whose first container writes into its emptyDir, and whose program is `argv`. */
const podOf = (uid: number, argv: readonly string[]) => ({
  volumes: VOLUMES,
  initContainers: [{
    name: "first",
    command: ["/program", "write", `${baseOf(uid)}/scratch/note`, "$(USER_NAME)"],
    env: [{ name: "USER_NAME", valueFrom: { secretKeyRef: { name: "db", key: "user" } } }],
    volumeMounts: VOLUME_MOUNTS,
  }],
  containers: [{
    name: "app",
    command: [...argv],
    envFrom: [{ prefix: "CONF_", configMapRef: { name: "conf" } }],
    env: [
      { name: "WORD", valueFrom: { secretKeyRef: { name: "db", key: "password" } } },
      { name: "POD", valueFrom: { fieldRef: { fieldPath: "metadata.name" } } },
      { name: "BOTH", value: "$(POD)/$(CONF_LEVEL)" },
    ],
    startupProbe: { exec: { command: ["/program", "cat", `${baseOf(uid)}/config/LEVEL`] }, periodSeconds: 1 },
    volumeMounts: VOLUME_MOUNTS,
  }],
});

async function printed(krun: PidOne): Promise<Record<string, unknown>> {
  const { code, stdout, stderr } = await krun.end;
  assert.equal(code, 0, stderr);
  return JSON.parse(stdout);
}

/** What lies in the root file system, seen from inside: its mounts included. */
async function everything(root: RootFs): Promise<string[]> {
  await using ls = root.startProgram(["/program", "ls", "/"]);
  return Object.keys(await printed(ls)).sort();
}

function assertNoSecret(text: string): void {
  assert.ok(!text.includes("s3cr3t") && !/eyJ[\w-]+\.[\w-]+/.test(text), text);
}

for (const uid of USERS) {
  Deno.test(`krun as PID 1, user ${uid}, makes the Pod of KRUN_POD true: files, environment, init container, probe`, async (t) => {
    const files = ["secret/deep/word", "config/x.conf", "all/user", "all/token", "info/labels", "scratch/note"]
      .map((name) => `${baseOf(uid)}/${name}`);
    const { root, env } = await shop(uid, podOf(uid, ["/program", "cat", ...files]));
    await using _root = root;
    const before = await everything(root);
    await t.step("files", async () => {
      await using krun = root.start({ args: [], env, uid });
      const seen = await printed(krun);
      const [word, conf, user, token, labels, note] = files.map((path) => seen[path] as string);
      assert.deepEqual([word, conf, user, labels, note], ["s3cr3t", "level=1", "alice", 'tier="gold"', "alice"]);
      const claims = JSON.parse(new TextDecoder().decode(Uint8Array.fromBase64(token!.split(".")[1]!, URL_SAFE)));
      assert.deepEqual([claims.aud, claims.exp - claims.iat], [["vault"], 600]);
    });
    await t.step("modes and owner", async () => {
      await using krun = root.start({ args: ["--", "/program", "ls", `${baseOf(uid)}/secret/..data/`], env, uid });
      const seen = await printed(krun) as Record<string, { mode: string; uid: number }>;
      const [word] = Object.entries(seen).filter(([path]) => path.endsWith("/word")).map(([, entry]) => entry);
      assert.deepEqual([word?.mode, word?.uid], ["440", uid]);
    });
    await t.step("environment, and the program that the arguments name in place of the Pod's", async () => {
      await using krun = root.start({ args: ["--", "/program", "describe", "$(POD)"], env, uid });
      const seen = await printed(krun) as { args: string[]; env: Record<string, string>; uid: number };
      assert.deepEqual(seen.args, ["$(POD)"], "words of krun's own arguments are not expanded");
      const { WORD, POD, BOTH, CONF_LEVEL, KRUN_POD } = seen.env;
      assert.deepEqual([WORD, POD, BOTH, CONF_LEVEL, KRUN_POD], ["s3cr3t", "web-0", "web-0/7", "7", undefined]);
      assert.equal(seen.uid, uid);
    });
    await t.step("and leaves nothing", async () => assert.deepEqual(await everything(root), before));
  });

  Deno.test(`krun as PID 1, user ${uid}, ends a Pod whose startup probe fails, and one whose object is missing`, async (t) => {
    const startupProbe = { exec: { command: ["/program", "cat", "/nothing"] }, periodSeconds: 1, failureThreshold: 1 };
    const app = { name: "app", command: ["/program", "wait"], startupProbe };
    await t.step("probe", async () => {
      const { root, env } = await shop(uid, { containers: [app] });
      await using _root = root;
      await using krun = root.start({ args: [], env, uid });
      await krun.sees("stderr", /startup probe failed/);
      assert.equal((await krun.end).code, 0, krun.stderr);
    });
    await t.step("no /dev/null, which a container of a Pod has for its standard input", async () => {
      const { root, env } = await shop(uid, { containers: [{ name: "app", command: ["/program", "describe"] }] }, []);
      await using _root = root;
      await using krun = root.start({ args: [], env, uid });
      const { code, stderr } = await krun.end;
      assert.equal(code, 126, stderr);
      assert.match(stderr, /^krun: Cannot start program "\/program": there is no \/dev\/null/m);
    });
    await t.step("object", async () => {
      const volumes = [{ name: "gone", secret: { secretName: "gone" } }];
      const volumeMounts = [{ name: "gone", mountPath: "/gone" }];
      const { root, env } = await shop(uid, { volumes, containers: [{ ...app, volumeMounts }] });
      await using _root = root;
      await using krun = root.start({ args: [], env, uid });
      const { code, stderr, stdout } = await krun.end;
      assert.deepEqual([code, stdout], [125, ""], stderr);
      assert.match(stderr, /^krun: Cannot .*Secret "shop\/gone".*does not exist/m);
    });
  });

  Deno.test(`krun --check as PID 1, user ${uid}, tells what a start would do, as a table and as JSON, and touches nothing`, async (t) => {
    const { root, env } = await shop(uid, podOf(uid, ["/program", "describe"]));
    await using _root = root;
    const before = await everything(root);
    const settings = { ...env, K8S_CM_conf: "./one.conf?key=x.conf", K8S_CM_later: "./later?optional=true" };
    const check = async (args: readonly string[], more: Record<string, string> = {}) => {
      await using krun = root.start({ args: [...args], env: { ...settings, ...more }, uid });
      const end = await krun.end;
      assertNoSecret(end.stdout + end.stderr);
      assert.deepEqual(await everything(root), before);
      return end;
    };
    await t.step("JSON", async () => {
      const { code, stdout, stderr } = await check(["--check=json"]);
      assert.equal(code, 0, stderr + stdout);
      const report = JSON.parse(stdout);
      assert.equal(report.ok, true);
      const found = (name: string) => report.objects.find((row: { name: string }) => row.name === name);
      assert.deepEqual(found("db").keys, ["password", "user"]);
      assert.deepEqual(found("db").paths, [`${baseOf(uid)}/secret`, `${baseOf(uid)}/all`]);
      assert.ok(found("conf").paths.includes(`${baseOf(uid)}/one.conf`), found("conf").paths);
      assert.equal(found("later").found, false);
      const token = report.tokens.find((row: { audience: string }) => row.audience === "vault");
      assert.equal(token.claims.sub, "system:serviceaccount:shop:default");
      assert.ok(token.secondsLeft > 500 && token.secondsLeft <= 600);
      const base = report.findings.find((row: { what: string }) => row.what === "base");
      const rule = uid === 0 ? "krun is root" : "the working directory, since krun is not root";
      assert.deepEqual([base.value, base.because], [baseOf(uid) || "/", rule]);
    });
    await t.step("table", async () => {
      const { code, stdout, stderr } = await check(["--check"]);
      assert.equal(code, 0, stderr + stdout);
      const lines = stdout.split("\n");
      for (const heading of ["DETECTED", "OBJECTS", "TOKENS"]) assert.ok(lines.includes(heading), stdout);
      assert.match(stdout, /^ {2}namespace +shop +.*KRUN_POD$/m);
      assert.match(
        stdout,
        new RegExp(`^ {2}Secret/db +${baseOf(uid)}/secret .*password,user +get yes, watch yes`, "m"),
      );
      assert.match(stdout, /^ok: a start would succeed$/m);
    });
    await t.step("a start that would fail", async () => {
      const { code, stdout } = await check(["--check", "--", "/nothing"], { K8S_SECRET_gone: "./gone" });
      assert.equal(code, 1);
      assert.match(stdout, /^PROBLEMS\n.*Secret "shop\/gone".*K8S_SECRET_gone/m);
      assert.match(stdout, /^not ok: a start would fail$/m);
    });
    await t.step("a program that is not there", async () => {
      const { code, stdout } = await check(["--check=json", "--", "/nothing"], {
        KRUN_POD: "",
        WORKLOAD_NAMESPACE: "shop",
      });
      assert.equal(code, 1);
      assert.match(JSON.parse(stdout).problems.join("\n"), /Cannot start program "\/nothing": no such file/);
    });
  });
}

const URL_SAFE = { alphabet: "base64url" } as const;
