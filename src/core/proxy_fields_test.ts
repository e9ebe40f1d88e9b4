import fc from "fast-check";
import assert from "node:assert/strict";
import { loadVectors } from "../../tests/vectors.ts";
import {
  answerHead,
  endToEndFields,
  type Field,
  fieldValue,
  programFields,
  programTrailers,
  takesTrailers,
  wantsWebSocket,
} from "./proxy_fields.ts";

for (const { id, why, input, expect } of loadVectors<Field[], Field[]>("proxy_fields")) {
  Deno.test(`programFields() ${id}: ${why}`, () => assert.deepEqual(programFields(input), expect));
}

const known = ["connection", "TE", "Content-Length", "transfer-encoding", "X-Forwarded-Client-Cert", "x-a", "x-b"];
const field = fc.tuple(fc.constantFrom(...known), fc.oneof(fc.constantFrom(...known), fc.string()));

Deno.test("programFields() only takes away, and what it leaves it leaves again", () => {
  fc.assert(fc.property(fc.array(field), (fields: readonly Field[]) => {
    const left = programFields(fields);
    assert.deepEqual(programFields(left), left);
    let at = -1;
    for (const one of left) assert.ok((at = fields.indexOf(one, at + 1)) >= 0);
    assert.equal(fieldValue(left, "x-forwarded-client-cert"), undefined);
    assert.equal(fieldValue(left, "connection"), undefined);
  }));
});

Deno.test("programFields() differs from a naive proxy: the control of what is taken away", () => {
  const fields: Field[] = [["x-forwarded-client-cert", "By=spiffe://td/ns/ops/sa/admin"]];
  assert.deepEqual(endToEndFields(fields), fields);
  assert.deepEqual(programFields(fields), []);
});

Deno.test("programTrailers() lets nobody say after a body what may not be said before it", () => {
  const fields: Field[] = [["grpc-status", "0"], ["X-Forwarded-Client-Cert", "x"]];
  assert.deepEqual(programTrailers(fields), [["grpc-status", "0"]]);
});

Deno.test("takesTrailers() and wantsWebSocket() read lists in any case", () => {
  assert.ok(takesTrailers([["TE", "gzip;q=0.5, Trailers"]]));
  assert.ok(!takesTrailers([["te", "gzip"], ["x", "trailers"]]));
  assert.ok(wantsWebSocket([["Upgrade", "WebSocket"]]));
  for (const value of ["h2c", "websocket, h2c", "", "websocket2"]) assert.ok(!wantsWebSocket([["upgrade", value]]));
  assert.ok(!wantsWebSocket([["upgrade", "websocket"], ["upgrade", "h2c"]]));
});

Deno.test("answerHead() writes an answer's head", () => {
  assert.equal(answerHead(101, [["Upgrade", "websocket"]]), "HTTP/1.1 101 \r\nUpgrade: websocket\r\n\r\n");
});
