/** Sessions of the debug SSH server: whose they are, what they see of the program's world, and what they do not see of krun. */
import assert from "node:assert/strict";
import { join } from "node:path";
import { isKruns } from "../../src/core/app_env.ts";
import { SshRig } from "./ssh_rig.ts";

const USER = 54321, GROUP = 2345;

/** Texts that no session may see anywhere in its environment. */
const SECRETS = {
  KUBECONFIG: "/krun/own/kubeconfig",
  GOOGLE_APPLICATION_CREDENTIALS: "/krun/own/google.json",
  XDS_HEADER_AUTHORIZATION: "bearer-of-krun",
  KRUN_SSH_PRINCIPALS: "krun-own-principal",
};

async function manifests(folder: string): Promise<string> {
  const path = join(folder, "k8s");
  await Deno.mkdir(path, { recursive: true });
  const metadata = { name: "db", namespace: "shop" };
  const secret = { apiVersion: "v1", kind: "Secret", metadata, stringData: { password: "s3cr3t-of-db" } };
  await Deno.writeTextFile(join(path, "db.json"), JSON.stringify(secret));
  return path;
}

/** Words that start a krun without HOME, where root's account has this home: the tester's own has settings, which shells would read. */
async function underAccount(folder: string, home: string): Promise<string[]> {
  const passwd = join(folder, "passwd");
  await Deno.writeTextFile(passwd, `root:x:0:0::${home}:/bin/bash\n`);
  const script = 'mount --bind "$0" /etc/passwd && exec env -u HOME "$@"';
  return ["unshare", "--mount", "sh", "-c", script, passwd];
}

Deno.test("a session has the program's environment, what says that it is one, and none of krun's secrets", async (t) => {
  const folder = await Deno.makeTempDir({ prefix: "krun-ssh-world-" });
  const env = {
    ...SECRETS,
    KRUN_MANIFESTS: await manifests(folder),
    WORKLOAD_NAMESPACE: "shop",
    K8S_SECRET_db: "./db",
    K8S_TOKEN_vault: "./token",
    GREETING: "hello\nworld",
    XDS_ADDR: "-",
  };
  const home = join(folder, "home");
  await Deno.mkdir(home);
  await using rig = await SshRig.start({ env, under: await underAccount(folder, home) });
  const variables = async (args: string[], options = {}) => {
    const { stdout, stderr } = await rig.ssh([...args, "env -0"], options);
    assert.equal(stderr, "");
    return new Map(
      stdout.split("\0").slice(0, -1).map((line) => [line.split("=", 1)[0]!, line.slice(line.indexOf("=") + 1)]),
    );
  };
  await t.step("the program's, the account's and the connection's", async () => {
    const found = await variables([]);
    assert.equal(found.get("GREETING"), "hello\nworld");
    assert.deepEqual([found.get("HOME"), found.get("USER"), found.get("LOGNAME")], [home, "root", "root"]);
    assert.equal(found.get("SHELL"), "/bin/bash");
    assert.match(found.get("SSH_CONNECTION")!, new RegExp(`^127\\.0\\.0\\.1 \\d+ 127\\.0\\.0\\.1 ${rig.port}$`));
    assert.match(found.get("SSH_CLIENT")!, new RegExp(`^127\\.0\\.0\\.1 \\d+ ${rig.port}$`));
    assert.deepEqual([found.get("SSH_TTY"), found.get("TERM")], [undefined, undefined]);
  });
  await t.step("none of krun's", async () => {
    const found = await variables([]);
    const own = Object.entries({ ...env, SSH_AUTH: undefined, KRUN_SSH: undefined }).filter(([name]) => isKruns(name));
    assert.ok(own.length >= 8);
    // One of that name may be there: krun's kubeconfig for the program.
    for (const [name, value] of own) assert.ok(!found.has(name) || found.get(name) !== value, name);
    const all = [...found.values()].join("\n");
    for (const text of [...Object.values(SECRETS), "ssh-ed25519"]) assert.ok(!all.includes(text), text);
  });
  await t.step("the files that krun has for the program", async () => {
    assert.equal((await rig.ssh(["cat $MESH_BASE_DIR/db/password"])).stdout, "s3cr3t-of-db");
  });
  await t.step("the client's language, and nothing else that it brings along", async () => {
    const brought = { LANG: "de_DE.UTF-8", LC_ALL: "C.UTF-8", LC_TIME: "en_GB", COLORTERM: "truecolor" };
    const refused = { LD_LIBRARY_PATH: "/tmp/x", BASH_ENV: "/tmp/x", PATH_OF_CLIENT: "x", LC_: "x" };
    const options = { env: { ...brought, ...refused }, options: ["SendEnv=LANG", "SendEnv=LC_*", "SendEnv=*"] };
    const found = await variables([], options);
    for (const [name, value] of Object.entries(brought)) assert.equal(found.get(name), value);
    for (const name of Object.keys(refused)) assert.equal(found.get(name), undefined, name);
  });
  await t.step("a terminal's", async () => {
    const { stdout } = await rig.ssh(["-tt", 'echo "$TERM $SSH_TTY"; tty'], { env: { TERM: "xterm-256color" } });
    const [first, tty] = stdout.split("\r\n");
    assert.equal(first, `xterm-256color ${tty}`);
    assert.match(tty!, /^\/dev\/pts\/\d+$/);
  });
  await Deno.remove(folder, { recursive: true });
});

