/** Keys that may log in and keys that may not, with OpenSSH's own client: their types, and the options of their lines in SSH_AUTH. */
import assert from "node:assert/strict";
import { attempt, type AttemptOptions, isIn, isRefused, publicLine } from "./ssh_attempts.ts";
import { freePort } from "./server_process.ts";
import { audited, keygen, makeKey, runClient, SshRig } from "./ssh_rig.ts";

/** ssh-keygen's arguments, and with what the client is to sign. */
const TYPES: Readonly<Record<string, { readonly args: string; readonly signatures?: readonly string[] }>> = {
  "ed25519": { args: "-t ed25519" },
  "ecdsa 256": { args: "-t ecdsa -b 256" },
  "ecdsa 384": { args: "-t ecdsa -b 384" },
  "ecdsa 521": { args: "-t ecdsa -b 521" },
  "rsa 2048": { args: "-t rsa -b 2048", signatures: ["rsa-sha2-256", "rsa-sha2-512"] },
  "rsa 3072": { args: "-t rsa -b 3072", signatures: ["rsa-sha2-256", "rsa-sha2-512"] },
};

interface Keys extends AsyncDisposable {
  /** Path of the private half of each. */
  readonly of: Readonly<Record<string, string>>;
  readonly folder: string;
}

async function makeKeys(args: Readonly<Record<string, string>>): Promise<Keys> {
  const folder = await Deno.makeTempDir({ prefix: "krun-ssh-keys-" });
  const made = Object.entries(args).map(async ([name, words]) => {
    return [name, await makeKey(folder, name.replaceAll(" ", "-"), words.split(" "))] as const;
  });
  const of = Object.fromEntries(await Promise.all(made));
  return { of, folder, [Symbol.asyncDispose]: () => Deno.remove(folder, { recursive: true }) };
}

Deno.test("a key of each type lets its owner in, and another of the same type nobody", async (t) => {
  const args = Object.entries(TYPES).map(([name, { args }]) => [name, args]);
  await using keys = await makeKeys(Object.fromEntries([
    ...args,
    ...args.map(([name, words]) => [`stranger ${name}`, words]),
  ]));
  const lines = await Promise.all(Object.keys(TYPES).map((name) => publicLine(keys.of[name]!)));
  await using rig = await SshRig.start({ sshAuth: lines.join("\n") });
  for (const [name, { signatures = [undefined] }] of Object.entries(TYPES)) {
    for (const signature of signatures) {
      await t.step([name, signature].filter(Boolean).join(", "), async () => {
        const options = signature === undefined ? [] : [`PubkeyAcceptedAlgorithms=${signature}`];
        const { stdout, log } = await attempt(rig, { key: keys.of[name]!, options });
        assert.equal(stdout, "in\n", log);
        const [, fingerprint] = (await keygen("-l", "-f", keys.of[name]!)).split(" ");
        const lines = log.split("\n");
        const said = lines.map((line) => /Z info (ssh [a-z ]*[a-z]) \S+=/.exec(line)?.[1]);
        assert.deepEqual(said, ["ssh login", "ssh session", "ssh session over", "ssh logout"], log);
        for (const line of lines) assert.ok(line.includes(` key=${fingerprint} `), log);
        await isRefused(rig, /the key is not authorized/, { key: keys.of[`stranger ${name}`]!, options });
      });
    }
  }
});

