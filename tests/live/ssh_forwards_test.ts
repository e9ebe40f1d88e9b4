/** Forwards of the debug SSH server, with OpenSSH's own client: what goes through, and what is refused. */
import assert from "node:assert/strict";
import { join } from "node:path";
import { SSH_MESSAGE } from "../../src/core/ssh_messages.ts";
import { waitFor } from "../wait.ts";
import { holdsAgain, residentBytes, steadyFootprint } from "./footprint.ts";
import { RawSshClient } from "./raw_ssh_client.ts";
import {
  connectBySocks,
  digestOf,
  echo,
  Forwarding,
  freePort,
  hashAll,
  hashOf,
  randomBytes,
  readText,
  serveTcp,
  serveUnix,
  writeAll,
} from "./ssh_forward_rig.ts";
import { userForwards } from "./ssh_forward_user.ts";
import { audited, SshRig } from "./ssh_rig.ts";

const local = (port: number) => Deno.connect({ hostname: "127.0.0.1", port });
const hasNobody = (connecting: Promise<Deno.Conn>) =>
  assert.rejects(connecting.then((conn) => conn.close()), Deno.errors.ConnectionRefused);

/** What ssh says of a target to which it is not led. */
async function leads(rig: SshRig, target: string): Promise<string> {
  const { code, stderr } = await rig.ssh(["-W", target, "-N"], { options: ["LogLevel=INFO"] });
  assert.equal(code, 255);
  return stderr;
}

Deno.test("-L and -D lead to where the workload can connect", async (t) => {
  await using rig = await SshRig.start();
  await using server = serveTcp(digestOf);
  const much = randomBytes(20 << 20);
  await t.step("much, the end of it, and an answer after that", async () => {
    const port = freePort();
    await using _ssh = await Forwarding.start(rig, ["-L", `${port}:localhost:${server.port}`], { local: port });
    using conn = await local(port);
    await writeAll(conn, much);
    await conn.closeWrite();
    assert.equal(await readText(conn), hashOf(much));
    await audited(rig, new RegExp(`ssh forward user=ann .* to=localhost:${server.port}$`, "m"));
  });
  await t.step("by SOCKS, to several places", async () => {
    const port = freePort();
    await using _ssh = await Forwarding.start(rig, ["-D", `${port}`], { local: port });
    await using other = serveTcp(echo);
    using one = await connectBySocks(port, { host: "localhost", port: server.port });
    using two = await connectBySocks(port, { host: "127.0.0.1", port: other.port });
    for (const [conn, expected] of [[one, hashOf(much.subarray(0, 1000))], [two, undefined]] as const) {
      await writeAll(conn, much.subarray(0, 1000));
      await conn.closeWrite();
      assert.equal(
        await hashAll(conn),
        expected === undefined ? hashOf(much.subarray(0, 1000)) : hashOf(new TextEncoder().encode(expected)),
      );
    }
    // ssh says yes before it has asked krun; then there is nothing.
    for (const host of ["127.0.0.1", "no.such.host.invalid"]) {
      using none = await connectBySocks(port, { host, port: freePort() });
      assert.equal(await readText(none), "");
    }
  });
  await t.step("a server that says goodbye first still gets all that the client says", async () => {
    let received: string | undefined;
    await using slow = serveTcp(async (conn) => {
      await writeAll(conn, new TextEncoder().encode("goodbye"));
      await conn.closeWrite();
      await waitFor("the client's end", () => hasEnded);
      received = await hashAll(conn);
    });
    let hasEnded = false;
    const port = freePort();
    await using _ssh = await Forwarding.start(rig, ["-L", `${port}:127.0.0.1:${slow.port}`]);
    const conn = await waitFor("the forward", () => local(port));
    assert.equal(await readText(conn), "goodbye");
    const said = much.subarray(0, 1 << 20);
    await writeAll(conn, said);
    conn.close();
    hasEnded = true;
    await waitFor("all of it", () => received);
    assert.equal(received, hashOf(said));
  });
  await t.step("refused targets, in words", async () => {
    assert.match(await leads(rig, `127.0.0.1:${freePort()}`), /open failed: connect failed: connection refused/);
    await audited(rig, /ssh forward refused .* reason="connection refused"$/m);
    assert.match(await leads(rig, "no-such-name.invalid:80"), /no address of "no-such-name\.invalid" is known/);
    await audited(rig, /ssh forward refused .* reason="no address of \\"no-such-name\.invalid\\" is known"$/m);
  });
});

