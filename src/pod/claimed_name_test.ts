import assert from "node:assert/strict";
import { claimNetworkName } from "./claimed_name.ts";
import { loadLibc } from "./libc.ts";

const seen = (name: string) =>
  loadLibc().procText("/proc/self/net/unix")!.split("\n").filter((line) => line.endsWith(` @${name}`)).length;

Deno.test("claimNetworkName() holds a name that everybody in the network namespace sees, until it is disposed", () => {
  const name = `krun/test-${crypto.randomUUID()}`;
  assert.equal(seen(name), 0);
  {
    using _hold = claimNetworkName(name);
    assert.equal(seen(name), 1);
    assert.throws(() => claimNetworkName(name), { code: "InterceptionUnavailable" }, "it is held once");
    const { stdout } = new Deno.Command("ls", { args: ["-l", "/proc/self/fd"] }).outputSync();
    assert.doesNotMatch(new TextDecoder().decode(stdout), /socket:/, "a program does not inherit it");
  }
  assert.equal(seen(name), 0);
});
