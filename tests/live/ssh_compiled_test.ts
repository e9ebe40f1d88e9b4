/** The compiled krun's debug SSH server (Deno 2.6.10): sessions, terminals, files, forwards, and an image that holds nothing else. */
import assert from "node:assert/strict";
import { join } from "node:path";
import { useBinary } from "../krun_process.ts";
import { waitFor } from "../wait.ts";
import { compiledKrun, NOBODY, rootFs } from "./compiled.ts";
import {
  digestOf,
  Forwarding,
  freePort,
  hashOf,
  randomBytes,
  readText,
  serveTcp,
  writeAll,
} from "./ssh_forward_rig.ts";
import { userForwards } from "./ssh_forward_user.ts";
import { certify, isIn, isRefused, publicLine } from "./ssh_attempts.ts";
import { makeKey, runClient, SshRig } from "./ssh_rig.ts";

useBinary(await compiledKrun());

Deno.test("the binary serves commands, terminals, files and forwards", async (t) => {
  await using rig = await SshRig.start();
  const much = randomBytes(8 << 20);
  await t.step("a command, with much through it and keys that are exchanged meanwhile", async () => {
    const child = rig.spawn(["cat; exit 3"], { options: ["RekeyLimit=1M"] });
    const feeding = new Blob([much]).stream().pipeTo(child.stdin);
    const { code, stdout, stderr } = await child.output();
    await feeding;
    assert.deepEqual([code, hashOf(stdout)], [3, hashOf(much)], new TextDecoder().decode(stderr));
  });
  await t.step("each cipher, both ways", async () => {
    for (const cipher of ["aes128-gcm@openssh.com", "aes256-gcm@openssh.com", "aes128-ctr", "aes256-ctr"]) {
      const { code, stdout, stderr } = await rig.ssh(["cat"], { input: much, options: [`Ciphers=${cipher}`] });
      assert.deepEqual([code, stderr], [0, ""], cipher);
      assert.ok(stdout === new TextDecoder().decode(much), cipher);
    }
  });
  await t.step("a terminal", async () => {
    const { stdout } = await rig.ssh(["-tt", "tty && stty size"]);
    assert.match(stdout, /^\/dev\/pts\/\d+\r\n\d+ \d+\r\n$/);
  });
  await t.step("files, by both protocols of scp", async () => {
    const [from, to] = [join(rig.folder, "from"), join(rig.folder, "to")];
    await Deno.writeFile(from, much);
    for (const protocol of ["-s", "-O"]) {
      const { code, stderr } = await rig.scp([protocol, from, `$HOST:${to}`]);
      assert.equal(code, 0, stderr);
      assert.equal((await rig.scp([protocol, `$HOST:${to}`, `${to}-back`])).code, 0);
      assert.equal(hashOf(await Deno.readFile(`${to}-back`)), hashOf(much));
      for (const path of [to, `${to}-back`]) await Deno.remove(path);
    }
  });
  await t.step("forwards, there and back", async () => {
    await using server = serveTcp(digestOf);
    const [there, back] = [freePort(), freePort()];
    const args = ["-L", `${there}:localhost:${server.port}`, "-R", `${back}:127.0.0.1:${server.port}`];
    await using _ssh = await Forwarding.start(rig, args, { local: there });
    for (const port of [there, back]) {
      using conn = await waitFor("the forward", () => Deno.connect({ hostname: "127.0.0.1", port }));
      await writeAll(conn, much);
      await conn.closeWrite();
      assert.equal(await readText(conn), hashOf(much));
    }
  });
  assert.doesNotMatch(rig.krun.stderr, /__dirname|cannot be had|^\S+ error /m);
  assert.deepEqual(
    rig.krun.stderr.split("\n").filter((line) => line !== "" && !/^\d{4}-\d\d-\d\dT\S+Z? /.test(line)),
    [],
  );
});

Deno.test("the binary lets in every type of key, and certificates of every type of CA", async (t) => {
  const folder = await Deno.makeTempDir({ prefix: "krun-ssh-types-" });
  const bits = { ed25519: [], "ecdsa-256": ["256"], "ecdsa-384": ["384"], "ecdsa-521": ["521"], rsa: ["3072"] };
  const made = await Promise.all(["user", "ca"].flatMap((use) =>
    Object.entries(bits).map(async ([name, [count]]) => {
      const args = ["-t", name.split("-")[0]!, ...count ? ["-b", count] : []];
      return [`${use}-${name}`, await makeKey(folder, `${use}-${name}`, args)] as const;
    })
  ));
  const keys = new Map(made);
  const lines = async (use: string, options: string) => {
    const own = made.filter(([name]) => name.startsWith(use)).map(([, key]) => publicLine(key));
    return (await Promise.all(own)).map((line) => `${options}${line}`).join("\n");
  };
  await t.step("keys", async (t) => {
    await using rig = await SshRig.start({ sshAuth: await lines("user-", "") });
    for (const name of Object.keys(bits)) await t.step(name, () => isIn(rig, { key: keys.get(`user-${name}`)! }));
  });
  await t.step("certificates", async (t) => {
    await using rig = await SshRig.start({ sshAuth: await lines("ca-", 'cert-authority,principals="web" ') });
    const pairs = Object.keys(bits).flatMap((name) => [[name, "ed25519"], ["ed25519", name]]);
    for (const [user, ca] of pairs) {
      await t.step(`of ${user} by ${ca}`, async () => {
        const key = keys.get(`user-${user}`)!;
        await isRefused(rig, /the key is not authorized/, { key });
        const certificate = await certify(`${user} by ${ca}`, { ca: keys.get(`ca-${ca}`)!, key });
        await isIn(rig, { key, options: [certificate] });
      });
    }
  });
  await Deno.remove(folder, { recursive: true });
});

Deno.test("an ordinary user's binary gives that user's sessions, terminals too", async () => {
  await using rig = await SshRig.start({ uid: NOBODY });
  const { stdout, stderr } = await rig.ssh(["-tt", "id -u; id -G; stat -c %u $(tty)"]);
  assert.equal(stdout, `${NOBODY}\r\n${NOBODY}\r\n${NOBODY}\r\n`, stderr);
});

Deno.test(
  "root's binary with an ordinary user's program: its right to sockets and ports is not its sessions'",
  userForwards,
);

Deno.test("in an image that holds nothing but the binary and its program, the server is there", async () => {
  // For its key and its client's arguments alone.
  await using rig = await SshRig.start();
  const key = (await Deno.readTextFile(`${rig.key}.pub`)).trim();
  await using root = await rootFs();
  await using krun = root.start({
    args: ["/program", "wait"],
    env: { SSH_AUTH: key, KRUN_SSH: "127.0.0.1:0", MESH_BASE_DIR: "/home" },
    uid: NOBODY,
  });
  const [, port] = await krun.sees("stderr", /ssh server listens addresses=\S*?:(\d+)/);
  const options = [`Port=${port}`, "StrictHostKeyChecking=no", "UserKnownHostsFile=/dev/null"];
  const client = ["ssh", ...rig.clientArgs({ options }), "ann@127.0.0.1"];
  await using server = serveTcp(digestOf);
  // There is no /etc/hosts.
  for (const host of ["127.0.0.1", "localhost"]) {
    const { code, stderr } = await runClient([...client, "-W", `${host}:${server.port}`], { input: "hello" });
    assert.equal(code, 0, stderr);
  }
  const { stdout } = await runClient([...client, "ls /"]);
  assert.match(stdout, /program/);
  assert.doesNotMatch(krun.stderr, /__dirname|cannot be had|^\S+ error /m);
});
