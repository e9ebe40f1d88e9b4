import { X509Certificate } from "node:crypto";
import assert from "node:assert/strict";
import * as tls from "node:tls";
import { type MadeCertificateOptions, TestAuthority } from "../../tests/certificates.ts";
import { MeshRig, type Peer, type PeerOptions, workloadId } from "../../tests/mesh_rig.ts";
import { TcpProgram } from "../../tests/tcp_program.ts";
import { waitFor } from "../../tests/wait.ts";
import { readPeerPatterns } from "../core/spiffe_id.ts";
import { systemClock } from "../pod/clock.ts";

const stranger = new TestAuthority();

function allowing(text: string) {
  return { allow: readPeerPatterns({ env: "HBONE_ALLOW", text }) };
}

interface PeerCase {
  readonly name: string;
  /** What the peer's certificate says, by the mesh's authority or another one; `null`: it shows none. */
  readonly certificate?: MadeCertificateOptions | null;
  readonly authority?: TestAuthority;
  readonly allow?: string;
  /** Status of a CONNECT; `undefined`: the handshake fails. */
  readonly status: number | undefined;
}

const WEB = workloadId("client");

const CASES: readonly PeerCase[] = [
  { name: "of the same trust domain", certificate: { uris: [WEB] }, status: 200 },
  { name: "of another trust domain", certificate: { uris: ["spiffe://other.org/ns/shop/sa/client"] }, status: 403 },
  { name: "without a certificate", certificate: null, status: undefined },
  {
    name: "with a certificate of another authority",
    certificate: { uris: [WEB] },
    authority: stranger,
    status: undefined,
  },
  { name: "with a certificate that has expired", certificate: { uris: [WEB], endsInMs: -60_000 }, status: undefined },
  { name: "with a certificate that names nobody", certificate: { dnsNames: ["client.shop"] }, status: 403 },
  { name: "with two names", certificate: { uris: [WEB, workloadId("admin")] }, status: 403 },
  {
    name: "whose other names look like an admitted one",
    certificate: { uris: [WEB], dnsNames: [`x, URI:${workloadId("admin")}`] },
    allow: workloadId("admin"),
    status: 403,
  },
  { name: "in the allow list", certificate: { uris: [WEB] }, allow: workloadId("client"), status: 200 },
  { name: "in the list by a pattern", certificate: { uris: [WEB] }, allow: workloadId("*"), status: 200 },
  { name: "not in the allow list", certificate: { uris: [WEB] }, allow: workloadId("admin"), status: 403 },
  {
    name: "of another trust domain, in the list",
    certificate: { uris: ["spiffe://other.org/ns/shop/sa/client"] },
    allow: "spiffe://other.org",
    status: 200,
  },
];

async function statusOf(peer: Peer, authority: string): Promise<number | undefined> {
  const { status, channel } = peer.open(authority);
  try {
    return await status;
  } catch {
    return undefined;
  } finally {
    channel.reset();
  }
}

for (const { name, certificate, authority, allow, status } of CASES) {
  Deno.test(`serveHbone() answers a peer ${name}: ${status ?? "no handshake"}`, async () => {
    await using program = await TcpProgram.echo();
    const workload = { hosts: [], ports: [program.port] };
    await using rig = await MeshRig.start({ workload, ...(allow === undefined ? {} : allowing(allow)) });
    const shown = certificate === null ? undefined : (authority ?? rig.authority).issue(certificate!);
    assert.equal(await statusOf(rig.peer({ certificate: shown }), `localhost:${program.port}`), status);
    assert.equal(program.sockets.length, status === 200 ? 1 : 0);
    assert.deepEqual(rig.log.events.slice(1), status === 403 ? ["warn hbone peer refused"] : []);
  });
}

Deno.test("serveHbone() has done with a peer that it refuses: by its first question, and without one in time", async () => {
  const options = { workload: { hosts: [], ports: [80] }, ...allowing(workloadId("admin")) };
  await using patient = await MeshRig.start({ ...options, limits: { refusedIdleMs: 600_000 } });
  const asking = patient.peer();
  // It leaves its own half open.
  const { channel, status } = asking.open("localhost:80");
  assert.equal(await status, 403);
  await asking.closed;
  channel.reset();
  await using quick = await MeshRig.start({ ...options, limits: { refusedIdleMs: 200 } });
  await quick.peer().closed;
});

Deno.test("serveHbone() lets a peer reach what the workload declares, and nothing else", async () => {
  await using program = await TcpProgram.echo();
  await using secret = await TcpProgram.echo();
  await using rig = await MeshRig.start({ workload: { hosts: ["web.shop"], ports: [program.port] } });
  const peer = rig.peer();
  assert.equal(await statusOf(peer, `web.shop:${program.port}`), 200);
  assert.equal(await statusOf(peer, `localhost:${secret.port}`), 404);
  assert.equal(await statusOf(peer, `10.0.0.9:${program.port}`), 403);
  assert.equal(await statusOf(peer, "nonsense"), 400);
  const get = peer.open("localhost:80", { ":method": "GET", ":path": "/", ":scheme": "https" });
  assert.equal(await get.status, 405);
  assert.deepEqual([program.sockets.length, secret.sockets.length], [1, 0]);
});

