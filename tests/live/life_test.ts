/** How krun begins and ends when things go wrong: the real krun, the real API server, real processes. */
import assert from "node:assert/strict";
import { join } from "node:path";
import { waitFor } from "../wait.ts";
import { tree } from "../workspace.ts";
import { type ApiServer, startApiServer } from "./api_server.ts";
import { freePort } from "./server_process.ts";
import { assertNoSecret, refusalIn, SECRET, sh, Shop } from "./shop.ts";

let server: ApiServer;
Deno.test.beforeAll(async () => {
  server = await startApiServer();
});
Deno.test.afterAll(() => server[Symbol.asyncDispose]());

const MOUNTS = { K8S_SECRET_db: "./deep/db", K8S_CM_app: "./app", K8S_TOKEN_vault: "./token" };

/** Processes that live and have this in their environment, krun's own included. */
function marked(mark: string): number[] {
  return [...Deno.readDirSync("/proc")].map(({ name }) => Number(name)).filter((pid) => pid > 0 && isMarked(pid, mark));
}

function isMarked(pid: number, mark: string): boolean {
  try {
    if (/^State:\s+[ZX]/m.test(Deno.readTextFileSync(`/proc/${pid}/status`))) return false;
    return Deno.readTextFileSync(`/proc/${pid}/environ`).split("\0").includes(`MARK=${mark}`);
  } catch {
    return false; // It has ended.
  }
}

/** A memory file system that only the krun of one test uses, since others' folders come and go in the machine's own. */
class Memory implements AsyncDisposable {
  private constructor(readonly folder: string) {}

  static async create(shop: Shop): Promise<Memory> {
    const memory = new Memory(join(shop.root, "memory"));
    await Deno.mkdir(memory.folder);
    await command("mount", "-t", "tmpfs", "tmpfs", memory.folder);
    return memory;
  }

  /** Starts a krun that sees it as /dev/shm. */
  get under(): string[] {
    const script = 'mount --bind "$1" /dev/shm && shift && exec "$@"';
    return ["unshare", "--mount", "--propagation", "private", "/bin/sh", "-c", script, "sh", this.folder];
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await command("umount", this.folder);
  }
}

async function command(name: string, ...args: string[]): Promise<void> {
  const { success, stderr } = await new Deno.Command(name, { args, stdin: "null" }).output();
  assert.ok(success, new TextDecoder().decode(stderr));
}

/** A krun that ended leaves neither files nor processes. */
function nothingIsLeft(shop: Shop, { mark, memory }: { mark: string; memory: Memory }): void {
  assert.deepEqual(tree(shop.base), []);
  const commands = marked(mark).map((pid) => Deno.readTextFileSync(`/proc/${pid}/cmdline`).replaceAll("\0", " "));
  assert.deepEqual(commands, []);
  assert.deepEqual(tree(memory.folder), []);
}

Deno.test("krun tries an API server that does not answer until KRUN_START_TIMEOUT, and says what it tried", async (t) => {
  await using shop = await Shop.create(server);
  const { users: [{ user }] } = JSON.parse(await Deno.readTextFile(shop.kubeconfig));
  const unreachable = async (port: number): Promise<string> => {
    const url = `https://127.0.0.1:${port}`;
    const KUBECONFIG = await server.kubeconfig("ann", user, { server: url });
    const started = performance.now();
    const env = { ...MOUNTS, KUBECONFIG, KRUN_START_TIMEOUT: "1500ms" };
    const { code, stdout, stderr } = await shop.run({ args: sh("echo started"), env });
    assert.ok(performance.now() - started >= 1500, "it tried until the timeout");
    assert.deepEqual([code, stdout], [125, ""], stderr);
    const { line, details } = refusalIn(stderr);
    for (const setting of Object.keys(MOUNTS)) assert.ok(`${line}${details}`.includes(setting), stderr);
    assert.deepEqual(tree(shop.base), []);
    return stderr;
  };
  await t.step("nobody listens", async () => {
    const port = freePort();
    const stderr = await unreachable(port);
    assert.match(refusalIn(stderr).line, new RegExp(`https://127\\.0\\.0\\.1:${port}: .*refused`));
    assert.match(stderr, /warn trying again until KRUN_START_TIMEOUT/);
  });
  await t.step("somebody listens and says nothing", async () => {
    using listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
    const stderr = await unreachable(listener.addr.port);
    assert.match(refusalIn(stderr).line, /no answer within \d+ s/);
  });
});

