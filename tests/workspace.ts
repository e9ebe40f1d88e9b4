/**
 * A temporary folder with a manifests folder in it: what most end-to-end tests start from.
 *
 * @module
 */
import { join } from "node:path";
import { type KrunEnd, KrunProcess, runKrun } from "./krun_process.ts";

/** Base64 of a text, as Secret `data` wants it. */
export const base64 = (text: string): string => btoa(String.fromCharCode(...new TextEncoder().encode(text)));

/** What a krun of a workspace is started with. */
export interface WorkspaceRun {
  readonly args: readonly string[];
  readonly env?: Readonly<Record<string, string>>;
  readonly under?: readonly string[];
  readonly uid?: number;
  readonly gid?: number;
  readonly preload?: string;
}

/** Whether something stands at a path, also a link that leads nowhere. */
export function exists(path: string): boolean {
  try {
    Deno.lstatSync(path);
    return true;
  } catch {
    return false;
  }
}

/** A folder of its own for one test, removed when it is disposed. */
export class Workspace implements AsyncDisposable {
  /** The base folder and working directory. */
  readonly folder: string;
  /** The manifests folder. */
  readonly manifests: string;

  private constructor(readonly root: string) {
    this.folder = join(root, "work");
    this.manifests = join(root, "k8s");
  }

  /** Makes the folders and puts a Secret `db` and a ConfigMap `app` of namespace `shop` into the manifests. */
  static async create(): Promise<Workspace> {
    const workspace = new Workspace(await Deno.makeTempDir({ prefix: "krun-test-" }));
    await Deno.chmod(workspace.root, 0o755);
    await Deno.mkdir(workspace.folder, { mode: 0o755 });
    await Deno.mkdir(workspace.manifests, { mode: 0o755 });
    await workspace.put({ kind: "Secret", name: "db", stringData: { username: "alice", password: "s3cr3t" } });
    await workspace.put({ kind: "ConfigMap", name: "app", data: { "app.conf": "level=1\n" } });
    return workspace;
  }

  /** Writes one object of namespace `shop` as a manifest of its own. */
  async put(object: { kind: string; name: string } & Record<string, unknown>): Promise<void> {
    const { kind, name, ...rest } = object;
    const manifest = { apiVersion: "v1", kind, metadata: { name, namespace: "shop" }, ...rest };
    const path = this.manifest(kind, name);
    await Deno.writeTextFile(`${path}.new`, JSON.stringify(manifest));
    await Deno.rename(`${path}.new`, path);
  }

  /** Path of the manifest of an object. */
  manifest(kind: string, name: string): string {
    return join(this.manifests, `${kind}-${name}.json`);
  }

  /** Absolute path of a file below the base. */
  path(...parts: string[]): string {
    return join(this.folder, ...parts);
  }

  read(...parts: string[]): string {
    return Deno.readTextFileSync(this.path(...parts));
  }

  /** Starts krun with the manifests and the folder as its base. */
  start({ env = {}, ...run }: WorkspaceRun): KrunProcess {
    return new KrunProcess({ ...run, cwd: this.folder, env: { ...this.env(), ...env } });
  }

  /** Runs krun to its end. */
  run({ env = {}, ...run }: WorkspaceRun): Promise<KrunEnd> {
    return runKrun({ ...run, cwd: this.folder, env: { ...this.env(), ...env } });
  }

  /** What every krun of this workspace is told. */
  env(): Record<string, string> {
    return { KRUN_MANIFESTS: this.manifests, MESH_BASE_DIR: this.folder, WORKLOAD_NAMESPACE: "shop" };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Deno.remove(this.root, { recursive: true });
  }
}

/** What lies in a folder tree, links by their target; for "nothing is left" and "nothing was touched". */
export function tree(folder: string): string[] {
  const found: string[] = [];
  const walk = (path: string, shown: string) => {
    for (const entry of [...Deno.readDirSync(path)].sort((a, b) => a.name < b.name ? -1 : 1)) {
      const child = `${shown}${entry.name}`;
      if (entry.isSymlink) found.push(`${child} -> ${Deno.readLinkSync(join(path, entry.name))}`);
      else if (entry.isDirectory) {
        found.push(`${child}/`);
        walk(join(path, entry.name), `${child}/`);
      } else found.push(child);
    }
  };
  walk(folder, "");
  return found;
}
