import assert from "node:assert/strict";
import { Buffer } from "node:buffer";
import { SshFormatError } from "../core/ssh_wire.ts";
import { ClientBeginning } from "./client_beginning.ts";

Deno.test("take() holds no more of a version without an end than the longest one has", () => {
  const beginning = new ClientBeginning(() => {});
  assert.equal(beginning.take(Buffer.from(`SSH-2.0-${"x".repeat(246)}`)), undefined);
  assert.throws(() => beginning.take(Buffer.from("x")), SshFormatError);
  beginning.close();
});