Deno.test("krun starts when the API server comes up during KRUN_START_TIMEOUT", async () => {
  await using late = await startApiServer();
  await using shop = await Shop.create(late);
  await late.stopServer();
  await using krun = shop.start({
    args: sh("cat deep/db/password; exit 4"),
    env: { ...MOUNTS, KRUN_START_TIMEOUT: "300" },
  });
  await krun.sees("stderr", /trying again until KRUN_START_TIMEOUT/);
  await late.startServer();
  const { code, stdout, stderr } = await krun.end;
  assert.deepEqual([code, stdout], [4, SECRET], stderr);
  assert.doesNotMatch(stderr, /^krun: /m);
});

Deno.test("a signal during a start ends krun with 128 + signal, and leaves nothing", async (t) => {
  await using shop = await Shop.create(server);
  await using memory = await Memory.create(shop);
  const { users: [{ user }] } = JSON.parse(await Deno.readTextFile(shop.kubeconfig));
  // Answers no request, so that the start cannot end.
  using listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  const KUBECONFIG = await server.kubeconfig("ann", user, { server: `https://127.0.0.1:${listener.addr.port}` });
  for (const [signal, status] of [["SIGTERM", 143], ["SIGINT", 130], ["SIGQUIT", 131]] as const) {
    for (const program of [sh("echo started"), []]) {
      await t.step(`${signal} ${program.length > 0 ? "with" : "without"} a program`, async () => {
        const mark = crypto.randomUUID();
        await using krun = shop.start({
          under: memory.under,
          args: program,
          env: { ...MOUNTS, KUBECONFIG, MARK: mark },
        });
        await waitFor("the first folder", () => tree(shop.base).length > 0);
        krun.kill(signal);
        const { code, stdout, stderr } = await krun.end;
        assert.deepEqual([code, stdout], [status, ""], stderr);
        assert.doesNotMatch(stderr, /^krun: /m);
        nothingIsLeft(shop, { mark, memory });
      });
    }
  }
});

Deno.test("SIGTERM at any moment ends krun with 143, and leaves nothing", async () => {
  await using shop = await Shop.create(server);
  await using memory = await Memory.create(shop);
  for (let round = 0; round < 20; round++) {
    const mark = crypto.randomUUID();
    await using krun = shop.start({ under: memory.under, args: sh("sleep 1000"), env: { ...MOUNTS, MARK: mark } });
    const afterMs = round * 12;
    await pass(afterMs);
    krun.kill("SIGTERM");
    const { code, stderr } = await krun.end;
    assert.equal(code, 143, `after ${afterMs} ms:\n${stderr}`);
    assertNoSecret(stderr);
    nothingIsLeft(shop, { mark, memory });
  }
});

