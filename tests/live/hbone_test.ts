/**
 * HBONE between krun and what it meets in a mesh: Envoy on either side, OpenSSL as a caller that resumes its sessions, and OpenSSH
 * through `krun --connect`.
 */
import { createHash, randomBytes } from "node:crypto";
import { connect } from "node:net";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import assert from "node:assert/strict";
import { connectStdio } from "../../src/mesh/connect.ts";
import { TestAuthority } from "../certificates.ts";
import { CertificateFolder, MeshRig, workloadId } from "../mesh_rig.ts";
import { TcpProgram } from "../tcp_program.ts";
import { waitFor } from "../wait.ts";
import { Envoy } from "./envoy_hbone.ts";
import { OpenSsh } from "./openssh.ts";
import { freePort } from "./server_process.ts";

const digest = (bytes: Uint8Array) => createHash("sha256").update(bytes).digest("hex");

/** What comes of a connection to a port; what is sent ends when it is sent. */
function exchange(port: number, sent: Uint8Array): Promise<{ got: Uint8Array; end: "end" | "reset" }> {
  return new Promise((resolve) => {
    const socket = connect({ port, host: "127.0.0.1", allowHalfOpen: true });
    const parts: Uint8Array[] = [];
    const done = (end: "end" | "reset") => resolve({ got: new Uint8Array(parts.flatMap((part) => [...part])), end });
    socket.on("data", (part: Uint8Array) => parts.push(part));
    socket.on("end", () => done("end"));
    socket.on("error", () => done("reset"));
    socket.end(sent);
  });
}

Deno.test("an Envoy of the mesh reaches the program through krun", async (t) => {
  await using program = await TcpProgram.echo();
  const authority = `10.0.0.5:${program.port}`;
  await using rig = await MeshRig.start({ workload: { hosts: ["10.0.0.5"], ports: [program.port] } });
  const certificate = rig.authority.issue({ uris: [workloadId("client")] });
  const identity = { certificate, rootPem: rig.authority.pem, peer: workloadId("web") };
  const hbonePort = rig.server.port;
  await t.step("1 MiB there and back, each half ending by itself", async () => {
    await using envoy = await Envoy.caller(identity, { hbonePort, authority });
    const sent = randomBytes(1 << 20);
    const { got, end } = await exchange(envoy.port, sent);
    assert.deepEqual([digest(got), end], [digest(sent), "end"]);
    const many = await Promise.all(Array.from({ length: 50 }, () => exchange(envoy.port, sent.subarray(0, 20_000))));
    assert.ok(many.every((one) => digest(one.got) === digest(sent.subarray(0, 20_000))));
  });
  await t.step("what the workload does not declare is refused", async () => {
    await using envoy = await Envoy.caller(identity, { hbonePort, authority: "10.0.0.5:15000" });
    const { got } = await exchange(envoy.port, randomBytes(10));
    assert.equal(got.length, 0);
  });
});

Deno.test("krun --connect reaches a program through an Envoy of the mesh", async () => {
  await using program = await TcpProgram.echo();
  const authority = new TestAuthority();
  const identity = { rootPem: authority.pem, peer: workloadId("client") };
  await using envoy = await Envoy.endpoint(
    { ...identity, certificate: authority.issue({ uris: [workloadId("web")] }) },
    program.port,
  );
  const own = authority.issue({ uris: [workloadId("client")] });
  await using folder = await CertificateFolder.create(own, authority.pem);
  const sent = randomBytes(1 << 20);
  const parts: Uint8Array[] = [];
  await connectStdio({
    address: { kind: "mesh", host: "127.0.0.1", port: program.port },
    mesh: { certificates: folder.path, endpoints: [envoy.port] },
    frontEnd: { roots: [], idToken: () => Promise.reject(new Error("none")) },
    input: ReadableStream.from([sent]),
    output: new WritableStream({ write: (part) => void parts.push(part) }),
    signal: new AbortController().signal,
  });
  assert.equal(digest(new Uint8Array(parts.flatMap((part) => [...part]))), digest(sent));
});

