/**
 * A namespace and a user of their own on a real API server, and a base folder: what an end-to-end test of a fault starts from.
 *
 * In: a running {@linkcode ApiServer}. Out: runs of the real krun there. Every run is searched for what must never be printed.
 *
 * @module
 */
import assert from "node:assert/strict";
import { join } from "node:path";
import { type KrunEnd, type KrunOptions, KrunProcess, runKrun } from "../krun_process.ts";
import { tree } from "../workspace.ts";
import type { ApiServer, KubeObject, PolicyRule } from "./api_server.ts";

/** The content of a Secret in these tests. */
export const SECRET = "s3cr3t-0f-the-shop";

/** What krun needs for mounts of all kinds. */
export const KRUN_RULES: readonly PolicyRule[] = [
  { apiGroups: [""], resources: ["secrets", "configmaps"], verbs: ["get", "list", "watch"] },
  { apiGroups: [""], resources: ["serviceaccounts/token"], verbs: ["create"] },
  { apiGroups: [""], resources: ["services"], verbs: ["list"] },
];

/** A shell script as krun's arguments. */
export const sh = (script: string): string[] => ["--", "/bin/sh", "-c", script];

/** A program that says `up`, and then does nothing until SIGTERM. */
export const IDLE = sh("trap 'exit 0' TERM; echo up; while :; do sleep 0.05; done");

/** What differs from one run to the next. */
export interface ShopRun extends Omit<KrunOptions, "args" | "cwd"> {
  readonly args?: readonly string[];
}

/** How krun refused to start. */
export interface Refusal {
  /** The one line of the error. */
  readonly line: string;
  /** The lines after it. */
  readonly details: string;
}

/** A namespace, a user for krun, and a base folder. Disposing it removes the folder; the namespace stays. */
export class Shop implements AsyncDisposable {
  /** The base, and krun's working directory. */
  readonly base: string;
  /** Name of krun's user. */
  readonly user: string;

  private constructor(readonly server: ApiServer, readonly root: string, readonly namespace: string) {
    this.base = join(root, "base");
    this.user = `krun-${namespace}`;
  }

  /** kubeconfig of krun's user; set by {@linkcode Shop.create}. */
  kubeconfig = "";

  /** Makes all of it, with a Secret `db` (`password`) and a ConfigMap `app` (`level`). */
  static async create(
    server: ApiServer,
    { rules = KRUN_RULES }: { rules?: readonly PolicyRule[] } = {},
  ): Promise<Shop> {
    const root = await Deno.makeTempDir({ prefix: "krun-shop-" });
    const shop = new Shop(server, root, `shop-${crypto.randomUUID().slice(0, 8)}`);
    await Deno.mkdir(shop.base);
    await server.namespace(shop.namespace);
    shop.kubeconfig = (await server.user(shop.user)).kubeconfig;
    if (rules.length > 0) await server.grant(shop.namespace, shop.user, rules);
    await server.create(shop.secret("db", { password: SECRET }));
    await server.create(shop.configMap("app", { level: "1" }));
    return shop;
  }

  /** A Secret of this namespace; not made yet. */
  secret(name: string, stringData: Record<string, string>): KubeObject {
    return { apiVersion: "v1", kind: "Secret", metadata: { namespace: this.namespace, name }, stringData };
  }

  /** A ConfigMap of this namespace; not made yet. */
  configMap(name: string, data: Record<string, string>): KubeObject {
    return { apiVersion: "v1", kind: "ConfigMap", metadata: { namespace: this.namespace, name }, data };
  }

  /** Absolute path of a file below the base. */
  path(...parts: string[]): string {
    return join(this.base, ...parts);
  }

  read(...parts: string[]): string {
    return Deno.readTextFileSync(this.path(...parts));
  }

  /** Writes a Pod of one container, named `app`, that krun's own arguments replace; the setting that hands it to krun. */
  async pod(volumes: readonly object[], volumeMounts: readonly object[]): Promise<{ KRUN_POD: string }> {
    const file = join(this.root, "pod.json");
    const metadata = { name: "web-0", namespace: this.namespace };
    const containers = [{ name: "app", command: ["/bin/sh", "-c", "echo started"], volumeMounts }];
    await Deno.writeTextFile(
      file,
      JSON.stringify({ apiVersion: "v1", kind: "Pod", metadata, spec: { volumes, containers } }),
    );
    return { KRUN_POD: file };
  }

  /** Starts krun as its user, at the most talkative. */
  start(run: ShopRun): KrunProcess {
    return new KrunProcess(this.#options(run));
  }

  /** Runs krun to its end. */
  async run(run: ShopRun): Promise<KrunEnd> {
    const end = await runKrun(this.#options(run));
    assertNoSecret(end.stderr);
    return end;
  }

  /**
   * Runs a krun that must refuse: no program runs, nothing in the base is touched, and the error is one line,
   * `krun: <message>; <hint>`, below which there may be details.
   */
  async refuses(run: ShopRun, status = 125): Promise<Refusal> {
    const before = tree(this.base);
    const { code, stdout, stderr } = await this.run({ args: sh("echo started"), ...run });
    assert.equal(code, status, stderr);
    assert.equal(stdout, "", "the program did not run");
    assert.deepEqual(tree(this.base), before, "nothing in the base was touched");
    return refusalIn(stderr);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Deno.remove(this.root, { recursive: true });
  }

  #options({ env = {}, args = IDLE, ...run }: ShopRun): KrunOptions {
    const own = {
      KUBECONFIG: this.kubeconfig,
      WORKLOAD_NAMESPACE: this.namespace,
      MESH_BASE_DIR: this.base,
      KRUN_LOG: "debug",
    };
    return { ...run, args, cwd: this.base, env: { ...own, ...env } };
  }
}

/** Fails unless every part is in the text. */
export function names(text: string, ...parts: string[]): void {
  for (const part of parts) assert.ok(text.includes(part), `${part} in:\n${text}`);
}

/** The one error in what krun wrote. */
export function refusalIn(stderr: string): Refusal {
  const lines = stderr.split("\n");
  const at = lines.findIndex((line) => line.startsWith("krun: "));
  assert.notEqual(at, -1, stderr);
  const line = lines[at]!;
  assert.equal(lines.filter((other) => other.startsWith("krun: ")).length, 1, stderr);
  assert.match(line, /^krun: Cannot [^;]+.*; \S.*[^.\s]$/, stderr);
  assert.doesNotMatch(stderr, /^\s+at .*:\d+:\d+\)?$/m, "no stack");
  return { line, details: lines.slice(at + 1).join("\n") };
}

/** Fails when a text holds a Secret's content, plain or as the API sends it, a token or a private key. */
export function assertNoSecret(text: string): void {
  for (
    const content of [
      SECRET,
      btoa(SECRET).replaceAll("=", ""),
      "PRIVATE KEY",
      btoa("-----BEGIN EC PRIVATE").slice(0, 24),
    ]
  ) {
    assert.ok(!text.includes(content), `a secret was printed:\n${text}`);
  }
  assert.doesNotMatch(text, /eyJ[\w-]+\.[\w-]+/, "a token was printed");
}