Deno.test("SIGTERM gives the program KRUN_GRACE_PERIOD, then SIGKILL", async (t) => {
  await using shop = await Shop.create(server);
  const stubborn = sh("trap 'echo told' TERM; echo up; while :; do sleep 0.05; done");
  const graceOf = async (seconds: number) => {
    const env = await shop.pod([], []);
    const pod = JSON.parse(await Deno.readTextFile(env.KRUN_POD));
    pod.spec.terminationGracePeriodSeconds = seconds;
    await Deno.writeTextFile(env.KRUN_POD, JSON.stringify(pod));
    return env;
  };
  await t.step("a program that ignores SIGTERM is killed after it, not before", async () => {
    // The Pod's own would be longer than the test waits.
    const env = { ...await graceOf(600), ...MOUNTS, KRUN_GRACE_PERIOD: "2" };
    await using krun = shop.start({ args: stubborn, env });
    await krun.sees("stdout", /up/);
    const told = performance.now();
    krun.kill("SIGTERM");
    const { code, stdout, stderr } = await krun.end;
    const tookMs = performance.now() - told;
    assert.equal(code, 137, stderr);
    assert.match(stdout, /told/);
    assert.ok(tookMs >= 2000, `${tookMs} ms`);
    assert.deepEqual(tree(shop.base), []);
  });
  await t.step("the Pod's terminationGracePeriodSeconds counts as well", async () => {
    await using krun = shop.start({ args: stubborn, env: await graceOf(2) });
    await krun.sees("stdout", /up/);
    const told = performance.now();
    krun.kill("SIGTERM");
    assert.equal((await krun.end).code, 137, krun.stderr);
    const tookMs = performance.now() - told;
    // The default is 30 s.
    assert.ok(tookMs >= 2000 && tookMs < 30_000, `${tookMs} ms`);
  });
  await t.step("a program that ends in time decides the status", async () => {
    const polite = sh("trap 'sleep 0.2; exit 9' TERM; echo up; while :; do sleep 0.05; done");
    await using krun = shop.start({ args: polite, env: { ...MOUNTS, KRUN_GRACE_PERIOD: "600" } });
    await krun.sees("stdout", /up/);
    krun.kill("SIGTERM");
    assert.equal((await krun.end).code, 9, krun.stderr);
  });
  for (const signal of ["SIGTERM", "SIGINT"] as const) {
    await t.step(`${signal} during the stop shortens it`, async () => {
      await using krun = shop.start({ args: stubborn, env: { ...MOUNTS, KRUN_GRACE_PERIOD: "600" } });
      await krun.sees("stdout", /up/);
      krun.kill("SIGTERM");
      await krun.sees("stdout", /told/);
      // Again and again: twice at once is one request, as timeout(1) makes it.
      let ended = false;
      const end = krun.end.finally(() => ended = true);
      await waitFor("krun to end", () => ended || (krun.kill(signal), false));
      assert.equal((await end).code, 137, krun.stderr);
      assert.deepEqual(tree(shop.base), []);
    });
  }
  await t.step("without a program krun ends at once with 0", async () => {
    await using krun = shop.start({ args: [], env: MOUNTS });
    await krun.sees("stderr", /files ready/);
    krun.kill("SIGTERM");
    assert.equal((await krun.end).code, 0, krun.stderr);
    assert.deepEqual(tree(shop.base), []);
  });
});

/** A daemon in a session of its own whose parents are gone, deaf to SIGTERM, and one process of the program's group. */
const FAMILY = [
  "setsid sh -c '(trap \"\" TERM; echo $$ > daemon; while :; do sleep 0.05; done) & exit' </dev/null >/dev/null 2>&1",
  "sleep 1000 </dev/null >/dev/null 2>&1 &",
  "until test -s daemon; do sleep 0.02; done",
  "rm daemon",
].join("\n");

Deno.test("nothing of the program's tree outlives krun", async (t) => {
  await using shop = await Shop.create(server);
  await using memory = await Memory.create(shop);
  await t.step("when the program ends", async () => {
    const mark = crypto.randomUUID();
    const env = { ...MOUNTS, MARK: mark, KRUN_GRACE_PERIOD: "1" };
    const { code, stderr } = await shop.run({ under: memory.under, args: sh(`${FAMILY}\nexit 5`), env });
    assert.equal(code, 5, stderr);
    nothingIsLeft(shop, { mark, memory });
  });
  await t.step("when krun is told to stop", async () => {
    const mark = crypto.randomUUID();
    const env = { ...MOUNTS, MARK: mark, KRUN_GRACE_PERIOD: "1" };
    await using krun = shop.start({ under: memory.under, args: sh(`${FAMILY}\necho up\nsleep 1000`), env });
    await krun.sees("stdout", /up/);
    assert.ok(marked(mark).length >= 4, "krun, the program, the daemon, the child");
    krun.kill("SIGTERM");
    assert.equal((await krun.end).code, 143, krun.stderr);
    nothingIsLeft(shop, { mark, memory });
  });
  await t.step("the control: without krun they all go on", async () => {
    const mark = crypto.randomUUID();
    const alone = new Deno.Command("/bin/sh", { args: ["-c", FAMILY], cwd: shop.base, env: { MARK: mark } });
    assert.ok((await alone.output()).success);
    const left = marked(mark);
    for (const pid of left) {
      try {
        Deno.kill(pid, "SIGKILL");
      } catch (error) {
        // One of them ends with another.
        if (!(error instanceof Deno.errors.NotFound)) throw error;
      }
    }
    assert.ok(left.length >= 2, `${left}`);
  });
});

