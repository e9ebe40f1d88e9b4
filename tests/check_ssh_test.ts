/** What `--check` says of the debug SSH server, and a start of one that nobody may log in to. */
import assert from "node:assert/strict";
import { checked, KEY, startWarnings } from "./ssh_check_rig.ts";
import { Workspace } from "./workspace.ts";

Deno.test("krun --check says where the ssh server would listen, and who would be let in", async (t) => {
  await t.step("by SSH_AUTH, on all addresses", async () => {
    const { rows } = await checked({ SSH_AUTH: `ssh-ed25519 ${KEY} ann@laptop` });
    assert.match(rows[0]!, /^ssh server: (?:0\.0\.0\.0|\[::\]):15022 \(SSH_AUTH\)$/);
    assert.deepEqual(rows.slice(1), [
      "ssh login: SHA256:9pxV7ctNVCz3SLwpb5WkkiBl57d/Rn6GUFJ1CgJik0A (ann@laptop)",
      "ssh host key: none yet (krun makes one when its server opens, and logs it)",
    ]);
  });
  await t.step("by KRUN_SSH, and always on 127.0.0.1", async () => {
    const { rows } = await checked({ SSH_AUTH: `cert-authority ssh-ed25519 ${KEY}`, KRUN_SSH: "10.1.2.3:22" });
    assert.equal(rows[0], "ssh server: 10.1.2.3:22, 127.0.0.1:22 (KRUN_SSH)");
    assert.match(rows[1]!, /^ssh login: certificates of SHA256:\S+ \(ssh-ed25519, for shop\)$/);
  });
  await t.step("with what the options of a line take away", async () => {
    const options = 'restrict,from="10.0.0.0/8",command="x",expiry-time="22000101"';
    const permits = 'permitopen="a:1",permitopen="[::1]:*",permitlisten="8080"';
    const { rows } = await checked({
      SSH_AUTH: `${options} ssh-ed25519 ${KEY} ann\n${permits} ssh-ed25519 ${KEY} bob`,
    });
    assert.match(
      rows[1]!,
      / \(ann, until 2200-01-01T00:00:00\.000Z, from 10\.0\.0\.0\/8, one command only, no terminal, no forwards\)$/,
    );
    assert.match(rows[2]!, / \(bob, forwards to a:1 or \[::1\]:\* alone, listens at \*:8080 alone\)$/);
  });
  await t.step("which principals a certificate must name", async () => {
    const SSH_AUTH = `cert-authority ssh-ed25519 ${KEY} a\ncert-authority,principals="b" ssh-ed25519 ${KEY} b`;
    const principals = async (settings: Record<string, string>) => {
      const { rows } = await checked({ SSH_AUTH, ...settings });
      return rows.slice(1, 3).map((row) => / \((.*)\)$/.exec(row)?.[1]);
    };
    assert.deepEqual(await principals({ WORKLOAD_NAME: "web" }), ["a, for web or shop", "b, for b"]);
    assert.deepEqual(await principals({ KRUN_SSH_PRINCIPALS: "ops,dev" }), ["a, for ops or dev", "b, for b"]);
  });
  await t.step("a host key that is another one at each start", async () => {
    const SSH_AUTH = `ssh-ed25519 ${KEY}`;
    const alone = { SSH_AUTH, MESH_BASE_DIR: "", KRUN_MANIFESTS: "", WORKLOAD_NAMESPACE: "" };
    assert.equal(
      (await checked(alone)).rows.at(-1),
      "ssh host key: none yet (new at each start; set MESH_BASE_DIR)",
    );
  });
  await t.step("a host key of the Secret that is none", async () => {
    const { rows, warnings } = await checked({ SSH_AUTH: `ssh-ed25519 ${KEY}` }, { secret: { id_rsa: "no key" } });
    assert.match(rows.at(-1)!, /^ssh host key: none yet /);
    assert.match(warnings.join(), /key "id_rsa" of Secret "sshdebug" is not used as a host key: it is no private key/);
  });
  await t.step("nobody, since a line is of no use", async () => {
    const { rows, warnings } = await checked({ SSH_AUTH: `environment="A=b" ssh-ed25519 ${KEY}` });
    assert.match(rows[0]!, /^ssh server: none \(SSH_AUTH has no key that is of use; there is no Secret sshdebug /);
    assert.match(warnings.join(), /line 1 of SSH_AUTH lets nobody in: .*environment/);
  });
  await t.step("nobody, since KRUN_SSH says so", async () => {
    const { rows } = await checked({ SSH_AUTH: `ssh-ed25519 ${KEY}`, KRUN_SSH: "-" });
    assert.deepEqual(rows, ["ssh server: none (KRUN_SSH is -)"]);
  });
  await t.step("that there is none, where nothing asks for one and there is a cluster", async () => {
    const { rows, problems, warnings } = await checked({});
    assert.deepEqual(rows, ["ssh server: none (there is no Secret sshdebug in namespace shop)"]);
    assert.deepEqual([problems, warnings], [[], []]);
    assert.deepEqual((await checked({ KRUN_MANIFESTS: "", WORKLOAD_NAMESPACE: "" })).rows, []);
  });
});

Deno.test("krun --check names the program, and none of its arguments", async () => {
  await using workspace = await Workspace.create();
  const { stdout } = await workspace.run({ args: ["--check", "--", "/bin/sh", "-c", "echo hidden"] });
  assert.match(stdout, /^ {2}program +\S+ +container, starts \/bin\/sh$/m);
  assert.doesNotMatch(stdout, /hidden/);
});

Deno.test("krun --check is not ok where a server is asked for and nobody may log in, and says why", async (t) => {
  const SSH_AUTH = `ssh-ed25519 ${KEY} ann`;
  const noSecret = "there is no Secret sshdebug in namespace shop";
  const nobody = (found: string, asked = "") =>
    `Cannot let anybody log in by ssh: ${found}${asked}; give SSH_AUTH a public key, or Secret sshdebug one`;
  const ofSshAuth = [nobody(`SSH_AUTH has no key that is of use, and ${noSecret}`)];
  const secretKey = "-----BEGIN OPENSSH PRIVATE KEY-----\naGlkZGVu\n-----END OPENSSH PRIVATE KEY-----\n";
  for (
    const [what, given, warning] of [
      ["a private key", secretKey, /^SSH_AUTH is a private key, which nobody else should have/],
      [
        "a cut key",
        SSH_AUTH.slice(0, 60),
        /^line 1 of SSH_AUTH lets nobody in: the key is cut off: paste the whole line/,
      ],
      ["an option that is none", `no-fun ${SSH_AUTH}`, /^line 1 of SSH_AUTH lets nobody in: its option "no-fun"/],
      [
        "the name of a file",
        "/root/.ssh/id_ed25519.pub",
        /^line 1 of .* it is the name of a file: give what is in it$/,
      ],
      ["a remark", "# ann", undefined],
      ["an expired key", `expiry-time="20200101" ${SSH_AUTH}`, /^line 1 .*: it expired at 2020-01-01T00:00:00.000Z$/],
      ["names of hosts", `from="*.example.com" ${SSH_AUTH}`, /^line 1 of SSH_AUTH lets nobody in: no address matches/],
      ["no security key", `verify-required ${SSH_AUTH}`, /^line 1 of SSH_AUTH lets nobody in: .*"verify-required"/],
    ] as const
  ) {
    await t.step(what, async () => {
      const { rows, problems, warnings } = await checked({ SSH_AUTH: given });
      assert.deepEqual(problems, ofSshAuth);
      assert.deepEqual(rows, [`ssh server: none (SSH_AUTH has no key that is of use; ${noSecret})`]);
      assert.equal(warnings.length, warning ? 1 : 0, warnings.join("\n"));
      if (warning) assert.match(warnings[0]!, warning);
      assert.doesNotMatch(warnings.join(), /aGlkZGVu/);
    });
  }
  await t.step("an address, and nobody", async () => {
    const { rows, problems } = await checked({ KRUN_SSH: "0.0.0.0:15022" });
    assert.deepEqual(rows, [`ssh server: none (SSH_AUTH is not set; ${noSecret})`]);
    assert.deepEqual(problems, [nobody(`SSH_AUTH is not set, and ${noSecret}`, " (asked for by KRUN_SSH)")]);
  });
  await t.step("a key and an authority that are revoked", async () => {
    const secret = { authorized_keys: SSH_AUTH, ca_team: SSH_AUTH, revoked_keys: SSH_AUTH };
    const { rows, problems, warnings } = await checked({}, { secret });
    assert.deepEqual(problems, [nobody("SSH_AUTH is not set, and Secret sshdebug has none")]);
    assert.deepEqual(rows, ["ssh server: none (SSH_AUTH is not set; Secret sshdebug has none)"]);
    assert.deepEqual(
      warnings,
      ["authorized_keys", "ca_team"].map((name) =>
        `line 1 of key "${name}" of Secret "sshdebug" lets nobody in: it is revoked`
      ),
    );
  });
  await t.step("a list of revoked keys that cannot be read", async () => {
    const { rows, problems } = await checked({ SSH_AUTH }, { secret: { revoked_keys: "serial: seven" } });
    assert.deepEqual(problems, [
      'Cannot let anybody log in by ssh: key "revoked_keys" of Secret "sshdebug" cannot be read ' +
      "(asked for by SSH_AUTH); correct it, or take it away",
    ]);
    assert.deepEqual(rows, ['ssh server: none (key "revoked_keys" of Secret "sshdebug" cannot be read)']);
  });
  await t.step("tokens, and nobody who could review one", async () => {
    const fault = "Cannot take tokens by ssh: KRUN_SSH_RBAC needs a cluster's API server, and";
    const hint = "or unset KRUN_SSH_RBAC and give SSH_AUTH a public key";
    const withManifests = await checked({ KRUN_SSH_RBAC: "true" });
    assert.deepEqual(withManifests.problems, [
      `${fault} a folder of manifests has none; unset KRUN_MANIFESTS, ${hint}, or Secret sshdebug one`,
    ]);
    assert.deepEqual(withManifests.rows, [`ssh server: none (SSH_AUTH is not set; ${noSecret})`]);
    const alone = await checked({ KRUN_SSH_RBAC: "true", KRUN_MANIFESTS: "", WORKLOAD_NAMESPACE: "", SSH_AUTH });
    assert.deepEqual(alone.problems, [`${fault} there is no cluster; set KUBECONFIG, ${hint}`]);
    assert.deepEqual(alone.rows.filter((row) => row.startsWith("ssh login")).length, 1);
  });
  await t.step("a name that has no address", async () => {
    const { problems } = await checked({ SSH_AUTH, KRUN_SSH: "no-such-name.invalid:0" });
    assert.match(
      problems.join("\n"),
      /^Cannot listen on no-such-name\.invalid:0 for KRUN_SSH: .*; set KRUN_SSH to an address of this machine, as 127/,
    );
  });
  await t.step("not for what of a line has no effect", async () => {
    const { problems, warnings } = await checked({
      SSH_AUTH: `from="10.0.0.0/8,*.example.com" ${SSH_AUTH} ${SSH_AUTH}`,
    });
    assert.deepEqual(problems, []);
    assert.equal(warnings.length, 2);
    assert.match(warnings[0]!, /has a second key behind the first/);
    assert.match(warnings[1]!, /no address matches "\*\.example\.com" of its from=/);
  });
});

Deno.test("krun --check says whether the ssh server could listen, and who has its port", async (t) => {
  const SSH_AUTH = `ssh-ed25519 ${KEY}`;
  using holder = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  const { port } = holder.addr;
  const has = `another program has that address, process deno \\(${Deno.pid}\\)`;
  const hint = "end what has it, or set KRUN_SSH to a port that is free";
  await t.step("a port that another program has, in one sentence", async () => {
    const { problems } = await checked({ SSH_AUTH, KRUN_SSH: `127.0.0.1:${port}` });
    assert.match(problems.join("\n"), new RegExp(`^Cannot listen on 127.0.0.1:${port} for KRUN_SSH: ${has}; ${hint}$`));
  });
  await t.step("that of 127.0.0.1, which is always part of it", async () => {
    const { problems } = await checked({ SSH_AUTH, KRUN_SSH: `127.0.0.2:${port}` });
    assert.match(problems.join("\n"), new RegExp(`^Cannot listen on 127.0.0.1:${port} for KRUN_SSH: ${has}; ${hint}$`));
  });
  await t.step("an address of another machine", async () => {
    const { problems } = await checked({ SSH_AUTH, KRUN_SSH: "203.0.113.7:0" });
    assert.deepEqual(problems, [
      "Cannot listen on 203.0.113.7:0 for KRUN_SSH: this machine has no such address; " +
      "set KRUN_SSH to an address of this machine",
    ]);
  });
  await t.step(
    "nothing, where there is to be no server, and where the port is free",
    async () => {
      assert.deepEqual((await checked({ SSH_AUTH, KRUN_SSH: "-" })).problems, []);
      assert.deepEqual((await checked({ SSH_AUTH, KRUN_SSH: "127.0.0.1:0" })).problems, []);
    },
  );
});

Deno.test("a start that asks for an ssh server which nobody may log in to says so once, and what to set", async (t) => {
  const nobody = "no ssh server: there is nobody who may log in";
  const alone = { KRUN_MANIFESTS: "", WORKLOAD_NAMESPACE: "" };
  await t.step("KRUN_SSH without a cluster", async () => {
    const hint = 'hint="give SSH_AUTH a public key"';
    assert.deepEqual(await startWarnings({ ...alone, KRUN_SSH: "127.0.0.1:0" }), [`${nobody} ${hint}`]);
  });
  await t.step("KRUN_SSH with one", async () => {
    const hint = 'hint="give SSH_AUTH a public key, or Secret sshdebug one"';
    assert.deepEqual(await startWarnings({ KRUN_SSH: "127.0.0.1:0" }), [`${nobody} ${hint}`]);
  });
  await t.step("tokens, and nobody who could review one", async () => {
    const rbac = { KRUN_SSH_RBAC: "true", KRUN_SSH: "127.0.0.1:0" };
    const [ofTokens = "", ...others] = await startWarnings(rbac);
    assert.match(
      ofTokens,
      /^no tokens are taken by ssh reason="Cannot take tokens by ssh: .*" hint="unset KRUN_MANIFESTS, /,
    );
    assert.deepEqual(others, [`${nobody} hint="give SSH_AUTH a public key, or Secret sshdebug one"`]);
  });
  await t.step("a key that is there, and can let nobody in", async () => {
    const key = `expiry-time="20200101" ssh-ed25519 ${KEY}`;
    const [ofKey = "", ...others] = await startWarnings({ SSH_AUTH: key, KRUN_SSH: "127.0.0.1:0" });
    assert.match(ofKey, /^an ssh key is not used reason="line 1 of SSH_AUTH lets nobody in: it expired at 2020-/);
    assert.deepEqual(others, [`${nobody} hint="give SSH_AUTH a public key, or Secret sshdebug one"`]);
  });
  await t.step("an address that another program has: who, and that it is tried again", async () => {
    using holder = Deno.listen({ hostname: "127.0.0.1", port: 0 });
    const address = `127.0.0.1:${holder.addr.port}`;
    const [told = "", ...others] = await startWarnings({ SSH_AUTH: `ssh-ed25519 ${KEY}`, KRUN_SSH: address });
    assert.equal(
      told,
      `the ssh server cannot be had at ${address} reason="Cannot listen on ${address} for KRUN_SSH: another program has ` +
        `that address, process deno (${Deno.pid})" hint="end what has it, or set KRUN_SSH to a port that is free" ` +
        'again="it is tried again every 30 s"',
    );
    assert.deepEqual(others, []);
  });
  await t.step("a name that has no address", async () => {
    const [told] = await startWarnings({ SSH_AUTH: `ssh-ed25519 ${KEY}`, KRUN_SSH: "no-such-name.invalid:0" });
    assert.match(told ?? "", / hint="set KRUN_SSH to an address of this machine, as 127\.0\.0\.1:15022, or 0/);
  });
  await t.step("an SSH_AUTH that is empty, as of a file that is not there", async () => {
    const told = "SSH_AUTH is set and empty, so it lets nobody in: give it a public key, or unset it";
    assert.deepEqual(await startWarnings({ ...alone, SSH_AUTH: "" }), [told]);
    assert.deepEqual((await checked({ SSH_AUTH: "" })).warnings, [told]);
  });
  await t.step("nothing, where nothing asks for one, or KRUN_SSH for none", async () => {
    assert.deepEqual(await startWarnings(alone, { sees: /program started/ }), []);
    assert.deepEqual(await startWarnings({ ...alone, KRUN_SSH: "-" }, { sees: /program started/ }), []);
  });
});

Deno.test("a start says once that its ssh host key is another one the next time, where krun has no folder", async (t) => {
  const SSH_AUTH = `ssh-ed25519 ${KEY}`;
  const log = async (env: Record<string, string>) => {
    await using workspace = await Workspace.create();
    const alone = { KRUN_MANIFESTS: "", WORKLOAD_NAMESPACE: "", SSH_AUTH, KRUN_SSH: "127.0.0.1:0", ...env };
    await using krun = workspace.start({ args: ["--", "/bin/sleep", "1000"], env: alone });
    await krun.sees("stderr", /ssh server listens/);
    krun.kill("SIGTERM");
    return (await krun.end).stderr;
  };
  const told = /info the ssh host key is new at each start hint="set MESH_BASE_DIR"$/gm;
  await t.step("without one", async () => {
    assert.equal((await log({ MESH_BASE_DIR: "" })).match(told)?.length, 1);
  });
  await t.step("not with one", async () => assert.doesNotMatch(await log({}), /new at each start/));
});
