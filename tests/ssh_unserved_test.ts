/** Clients that the debug SSH server serves nothing: whom its log has a line of, and of whom it has none. */
import assert from "node:assert/strict";
import { SSH_MESSAGE } from "../src/core/ssh_messages.ts";
import { concatBytes, sshString, sshUint32 } from "../src/core/ssh_wire.ts";
import { LoginClient } from "./ssh_login_client.ts";
import { login, lurk, openServer } from "./ssh_server_rig.ts";
import { waitFor } from "./wait.ts";

Deno.test("who asks to log in, offers no key and goes is told of once, and nobody who only looks", async () => {
  await using rig = await openServer();
  await using _lurking = await lurk(rig.port);
  {
    await using _keyed = await LoginClient.connect(rig.port);
    await using client = await LoginClient.connect(rig.port);
    client.request("none");
    assert.equal((await client.next())[0], SSH_MESSAGE.userauthFailure);
  }
  await waitFor("the line", () => rig.log.lines.length > 0);
  const { level, event, fields } = rig.log.lines[0]!;
  assert.deepEqual([level, event, fields.reason], ["info", "ssh login refused", "it offered no key"]);
  assert.match(`${fields.from}`, /^127\.0\.0\.1 \d+$/);
  {
    await using _in = await login(rig.port);
  }
  await waitFor("the logout", () => rig.log.events.includes("info ssh logout"));
  assert.deepEqual(rig.log.events, ["info ssh login refused", "info ssh login", "info ssh logout"]);
});

/** SSH_MSG_KEXINIT in a packet, with the same name of an algorithm in each place. */
function kexinit(name: string): Uint8Array<ArrayBuffer> {
  const KEXINIT = 20, LISTS = 10, PADDING = 8;
  const lists = Array.from({ length: LISTS }, () => sshString(name));
  const payload = concatBytes(Uint8Array.of(KEXINIT), new Uint8Array(16), ...lists, new Uint8Array(5));
  const padding = PADDING + (8 - (payload.length + 5 + PADDING) % 8) % 8;
  const length = sshUint32(1 + payload.length + padding);
  return concatBytes(length, Uint8Array.of(padding), payload, new Uint8Array(padding));
}

Deno.test("a client that has no algorithm in common with krun is told of, and no garbage or ssh-keyscan is", async () => {
  await using rig = await openServer();
  const says = async (...parts: Uint8Array<ArrayBuffer>[]) => {
    using conn = await Deno.connect({ hostname: "127.0.0.1", port: rig.port });
    await conn.write(concatBytes(...parts));
    while (await conn.read(new Uint8Array(4096)) !== null);
  };
  const version = new TextEncoder().encode("SSH-2.0-test\r\n");
  await says(new TextEncoder().encode("GET / HTTP/1.0\r\n\r\n"));
  await says(new TextEncoder().encode("SSH-2.0-OpenSSH-keyscan\r\n"), kexinit("made-up"));
  await says(version, kexinit("made-up"));
  await waitFor("the line", () => rig.log.events.some((event) => event.startsWith("info")));
  const told = rig.log.lines.filter(({ level }) => level === "info");
  assert.deepEqual(told.map(({ event, fields }) => `${event}: ${fields.reason}`), [
    "ssh connection broken: Handshake failed: no matching key exchange algorithm",
  ]);
});
