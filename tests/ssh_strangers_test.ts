/** Who connects to the debug SSH server: how long and how many may stay without logging in, and who has to go later. */
import assert from "node:assert/strict";
import { SSH_MESSAGE } from "../src/core/ssh_messages.ts";
import { softwareKey } from "./ssh_keys.ts";
import { LoginClient } from "./ssh_login_client.ts";
import { ann, ANNS_LINE, login, lurk, openServer } from "./ssh_server_rig.ts";
import { waitFor } from "./wait.ts";

const eve = softwareKey("ssh-ed25519", "eve");

Deno.test("whoever has not logged in within two minutes is cut off, and nobody else", async () => {
  await using rig = await openServer();
  await using lurker = await lurk(rig.port);
  await using asks = await LoginClient.connect(rig.port);
  asks.offer({ algorithm: "ssh-ed25519", blob: ann.publicKey.blob });
  assert.equal((await asks.next())[0], SSH_MESSAGE.userauthPkOk);
  await using ann_ = await login(rig.port);
  const isAnswered = async () => {
    ann_.send(Uint8Array.of(SSH_MESSAGE.globalRequest, 0, 0, 0, 1, 120, 1));
    let type;
    // What it asks itself comes before that.
    while ((type = (await ann_.next())[0]) === SSH_MESSAGE.globalRequest);
    return type === SSH_MESSAGE.requestFailure;
  };
  await rig.clock.pass(119_999);
  assert.ok(await isAnswered());
  assert.deepEqual([lurker.isOver, asks.isOver], [false, false]);
  await rig.clock.pass(1);
  await waitFor("both to be cut off", () => lurker.isOver && asks.isOver);
  for (let minute = 1; minute <= 10; minute++) {
    await rig.clock.pass(60_000);
    assert.ok(await isAnswered(), "who is in stays");
  }
});

Deno.test("who is in and answers nothing is asked three times, every 30 s, and cut off 30 s later; an answer begins it anew", async () => {
  await using rig = await openServer();
  const { globalRequest, requestFailure } = SSH_MESSAGE;
  await using client = await login(rig.port);
  const asked = async () => {
    await rig.clock.pass(30_000);
    const request = await client.next();
    assert.deepEqual([request[0], request.at(-1)], [globalRequest, 1]);
    assert.equal(new TextDecoder().decode(request.subarray(5, -1)), "keepalive@openssh.com");
  };
  const answered = async () => {
    client.send(Uint8Array.of(requestFailure));
    // Of another request, so that the server has read it.
    client.send(Uint8Array.of(globalRequest, 0, 0, 0, 1, 120, 1));
    assert.equal((await client.next())[0], requestFailure);
  };
  for (let round = 0; round < 3; round++) await asked();
  await answered();
  for (let round = 0; round < 3; round++) await asked();
  await rig.clock.pass(29_999);
  assert.deepEqual([client.isOver, client.received], [false, []]);
  await rig.clock.pass(1);
  await waitFor("its end", () => client.isOver);
  await waitFor("the logout", () => rig.log.events.includes("info ssh logout"));
});

Deno.test("a hundred who only connect keep nobody out: each newcomer takes the place of the oldest of them", async () => {
  await using rig = await openServer();
  await using lurkers = new AsyncDisposableStack();
  const all: { readonly isOver: boolean }[] = [];
  for (let count = 0; count < 100; count++) all.push(lurkers.use(await lurk(rig.port)));
  await using first = await login(rig.port);
  await waitFor("one to go", () => all[0]!.isOver);
  assert.equal(all.filter(({ isOver }) => isOver).length, 1, "who is in takes nobody's place");
  for (let count = 0; count < 50; count++) all.push(lurkers.use(await lurk(rig.port)));
  await waitFor("fifty to go", () => all.filter(({ isOver }) => isOver).length === 50);
  assert.ok(all.slice(0, 50).every(({ isOver }) => isOver), "the oldest");
  await using second = await login(rig.port);
  assert.deepEqual([first.isOver, second.isOver], [false, false]);
});

