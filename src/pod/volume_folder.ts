/**
 * A volume on disk: its target, its store, and the single steps that change it. In: steps from `core/volume_plan.ts`. Out:
 * effects, and the state that a plan starts from.
 *
 * @module
 */
import { DATA_LINK, type FoundEntry, isVersionName, type VolumeOp, type VolumeState } from "../core/volume_plan.ts";
import { Folder } from "./folder.ts";

/** An open volume; close it with `using`. Throws `FileError`. */
export class VolumeFolder implements Disposable {
  readonly #target: Folder;
  readonly #store: Folder;
  /** What stands before a version's name in the text of `..data`. */
  readonly #prefix: string;

  /** Both are absolute and free of links; without a store the versions lie in the target. */
  constructor(target: string, store?: string) {
    using opened = new DisposableStack();
    this.#target = opened.use(Folder.open(target));
    this.#store = store === undefined ? this.#target : opened.use(Folder.open(store));
    this.#prefix = store === undefined ? "" : `${store}/`;
    opened.move();
  }

  [Symbol.dispose](): void {
    this.#target[Symbol.dispose]();
    if (this.#store !== this.#target) this.#store[Symbol.dispose]();
  }

  /** Reads the volume as it stands. */
  read(): VolumeState {
    const names = new Map(this.#target.list().map((name) => [name, this.#target.linkText(name)]));
    const versions = this.#store.list().filter((name) =>
      isVersionName(name) && this.#store.stat(name)?.kind === "folder"
    );
    const text = names.get(DATA_LINK);
    const current = versions.find((name) => this.#prefix + name === text);
    return { names, versions, current: current === undefined ? undefined : this.#readVersion(current) };
  }

  /** Carries out one step. */
  apply(step: VolumeOp): void {
    switch (step.op) {
      case "remove-version":
        return this.#store.removeTree(step.path);
      case "make-folder":
        return this.#below(step.path, (folder, name) => folder.makeFolder(name));
      case "write-file":
        return this.#below(step.path, (folder, name) => folder.write(name, step.bytes, step.owned));
      case "own-folder":
        return this.#below(step.path, (folder, name) => folder.own(name, step.owned));
      case "link":
        return this.#target.link(step.name, step.to, step.gid);
      case "rename":
        return this.#target.rename(step.from, step.to);
      case "unlink":
        return this.#target.unlink(step.name);
    }
  }

  #readVersion(name: string): NonNullable<VolumeState["current"]> {
    using folder = this.#store.open(name);
    const entries = new Map<string, FoundEntry>();
    readInto(entries, folder, "");
    return { name, folder: folder.self(), entries };
  }

  /** Calls `use` with the folder in which the last element of a path below the store stands. */
  #below(path: string, use: (folder: Folder, name: string) => void): void {
    const [name, ...parents] = path.split("/").reverse();
    using opened = new DisposableStack();
    use(parents.reduceRight((folder, each) => opened.use(folder.open(each)), this.#store), name!);
  }
}

function readInto(entries: Map<string, FoundEntry>, folder: Folder, prefix: string): void {
  for (const name of folder.list()) {
    const { kind, mode, uid, gid } = folder.stat(name)!;
    const path = prefix + name;
    if (kind === "file") entries.set(path, { mode, uid, gid, bytes: folder.read(name) });
    if (kind !== "folder") continue;
    entries.set(path, { mode, uid, gid });
    using inner = folder.open(name);
    readInto(entries, inner, `${path}/`);
  }
}