Deno.test("serveHbone() speaks HTTP/2 over TLS 1.2 or later, and nothing else", async (t) => {
  await using program = await TcpProgram.echo();
  await using rig = await MeshRig.start({ workload: { hosts: [], ports: [program.port] } });
  const { certPem: cert, keyPem: key } = rig.authority.issue({ uris: [WEB] });
  const shake = async (options: tls.ConnectionOptions) => {
    const { port } = rig.server;
    const checkServerIdentity = () => undefined;
    const socket = tls.connect({ port, ca: rig.authority.pem, cert, key, checkServerIdentity, ...options });
    socket.on("error", () => {});
    const closed = new Promise((resolve) => socket.once("close", resolve));
    const isAccepted = await Promise.race([
      new Promise((resolve) => socket.once("data", () => resolve(true))),
      closed.then(() => false),
    ]);
    socket.destroy();
    await closed;
    return isAccepted;
  };
  const h2 = { ALPNProtocols: ["h2"] };
  await t.step("TLS 1.3", async () => assert.ok(await shake({ ...h2, minVersion: "TLSv1.3" })));
  await t.step("TLS 1.2", async () => assert.ok(await shake({ ...h2, maxVersion: "TLSv1.2" })));
  await t.step("HTTP/1.1", async () => assert.equal(await shake({ ALPNProtocols: ["http/1.1"] }), false));
  await t.step("no protocol named", async () => assert.equal(await shake({}), false));
});

Deno.test("serveHbone() takes new certificates and roots, and old streams go on", async (t) => {
  await using program = await TcpProgram.echo();
  await using rig = await MeshRig.start({ workload: { hosts: [], ports: [program.port] } });
  const authority = `localhost:${program.port}`;
  const { channel } = rig.peer().open(authority);
  const echoes = async (word: string) => {
    await channel.write(new TextEncoder().encode(word));
    assert.equal(new TextDecoder().decode(await channel.read()), word);
  };
  await echoes("before");
  const old: PeerOptions = { certificate: rig.authority.issue({ uris: [WEB] }), rootPem: rig.authority.pem };
  const next = new TestAuthority();
  const renewed = next.issue({ uris: [workloadId("web")] });
  const current: PeerOptions = { certificate: next.issue({ uris: [WEB] }), rootPem: next.pem };
  const sees = (event: string) => waitFor(event, () => rig.log.events.includes(event));

  await t.step("a set that is half written is waited for", async () => {
    await rig.folder.put("cert-chain.pem", renewed.certPem);
    await sees("warn the mesh certificate before stays in use");
    assert.equal(await statusOf(rig.peer(old), authority), 200);
    assert.equal(await statusOf(rig.peer(current), authority), undefined);
  });
  await t.step("the whole set counts from the next connection on", async () => {
    await rig.folder.write(renewed, next.pem);
    await sees("info mesh certificate reloaded");
    const peer = rig.peer(current);
    assert.equal(await statusOf(peer, authority), 200);
    assert.equal(peer.serial, new X509Certificate(renewed.certPem).serialNumber);
    assert.equal(await statusOf(rig.peer({ ...old, rootPem: next.pem }), authority), undefined, "the old root is gone");
  });
  await t.step("the stream that was open goes on", () => echoes("after"));
});

Deno.test("serveHbone() judges every stream anew: no new one once the certificate has ended, and those that are open go on", async () => {
  await using program = await TcpProgram.echo();
  let aheadMs = 0;
  const clock = { ...systemClock, nowMs: () => Date.now() + aheadMs };
  await using rig = await MeshRig.start({ workload: { hosts: [], ports: [program.port] }, clock });
  const authority = `localhost:${program.port}`;
  const peer = rig.peer({ certificate: rig.authority.issue({ uris: [WEB], endsInMs: 600_000 }) });
  const { channel, status } = peer.open(authority);
  assert.equal(await status, 200);
  aheadMs = 500_000;
  assert.equal(await statusOf(peer, authority), 200, "the control: it is in its time");
  aheadMs = 700_000;
  assert.equal(await statusOf(peer, authority), 403);
  await channel.write(new TextEncoder().encode("still here"));
  assert.equal(new TextDecoder().decode(await channel.read()), "still here");
  channel.end();
  assert.equal(await channel.read(), undefined);
  await peer.closed;
  assert.equal(program.sockets.length, 2);
});

Deno.test("serveHbone() has a peer come again with its next certificate before the last one ends", async () => {
  await using program = await TcpProgram.echo();
  await using rig = await MeshRig.start({ workload: { hosts: [], ports: [program.port] } });
  const authority = `localhost:${program.port}`;
  const peer = rig.peer({ certificate: rig.authority.issue({ uris: [WEB], endsInMs: 9_000 }) });
  const { channel, status } = peer.open(authority);
  assert.equal(await status, 200, "it is served");
  channel.end();
  assert.equal(await channel.read(), undefined);
  await peer.closed;
});

Deno.test("serveHbone() opens no new stream on a connection whose root is gone, and those that are open go on", async () => {
  await using program = await TcpProgram.echo();
  await using rig = await MeshRig.start({ workload: { hosts: [], ports: [program.port] } });
  const authority = `localhost:${program.port}`;
  const reloads = () => rig.log.events.filter((event) => event === "info mesh certificate reloaded").length;
  const [kept, lost] = [rig.peer(), rig.peer()];
  const open = kept.open(authority);
  assert.deepEqual([await open.status, await statusOf(lost, authority)], [200, 200]);
  const next = new TestAuthority();
  await rig.folder.write(next.issue({ uris: [workloadId("web")] }), next.pem + rig.authority.pem);
  await waitFor("both roots", () => reloads() >= 1);
  assert.equal(await statusOf(lost, authority), 200, "the control: both roots are believed");
  const before = reloads();
  await rig.folder.write(next.issue({ uris: [workloadId("web")] }), next.pem);
  await waitFor("the new root alone", () => reloads() > before);
  assert.equal(await statusOf(lost, authority), 403);
  await lost.closed;
  await open.channel.write(new TextEncoder().encode("still here"));
  assert.equal(new TextDecoder().decode(await open.channel.read()), "still here");
  assert.ok(rig.log.events.includes("warn hbone peer refused"));
});