Deno.test("keys that are not secure any more let nobody in, though SSH_AUTH names them", async (t) => {
  await using keys = await makeKeys({ "rsa 1024": "-t rsa -b 1024", "dsa": "-t dsa", "rsa": "-t rsa -b 2048" });
  const lines = await Promise.all(Object.values(keys.of).map(publicLine));
  await using rig = await SshRig.start({ sshAuth: lines.join("\n") });
  await t.step("RSA of 1024 bits", async () => {
    await audited(rig, /warn an ssh key is not used reason="line 1 of SSH_AUTH lets nobody in: .*at least 2048 bits/);
    await isRefused(rig, /an RSA key has at least 2048 bits, this one 1024/, { key: keys.of["rsa 1024"]! });
  });
  await t.step("DSA", async () => {
    await audited(rig, /warn an ssh key is not used reason="line 2 of SSH_AUTH lets nobody in: .*ssh-dss/);
    const options = ["PubkeyAcceptedAlgorithms=+ssh-dss"];
    await isRefused(rig, /the algorithm \\"ssh-dss\\" is not taken/, { key: keys.of["dsa"]!, options });
  });
  await t.step("RSA with SHA-1: the server says so beforehand, and the client does not even try", async () => {
    const options = ["PubkeyAcceptedAlgorithms=ssh-rsa", "LogLevel=DEBUG"];
    const { code, stderr } = await rig.ssh(["true"], { key: keys.of["rsa"]!, options });
    assert.equal(code, 255);
    assert.match(stderr, /server-sig-algs=<ssh-ed25519,.*rsa-sha2-512,rsa-sha2-256.*>/);
    assert.doesNotMatch(stderr, /server-sig-algs=<.*(?:ssh-rsa|ssh-dss).*>/);
    assert.match(stderr, /no mutual signature/);
  });
  await t.step("the same RSA key is good with SHA-2", () => isIn(rig, { key: keys.of["rsa"]! }));
});

/** Seconds from now, as `expiry-time` has it. */
function expiryTime(seconds: number): string {
  return `${new Date(Date.now() + seconds * 1000).toISOString().replace(/[-:T]|\.\d+/g, "")}`;
}

/** Options of lines; the name of each is that of its key. */
const LINES: Readonly<Record<string, string>> = {
  plain: "",
  restrict: "restrict",
  pty: "restrict,pty",
  noPty: "no-pty",
  command: String.raw`command="echo \"forced: $SSH_ORIGINAL_COMMAND\""`,
  fromHere: 'from="10.0.0.0/8,127.0.0.?"',
  fromElsewhere: 'from="10.0.0.0/8"',
  notFromHere: 'from="!127.0.0.1,127.*"',
  past: `expiry-time="${expiryTime(-60)}"`,
  future: `expiry-time="${expiryTime(3600)}"`,
  soon: `expiry-time="$SOON"`,
  open: 'permitopen="127.0.0.1:$PORT"',
  openOther: 'permitopen="127.0.0.1:1"',
  listen: 'permitlisten="localhost:$FREE"',
  noForward: "no-port-forwarding",
  environment: 'environment="PATH=/tmp"',
  unknown: "permit-everything",
  ca: "cert-authority",
};

Deno.test("the options of a key's line are kept, with the real client", async (t) => {
  using target = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  const greeting = greet(target);
  const free = freePort();
  await using keys = await makeKeys(Object.fromEntries(Object.keys(LINES).map((name) => [name, "-t ed25519"])));
  const lines = await Promise.all(
    Object.entries(LINES).map(async ([name, options]) => `${options} ${await publicLine(keys.of[name]!)}`),
  );
  const SOON_S = 8;
  const sshAuth = lines.join("\n").replace("$PORT", `${target.addr.port}`).replace("$FREE", `${free}`)
    .replace("$SOON", expiryTime(SOON_S));
  await using rig = await SshRig.start({ sshAuth });
  const as = (name: string, more: AttemptOptions = {}) => ({ key: keys.of[name]!, ...more });
  const terminal = async (name: string) => {
    const options = ["RequestTTY=force", "LogLevel=QUIET"];
    const { code, stdout } = await attempt(rig, as(name, { command: "test -t 0 && echo in one", options }));
    return code === 255 ? "refused" : stdout.trim();
  };
  const through = async (name: string) => {
    const argv = ["ssh", ...rig.clientArgs(as(name)), "-W", `127.0.0.1:${target.addr.port}`, "ann@127.0.0.1"];
    return (await runClient(argv)).stdout;
  };
  const listening = (name: string, port: number) =>
    attempt(rig, as(name, { options: [`RemoteForward=${port} 127.0.0.1:1`, "ExitOnForwardFailure=yes"] }));

  const soon = rig.ssh(["echo in; sleep 600"], as("soon", { user: "soon" }));
  await t.step("restrict takes the terminal and every forward, and pty gives the terminal back", async () => {
    assert.deepEqual([await terminal("plain"), await terminal("pty")], ["in one", "in one"]);
    assert.deepEqual([await terminal("restrict"), await terminal("noPty")], ["refused", "refused"]);
    assert.deepEqual([await through("plain"), await through("restrict"), await through("pty")], ["hello\n", "", ""]);
    assert.equal(await through("noForward"), "");
    await audited(
      rig,
      /ssh request refused .*comment=restrict request=pty-req reason="this login may have no terminal"/,
    );
    await audited(rig, /info ssh forward user=ann key=\S+ comment=plain to=127.0.0.1:\d+$/m);
    await audited(rig, /info ssh forward refused user=ann key=\S+ comment=noForward to=127.0.0.1:\d+ reason=/);
  });
  await t.step("command= is what runs, and is told what was asked for", async () => {
    const { stdout, log } = await attempt(rig, as("command", { command: "rm -rf 'all of it'" }));
    assert.equal(stdout, "forced: rm -rf 'all of it'\n");
    assert.match(log, /ssh session over user=\S+ key=\S+ comment=command ran=".*forced.*" status=0/);
  });
  await t.step("from= is for some addresses", async () => {
    await isIn(rig, as("fromHere"));
    await isRefused(rig, /the line of the key is for \\"10\.0\.0\.0\/8\\", not from 127\.0\.0\.1/, as("fromElsewhere"));
    await isRefused(rig, /the line of the key is for .*, not from 127\.0\.0\.1/, as("notFromHere"));
  });
  await t.step("expiry-time= is for some time", async () => {
    await isIn(rig, as("future"));
    await isRefused(rig, /the line of the key has expired at 2/, as("past"));
  });
  await t.step("permitopen= and permitlisten= are for some places", async () => {
    assert.deepEqual([await through("open"), await through("openOther")], ["hello\n", ""]);
    assert.equal((await listening("listen", free)).stdout, "in\n");
    await audited(
      rig,
      new RegExp(
        `info ssh remote forward user=\\S+ key=\\S+ comment=listen at=127\\.0\\.0\\.1:${free}(?:,\\[::1\\]:${free})?$`,
        "m",
      ),
    );
    const other = await listening("listen", freePort());
    assert.deepEqual([other.code, other.stdout], [255, ""]);
    assert.match(other.stderr, /remote port forwarding failed/);
    await audited(rig, /info ssh remote forward refused .* comment=listen at=localhost:\d+ reason="this login may not/);
  });
  await t.step("what krun does not honour makes a line useless, and the log says so", async () => {
    for (const [name, option] of [["environment", "environment"], ["unknown", "permit-everything"]] as const) {
      const line = Object.keys(LINES).indexOf(name) + 1;
      const said =
        `warn an ssh key is not used reason="line ${line} of SSH_AUTH lets nobody in: its option .*${option}`;
      await audited(rig, new RegExp(said));
      await isRefused(rig, /the key is not authorized/, as(name));
    }
  });
  await t.step(
    "who offers no key is told of as well",
    () => isRefused(rig, /it offered no key/, as("plain", { options: ["PubkeyAuthentication=no"] })),
  );
  await t.step("a client without an algorithm of krun's is told of", async () => {
    const { code } = await rig.ssh(["true"], as("plain", { options: ["Ciphers=aes128-cbc"] }));
    assert.equal(code, 255);
    await audited(rig, /info ssh connection broken from=.* reason="Handshake failed: no matching C->S cipher"/);
  });
  await t.step("a CA's key opens nothing itself", () => isRefused(rig, /the key is not authorized/, as("ca")));
  await t.step("whose time ends while they are in is put out", async () => {
    const { code, stdout } = await soon;
    assert.deepEqual([code, stdout], [255, "in\n"]);
    await audited(
      rig,
      /info ssh connection ended user=soon key=\S+ comment=soon reason="the line of the key has expired at \S+"/,
    );
    await audited(rig, /info ssh logout from="127.0.0.1 \d+" user=soon key=/);
  });
  target.close();
  await greeting;
});

async function greet(listener: Deno.TcpListener): Promise<void> {
  for await (const conn of listener) {
    await conn.write(new TextEncoder().encode("hello\n"));
    conn.close();
  }
}