Deno.test("silent connections, however many, take no place of somebody who has exchanged keys or is at a prompt", async () => {
  await using rig = await openServer();
  await using asks = await LoginClient.connect(rig.port);
  asks.offer({ algorithm: "ssh-ed25519", blob: ann.publicKey.blob });
  assert.equal((await asks.next())[0], SSH_MESSAGE.userauthPkOk);
  await using keyed = await LoginClient.connect(rig.port);
  await using lurkers = new AsyncDisposableStack();
  const all: { readonly isOver: boolean }[] = [];
  for (let count = 0; count < 200; count++) all.push(lurkers.use(await lurk(rig.port)));
  await waitFor("102 of them to go", () => all.filter(({ isOver }) => isOver).length === 102);
  assert.deepEqual([asks.isOver, keyed.isOver], [false, false]);
  for (const client of [asks, keyed]) {
    client.offer({ algorithm: "ssh-ed25519", blob: ann.publicKey.blob, sign: (data) => ann.sign(data) });
    assert.equal((await client.next())[0], SSH_MESSAGE.userauthSuccess);
  }
});

Deno.test("whoever has connected before the server stops does not log in after it", async () => {
  await using rig = await openServer();
  await using client = await LoginClient.connect(rig.port);
  rig.server.stop("the program is asked to end");
  client.offer({ algorithm: "ssh-ed25519", blob: ann.publicKey.blob, sign: (data) => ann.sign(data) });
  assert.equal((await client.next())[0], SSH_MESSAGE.userauthFailure);
  assert.deepEqual(rig.log.events, []);
});

Deno.test("beyond the most connections nobody is let in, and nobody has to go for that", async () => {
  await using rig = await openServer({ mostConnections: 3 });
  await using lurkers = new AsyncDisposableStack();
  const all: { readonly isOver: boolean }[] = [];
  for (let count = 0; count < 4; count++) all.push(lurkers.use(await lurk(rig.port)));
  await waitFor("the last one to be refused", () => all[3]!.isOver);
  assert.deepEqual(all.map(({ isOver }) => isOver), [false, false, false, true]);
});

Deno.test("one login has half of the connections at most, and is told so by the next one's end", async () => {
  // A hundred are left for those who have not logged in.
  await using rig = await openServer({ mostConnections: 104 });
  await using clients = new AsyncDisposableStack();
  const all: LoginClient[] = [];
  for (let count = 0; count < 3; count++) all.push(clients.use(await login(rig.port)));
  await waitFor("the third one's end", () => all[2]!.isOver);
  assert.deepEqual(all.map(({ isOver }) => isOver), [false, false, true]);
  const [ended] = rig.log.lines.filter(({ event }) => event === "ssh connection ended");
  assert.equal(ended?.fields.reason, "this login has as many connections as are left for all others");
});

Deno.test("six failures end a connection, and each of them stands in the log", async () => {
  await using rig = await openServer();
  await using client = await LoginClient.connect(rig.port);
  assert.deepEqual(client.signatures.filter((name) => /ssh-rsa|ssh-dss/.test(name)), []);
  for (let tries = 1; tries <= 6; tries++) {
    client.offer({ user: "eve", algorithm: "ssh-ed25519", blob: eve.publicKey.blob });
    if (tries === 6) break;
    if (tries >= 4) await waitFor("the answer to be held back", () => rig.log.lines.length === tries);
    await rig.clock.pass(2_000);
    assert.equal((await client.next())[0], SSH_MESSAGE.userauthFailure);
  }
  assert.equal((await client.next())[0], 0);
  assert.deepEqual(rig.log.events, Array(6).fill("info ssh login refused"));
  for (const { fields } of rig.log.lines) {
    assert.match(`${fields.from}`, /^127\.0\.0\.1 \d+$/);
    assert.deepEqual([fields.user, fields.reason], ["eve", "the key is not authorized"]);
  }
});

