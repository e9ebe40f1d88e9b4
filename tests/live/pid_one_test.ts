/** The compiled krun as PID 1 of a root file system that holds nothing else, as root and as an ordinary user. */
import assert from "node:assert/strict";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { compileProgram } from "../../scripts/compile.ts";
import { liveTool } from "../../scripts/live_tools.ts";
import { waitFor } from "../wait.ts";
import { exists } from "../workspace.ts";
import { startApiServer } from "./api_server.ts";
import { NOBODY, type PidOne, type RootFs, rootFs, type RootFsOptions } from "./compiled.ts";

const USERS = [0, NOBODY];

/** A root file system with a folder of manifests: Secret `db` of namespace `shop`. */
async function shop(options: RootFsOptions = {}): Promise<RootFs> {
  const root = await rootFs(options);
  const manifests = join(root.path, "home", "k8s");
  await Deno.mkdir(manifests);
  await Deno.writeTextFile(join(manifests, "db.json"), secret("s3cr3t"));
  return root;
}

function secret(password: string): string {
  const metadata = { name: "db", namespace: "shop" };
  return JSON.stringify({ apiVersion: "v1", kind: "Secret", metadata, stringData: { password } });
}

const ENV = {
  KRUN_MANIFESTS: "/home/k8s",
  WORKLOAD_NAMESPACE: "shop",
  K8S_SECRET_db: "./db",
  K8S_TOKEN_audit: "./token",
};

/** The program's own base: what a relative path is below. */
const baseOf = (uid: number) => uid === 0 ? "/" : "/home/";

async function printed(krun: PidOne): Promise<Record<string, unknown>> {
  const { code, stdout, stderr } = await krun.end;
  assert.equal(code, 0, stderr);
  return JSON.parse(stdout);
}

for (const uid of USERS) {
  Deno.test(`krun as PID 1, user ${uid}, gives a program in a bare root file system its files and its environment`, async (t) => {
    await using root = await shop();
    await t.step("files", async () => {
      const base = baseOf(uid);
      const paths = [`${base}db/password`, `${base}token`];
      await using krun = root.start({ args: ["/program", "cat", ...paths], env: ENV, uid });
      const files = await printed(krun);
      assert.equal(files[paths[0]!], "s3cr3t");
      assert.match(files[paths[1]!] as string, /^[\w-]+\.[\w-]+\.[\w-]+$/);
    });
    await t.step("environment and arguments", async () => {
      await using krun = root.start({
        args: ["--", "/program", "describe", "--check"],
        env: { ...ENV, MINE: "kept" },
        uid,
      });
      const seen = await printed(krun);
      assert.deepEqual(seen.args, ["--check"]);
      const env = seen.env as Record<string, string>;
      assert.equal(env.MINE, "kept");
      assert.deepEqual(Object.keys(env).filter((name) => /^(K8S_|KRUN_)/.test(name)), []);
      assert.equal(seen.uid, uid);
      assert.notEqual(seen.pid, 1);
    });
    await t.step("and leaves nothing in it", () => {
      const left = ["db", "token", ".krun"].map((name) => join(root.path, baseOf(uid), name));
      assert.deepEqual(left.filter((path) => exists(path)), []);
    });
  });

  Deno.test(`krun as PID 1, user ${uid}, ends as its program does`, async (t) => {
    await using root = await shop();
    const cases = { "exit 0": 0, "exit 7": 7, "exit 125": 125, "exit 255": 255, "die 9": 137, "die 15": 143 };
    for (const [words, status] of Object.entries(cases)) {
      await t.step(words, async () => {
        await using krun = root.start({ args: ["/program", ...words.split(" ")], uid });
        const { code, stderr } = await krun.end;
        assert.equal(code, status, stderr);
      });
    }
    for (const [program, status] of [["/nothing", 127], ["/home", 126]] as const) {
      await t.step(program, async () => {
        await using krun = root.start({ args: [program], uid });
        const end = await krun.end;
        assert.equal(end.code, status, end.stderr);
      });
    }
  });

  Deno.test(`krun as PID 1, user ${uid}, forwards signals, and ends by SIGTERM with its program's status`, async () => {
    await using root = await shop();
    await using krun = root.start({ args: ["/program", "wait", "exit=15:42"], uid });
    await krun.sees("stdout", /ready/);
    const signals = { SIGHUP: 1, SIGUSR1: 10, SIGUSR2: 12, SIGTTIN: 21, SIGTTOU: 22, SIGWINCH: 28 };
    for (const [name, number] of Object.entries(signals)) {
      krun.kill(name as Deno.Signal);
      await krun.sees("stdout", new RegExp(`^signal ${number}$`, "m"));
    }
    krun.kill("SIGTERM");
    assert.equal((await krun.end).code, 42, krun.stderr);
  });

  // The negative control, a PID 1 that does not reap, is in compiled_test.ts.
  Deno.test(`krun as PID 1, user ${uid}, reaps orphans`, async () => {
    await using root = await shop();
    await using krun = root.start({ args: ["/program", "wait"], uid });
    await krun.sees("stdout", /ready/);
    const orphans: number[] = JSON.parse((await krun.exec(["/program", "orphans", "20", "0"])).stdout);
    assert.equal(orphans.length, 20);
    await waitFor("no zombie", async () => {
      return (await krun.exec(["/program", "zombies"])).stdout.trim() === "[]";
    });
  });

  Deno.test(`krun as PID 1, user ${uid}, keeps files fresh`, async () => {
    await using root = await shop();
    await using krun = root.start({ args: ["/program", "wait"], env: ENV, uid });
    await krun.sees("stdout", /ready/);
    await Deno.writeTextFile(join(root.path, "home", "k8s", "db.json"), secret("n3w"));
    const path = `${baseOf(uid)}db/password`;
    await waitFor(
      "the new password",
      async () => JSON.parse((await krun.exec(["/program", "cat", path])).stdout)[path] === "n3w",
    );
  });
}

