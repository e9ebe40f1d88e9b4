/** From where the debug SSH server can be reached, and what an address pays that fails again and again. In a network of its own. */
import assert from "node:assert/strict";
import { join } from "node:path";
import { runKrun } from "../krun_process.ts";
import { waitFor } from "../wait.ts";
import { NetworkNamespace } from "./network_namespace.ts";
import { isIn, publicLine } from "./ssh_attempts.ts";
import { audited, makeKey, runClient, SshRig, type SshRigOptions } from "./ssh_rig.ts";

let net: NetworkNamespace;
Deno.test.beforeAll(async () => {
  net = await NetworkNamespace.create();
});
Deno.test.afterAll(() => net[Symbol.asyncDispose]());

/** A krun in the inner network, with its clients there or in the outer one, which have 10.9.0.1. */
function start(from: "inner" | "outer", options: SshRigOptions): Promise<SshRig> {
  const host = from === "inner" ? "127.0.0.1" : "10.9.0.2";
  return SshRig.start({ under: net.argv("inner", []), clientUnder: net.argv(from, []), host, ...options });
}

/** Whether a TCP connection can be made. */
async function isReachable(from: "inner" | "outer", address: string): Promise<boolean> {
  const [host, port] = address.split(":");
  const argv = net.argv(from, ["timeout", "5", "bash", "-c", 'exec 3<>/dev/tcp/"$0"/"$1"', host!, port!]);
  return (await runClient(argv)).code === 0;
}

/** Without KRUN_SSH, as a user has it. */
const DEFAULT = { KRUN_SSH: "" };

Deno.test("with SSH_AUTH the server listens on port 15022 of every address", async () => {
  await using rig = await start("outer", { env: DEFAULT });
  assert.equal(rig.port, 15022);
  await audited(rig, /ssh server listens addresses=\[::\]:15022 /);
  await isIn(rig);
  await audited(rig, /ssh login from="10\.9\.0\.1 \d+" /);
  assert.ok(await isReachable("inner", "127.0.0.1:15022"));
});

