/** The Secret `sshdebug` of a real API server opens the debug SSH server, and what is taken out of it is gone at once. */
import assert from "node:assert/strict";
import { join } from "node:path";
import type { CheckReport } from "../../src/launch/check_report.ts";
import { KrunProcess, runKrun } from "../krun_process.ts";
import { waitFor } from "../wait.ts";
import { ApiAudit } from "./api_audit.ts";
import { type ApiServer, type KubeObject, startApiServer } from "./api_server.ts";
import { attempt, isIn, isRefused, publicLine } from "./ssh_attempts.ts";
import { audited, keygen, makeKey, SshRig } from "./ssh_rig.ts";

let audit: ApiAudit;
let server: ApiServer;
Deno.test.beforeAll(async () => {
  audit = await ApiAudit.create();
  server = await startApiServer({ args: audit.args });
});
Deno.test.afterAll(async () => {
  await server[Symbol.asyncDispose]();
  await audit[Symbol.asyncDispose]();
});

/** A namespace with a krun's user, who may see the Secret alone. */
async function namespace(name: string, { mayRead = true } = {}): Promise<Record<string, string>> {
  await server.namespace(name);
  const { kubeconfig } = await server.user(`krun-${name}`);
  const rule = { apiGroups: [""], resources: ["secrets"], resourceNames: ["sshdebug"], verbs: ["get", "watch"] };
  const token = { apiGroups: [""], resources: ["serviceaccounts/token"], verbs: ["create"] };
  await server.grant(name, `krun-${name}`, [token, ...mayRead ? [rule] : []]);
  return { KUBECONFIG: kubeconfig, WORKLOAD_NAMESPACE: name, WORKLOAD_NAME: "web" };
}

function secret(namespace: string, values: Readonly<Record<string, string>>): KubeObject {
  const data = Object.entries(values).map(([name, text]) => [name, new TextEncoder().encode(text).toBase64()]);
  const metadata = { namespace, name: "sshdebug" };
  return { apiVersion: "v1", kind: "Secret", metadata, data: Object.fromEntries(data) };
}

async function isClosed(rig: SshRig): Promise<void> {
  await waitFor(
    "the server to be closed",
    () =>
      Deno.connect({ hostname: "127.0.0.1", port: rig.port }).then((conn) => {
        conn.close();
        return false;
      }, () => true),
  );
}

