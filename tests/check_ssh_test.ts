/** What `--check` says of the debug SSH server, and a start of one that nobody may log in to. */
import assert from "node:assert/strict";
import type { CheckReport } from "../src/launch/check_report.ts";
import { Workspace } from "./workspace.ts";

const KEY = "AAAAC3NzaC1lZDI1NTE5AAAAICEkhcWy9dA8bDAMec9JyAKgRk7/q2xTLqGB+em6Y5PU";

/** The rows about it, the warnings, and what keeps somebody from coming in. */
async function checked(
  settings: Record<string, string>,
  secret?: Record<string, string>,
): Promise<{ rows: string[] } & Pick<CheckReport, "warnings" | "problems">> {
  await using workspace = await Workspace.create();
  if (secret) await workspace.put({ kind: "Secret", name: "sshdebug", stringData: secret });
  const ofCluster = { KRUN_MANIFESTS: workspace.manifests, WORKLOAD_NAMESPACE: "shop" };
  const env = secret ? { ...settings, ...ofCluster } : settings;
  const { code, stdout, stderr } = await workspace.run({ args: ["--check=json", "--", "/bin/sh"], env });
  const { ok, starts, findings, warnings, problems } = JSON.parse(stdout) as CheckReport;
  assert.equal(starts, true, stdout + stderr);
  assert.equal(ok, problems.length === 0);
  assert.equal(code, ok ? 0 : 1, stderr);
  const rows = findings.filter(({ what }) => what.startsWith("ssh ")).map((f) =>
    `${f.what}: ${f.value} (${f.because})`
  );
  return { rows, warnings, problems };
}

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
    assert.match(rows[1]!, /^ssh login: certificates of SHA256:\S+ \(ssh-ed25519\)$/);
  });
  await t.step("with what the options of a line take away", async () => {
    const options = 'restrict,from="10.0.0.0/8",command="x",expiry-time="20200101"';
    const { rows } = await checked({
      SSH_AUTH: `${options} ssh-ed25519 ${KEY} ann\npermitopen="a:1" ssh-ed25519 ${KEY} bob`,
    });
    assert.match(
      rows[1]!,
      / \(ann, expired at 2020-01-01T00:00:00\.000Z, from 10\.0\.0\.0\/8, one command only, no terminal, no forwards\)$/,
    );
    assert.match(rows[2]!, / \(bob, some forwards\)$/);
  });
  await t.step("a host key of the Secret that is none", async () => {
    const { rows, warnings } = await checked({ SSH_AUTH: `ssh-ed25519 ${KEY}` }, { id_rsa: "no key" });
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
  await t.step("nothing, where nothing asks for one", async () => {
    assert.deepEqual((await checked({})).rows, []);
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
    "nothing, where nobody may log in, where there is to be no server, and where the port is free",
    async () => {
      assert.deepEqual((await checked({ KRUN_SSH: `127.0.0.1:${port}` })).problems, []);
      assert.deepEqual((await checked({ SSH_AUTH, KRUN_SSH: "-" })).problems, []);
      assert.deepEqual((await checked({ SSH_AUTH, KRUN_SSH: "127.0.0.1:0" })).problems, []);
    },
  );
});

Deno.test("a start that asks for an ssh server which nobody may log in to says so once, and what to set", async (t) => {
  /** The warnings of a start. */
  const warnings = async (env: Record<string, string>, isAskedFor: boolean) => {
    await using workspace = await Workspace.create();
    await using krun = workspace.start({ args: ["--", "/bin/sleep", "1000"], env: { KRUN_LOG: "debug", ...env } });
    await krun.sees("stderr", isAskedFor ? / warn / : /program started/);
    krun.kill("SIGTERM");
    const { stderr } = await krun.end;
    return stderr.split("\n").filter((line) => / warn /.test(line)).map((line) => line.replace(/^.* warn /, ""));
  };
  const nobody = "no ssh server: there is nobody who may log in";
  const alone = { KRUN_MANIFESTS: "", WORKLOAD_NAMESPACE: "" };
  await t.step("KRUN_SSH without a cluster", async () => {
    const hint = 'hint="give SSH_AUTH a public key"';
    assert.deepEqual(await warnings({ ...alone, KRUN_SSH: "127.0.0.1:0" }, true), [`${nobody} ${hint}`]);
  });
  await t.step("KRUN_SSH with one", async () => {
    const hint = 'hint="give SSH_AUTH a public key, or Secret sshdebug one"';
    assert.deepEqual(await warnings({ KRUN_SSH: "127.0.0.1:0" }, true), [`${nobody} ${hint}`]);
  });
  await t.step("nothing, where nothing asks for one, or KRUN_SSH for none", async () => {
    assert.deepEqual(await warnings(alone, false), []);
    assert.deepEqual(await warnings({ ...alone, KRUN_SSH: "-" }, false), []);
  });
});
