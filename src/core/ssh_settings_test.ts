import assert from "node:assert/strict";
import { parseSettings } from "./settings.ts";

Deno.test("parseSettings() warns of an SSH_AUTH that is set and empty, unless there is to be no server", () => {
  const { warnings, ssh } = parseSettings({ SSH_AUTH: "" });
  assert.deepEqual(warnings, ["SSH_AUTH is set and empty, so it lets nobody in: give it a public key, or unset it"]);
  assert.equal(ssh.authorizedKeys, undefined);
  for (const env of [{}, { SSH_AUTH: "", KRUN_SSH: "-" }, { SSH_AUTH: "ssh-ed25519 AAAA" }, { KRUN_SSH: "" }]) {
    assert.deepEqual(parseSettings(env).warnings, []);
  }
});