Deno.test("a login is nobody's before it is proven: what comes before that is no session, and ends the connection", async () => {
  await using rig = await openServer();
  for (const type of [SSH_MESSAGE.channelOpen, SSH_MESSAGE.globalRequest, SSH_MESSAGE.userauthInfoResponse]) {
    await using client = await LoginClient.connect(rig.port);
    client.send(Uint8Array.of(type, 0, 0, 0, 0));
    assert.equal((await client.next())[0], 0);
  }
  await using replayed = await LoginClient.connect(rig.port);
  await using other = await LoginClient.connect(rig.port);
  // A signature of another connection is none of this one.
  const sign = (data: Uint8Array) => {
    const forOther = data.slice();
    forOther.set(other.sessionId, 4);
    return ann.sign(forOther);
  };
  replayed.offer({ algorithm: "ssh-ed25519", blob: ann.publicKey.blob, sign });
  assert.equal((await replayed.next())[0], SSH_MESSAGE.userauthFailure);
});

Deno.test("whoever is in goes when the key is not authorized any more, may do something else, or has expired", async () => {
  await using rig = await openServer({ lines: `expiry-time="20310506071000Z" ${ANNS_LINE}` });
  await using short = await login(rig.port);
  await rig.clock.pass(40_000);
  assert.equal(short.isOver, false);
  await rig.clock.pass(80_000);
  await waitFor("its end", () => short.isOver);
  rig.authorize(ANNS_LINE);
  await using narrowed = await login(rig.port);
  rig.authorize(`# the same again\n${ANNS_LINE}`);
  assert.equal(narrowed.isOver, false);
  rig.authorize(`restrict ${ANNS_LINE}`);
  await waitFor("its end", () => narrowed.isOver);
  await using removed = await login(rig.port);
  rig.authorize("");
  await waitFor("its end", () => removed.isOver);
  const ended = rig.log.lines.filter(({ event }) => event === "ssh connection ended");
  const reasons = [
    "the line of the key has expired at 2031-05-06T07:10:00.000Z",
    "what it may do has changed",
    "the key is not authorized",
  ];
  assert.deepEqual(ended.map(({ fields }) => fields.reason), reasons);
  await waitFor("the logouts", () => rig.log.events.filter((event) => event === "info ssh logout").length === 3);
});

Deno.test("whoever is in stays when their line has expired and another one lets them do the same, and else goes with the reason", async () => {
  const until = (time: string) => `expiry-time="2031050607${time}Z" ${ANNS_LINE}`;
  await using rig = await openServer({ lines: `${until("0830")}\n${until("0850")}\n${until("0910")}` });
  await using stays = await login(rig.port);
  const ended = () => rig.log.lines.filter(({ event }) => event === "ssh connection ended");
  // It is 07:08:09.
  await rig.clock.pass(30_000);
  // The second line's end is its own now, and a change elsewhere is nothing to it.
  rig.server.judgeAgain();
  rig.authorize(`# the first is gone\n${until("0850")}\n${until("0910")}`);
  assert.deepEqual([stays.isOver, ended()], [false, []]);
  await rig.clock.pass(25_000);
  assert.deepEqual([stays.isOver, ended()], [false, []]);
  rig.authorize(`${until("0910")}\nrestrict ${ANNS_LINE}`);
  assert.deepEqual([stays.isOver, ended()], [false, []]);
  await rig.clock.pass(15_000);
  await waitFor("its end", () => stays.isOver);
  assert.deepEqual(ended().map(({ fields }) => fields.reason), ["what it may do has changed"]);
});

Deno.test("whoever is in goes at the end that their line has by now, earlier or later", async () => {
  await using rig = await openServer({ lines: `expiry-time="20310506070830Z" ${ANNS_LINE}` });
  await using client = await login(rig.port);
  rig.authorize(`expiry-time="20310506070850Z" ${ANNS_LINE}`);
  await rig.clock.pass(25_000);
  assert.equal(client.isOver, false);
  rig.authorize(`expiry-time="20310506070840Z" ${ANNS_LINE}`);
  await rig.clock.pass(15_000);
  await waitFor("its end", () => client.isOver);
  const ended = rig.log.lines.filter(({ event }) => event === "ssh connection ended");
  assert.deepEqual(ended.map(({ fields }) => fields.reason), [
    "the line of the key has expired at 2031-05-06T07:08:40.000Z",
  ]);
});
