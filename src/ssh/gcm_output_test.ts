import assert from "node:assert/strict";
import { Buffer } from "node:buffer";
import { createCipheriv, randomBytes } from "node:crypto";
import { GcmOutput } from "./gcm_output.ts";

/** As ssh2's own, which encrypts at once. */
class AtOnce {
  readonly _encKey = new Uint8Array(16).fill(7);
  readonly _encIV = Uint8Array.from([0, 1, 2, 3, 0, 0, 0, 0, 255, 255, 255, 254]);
  outSeqno = 0xfffffffe;

  constructor(readonly write: (bytes: Uint8Array) => void) {}

  allocPacket(length: number): Buffer {
    return Buffer.alloc(length);
  }

  encrypt(packet: Buffer): void {
    const cipher = createCipheriv("aes-128-gcm", this._encKey, this._encIV);
    cipher.setAAD(packet.subarray(0, 4));
    const content = cipher.update(packet.subarray(4));
    cipher.final();
    for (const piece of [packet.subarray(0, 4), content, cipher.getAuthTag()]) this.write(piece);
    for (let at = 11; at >= 4 && (this._encIV[at] = (this._encIV[at]! + 1) % 256) === 0; at--);
    this.outSeqno = (this.outSeqno + 1) >>> 0;
  }
}

const PACKETS = [40, 33_000, 40, 5_000, 33_000, 33_000, 40, 20].map((length) => randomBytes(length));

/** What goes out of one that takes over, and of one that does not. */
async function bothWays(act: (cipher: AtOnce, output?: GcmOutput) => Promise<void>): Promise<[string, string]> {
  const [plain, beside]: Uint8Array[][] = [[], []];
  await act(new AtOnce((bytes) => plain!.push(Uint8Array.from(bytes))));
  const write = (bytes: Uint8Array) => void beside!.push(Uint8Array.from(bytes));
  const output = new GcmOutput(write, (cause) => assert.fail(String(cause)));
  const cipher = new AtOnce(write);
  await output.takeOver(cipher);
  await act(cipher, output);
  await output.emptied();
  return [Buffer.concat(plain!).toString("base64"), Buffer.concat(beside!).toString("base64")];
}

Deno.test("GcmOutput sends what ssh2 would, in the same order, also where the counter carries", async () => {
  const [plain, beside] = await bothWays((cipher) => {
    for (const packet of PACKETS) cipher.encrypt(packet);
    return Promise.resolve();
  });
  assert.equal(beside, plain);
});

Deno.test("GcmOutput has taken a packet when it returns: the buffer may be used anew", async () => {
  const [plain, beside] = await bothWays((cipher) => {
    const shared = Buffer.alloc(33_000);
    for (const packet of PACKETS) {
      shared.set(packet);
      cipher.encrypt(shared.subarray(0, packet.length));
    }
    return Promise.resolve();
  });
  assert.equal(beside, plain);
});

Deno.test("GcmOutput keeps the order when another cipher takes its turn", async () => {
  const written: string[] = [];
  const output = new GcmOutput(
    (bytes) => void written.push(`gcm ${bytes.length}`),
    (cause) => assert.fail(String(cause)),
  );
  const gcm = new AtOnce((bytes) => void written.push(`at once ${bytes.length}`));
  await output.takeOver(gcm);
  const other = { allocPacket: Buffer.alloc, encrypt: (packet: Buffer) => void written.push(`other ${packet}`) };
  await output.takeOver(other);
  gcm.encrypt(Buffer.alloc(5_000));
  const packet = Buffer.from("next keys");
  other.encrypt(packet);
  packet.fill(0);
  assert.deepEqual(written, []);
  await output.emptied();
  assert.deepEqual(written, ["gcm 4", "gcm 5012", "other next keys"]);
});

Deno.test("GcmOutput.room() resolves when fewer packets are under way", async () => {
  const output = new GcmOutput(() => {}, (cause) => assert.fail(String(cause)));
  const cipher = new AtOnce(() => {});
  await output.takeOver(cipher);
  for (let packet = 0; packet < 16; packet++) cipher.encrypt(Buffer.alloc(5_000));
  assert.equal(output.hasRoom(), false);
  await output.room();
  assert.equal(output.hasRoom(), true);
  await output.emptied();
});