Deno.test("1,000 connections at once are forwarded, each with its own bytes, and nothing is left of them", async () => {
  await using rig = await SshRig.start();
  await using server = serveTcp(echo);
  const port = freePort();
  const open = ["-L", `${port}:127.0.0.1:${server.port}`];
  {
    await using _warm = await Forwarding.start(rig, open, { local: port });
    (await local(port)).close();
  }
  const before = await steadyFootprint(rig.krun.pid);
  const memory = residentBytes(rig.krun.pid);
  {
    await using _ssh = await Forwarding.start(rig, open, { local: port });
    const conns = await Promise.all(Array.from({ length: 1000 }, () => local(port)));
    const sent = conns.map((_, at) => randomBytes(10_000 + at));
    await Promise.all(conns.map(async (conn, at) => await writeAll(conn, sent[at]!)));
    await Promise.all(conns.map(async (conn, at) => {
      // All of them are open until the last one was served.
      const buffer = new Uint8Array(sent[at]!.length);
      for (let length = 0; length < buffer.length;) length += (await conn.read(buffer.subarray(length)))!;
      assert.equal(hashOf(buffer), hashOf(sent[at]!));
    }));
    const grown = residentBytes(rig.krun.pid) - memory;
    assert.ok(grown < 150 << 20, `${grown} bytes`);
    for (const conn of conns) conn.close();
  }
  await holdsAgain(rig.krun.pid, before);
});

Deno.test("-R listens on loopback alone, and leads to the client", async (t) => {
  await using rig = await SshRig.start();
  await using server = serveTcp(digestOf);
  const said = randomBytes(3 << 20);
  const asks = async (port: number) => {
    using conn = await local(port);
    await writeAll(conn, said);
    await conn.closeWrite();
    assert.equal(await readText(conn), hashOf(said));
  };
  await t.step("any free port, which the client is told", async () => {
    const before = await steadyFootprint(rig.krun.pid);
    const ssh = await Forwarding.start(rig, ["-R", `0:127.0.0.1:${server.port}`]);
    const [, port] = await ssh.says(/Allocated port (\d+)/);
    await Promise.all([asks(Number(port)), asks(Number(port))]);
    await ssh[Symbol.asyncDispose]();
    await waitFor("the port to be closed", () => hasNobody(local(Number(port))).then(() => true));
    await holdsAgain(rig.krun.pid, before);
  });
  await t.step("no other address, whatever is asked for", async () => {
    const other = Deno.networkInterfaces().find(({ family, address }) =>
      family === "IPv4" && !address.startsWith("127.")
    );
    assert.ok(other, "this machine has no other address");
    for (const address of ["0.0.0.0", "*", other.address, "::"]) {
      const port = freePort();
      await using ssh = await Forwarding.start(rig, ["-R", `[${address}]:${port}:127.0.0.1:${server.port}`], {
        local: port,
      });
      await asks(port);
      await hasNobody(Deno.connect({ hostname: other.address, port }));
      assert.ok(ssh);
      // ssh(1) says "" for `*`.
      const asked = `${address === "*" ? "" : address}:${port}`;
      const line = `ssh remote forward user=.* at=127\\.0\\.0\\.1:${port}\\S* asked=(\\S+)\\n`;
      assert.equal((await audited(rig, new RegExp(line)))[1], asked);
    }
    // The control: what listens on all addresses is there.
    await using open = serveTcp(echo, { hostname: "0.0.0.0" });
    (await Deno.connect({ hostname: other.address, port: open.port })).close();
  });
  await t.step("a port that is taken is refused", async () => {
    const { code, stderr } = await rig.ssh(["-R", `${server.port}:127.0.0.1:1`, "true"], {
      options: ["ExitOnForwardFailure=yes"],
    });
    assert.equal(code, 255);
    assert.match(stderr, /remote port forwarding failed/);
  });
  await t.step("cancelled, it is gone, and others stay", async () => {
    const options = ["ControlMaster=auto", `ControlPath=${rig.folder}/cp-%C`, "ControlPersist=60"];
    await rig.ssh(["true"], { options });
    const [one, two] = [freePort(), freePort()];
    const control = async (what: string, port: number) => {
      const { code, stderr } = await rig.ssh(["-O", what, "-R", `${port}:127.0.0.1:${server.port}`, "true"], {
        options,
      });
      assert.equal(code, 0, stderr);
    };
    for (const port of [one, two]) await control("forward", port);
    for (const port of [one, two]) await asks(port);
    await control("cancel", one);
    await waitFor("the port to be closed", () => hasNobody(local(one)).then(() => true));
    await asks(two);
    await rig.ssh(["-O", "exit", "true"], { options });
  });
});

