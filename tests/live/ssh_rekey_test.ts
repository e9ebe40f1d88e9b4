/** Keys of the debug SSH server's connections that are exchanged anew, with OpenSSH's client, while data flow both ways. */
import assert from "node:assert/strict";
import { residentBytes } from "./footprint.ts";
import { RawSshClient } from "./raw_ssh_client.ts";
import { hashOf, randomBytes } from "./ssh_forward_rig.ts";
import { SshRig } from "./ssh_rig.ts";
import { waitFor } from "../wait.ts";

const CIPHERS = ["aes128-gcm@openssh.com", "aes256-gcm@openssh.com", "aes128-ctr", "aes192-ctr", "aes256-ctr"];
const MACS = ["hmac-sha2-256-etm@openssh.com", "hmac-sha2-512-etm@openssh.com"];
const EXCHANGES = ["curve25519-sha256", "ecdh-sha2-nistp256", "ecdh-sha2-nistp384"];

Deno.test("a client that exchanges keys again and again loses nothing, with each cipher, MAC and exchange", async (t) => {
  await using rig = await SshRig.start();
  const much = randomBytes(6 << 20);
  const cases = [
    ...CIPHERS.flatMap((cipher) => cipher.endsWith("-ctr") ? MACS.map((mac) => [cipher, mac]) : [[cipher, ""]]),
  ].map(([cipher, mac], at) => ({ cipher: cipher!, mac: mac!, exchange: EXCHANGES[at % EXCHANGES.length]! }));
  for (const { cipher, mac, exchange } of cases) {
    await t.step(`${cipher} ${mac} ${exchange}`, async () => {
      const options = [
        `Ciphers=${cipher}`,
        `KexAlgorithms=${exchange}`,
        "RekeyLimit=1M",
        "LogLevel=DEBUG1",
      ];
      if (mac) options.push(`MACs=${mac}`);
      const child = rig.spawn(["cat"], { options });
      const feeding = new Blob([much]).stream().pipeTo(child.stdin);
      const { code, stdout, stderr } = await child.output();
      await feeding;
      assert.deepEqual([code, hashOf(stdout)], [0, hashOf(much)]);
      const exchanges = new TextDecoder().decode(stderr).match(/SSH2_MSG_NEWKEYS received/g)!.length;
      assert.ok(exchanges >= 6, `${exchanges}`);
    });
  }
});

Deno.test("a client that begins to exchange keys and does not go on makes krun hold nothing, and stops its program alone", async () => {
  await using rig = await SshRig.start();
  await rig.ssh(["head -c 100000000 /dev/zero"]);
  await using client = await RawSshClient.connect(rig.port);
  await client.login(await Deno.readTextFile(rig.key));
  // All of its output would be taken.
  await client.exec("echo $$; exec cat /dev/zero", { window: 2 ** 32 - 1 });
  const [, pid] = await waitFor("the program", () => /^(\d+)\n/.exec(client.output));
  client.pause();
  const written = () => Number(/^wchar: (\d+)$/m.exec(Deno.readTextFileSync(`/proc/${pid}/io`))![1]);
  const before = residentBytes(rig.krun.pid);
  client.transport.rekey();
  // krun's own half of it is never answered: what this client reads is thrown away.
  client.received.length = 0;
  client.drop();
  let [last, since] = [-1, 0];
  await waitFor("the program to wait", () => {
    if (written() !== last) [last, since] = [written(), performance.now()];
    return performance.now() - since > 500;
  });
  const grown = residentBytes(rig.krun.pid) - before;
  assert.ok(grown < 40 << 20, `${grown} bytes`);
  assert.equal((await rig.ssh(["echo other"])).stdout, "other\n");
});
