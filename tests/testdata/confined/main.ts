/**
 * What is left to krun after it has given up what it can: compiled as krun is, started in some folder, it prints one line a try.
 *
 * In: an absolute folder outside of the working directory that this user may write. Out: `{ try: outcome }`.
 *
 * @module
 */
import { AtomicWriter } from "../../../src/pod/atomic_writer.ts";
import { loadLibc } from "../../../src/pod/libc.ts";
import { dropPermissions } from "../../../src/launch/permissions.ts";

const silent = { error() {}, warn() {}, info() {}, debug() {} };

function outcome(act: () => unknown): string {
  try {
    act();
    return "done";
  } catch (error) {
    return (error as Error).name;
  }
}

const publish = (text: string) =>
  new AtomicWriter({ target: `${Deno.cwd()}/volume`, ownership: { readers: [] } })
    .write(new Map([["key", { bytes: new TextEncoder().encode(text), mode: 0o600 }]]));

function tryAll(outside: string): Record<string, string> {
  loadLibc();
  dropPermissions({ uid: Deno.uid() ?? 0, base: Deno.cwd(), cwd: Deno.cwd(), log: silent });
  Deno.mkdirSync("volume", { recursive: true });
  return {
    writeOutside: outcome(() => Deno.writeTextFileSync(`${outside}/file`, "x")),
    writeInside: outcome(() => Deno.writeTextFileSync("file", "x")),
    loadLibrary: outcome(() => Deno.dlopen("libc.so.6", {})),
    publish: outcome(() => publish("one")),
    swap: outcome(() => publish("two")),
  };
}

// The compiler tries its product with --help, in a folder that is not for this.
const [outside] = Deno.args;
if (outside?.startsWith("/")) console.log(JSON.stringify(tryAll(outside)));
