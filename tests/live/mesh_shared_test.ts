/** krun in a network namespace that is not its own: those who live there notice nothing, from before its start to after its end. */
import assert from "node:assert/strict";
import { join } from "node:path";
import type { KrunProcess } from "../krun_process.ts";
import { waitFor } from "../wait.ts";
import { callsIn, MeshLab, PEER_CALLS, type WorkloadOptions } from "./mesh_lab.ts";
import { failuresIn, MESH_LOAD, MESH_SERVER, totalsOf } from "./mesh_load.ts";
import type { MeshHost, MeshNetwork } from "./mesh_network.ts";

// Whoever is a stranger may not enter root's home folder, where root's PATH may lead.
const PATH = "/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin";
const STRANGER = ["setpriv", "--reuid=2000", "--regid=2000", "--clear-groups", "env", `PATH=${PATH}`];

/** The real sshd of a host, and clients of it. */
class Ssh implements AsyncDisposable {
  readonly #clients: KrunProcess[] = [];

  private constructor(readonly folder: string, readonly network: MeshNetwork, readonly address: string) {}

  static async start(network: MeshNetwork, host: MeshHost): Promise<Ssh> {
    const folder = await Deno.makeTempDir({ prefix: "krun-sshd-" });
    const ssh = new Ssh(folder, network, host.address);
    for (const name of ["host", "user"]) {
      const { code, stderr } = await network.run(host, [
        "ssh-keygen",
        "-q",
        "-t",
        "ed25519",
        "-N",
        "",
        "-f",
        join(folder, name),
      ]);
      assert.equal(code, 0, stderr);
    }
    // Separation of privileges wants a folder of root's.
    await Deno.mkdir("/run/sshd", { recursive: true, mode: 0o755 });
    const options = {
      HostKey: join(folder, "host"),
      AuthorizedKeysFile: join(folder, "user.pub"),
      PermitRootLogin: "prohibit-password",
      StrictModes: "no",
      UsePAM: "no",
      PidFile: "none",
      // The settings of whoever tests are not read by the shells of this server.
      SetEnv: `HOME=${folder}`,
    };
    const flags = Object.entries(options).flatMap(([name, value]) => ["-o", `${name}=${value}`]);
    const sshd = network.start(host, ["/usr/sbin/sshd", "-D", "-e", "-f", "/dev/null", ...flags]);
    ssh.#clients.push(sshd);
    await sshd.sees("stderr", /Server listening on 0\.0\.0\.0 port 22/);
    return ssh;
  }

  /** A session from another host, which goes on until it is ended. */
  session(from: MeshHost, command: string): KrunProcess {
    const options = {
      IdentityFile: join(this.folder, "user"),
      StrictHostKeyChecking: "no",
      UserKnownHostsFile: "/dev/null",
      BatchMode: "yes",
    };
    const flags = Object.entries(options).flatMap(([name, value]) => ["-o", `${name}=${value}`]);
    const client = this.network.start(from, ["ssh", "-F", "/dev/null", ...flags, `root@${this.address}`, command]);
    this.#clients.unshift(client);
    return client;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const client of this.#clients) await client[Symbol.asyncDispose]();
    await Deno.remove(this.folder, { recursive: true });
  }
}