Deno.test("krun as PID 1 works below another base when the root cannot be written", async () => {
  await using root = await shop({ readOnly: true });
  await using krun = root.start({
    args: ["/program", "cat", "/home/db/password"],
    env: { ...ENV, MESH_BASE_DIR: "/home" },
  });
  assert.deepEqual(await printed(krun), { "/home/db/password": "s3cr3t" });
});

Deno.test("krun as PID 1 works against a real API server from a bare root file system", async (t) => {
  await using server = await startApiServer();
  await server.namespace("shop");
  await server.create({
    apiVersion: "v1",
    kind: "Secret",
    metadata: { namespace: "shop", name: "db" },
    stringData: { a: "1" },
  });
  for (const uid of USERS) {
    await t.step(`as user ${uid}`, async () => {
      await using root = await rootFs();
      await Deno.copyFile(server.adminKubeconfig, join(root.path, "kubeconfig"));
      await Deno.chown(join(root.path, "kubeconfig"), uid, uid);
      const account = `${baseOf(uid)}var/run/secrets/kubernetes.io/serviceaccount`;
      const paths = [`${baseOf(uid)}db/a`, `${account}/namespace`, `${account}/ca.crt`];
      const env = { KUBECONFIG: "/kubeconfig", WORKLOAD_NAMESPACE: "shop", K8S_SECRET_db: "./db" };
      await using krun = root.start({ args: ["/program", "cat", ...paths], env, uid });
      const files = await printed(krun);
      assert.deepEqual(paths.map((path) => (files[path] as string).trim()), ["1", "shop", server.caPem.trim()]);
    });
  }
});

Deno.test("dropPermissions() in a compiled program leaves the working directory and nothing else", async (t) => {
  const folder = await Deno.makeTempDir();
  try {
    const entry = fileURLToPath(new URL("../testdata/confined/main.ts", import.meta.url));
    const [deno, denort] = [await liveTool("deno-2.6"), await liveTool("denort-2.6")];
    const confined = await compileProgram({ entry, out: join(folder, "confined"), deno, denort });
    const outcomes = async (uid: number) => {
      await using root = await rootFs({ krun: confined, mounts: [{ target: "/open", tmpfs: "mode=1777" }] });
      await using process = root.start({ args: ["/open"], uid, cwd: "/home" });
      return await printed(process);
    };
    await t.step("for an ordinary user", async () => {
      const all = {
        writeOutside: "NotCapable",
        writeInside: "done",
        loadLibrary: "NotCapable",
        publish: "done",
        swap: "done",
      };
      assert.deepEqual(await outcomes(NOBODY), all);
    });
    await t.step("for root, which gives up nothing (the same writes, seen to work)", async () => {
      const all = { writeOutside: "done", writeInside: "done", loadLibrary: "done", publish: "done", swap: "done" };
      assert.deepEqual(await outcomes(0), all);
    });
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
});
