import assert from "node:assert/strict";
import fc from "fast-check";
import { loadVectors } from "../../tests/vectors.ts";
import { attributesOf, readAttributes } from "./sftp_packet.ts";
import { parseInit, parseRequest, type SftpRequest } from "./sftp_request.ts";
import { concatBytes, SshFormatError, SshReader, sshUint32 } from "./ssh_wire.ts";

for (const { id, why, input, expect } of loadVectors<string, SftpRequest>("sftp_request")) {
  Deno.test(`parseRequest() ${id}: ${why}`, () => assert.deepEqual(parseRequest(Uint8Array.fromHex(input)), expect));
}

Deno.test("parseRequest() gives the bytes of WRITE as a view", () => {
  const packet = Uint8Array.fromHex(
    "06" + "00000001" + "00000004" + "00000002" + "0000000000000003" + "00000002" + "abcd",
  );
  const request = parseRequest(packet) as SftpRequest<"write">;
  assert.deepEqual([request.kind, request.handle, request.offset, [...request.bytes]], ["write", 2, 3, [0xab, 0xcd]]);
  assert.equal(request.bytes.buffer, packet.buffer);
});

Deno.test("parseRequest() and parseInit() answer any bytes, or refuse them as malformed", () => {
  const types = fc.constantFrom(3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 200, 201, 0);
  fc.assert(fc.property(types, fc.uint8Array({ maxLength: 60 }), (type, bytes) => {
    try {
      assert.equal(typeof parseRequest(concatBytes(Uint8Array.of(type), bytes)).kind, "string");
    } catch (error) {
      assert.ok(error instanceof SshFormatError && bytes.length < 4, String(error));
    }
    assert.throws(() => parseInit(concatBytes(Uint8Array.of(type), bytes)), SshFormatError);
  }));
});

Deno.test("parseInit() reads the client's version; INIT as a request is refused", () => {
  const init = Uint8Array.fromHex("01" + "00000006" + "00000001" + "61");
  assert.equal(parseInit(init), 6);
  assert.throws(() => parseRequest(init), SshFormatError);
});

Deno.test("readAttributes() reads what attributesOf() writes, as far as both can say it", () => {
  const number = fc.nat({ max: 0xffff_ffff });
  const state = fc.record({
    ...{ mode: fc.nat({ max: 0o177777 }), sizeBytes: fc.maxSafeNat(), uid: number, gid: number, links: number },
    ...{ accessedSeconds: number, modifiedSeconds: number },
  });
  fc.assert(fc.property(state, (stat) => {
    assert.deepEqual(readAttributes(new SshReader(attributesOf(stat))), {
      sizeBytes: stat.sizeBytes,
      owner: { uid: stat.uid, gid: stat.gid },
      mode: stat.mode & 0o7777,
      times: { accessedSeconds: stat.accessedSeconds, modifiedSeconds: stat.modifiedSeconds },
    });
  }));
});

Deno.test("attributesOf() gives a time that the format has not as the nearest that it has", () => {
  const stat = { mode: 0, sizeBytes: 0, uid: 0, gid: 0, links: 1, accessedSeconds: -5, modifiedSeconds: 2 ** 40 };
  const times = readAttributes(new SshReader(attributesOf(stat))).times;
  assert.deepEqual(times, { accessedSeconds: 0, modifiedSeconds: 0xffff_ffff });
});

Deno.test("readAttributes() of nothing is no change", () => {
  assert.deepEqual(readAttributes(new SshReader(sshUint32(0))), {});
});
