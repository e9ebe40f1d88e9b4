/** The host key that krun keeps, where it cannot be used: `--check` and a start say so, for clients will see another one. */
import assert from "node:assert/strict";
import { checked, type CheckWorld, KEY, startWarnings } from "./ssh_check_rig.ts";

const SSH_AUTH = `ssh-ed25519 ${KEY}`;
const SEEN = "clients see another key: REMOTE HOST IDENTIFICATION HAS CHANGED";

/** A file where krun keeps its key. */
function kept(text: string, mode = 0o600): Pick<CheckWorld, "prepare"> {
  return {
    prepare: async (workspace) => {
      const path = workspace.path(".krun", "ssh_host_ed25519_key");
      await Deno.mkdir(workspace.path(".krun"), { mode: 0o700 });
      await Deno.writeTextFile(path, text);
      await Deno.chmod(path, mode);
    },
  };
}

const CASES = [
  ["no key", kept("no key"), "it is no private key"],
  ["one that others could have read", kept("no key", 0o644), "others could have read or changed it: its mode is 0644"],
] as const;

for (const [what, world, why] of CASES) {
  Deno.test(`krun --check names a kept ssh host key that is not used, and why: ${what}`, async () => {
    const { warnings, rows } = await checked({ SSH_AUTH }, world);
    assert.equal(warnings.length, 1);
    const told = `" is not used as a host key: ${why}; ${SEEN}`;
    assert.ok(warnings[0]!.endsWith(`/work/.krun/ssh_host_ed25519_key${told}`), warnings[0]!);
    assert.match(rows.at(-1)!, /^ssh host key: none yet /);
  });
}

Deno.test("a start warns once of a kept ssh host key that is not used", async () => {
  const [[, world, why]] = CASES;
  const told = await startWarnings({ SSH_AUTH, KRUN_SSH: "127.0.0.1:0" }, { ...world, sees: /ssh server listens/ });
  assert.equal(told.length, 1, told.join("\n"));
  assert.match(told[0]!, /^the kept ssh host key is not used path=\S+\/\.krun\/ssh_host_ed25519_key reason=/);
  assert.ok(told[0]!.endsWith(` reason="${why}" hint="${SEEN}"`), told[0]!);
});