Deno.test("a restart of the program takes along all that it left behind", async (t) => {
  await using shop = await Shop.create(server);
  const ways = { "found by its mark": [], "where the kernel takes no mark": ["prlimit", "--locks=5:5"] };
  for (const [way, under] of Object.entries(ways)) {
    await t.step(way, async () => {
      const mark = crypto.randomUUID();
      await server.replace(shop.configMap("app", { level: "1" }));
      const args = sh(`${FAMILY}\necho pass $(cat app/level)\nexec sleep 1000`);
      await using krun = shop.start({ under, args, env: { ...MOUNTS, MARK: mark, KRUN_ON_CHANGE: "restart" } });
      await krun.sees("stdout", /pass 1/);
      const first = marked(mark).filter((pid) => pid !== krun.pid);
      assert.ok(first.length >= 3, `the program, the daemon, the child: ${first}`);
      await server.replace(shop.configMap("app", { level: "2" }));
      await krun.sees("stdout", /pass 2/);
      const left = marked(mark).filter((pid) => pid !== krun.pid);
      assert.ok(left.length >= 3, `${left}`);
      assert.deepEqual(left.filter((pid) => first.includes(pid)), []);
      krun.kill("SIGTERM");
      assert.equal((await krun.end).code, 143, krun.stderr);
      assert.deepEqual(marked(mark), []);
    });
  }
});

/** Programs that krun has written down, and that nobody has told the journal to forget. */
function noted(shop: Shop): number[] {
  try {
    return [...shop.read(".krun", "journal").matchAll(/"pid":(\d+)/g)].map(([, pid]) => Number(pid));
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return []; // The kill came before the journal.
    throw error;
  }
}

Deno.test("after kill -9 of krun at any moment the next start cleans up, and stops what survived", async () => {
  await using shop = await Shop.create(server);
  await using memory = await Memory.create(shop);
  const mark = crypto.randomUUID();
  const env = { ...MOUNTS, MARK: mark };
  const known = new Set<number>();
  let startMs = 0;
  for (let round = 0; round < 25; round++) {
    const from = performance.now();
    await using krun = shop.start({ under: memory.under, args: sh("exec sleep 1000"), env });
    // From before its first statement to after the program's start, which the first round has seen.
    const afterMs = Math.floor(Math.random() * 1.5 * startMs);
    if (round > 0) await pass(afterMs);
    else await waitFor("the program to be noted", () => noted(shop).length > 0);
    startMs ||= performance.now() - from;
    await krun.murder();
    assertNoSecret(krun.stderr);
    for (const pid of noted(shop)) known.add(pid);
    const left = marked(mark);
    assert.ok(left.length <= 1, `after ${afterMs} ms in round ${round}: ${left} live at once\n${krun.stderr}`);
    // The next round meets files that differ.
    await server.replace(shop.configMap("app", { level: `${round + 1}` }));
  }
  const { code, stdout, stderr } = await shop.run({
    under: memory.under,
    args: sh("cat deep/db/password app/level"),
    env,
  });
  assert.deepEqual([code, stdout], [0, `${SECRET}25`], stderr);
  assert.ok(known.size > 0, "some round came as far as the program");
  nothingIsLeft(shop, { mark, memory });
});

Deno.test("kill -9 while files change leaves a whole version in force", async () => {
  await using shop = await Shop.create(server);
  await using memory = await Memory.create(shop);
  const mark = crypto.randomUUID();
  const env = { K8S_CM_app: "./app", MARK: mark };
  const versions = (value: string) => shop.configMap("app", { a: value, b: value, level: value });
  await server.replace(versions("0"));
  for (let round = 1; round <= 8; round++) {
    await using krun = shop.start({ under: memory.under, args: sh("echo up; exec sleep 1000"), env });
    await krun.sees("stdout", /up/);
    for (let change = 0; change < 3; change++) await server.replace(versions(`${round}-${change}`));
    await krun.murder();
    const [a, b, level] = ["a", "b", "level"].map((key) => shop.read("app", key));
    assert.deepEqual([a, b], [level, level], "one version, whatever the moment");
  }
  const { code, stderr } = await shop.run({ under: memory.under, args: sh("test -s app/a"), env });
  assert.equal(code, 0, stderr);
  nothingIsLeft(shop, { mark, memory });
});

/** Lets time pass: here the moment itself is what is tried. */
function pass(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}