Deno.test("a caller that resumes a TLS session is verified again", async (t) => {
  await using program = await TcpProgram.echo();
  await using rig = await MeshRig.start({ workload: { hosts: [], ports: [program.port] } });
  const client = rig.authority.issue({ uris: [workloadId("client")] });
  const file = async (name: string, text: string) => {
    await Deno.writeTextFile(join(rig.folder.path, name), text);
    return join(rig.folder.path, name);
  };
  const certificate = await file("client.crt", client.certPem);
  const key = await file("client.key", client.keyPem);
  const session = join(rig.folder.path, "session");
  /** Shakes hands with openssl, until `done`; gives whether the session was resumed. */
  const shake = async (args: string[], done: () => boolean | Promise<boolean> = () => true) => {
    const child = new Deno.Command("openssl", {
      args: ["s_client", "-connect", `127.0.0.1:${rig.server.port}`, "-alpn", "h2", ...args],
      stdin: "piped",
      stdout: "piped",
      stderr: "null",
    }).spawn();
    let said = "";
    const reading = child.stdout.pipeThrough(new TextDecoderStream()).pipeTo(
      new WritableStream({ write: (text) => void (said += text) }),
    );
    await waitFor("the handshake", async () => /^(New|Reused), /m.test(said) && await done());
    await child.stdin.close().catch(() => {});
    await Promise.all([reading, child.status]);
    return /^Reused, /m.test(said);
  };
  const refusals = () => rig.log.lines.filter(({ event }) => event === "hbone peer refused");
  for (const version of ["-tls1_3", "-tls1_2"]) {
    await t.step(version, async () => {
      // Tickets of TLS 1.3 come after the handshake.
      await Deno.remove(session).catch(() => {});
      const isSaved = () => Deno.stat(session).then(({ size }) => size > 0);
      const first = [version, "-cert", certificate, "-key", key, "-sess_out", session];
      assert.equal(await shake(first, isSaved), false);
      assert.equal(await shake([version, "-sess_in", session]), true, "Deno no longer resumes: the check can go");
      assert.equal(refusals().length, 0);
    });
  }
  await t.step("after its root was taken away", async () => {
    const next = new TestAuthority();
    await rig.folder.write(next.issue({ uris: [workloadId("web")] }), next.pem);
    await waitFor("the new root", () => rig.log.events.includes("info mesh certificate reloaded"));
    await shake(["-tls1_2", "-sess_in", session]);
    assert.deepEqual(refusals().map(({ fields }) => fields.reason), [
      "a resumed session whose certificate no longer verifies",
    ]);
  });
});

Deno.test("ssh reaches a real sshd through krun --connect", async () => {
  const sshPort = freePort();
  await using sshd = await OpenSsh.start({ port: sshPort });
  await using rig = await MeshRig.start({ workload: { hosts: [], ports: [], sshPort } });
  const caller = rig.authority.issue({ uris: [workloadId("client")] });
  await using certificates = await CertificateFolder.create(caller, rig.authority.pem);
  const program = fileURLToPath(new URL("../programs/connect.ts", import.meta.url));
  const proxy = [Deno.execPath(), "run", "-q", "-A", program, "%h:%p", certificates.path, `${rig.server.port}`];
  const ssh = new Deno.Command("ssh", {
    args: await sshd.client("localhost", proxy.join(" "), "cat; exit 7"),
    stdin: "piped",
    stdout: "piped",
    stderr: "piped",
  }).spawn();
  const sent = randomBytes(3 << 20);
  const feed = ReadableStream.from([sent]).pipeTo(ssh.stdin);
  const { code, stdout, stderr } = await ssh.output();
  await feed;
  assert.equal(code, 7, new TextDecoder().decode(stderr));
  assert.equal(digest(stdout), digest(sent));
});