Deno.test("Unix sockets are forwarded both ways, and their files go with them", async () => {
  await using rig = await SshRig.start();
  const path = (name: string) => join(rig.folder, name);
  await using _far = serveUnix(path("far"), digestOf);
  await using _near = serveUnix(path("near"), digestOf);
  const said = randomBytes(3 << 20);
  const ssh = await Forwarding.start(rig, [
    "-L",
    `${path("to-far")}:${path("far")}`,
    "-R",
    `${path("to-near")}:${path("near")}`,
  ], {
    local: path("to-near"),
  });
  for (const name of ["to-far", "to-near"]) {
    using conn = await Deno.connect({ transport: "unix", path: path(name) });
    await writeAll(conn, said);
    await conn.closeWrite();
    assert.equal(await readText(conn), hashOf(said), name);
  }
  assert.equal(Deno.lstatSync(path("to-near")).mode! & 0o777, 0o600);
  await ssh[Symbol.asyncDispose]();
  await waitFor(
    "the socket to be gone",
    () => !Array.from(Deno.readDirSync(rig.folder)).some(({ name }) => name === "to-near"),
  );
});

Deno.test("a login has the forwards that its key permits, and no others", async (t) => {
  await using server = serveTcp(echo);
  const [listen, unlisted] = [freePort(), freePort()];
  const refused = (rig: SshRig, args: string[]) =>
    rig.ssh([...args, "true"], { options: ["ExitOnForwardFailure=yes"] });
  await t.step("permitopen and permitlisten", async () => {
    const permits = `permitopen="127.0.0.1:${server.port}",permitlisten="localhost:${listen}" $KEY`;
    await using rig = await SshRig.start({ sshAuth: permits });
    const port = freePort();
    await using _ssh = await Forwarding.start(rig, ["-L", `${port}:127.0.0.1:${server.port}`], { local: port });
    assert.match(await leads(rig, "127.0.0.1:22"), /administratively prohibited/);
    const remote = await refused(rig, ["-R", `${unlisted}:127.0.0.1:1`]);
    assert.match(remote.stderr, /remote port forwarding failed/);
    assert.equal((await refused(rig, ["-R", `localhost:${listen}:127.0.0.1:1`])).code, 0);
    await using unix = await Forwarding.start(rig, ["-R", `${rig.folder}/socket:/nowhere`]);
    await unix.says(/remote port forwarding failed/);
  });
  await t.step("no-port-forwarding", async () => {
    await using rig = await SshRig.start({ sshAuth: "no-port-forwarding $KEY" });
    assert.match(await leads(rig, `127.0.0.1:${server.port}`), /administratively prohibited/);
    assert.match((await refused(rig, ["-R", `${unlisted}:127.0.0.1:1`])).stderr, /remote port forwarding failed/);
    assert.equal((await rig.ssh(["true"])).code, 0);
  });
  await t.step("an agent and X11 are forwarded for nobody", async () => {
    await using rig = await SshRig.start();
    await using client = await RawSshClient.connect(rig.port);
    await client.login(await Deno.readTextFile(rig.key));
    const session = await client.openSession();
    for (const type of ["auth-agent-req@openssh.com", "x11-req"]) {
      client.request(session, type, { wantsReply: true });
      await client.take(SSH_MESSAGE.channelFailure);
    }
    for (const type of ["auth-agent@openssh.com", "x11", "tun@openssh.com"]) {
      client.ask(type);
      await client.take(SSH_MESSAGE.channelOpenFailure);
    }
    assert.equal(
      (await rig.ssh(["-A", 'echo "$SSH_AUTH_SOCK$DISPLAY."'], { env: { SSH_AUTH_SOCK: "/nowhere" } })).stdout,
      ".\n",
    );
  });
});

Deno.test("an ordinary user's program: krun's right to sockets and ports is not its sessions'", userForwards);
