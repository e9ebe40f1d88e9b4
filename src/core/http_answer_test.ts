import assert from "node:assert/strict";
import fc from "fast-check";
import { loadVectors } from "../../tests/vectors.ts";
import { parseHttpAnswer } from "./http_answer.ts";

interface Answer {
  readonly status: number;
  readonly flavor?: string;
  readonly body: string;
}

const encode = (text: string) => new TextEncoder().encode(text);

for (const { id, why, input, expect } of loadVectors<{ text: string }, Answer | null>("http_answer")) {
  Deno.test(`parseHttpAnswer() ${id}: ${why}`, () => {
    const answer = parseHttpAnswer(encode(input.text));
    const flavor = answer?.headers.get("metadata-flavor");
    const found = answer && {
      status: answer.status,
      ...(flavor !== undefined && { flavor }),
      body: new TextDecoder().decode(answer.body),
    };
    assert.deepEqual(found ?? null, expect);
  });
}

Deno.test("parseHttpAnswer() gives back a body however it is cut into chunks", () => {
  const chunks = fc.array(fc.uint8Array({ minLength: 1, maxLength: 40 }), { maxLength: 8 });
  fc.assert(fc.property(chunks, (parts) => {
    const head = encode("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n");
    const bytes = [
      ...head,
      ...parts.flatMap((part) => [...encode(`${part.length.toString(16)}\r\n`), ...part, 13, 10]),
      ...encode("0\r\n\r\n"),
    ];
    assert.deepEqual([...parseHttpAnswer(Uint8Array.from(bytes))!.body], parts.flatMap((part) => [...part]));
  }));
});

Deno.test("parseHttpAnswer() throws nothing when given any bytes", () => {
  const start = fc.constantFrom("", "HTTP/1.1 200 OK\r\n", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n");
  fc.assert(fc.property(start, fc.uint8Array({ maxLength: 200 }), (text, bytes) => {
    parseHttpAnswer(Uint8Array.from([...encode(text), ...bytes]));
  }));
});

Deno.test("parseHttpAnswer() knows an answer to be whole before the connection ends only by its length", () => {
  const whole = (text: string) => parseHttpAnswer(encode(text), { isEnd: false }) !== undefined;
  assert.equal(whole("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"), true);
  assert.equal(whole("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"), true);
  assert.equal(whole("HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nok"), false);
  assert.equal(whole("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok"), false);
  assert.equal(whole("HTTP/1.1 200 OK\r\n\r\nok"), false);
  assert.equal(whole("HTTP/1.1 200 OK\r\nContent-Le"), false);
});