/** The rules of a host's network namespace, without counters. */
async function rulesOf(network: MeshNetwork, host: MeshHost): Promise<string> {
  const parts = [["iptables-nft-save"], ["ip6tables-nft-save"], ["nft", "list", "ruleset"], [
    "ip",
    "address",
    "show",
    "lo",
  ]];
  const texts = await Promise.all(parts.map(async (argv) => (await network.run(host, argv)).stdout));
  return texts.join("\n").replaceAll(/^#.*\n|\[\d+:\d+\]/gm, "");
}

Deno.test("strangers and an sshd in krun's network namespace notice nothing of it, kill -9 included", async (t) => {
  await using lab = await MeshLab.create();
  const { network } = lab;
  const [host, outside] = [await network.host("shared"), await network.host("outside")];
  for (const name of ["web", "peer"]) {
    const spec = { selector: { app: name }, ports: [{ name: "http", port: 80, targetPort: 8080 }] };
    await lab.apply("Service", name, { spec });
    const template = { serviceAccount: name };
    await lab.apply("WorkloadGroup", name, { spec: { metadata: { labels: { app: name } }, template } });
  }
  await lab.apply("PeerAuthentication", "default", { spec: { mtls: { mode: "STRICT" } } });
  await using peer = await lab.workload(await network.host("peer"), {
    name: "peer",
    args: [...MESH_SERVER, "8080", "9090"],
    env: { PORT: "8080" },
  });
  await peer.krun.sees("stdout", /listening/);
  await peer.callable();

  // Those who were there first: a server with callers, a caller by name and by address, and an SSH session.
  await using far = network.start(outside, [...MESH_SERVER, "8080", "9090"]);
  await using stranger = network.start(host, [...STRANGER, ...MESH_SERVER, "7070", "7071"]);
  for (const server of [far, stranger]) await server.sees("stdout", /listening/);
  await using away = network.start(host, [
    ...[...STRANGER, ...MESH_LOAD],
    ...[`kept:http://${outside.address}:8080/`, `new:http://${outside.address}:8080/`, `held:${outside.address}:9090`],
  ]);
  await using here = network.start(outside, [
    ...MESH_LOAD,
    ...[`kept:http://${host.address}:7070/`, `new:http://${host.address}:7070/`, `held:${host.address}:7071`],
  ]);
  for (const load of [away, here]) await load.sees("stdout", /loading/);
  await using ssh = await Ssh.start(network, host);
  const session = ssh.session(outside, "n=0; while :; do n=$((n+1)); echo tick $n; sleep 0.1; done");
  await session.sees("stdout", /tick 3\n/);
  const before = await rulesOf(network, host);

  /** All of them are well, the SSH session goes on, and a new one begins. */
  const undisturbed = async () => {
    for (const load of [away, here]) assert.doesNotMatch(load.stdout, /failure/);
    const ticks = session.stdout.length;
    await waitFor("the SSH session to go on", () => session.stdout.length > ticks);
    const { code, stdout, stderr } = await ssh.session(outside, "echo new session").end;
    assert.deepEqual([code, stdout], [0, "new session\n"], stderr);
    const [resolved] = callsIn(
      (await network.run(host, [...STRANGER, ...PEER_CALLS, "http://outside.test:9/"])).stdout,
    );
    assert.match(resolved!.failure!, /refused/, "the machine's resolver answers, and a closed port refuses");
  };

  const base = await Deno.makeTempDir({ prefix: "krun-shared-" });
  await Deno.chmod(base, 0o755);
  await using _base = { [Symbol.asyncDispose]: () => Deno.remove(base, { recursive: true }) };
  const web: WorkloadOptions = {
    name: "web",
    base,
    args: [...MESH_SERVER, "8080", "9090", "http://peer/"],
    // It says that 22 is a port of its own, too.
    env: { PORT: "8080", PORT_ssh: "22", KRUN_RUN_AS: "3000" },
  };
  const caller = await network.host("caller");
  const answers = async (): Promise<boolean> => {
    await using client = await lab.workload(caller, { name: "client", args: [...PEER_CALLS, "http://web/"] });
    const { stdout, stderr } = await client.krun.end;
    const [call] = callsIn(stdout);
    assert.ok(call, stderr);
    return call.status === 200;
  };

  await t.step("while it runs, in the mesh itself", async () => {
    await using krun = await lab.workload(host, web);
    await krun.krun.sees("stdout", /listening/);
    assert.match(krun.krun.stderr, /traffic is intercepted scope=shared/);
    assert.match(krun.krun.stderr, /warn not all is intercepted reason="port 22 is not captured/);
    await krun.callable();
    assert.equal(await answers(), true);
    const plain = callsIn((await network.run(outside, [...PEER_CALLS, `http://${host.address}:8080/`])).stdout);
    assert.match(plain[0]!.failure ?? "", /reset|closed/, "nobody calls its port without the mesh");
    const [unknown] = callsIn((await network.run(host, [...STRANGER, ...PEER_CALLS, "http://peer/"])).stdout);
    assert.match(unknown!.failure!, /name|known/i, "names of the mesh are for the program alone");
    await undisturbed();
    krun.krun.kill("SIGTERM");
    const { code, stdout, stderr } = await krun.krun.end;
    assert.equal(code, 0, stderr);
    assert.match(stdout, /"calls": \{"200": \d+\}/, "the program itself calls into the mesh");
    assert.equal(await rulesOf(network, host), before);
  });

  await t.step("when it is killed, and what it started lives on", async () => {
    await using krun = await lab.workload(host, web);
    await krun.krun.sees("stdout", /listening/);
    await krun.krun.murder();
    assert.match(await rulesOf(network, host), /ISTIO_OUTPUT/, "it could not clean up");
    await undisturbed();
  });

  await t.step("when the next start takes back what is left, and goes on as usual", async () => {
    await using krun = await lab.workload(host, web);
    await krun.krun.sees("stdout", /listening/);
    assert.match(krun.krun.stderr, /warn stopping what a killed krun left running/);
    assert.match(krun.krun.stderr, /info traffic is no longer intercepted[^]*info traffic is intercepted scope=shared/);
    await krun.callable();
    assert.equal(await answers(), true);
    await undisturbed();
    krun.krun.kill("SIGTERM");
    const { code, stderr } = await krun.krun.end;
    assert.equal(code, 0, stderr);
    assert.equal(await rulesOf(network, host), before);
    await undisturbed();
  });

  await t.step("none of their requests has failed", async () => {
    for (const load of [away, here]) {
      load.kill("SIGTERM");
      const totals = totalsOf((await load.end).stdout);
      assert.equal(failuresIn(totals), 0, JSON.stringify(totals));
      for (const seen of Object.values(totals)) assert.ok(Object.values(seen)[0]! > 50, JSON.stringify(totals));
    }
    const ticks = session.stdout.trimEnd().split("\n");
    assert.deepEqual(ticks, ticks.map((_, index) => `tick ${index + 1}`));
  });
});