Deno.test("access is given and taken while krun runs, by the Secret alone", async (t) => {
  const env = await namespace("shop");
  await using rig = await SshRig.start({ env, sshAuth: "", waits: false });
  const [ann, bob] = [await makeKey(rig.folder, "ann"), await makeKey(rig.folder, "bob")];
  const [ofAnn, ofBob] = [await publicLine(ann), await publicLine(bob)];
  const asks = () => audit.of({ user: "krun-shop", resource: "secrets" });

  await t.step("without it nothing listens, and it costs one watch", async () => {
    await waitFor("the watch", async () => (await asks()).length > 0);
    assert.doesNotMatch(rig.krun.stderr, /ssh server listens/);
    const sockets = await Deno.readTextFile(`/proc/${rig.krun.pid}/net/tcp`);
    assert.doesNotMatch(sockets, /0100007F:3AAE .* 0A /, "15022 of 127.0.0.1");
  });
  await t.step("once it is there, whom it names may come in", async () => {
    await server.create(secret("shop", { authorized_keys: ofAnn, authorized_key_bob: ofBob }));
    await rig.listens();
    await isIn(rig, { key: ann });
    await isIn(rig, { key: bob });
    await isRefused(rig, /the key is not authorized/);
  });
  await t.step("a key that is taken out ends its session, and no other", async () => {
    const command = "echo in; cat; echo over";
    const [first, second] = [rig.spawn([command], { key: ann }), rig.spawn([command], { key: bob })];
    for (const name of ["ann", "bob"]) {
      await audited(rig, new RegExp(`ssh session user=ann .* comment=${name} runs="echo in; cat`));
    }
    await server.replace(secret("shop", { authorized_key_bob: ofBob }));
    assert.equal((await first.output()).code, 255);
    await audited(rig, /info ssh connection ended user=ann key=\S+ comment=ann reason="the key is not authorized"/);
    await isRefused(rig, /the key is not authorized/, { key: ann });
    await second.stdin.close();
    const other = await second.output();
    assert.deepEqual([other.code, new TextDecoder().decode(other.stdout)], [0, "in\nover\n"]);
    await first.stdin.close().catch(() => {});
  });
  await t.step("a key that may do less ends its session too", async () => {
    const session = rig.ssh(["echo in; sleep 600"], { key: bob, user: "narrowed" });
    await audited(rig, /ssh session user=narrowed /);
    await server.replace(secret("shop", { authorized_key_bob: `restrict ${ofBob}` }));
    assert.equal((await session).code, 255);
    await audited(rig, /ssh connection ended user=narrowed .* reason="what it may do has changed"/);
    await isIn(rig, { key: bob });
  });
  await t.step("what cannot be used is warned of once, and harms nothing else", async () => {
    const session = rig.spawn(["echo in; cat"], { key: bob, user: "undisturbed" });
    await audited(rig, /ssh session user=undisturbed /);
    const odd = {
      authorized_keys: "ssh-ed25519 none\n",
      ca_odd: "\u0000\u0001",
      id_rsa: "no key",
      "id_ecdsa.pub": "x",
      x: "y",
    };
    await server.replace(secret("shop", { ...odd, authorized_key_bob: `restrict ${ofBob}` }));
    await audited(
      rig,
      /warn an ssh key is not used reason="line 1 of key \\"authorized_keys\\" of Secret \\"sshdebug\\" lets/,
    );
    await audited(rig, /warn an ssh key is not used reason="line 1 of key \\"ca_odd\\"/);
    await audited(rig, /warn an ssh host key is not used secret=sshdebug key=id_rsa reason="it is no private key/);
    await isIn(rig, { key: bob });
    await session.stdin.close();
    assert.equal((await session.output()).code, 0);
    assert.equal(
      rig.krun.stderr.match(/warn an ssh key is not used reason="line 1 of key \\"authorized_keys/g)?.length,
      1,
    );
  });
  await t.step("host keys are the Secret's, of every type, and others as soon as it has others", async () => {
    const types = { id_ecdsa: "-t ecdsa -b 384", id_rsa: "-t rsa -b 2048", id_ed25519: "-t ed25519" };
    const made = await Promise.all(
      Object.entries(types).map(async ([name, args]) => {
        const path = await makeKey(rig.folder, name, args.split(" "));
        return [name, await Deno.readTextFile(path), (await keygen("-l", "-f", path)).split(" ")[1]] as const;
      }),
    );
    const own = Object.fromEntries(made.map(([name, text]) => [name, text]));
    const fingerprints = made.map(([, , fingerprint]) => fingerprint).sort();
    const seen = async () => {
      const [, , found] = await audited(rig, /(ssh server has other host keys hostKey=(\S+)$)(?![^]*other host keys)/m);
      return found!.split(",").sort();
    };
    await server.replace(secret("shop", { ...own, authorized_key_bob: ofBob }));
    await waitFor("the keys in the log", async () => `${await seen()}` === `${fingerprints}`);
    // The client still knows krun's own key.
    const stale = await rig.ssh(["true"], { key: bob });
    assert.match(stale.stderr, /Host key verification failed/);
    const known = join(rig.folder, "known_hosts");
    const pinned = await Promise.all(Object.keys(types).map((name) => publicLine(join(rig.folder, name))));
    await Deno.writeTextFile(known, pinned.map((line) => `[127.0.0.1]:${rig.port} ${line}\n`).join(""));
    for (const algorithm of ["ecdsa-sha2-nistp384", "rsa-sha2-512", "rsa-sha2-256", "ssh-ed25519"]) {
      await isIn(rig, { key: bob, options: [`HostKeyAlgorithms=${algorithm}`] });
    }
    await server.replace(secret("shop", { id_rsa: own.id_rsa!, authorized_key_bob: ofBob }));
    await waitFor("one key in the log", async () => (await seen()).length === 1);
    await isIn(rig, { key: bob });
    const gone = await rig.ssh(["true"], { key: bob, options: ["HostKeyAlgorithms=ssh-ed25519", "LogLevel=DEBUG"] });
    assert.match(gone.stderr, /no match(?:ing host key type found|: method server host key)|closed by/);
    assert.equal(gone.code, 255);
  });
  await t.step("when it is deleted the server closes, with whoever is in", async () => {
    const session = rig.ssh(["echo in; sleep 600"], { key: bob, user: "last" });
    await audited(rig, /ssh session user=last /);
    await server.delete(secret("shop", {}));
    assert.equal((await session).code, 255);
    await isClosed(rig);
    await audited(rig, /info ssh server closed: nobody may log in any more/);
  });
  await t.step("and opens again when it is there again", async () => {
    await server.create(secret("shop", { authorized_keys: ofAnn }));
    await waitFor("it to listen again", () => rig.krun.stderr.match(/ssh server listens/g)?.length === 2);
    await rig.listens();
    await isIn(rig, { key: ann });
  });
  await t.step("all of that came by one watch", async () => {
    const verbs = (await asks()).map(({ verb, requestURI }) => `${verb} ${requestURI}`);
    // With its beginning and its end.
    assert.ok(verbs.length <= 2, verbs.join("\n"));
    assert.match(verbs[0]!, /^watch .*fieldSelector=metadata.name%3Dsshdebug/);
  });
});

Deno.test("a krun that may not see the Secret says so to whoever debugs, and asks rarely", async () => {
  const env = await namespace("blind", { mayRead: false });
  await using rig = await SshRig.start({ env: { ...env, KRUN_SSH: "", KRUN_LOG: "debug" }, sshAuth: "", waits: false });
  await server.create(secret("blind", { authorized_keys: await publicLine(rig.key) }));
  await audited(rig, /debug ssh: what Secret sshdebug says is not known reason=".*403/);
  await audited(rig, /info program started/);
  assert.doesNotMatch(rig.krun.stderr, / (?:warn|error) /);
  assert.equal(rig.krun.stderr.match(/what Secret sshdebug says is not known/g)?.length, 1);
  const asked = async () => (await audit.of({ user: "krun-blind", resource: "secrets" })).length;
  // The second try, and then nothing for as long as the first two took together.
  const startedMs = performance.now();
  await waitFor("another try", async () => await asked() >= 2);
  const [few, sinceMs] = [await asked(), performance.now() - startedMs];
  assert.ok(few <= 6, `${few} requests within ${sinceMs} ms`);
});

Deno.test("krun --check prints the Role for the Secret where nobody else may log in to a server that is asked for, and else warns", async () => {
  const env = { ...await namespace("unread", { mayRead: false }), KRUN_SSH: "", MESH_BASE_DIR: "/tmp" };
  const cwd = await Deno.makeTempDir({ dir: server.folder });
  const KRUN_POD = await podWithoutAccount(cwd);
  const checked = async (settings: Record<string, string>) => {
    const args = ["--check=json", "--", "/bin/true"];
    const { code, stdout } = await runKrun({ args, cwd, env: { ...env, KRUN_POD, ...settings } });
    return { code, report: JSON.parse(stdout) as CheckReport };
  };
  const words =
    /^Cannot read Secret "unread\/sshdebug" at .*: 403, user "krun-unread" may not get secrets "sshdebug" in namespace/;
  const asked = await checked({ KRUN_SSH: "127.0.0.1:0" });
  assert.deepEqual([asked.code, asked.report.problems.length], [1, 1], asked.report.problems.join("\n"));
  assert.match(asked.report.problems[0]!, words);
  const role = /kind: Role\n[^]*resourceNames: \["sshdebug"\]\n {2}verbs: \["get", "watch"\]/;
  assert.match(asked.report.details.join(), role);
  // Others may log in.
  const others = await checked({ KRUN_SSH: "127.0.0.1:0", SSH_AUTH: await publicLine(await makeKey(cwd, "key")) });
  assert.deepEqual([others.code, others.report.problems], [0, []]);
  assert.match(others.report.warnings.at(-1)!, words);
  const { code, report } = await checked({});
  assert.deepEqual([code, report.problems], [0, []]);
  assert.match(report.warnings.at(-1)!, words);
  const [row] = report.findings.filter(({ what }) => what === "ssh server");
  assert.deepEqual([row?.value, row?.because], ["none", "Secret sshdebug may not be read"]);
});

/** The path of a Pod that needs nothing of the cluster. */
async function podWithoutAccount(folder: string): Promise<string> {
  const spec = {
    automountServiceAccountToken: false,
    enableServiceLinks: false,
    containers: [{ name: "web", image: "web" }],
  };
  const path = join(folder, "pod.json");
  await Deno.writeTextFile(path, JSON.stringify({ apiVersion: "v1", kind: "Pod", metadata: { name: "web" }, spec }));
  return path;
}

Deno.test("the program starts before the API server was asked for the Secret", async () => {
  const env = await namespace("frozen");
  const cwd = await Deno.makeTempDir({ dir: server.folder });
  const KRUN_POD = await podWithoutAccount(cwd);
  await server.create(secret("frozen", { authorized_keys: await publicLine(await makeKey(cwd, "key")) }));
  server.freeze();
  try {
    const program = ["sh", "-c", "echo up; exec sleep 600"];
    await using krun = new KrunProcess({
      args: ["--", ...program],
      cwd,
      env: { ...env, KRUN_POD, KRUN_SSH: "127.0.0.1:0" },
    });
    await krun.sees("stdout", /^up$/m);
    assert.doesNotMatch(krun.stderr, /ssh server/);
    server.thaw();
    await krun.sees("stderr", /ssh server listens/);
  } finally {
    server.thaw();
  }
});

Deno.test("with SSH_AUTH too the server has the Secret's host key from its first client on", async () => {
  const env = await namespace("both");
  const folder = await Deno.makeTempDir({ dir: server.folder });
  const hostKey = await makeKey(folder, "host", ["-t", "ecdsa", "-b", "256"]);
  await server.create(secret("both", { id_ecdsa: await Deno.readTextFile(hostKey) }));
  await using rig = await SshRig.start({ env });
  const [, fingerprint] = (await keygen("-l", "-f", hostKey)).split(" ");
  await audited(
    rig,
    new RegExp(`ssh server listens addresses=\\S+ hostKey=${fingerprint!.replaceAll("+", "\\+")}$`, "m"),
  );
  assert.doesNotMatch(rig.krun.stderr, /other host keys/);
});

Deno.test("with KRUN_SSH=- there is no server, and nobody asks for the Secret", async () => {
  const env = await namespace("off");
  const rigEnv = { ...env, KRUN_SSH: "-", KRUN_LOG: "debug" };
  await using rig = await SshRig.start({ env: rigEnv, sshAuth: "", waits: false, program: ["sh", "-c", "sleep 3"] });
  await server.create(secret("off", { authorized_keys: await publicLine(rig.key) }));
  const { code, stderr } = await rig.krun.end;
  assert.equal(code, 0);
  assert.doesNotMatch(stderr, /ssh server/);
  assert.deepEqual(await audit.of({ user: "krun-off", resource: "secrets" }), []);
});

Deno.test("krun's own host key is the same at the next start, as long as nobody else could have it", async (t) => {
  await using rig = await SshRig.start();
  const path = join(rig.folder, "work", "base", ".krun", "ssh_host_ed25519_key");
  const fingerprint = () => /hostKey=(\S+)/.exec(rig.krun.stderr)![1];
  const restart = async () => {
    await rig.krun[Symbol.asyncDispose]();
    await rig.startKrun();
    return fingerprint();
  };
  const first = fingerprint();
  const mode = async () => (await Deno.stat(path)).mode! & 0o777;
  await t.step("0600, and the same", async () => {
    assert.equal(await mode(), 0o600);
    assert.equal(await restart(), first);
  });
  for (const open of [0o640, 0o604, 0o620, 0o602]) {
    await t.step(`another one after ${open.toString(8)}`, async () => {
      const before = fingerprint();
      await Deno.chmod(path, open);
      assert.notEqual(await restart(), before);
      assert.equal(await mode(), 0o600);
      const told = /warn the kept ssh host key is not used path=\S*ssh_host_ed25519_key reason="others could have /g;
      assert.equal(rig.krun.stderr.match(told)?.length, 1);
    });
  }
  await t.step("another one where it is no key, or a link", async () => {
    const before = fingerprint();
    await Deno.writeTextFile(path, "no key");
    const second = await restart();
    assert.notEqual(second, before);
    await Deno.rename(path, join(rig.folder, "elsewhere"));
    await Deno.symlink(join(rig.folder, "elsewhere"), path);
    assert.notEqual(await restart(), second);
    assert.match(rig.krun.stderr, /warn the kept ssh host key is not used .* reason="it is a link"/);
  });
  await t.step("and it lets in as before", async () => {
    assert.equal((await attempt(rig)).code, 0);
  });
});

Deno.test("the Secret is a file of a folder as well, and its changes act while krun runs", async () => {
  const folder = await Deno.makeTempDir({ prefix: "krun-manifests-" });
  const env = { KRUN_MANIFESTS: folder, WORKLOAD_NAMESPACE: "shop", WORKLOAD_NAME: "web" };
  await using rig = await SshRig.start({ env, sshAuth: "", waits: false });
  const [ann, bob] = [await makeKey(rig.folder, "ann"), await makeKey(rig.folder, "bob")];
  const write = async (name: string, key: string) => {
    const text = JSON.stringify(secret("shop", { authorized_keys: await publicLine(key) }));
    await Deno.writeTextFile(join(folder, name), text);
  };
  await write(".hidden.json", bob);
  await write("access.json", ann);
  await rig.listens();
  await isIn(rig, { key: ann });
  await isRefused(rig, /the key is not authorized/, { key: bob });
  const session = rig.ssh(["echo in; sleep 600"], { key: ann, user: "taken" });
  await audited(rig, /ssh session user=taken /);
  await write("access.json", bob);
  const { code, stderr } = await session;
  assert.equal(code, 255);
  assert.match(stderr, /^Received disconnect from 127\.0\.0\.1 port \d+:11: the key is not authorized\r?$/m);
  await isIn(rig, { key: bob });
  const last = rig.ssh(["echo in; sleep 600"], { key: bob, user: "last" });
  await audited(rig, /ssh session user=last /);
  await Deno.remove(join(folder, "access.json"));
  assert.match((await last).stderr, /:11: the key is not authorized\r?$/m);
  await isClosed(rig);
  await Deno.remove(folder, { recursive: true });
});