/** What a session can do to krun's own process. */
function lookAt(pid: number): string {
  const read = `head -c 1 /proc/${pid}/$name >/dev/null 2>&1 && echo $name`;
  return [
    `for name in environ maps mem fd/0; do ${read}; done`,
    `kill -0 ${pid} 2>/dev/null && echo signal`,
    `tr "\\0" "\\n" 2>/dev/null </proc/${pid}/environ | grep -o ^SSH_AUTH`,
  ].join("; ");
}

Deno.test("a session is the program's user, whoever krun is, and sees nothing of krun's own", async (t) => {
  const home = await Deno.makeTempDir({ prefix: "krun-ssh-user-" });
  await Deno.chmod(home, 0o755);
  const cwd = join(home, "work");
  await Deno.mkdir(cwd);
  await Deno.chown(cwd, USER, GROUP);
  await using rig = await SshRig.start({ env: { HOME: "/root", KRUN_RUN_AS: `${USER}:${GROUP}` }, cwd });
  await t.step("ids, groups, capabilities, folder and files", async () => {
    const look = 'id -u; id -g; id -G; pwd; grep ^CapEff /proc/self/status; : >made; stat -c "%u:%g" made; echo $HOME';
    const { stdout, stderr } = await rig.ssh([look]);
    const lines = [`${USER}`, `${GROUP}`, `${GROUP}`, cwd, "CapEff:\t0000000000000000", `${USER}:${GROUP}`, "/", ""];
    assert.deepEqual([stdout.split("\n"), stderr], [lines, ""]);
  });
  await t.step("with a terminal, which is that user's", async () => {
    const { stdout } = await rig.ssh(["-tt", "id -u; stat -c %u $(tty); : >/dev/tty && echo mine"]);
    assert.equal(stdout, `${USER}\r\n${USER}\r\nmine\r\n`);
  });
  await t.step("files that are not that user's are refused", async () => {
    const { code, stderr } = await rig.ssh(["cat /etc/shadow; : >/etc/krun-made"]);
    assert.notEqual(code, 0);
    assert.equal(stderr.match(/Permission denied/g)?.length, 2);
  });
  await t.step("krun's own process is out of reach", async () => {
    assert.equal((await rig.ssh([lookAt(rig.krun.pid)])).stdout, "");
  });
  await t.step("the control: a session of root's reaches root's krun", async () => {
    await using own = await SshRig.start();
    assert.equal((await own.ssh([lookAt(own.krun.pid)])).stdout, "environ\nmaps\nfd/0\nsignal\nSSH_AUTH\n");
  });
  await Deno.remove(home, { recursive: true });
});

Deno.test("krun's own ps shows what the program's user may see: under hidepid=2 nobody else's processes", async (t) => {
  // Shells are hidden as well: who has one has the image's ps, or none.
  const shells = 'for file in /bin/sh /bin/bash; do mount --bind /dev/null "$(realpath $file)"; done; exec "$@"';
  for (const hidepid of [0, 2]) {
    await t.step(`hidepid=${hidepid}`, async () => {
      const script = `mount -t proc -o hidepid=${hidepid} proc /proc && ${shells}`;
      const under = ["unshare", "--mount", "--propagation", "private", "sh", "-c", script, "sh"];
      await using rig = await SshRig.start({ under, env: { KRUN_RUN_AS: `${USER}` }, program: ["sleep", "7411"] });
      const { code, stdout, stderr } = await rig.ssh(["ps"]);
      assert.equal(code, 0, stderr);
      const rows = stdout.trimEnd().split("\n").slice(1).map((line) => line.split(/\s+/));
      const commands = rows.filter(([user]) => user === `${USER}`).map(([, , , , , ...command]) => command.join(" "));
      assert.ok(commands.includes("sleep 7411"), stdout);
      // A process may always see itself, and krun is who reads.
      const others = rows.filter(([user, pid]) => user !== `${USER}` && Number(pid) !== rig.krun.pid);
      assert.equal(others.some(([, pid]) => Number(pid) === Deno.pid), hidepid === 0);
      if (hidepid === 2) assert.deepEqual(others, []);
    });
  }
});
