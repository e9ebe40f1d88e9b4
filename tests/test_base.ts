/**
 * A base folder below a temporary folder, with a memory folder of its own, for tests of what krun makes and removes.
 *
 * @module
 */
import { join } from "node:path";
import { type BaseFolder, openBase } from "../src/pod/base_folder.ts";
import { RecordingLog } from "./recording_log.ts";
import { tree } from "./workspace.ts";

/** Two temporary folders, removed when it is disposed. */
export class TestBase implements Disposable {
  /** The base folder; free of links. */
  readonly path: string;
  /** Stands for /dev/shm, and is in it. */
  readonly memory: string;
  readonly log = new RecordingLog();
  readonly #root: string;

  constructor() {
    this.#root = Deno.realPathSync(Deno.makeTempDirSync({ prefix: "krun-test-" }));
    this.path = join(this.#root, "base");
    Deno.mkdirSync(this.path);
    this.memory = Deno.makeTempDirSync({ dir: "/dev/shm", prefix: "test-krun-" });
    for (const path of [this.#root, this.memory]) Deno.chmodSync(path, 0o755);
  }

  [Symbol.dispose](): void {
    for (const path of [this.#root, this.memory]) Deno.removeSync(path, { recursive: true });
  }

  /** Opens the base as a krun would. */
  open(): BaseFolder {
    return openBase({ base: this.path, log: this.log, pid: Deno.pid, memoryFolder: this.memory });
  }

  /** Runs `use` as one krun that ends normally. */
  run<Result>(use: (base: BaseFolder) => Result): Result {
    const base = this.open();
    try {
      return use(base);
    } finally {
      base.close({ keep: false });
    }
  }

  /** Absolute path below the base. */
  at(...names: string[]): string {
    return join(this.path, ...names);
  }

  /** Absolute path of a folder beside the base, made now. */
  outside(name: string): string {
    const path = join(this.#root, name);
    Deno.mkdirSync(path);
    return path;
  }

  /** Everything that lies in the base and in memory. */
  left(): string[] {
    return [...tree(this.path), ...tree(this.memory).map((name) => `memory/${name}`)];
  }
}
