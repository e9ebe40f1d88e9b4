/**
 * The main job end to end, told as it happens: krun runs examples/hello against its folder of manifests, the Secret changes
 * while the program runs, the program is stopped. No cluster, no root, nothing but this runtime.
 *
 * In: nothing. Out: the story on stdout; status 0 when all of it happened, else 1. Works in a copy of the example in a
 * temporary folder.
 *
 * @module
 */
import { join } from "node:path";

/** Generous: a slow machine that loads everything for the first time. */
const DEADLINE_MS = 60_000;
const ROOT = new URL("..", import.meta.url).pathname;
const MAIN = join(ROOT, "main.ts");

const SETTINGS = {
  KRUN_MANIFESTS: "k8s",
  WORKLOAD_NAMESPACE: "hello",
  WORKLOAD_SERVICE_ACCOUNT: "greeter",
  K8S_SECRET_db: "./secrets/db",
  K8S_CM_app: "./config",
  K8S_TOKEN_vault: "./tokens/vault",
};

/** A program whose lines are shown as they come, and can be waited for. */
class ShownProgram {
  /** Its status, once its last line is shown. */
  readonly ended: Promise<number>;
  readonly #child: Deno.ChildProcess;
  readonly #lines: string[] = [];
  #hasEnded = false;
  #news = Promise.withResolvers<void>();

  constructor(argv: readonly string[], { cwd, env }: { cwd: string; env: Record<string, string> }) {
    const [program, ...args] = argv;
    const command = new Deno.Command(program!, { args, cwd, env, clearEnv: true, stdout: "piped", stderr: "piped" });
    this.#child = command.spawn();
    const { stdout, stderr, status } = this.#child;
    this.ended = Promise.all([status, this.#show("hello", stdout), this.#show("krun ", stderr)]).then(([{ code }]) => {
      this.#hasEnded = true;
      this.#news.resolve();
      return code;
    });
  }

  /** Waits for a line; fails when the program ends without it. */
  async says(line: string): Promise<void> {
    while (!this.#lines.includes(line)) {
      if (this.#hasEnded) throw new Error(`the program ended without "${line}"`);
      await this.#news.promise;
    }
  }

  terminate(): void {
    if (!this.#hasEnded) this.#child.kill("SIGTERM");
  }

  async #show(name: string, stream: ReadableStream<Uint8Array>): Promise<void> {
    let rest = "";
    for await (const text of stream.pipeThrough(new TextDecoderStream())) {
      const lines = (rest + text).split("\n");
      rest = lines.pop()!;
      for (const line of lines) console.log(`${name} | ${line}`);
      this.#lines.push(...lines);
      this.#news.resolve();
      this.#news = Promise.withResolvers();
    }
  }
}

/** The caller's environment without what would tell krun or the program something else than the demo says. */
function quietEnv(): Record<string, string> {
  const telling = /^(K8S_|KRUN_|KUBERNETES_|WORKLOAD_|LABEL_|PORT(_|$)|K_SERVICE$|KUBECONFIG$|MESH_BASE_DIR$)/;
  return Object.fromEntries(Object.entries(Deno.env.toObject()).filter(([name]) => !telling.test(name)));
}

function copyExample(folder: string): void {
  const example = join(ROOT, "examples", "hello");
  Deno.mkdirSync(join(folder, "k8s"));
  Deno.copyFileSync(join(example, "hello.ts"), join(folder, "hello.ts"));
  for (const { name } of Deno.readDirSync(join(example, "k8s"))) {
    Deno.copyFileSync(join(example, "k8s", name), join(folder, "k8s", name));
  }
}

async function demo(folder: string): Promise<void> {
  const before = namesIn(folder);
  console.log("A program that expects to run in a Pod, and a folder of manifests in place of a cluster:\n");
  console.log(Object.entries(SETTINGS).map(([name, value]) => `  ${name}=${value} \\`).join("\n"));
  console.log("  krun -- deno run -A hello.ts\n");
  const deno = [Deno.execPath(), "run", "-q"];
  const argv = [...deno, "-A", MAIN, "--", ...deno, "-A", "hello.ts"];
  const program = new ShownProgram(argv, { cwd: folder, env: { ...quietEnv(), MESH_BASE_DIR: folder, ...SETTINGS } });
  try {
    await inTime("the program to start", program.says("the password is spring"));

    console.log("\nThe Secret changes while the program runs: k8s/secret.yaml gets another password.\n");
    const secret = join(folder, "k8s", "secret.yaml");
    const changedAt = performance.now();
    Deno.writeTextFileSync(secret, Deno.readTextFileSync(secret).replace("spring", "summer"));
    await inTime("the program to see the change", program.says("the password is summer"));
    console.log(`\nThe program had it after ${Math.round(performance.now() - changedAt)} ms.`);
    console.log("Now SIGTERM, as from a node that stops a Pod:\n");
  } finally {
    program.terminate();
  }
  const status = await inTime("krun to end", program.ended);
  if (status !== 0) throw new Error(`krun ended with status ${status}`);
  const left = namesIn(folder).filter((name) => !before.includes(name));
  if (left.length > 0) throw new Error(`krun left ${left.join(", ")} behind`);
  console.log("\nkrun ended with the program's status, 0, and took away every file that it had made.");
}

function namesIn(folder: string): string[] {
  return [...Deno.readDirSync(folder)].map(({ name }) => name);
}

async function inTime<T>(what: string, happens: Promise<T>): Promise<T> {
  const { promise: late, reject } = Promise.withResolvers<never>();
  const deadline = setTimeout(() => reject(new Error(`waited ${DEADLINE_MS} ms for ${what}`)), DEADLINE_MS);
  try {
    return await Promise.race([happens, late]);
  } finally {
    clearTimeout(deadline);
  }
}

const folder = Deno.makeTempDirSync({ prefix: "krun-demo-" });
let status = 0;
try {
  copyExample(folder);
  await demo(folder);
} catch (error) {
  console.log(`\nThe demo failed: ${error instanceof Error ? error.message : error}`);
  status = 1;
} finally {
  Deno.removeSync(folder, { recursive: true });
}
Deno.exit(status);
