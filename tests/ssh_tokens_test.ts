/** Logins by tokens at the debug SSH server: how many are shown to the API server at once, and when a session of one ends. */
import assert from "node:assert/strict";
import { SSH_MESSAGE } from "../src/core/ssh_messages.ts";
import { sshString } from "../src/core/ssh_wire.ts";
import type { SshServerOptions } from "../src/ssh/ssh_server_options.ts";
import { LoginClient } from "./ssh_login_client.ts";
import { openServer } from "./ssh_server_rig.ts";
import { waitFor } from "./wait.ts";

type Tokens = NonNullable<SshServerOptions["tokens"]>;

/** Whoever the API server finds, once it has let them wait. */
function tokens(waits: () => Promise<void> = () => Promise.resolve()): Tokens {
  return {
    namespace: "shop",
    cluster: {
      reviewToken: () => waits().then(() => ({ authenticated: true, user: { username: "ann" } })),
      accessOf: () => Promise.resolve({ allowed: true, reason: "" }),
    },
  };
}

/** Shows a token with these claims; what becomes of it is the client's next message. */
async function show(client: LoginClient, claims: Readonly<Record<string, unknown>> = {}): Promise<void> {
  client.request("keyboard-interactive", { rest: [sshString(""), sshString("")] });
  assert.equal((await client.next())[0], SSH_MESSAGE.userauthInfoRequest);
  const text = new TextEncoder().encode(JSON.stringify({ aud: ["krun-ssh/shop"], ...claims }));
  client.answer(`e30.${text.toBase64({ alphabet: "base64url", omitPadding: true })}.c2ln`);
}

Deno.test("whoever is in by a token goes when it has expired, and nobody whose token lasts", async () => {
  await using rig = await openServer({ tokens: tokens() });
  await using short = await LoginClient.connect(rig.port);
  await using long = await LoginClient.connect(rig.port);
  const seconds = rig.clock.nowMs() / 1000;
  await show(short, { exp: seconds + 60 });
  await show(long, { exp: seconds + 3600 });
  for (const client of [short, long]) assert.equal((await client.next())[0], SSH_MESSAGE.userauthSuccess);
  await rig.clock.pass(60_000);
  // A change of who is authorized is nothing to a token.
  rig.server.judgeAgain();
  assert.deepEqual(rig.log.events, Array(2).fill("info ssh login"));
  await rig.clock.pass(5_000);
  await waitFor("its end", () => short.isOver);
  await waitFor("the logout", () => rig.log.events.includes("info ssh logout"));
  const ended = rig.log.lines.filter(({ event }) => event === "ssh connection ended");
  assert.deepEqual(ended.map(({ fields }) => fields.reason), ["the token has expired"]);
  assert.equal(long.isOver, false);
});

Deno.test("four tokens are shown to the API server at once, whoever comes, and the others after them", async () => {
  const answers: PromiseWithResolvers<void>[] = [];
  let underWay = 0, most = 0;
  const waits = async () => {
    most = Math.max(most, ++underWay);
    const answer = Promise.withResolvers<void>();
    answers.push(answer);
    await answer.promise;
    underWay--;
  };
  await using rig = await openServer({ tokens: tokens(waits) });
  await using connections = new AsyncDisposableStack();
  const clients: LoginClient[] = [];
  for (let count = 0; count < 10; count++) {
    const client = connections.use(await LoginClient.connect(rig.port));
    clients.push(client);
    await show(client);
    // The answer to it tells that the token before it was read.
    client.send(Uint8Array.of(200));
  }
  await waitFor("all tokens to be read", () => clients.every(({ unimplemented }) => unimplemented === 1));
  assert.deepEqual([underWay, answers.length], [4, 4]);
  for (let count = 0; count < clients.length; count++) {
    await waitFor("the next one", () => answers.length > count);
    answers[count]!.resolve();
  }
  for (const client of clients) assert.equal((await client.next())[0], SSH_MESSAGE.userauthSuccess);
  assert.equal(most, 4);
});