Deno.test("where no key lets anybody in nothing listens, until the Secret has one that does", async () => {
  const manifests = await Deno.makeTempDir({ prefix: "krun-ssh-manifests-" });
  const env = { ...DEFAULT, KRUN_MANIFESTS: manifests, WORKLOAD_NAMESPACE: "shop", WORKLOAD_NAME: "web" };
  const sshAuth = 'expiry-time="20200101" $KEY';
  await using rig = await start("outer", { env, sshAuth, waits: false });
  await audited(rig, /warn no ssh server: there is nobody who may log in /);
  assert.equal(await isReachable("outer", "10.9.0.2:15022"), false);
  assert.equal(await isReachable("inner", "127.0.0.1:15022"), false);
  const line = await publicLine(rig.key);
  const put = async (text: string) => {
    const metadata = { namespace: "shop", name: "sshdebug" };
    const data = { authorized_keys: new TextEncoder().encode(text).toBase64() };
    const secret = JSON.stringify({ apiVersion: "v1", kind: "Secret", metadata, data });
    await Deno.writeTextFile(join(manifests, "new"), secret);
    await Deno.rename(join(manifests, "new"), join(manifests, "secret.json"));
  };
  await put(`from="a.example.com" ${line}`);
  await audited(rig, /warn an ssh key is not used reason="line 1 of key \\"authorized_keys\\".* no address matches/);
  assert.equal(await isReachable("inner", "127.0.0.1:15022"), false);
  await put(line);
  await rig.listens();
  await isIn(rig);
  // What lets nobody in any more does not close it.
  await put(`from="b.example.com" ${line}`);
  await audited(rig, /warn nobody may log in to the ssh server /);
  assert.ok(await isReachable("outer", "10.9.0.2:15022"));
  assert.doesNotMatch(rig.krun.stderr, /ssh server closed/);
  await Deno.remove(manifests, { recursive: true });
});

Deno.test("with the Secret alone it listens on port 15022 of 127.0.0.1, and no other address reaches it", async () => {
  const manifests = await Deno.makeTempDir({ prefix: "krun-ssh-manifests-" });
  const env = { ...DEFAULT, KRUN_MANIFESTS: manifests, WORKLOAD_NAMESPACE: "shop", WORKLOAD_NAME: "web" };
  await using rig = await start("inner", { env, sshAuth: "", waits: false });
  await audited(rig, /program started/);
  assert.equal(await isReachable("inner", "127.0.0.1:15022"), false, "not without it");
  const authorized_keys = new TextEncoder().encode(await publicLine(rig.key)).toBase64();
  const secret = { apiVersion: "v1", kind: "Secret", metadata: { namespace: "shop", name: "sshdebug" } };
  await Deno.writeTextFile(join(manifests, "secret.json"), JSON.stringify({ ...secret, data: { authorized_keys } }));
  await rig.listens();
  await audited(rig, /ssh server listens addresses=127\.0\.0\.1:15022 /);
  await isIn(rig);
  assert.equal(await isReachable("outer", "10.9.0.2:15022"), false);
  assert.equal(await isReachable("inner", "10.9.0.2:15022"), false);
  await Deno.remove(manifests, { recursive: true });
});

Deno.test("KRUN_SSH is another place, with the same port of 127.0.0.1; and KRUN_SSH=- none at all", async (t) => {
  await t.step("an address", async () => {
    await using rig = await start("outer", { env: { KRUN_SSH: "10.9.0.2:2222" } });
    await audited(rig, /ssh server listens addresses=10\.9\.0\.2:2222,127\.0\.0\.1:2222 /);
    await isIn(rig);
    assert.ok(await isReachable("inner", "127.0.0.1:2222"));
    assert.equal(await isReachable("inner", "10.9.0.2:15022"), false);
  });
  await t.step(
    "an address that is not there: the program runs on without the server, and the log says so",
    async () => {
      await using rig = await start("outer", { env: { KRUN_SSH: "10.9.0.77:2222" }, waits: false });
      await audited(
        rig,
        /warn the ssh server cannot be had at 10\.9\.0\.77:2222,127\.0\.0\.1:2222 reason=\S.* hint="set KRUN_SSH to/,
      );
      assert.equal(await isReachable("inner", "127.0.0.1:2222"), false, "all of the addresses, or none");
    },
  );
  await t.step("a port below 1024 that krun may not have: --check says so", async () => {
    const folder = await Deno.makeTempDir({ prefix: "krun-ssh-check-" });
    const lacking = ["setpriv", "--bounding-set=-net_bind_service"];
    const key = await publicLine(await makeKey(folder, "key"));
    const env = { KRUN_SSH: "10.9.0.2:22", SSH_AUTH: key, MESH_BASE_DIR: "/tmp" };
    const under = net.argv("inner", lacking);
    const { code, stdout, stderr } = await runKrun({ args: ["--check", "--", "/bin/true"], cwd: "/tmp", under, env });
    assert.equal(code, 1, stdout + stderr);
    for (const address of ["10.9.0.2", "127.0.0.1"]) {
      assert.ok(
        stdout.includes(
          `Cannot listen on ${address}:22 for KRUN_SSH: permission denied; set KRUN_SSH to a port that krun may have`,
        ),
        stdout,
      );
    }
    await Deno.remove(folder, { recursive: true });
  });
  await t.step("-", async () => {
    await using rig = await start("inner", { env: { KRUN_SSH: "-" }, waits: false });
    await audited(rig, /program started/);
    for (const address of ["127.0.0.1:15022", "10.9.0.2:15022"]) assert.ok(!await isReachable("inner", address));
    assert.doesNotMatch(rig.krun.stderr, /ssh server/);
  });
});

Deno.test("an address that fails again and again is not listened to for a while, and no other pays for it", async (t) => {
  await net.addAddress("outer", "10.9.0.5/24");
  await net.addAddress("outer", "10.9.0.6/24");
  await using rig = await start("outer", { env: { ...DEFAULT, KRUN_LOG: "debug" } });
  const stranger = await makeKey(rig.folder, "stranger");
  const here = { options: ["BindAddress=10.9.0.1"] }, there = { options: ["BindAddress=10.9.0.5"] };
  await t.step("who fails now and then is only refused", async () => {
    const { code, stderr } = await rig.ssh(["true"], { key: stranger, ...here });
    assert.equal(code, 255);
    assert.match(stderr, /Permission denied/);
    await isIn(rig, here);
  });
  await t.step("who goes on is not let near a login, with the right key too", async () => {
    await waitFor("the penalty", async () => {
      return /closed by|reset by/.test((await rig.ssh(["true"], { key: stranger, ...here })).stderr);
    });
    await audited(rig, /debug ssh connection refused from=10\.9\.0\.1 penalized=true/);
    const right = await rig.ssh(["true"], here);
    assert.equal(right.code, 255);
    assert.doesNotMatch(right.stderr, /Permission denied/);
  });
  await t.step("another address, and loopback, are let in meanwhile", async () => {
    await isIn(rig, there);
    const own = ["ssh", ...rig.clientArgs({ options: ["StrictHostKeyChecking=no"] }), "ann@127.0.0.1", "echo in"];
    assert.equal((await runClient(net.argv("inner", own))).stdout, "in\n");
  });
  await t.step("it passes", async () => {
    await waitFor("the penalty to be over", async () => (await rig.ssh(["true"], here)).code === 0);
  });
  await t.step("who only exchanges keys may do so now and then, and not again and again", async () => {
    const scanner = { options: ["BindAddress=10.9.0.6"] };
    // It does not know the host's key, and says nothing more.
    const scan = () =>
      rig.ssh(["true"], { options: [...scanner.options, "GlobalKnownHostsFile=none", "UserKnownHostsFile=none"] });
    const scans = async (count: number) => await Promise.all(Array.from({ length: count }, scan));
    for (const { stderr } of await scans(5)) assert.match(stderr, /Host key verification failed/);
    await isIn(rig, scanner);
    await waitFor("the penalty", async () => (await scans(5)).some(({ stderr }) => /closed by|reset by/.test(stderr)));
    await audited(rig, /debug ssh connection refused from=10\.9\.0\.6 penalized=true/);
    await isIn(rig, there);
  });
});
