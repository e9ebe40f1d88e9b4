import assert from "node:assert/strict";
import fc from "fast-check";
import { MAX_PACKET_BYTES, SftpFraming } from "./sftp_framing.ts";
import { concatBytes, SshFormatError, sshString, sshUint32 } from "./ssh_wire.ts";

/** All packets of a stream that comes in pieces. */
function packetsOf(framing: SftpFraming, pieces: readonly Uint8Array[]): Uint8Array[] {
  const packets: Uint8Array[] = [];
  for (const piece of pieces) {
    framing.push(piece);
    for (let packet; (packet = framing.next()) !== undefined;) packets.push(packet);
  }
  return packets;
}

/** A stream cut at these places. */
function cut(stream: Uint8Array, places: readonly number[]): Uint8Array[] {
  const at = [0, ...places.map((place) => place % (stream.length + 1)).sort((a, b) => a - b), stream.length];
  return at.slice(1).map((end, index) => stream.subarray(at[index], end));
}

Deno.test("SftpFraming gives the same packets however the stream is cut, and knows whether one is begun", () => {
  const packet = fc.uint8Array({ minLength: 1, maxLength: 300 });
  fc.assert(
    fc.property(
      fc.array(packet, { minLength: 1, maxLength: 8 }),
      fc.array(fc.nat(), { maxLength: 12 }),
      (packets, places) => {
        const framing = new SftpFraming();
        const stream = concatBytes(...packets.map((one) => sshString(one)));
        assert.deepEqual(
          packetsOf(framing, cut(stream, places)).map((one) => [...one]),
          packets.map((one) => [...one]),
        );
        assert.equal(framing.isBetween, true);
        const more = 1 + (places[0] ?? 0) % (stream.length - 1 || 1);
        const rest = new SftpFraming();
        const seen = packetsOf(rest, [stream.subarray(0, more)]).reduce((sum, { length }) => sum + 4 + length, 0);
        assert.equal(rest.isBetween, seen === more);
      },
    ),
  );
});

Deno.test("SftpFraming gives a packet that came in one piece as a view of it", () => {
  const framing = new SftpFraming();
  const stream = sshString(Uint8Array.of(1, 2, 3));
  framing.push(stream);
  assert.equal(framing.next()?.buffer, stream.buffer);
});

Deno.test("SftpFraming takes the largest packet, and refuses a larger or an empty one by its length alone", () => {
  const framing = new SftpFraming();
  assert.equal(packetsOf(framing, [sshString(new Uint8Array(MAX_PACKET_BYTES))])[0]?.length, MAX_PACKET_BYTES);
  for (const length of [0, MAX_PACKET_BYTES + 1, 0xffff_ffff]) {
    framing.push(sshUint32(length));
    assert.throws(() => framing.next(), SshFormatError, String(length));
  }
});
