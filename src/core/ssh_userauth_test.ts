import fc from "fast-check";
import assert from "node:assert/strict";
import { fields } from "../../tests/ssh_fields.ts";
import { bytesOfText } from "./byte_text.ts";
import { SSH_MESSAGE } from "./ssh_messages.ts";
import {
  parseInfoResponse,
  parseUserauthRequest,
  userauthFailure,
  userauthInfoRequest,
  userauthPkOk,
} from "./ssh_userauth.ts";
import { concatBytes, SshFormatError, sshString, sshUint32 } from "./ssh_wire.ts";

const byte = (value: number) => Uint8Array.of(value);
/** Texts, and bytes that are none. */
const anyBytes = fc.oneof(fc.string().map((text) => new TextEncoder().encode(text)), fc.uint8Array());
const anyText = fc.string({ unit: "grapheme" });

function userauth(
  method: string,
  rest: readonly Uint8Array[],
  user: Uint8Array | string = "ann",
): Uint8Array<ArrayBuffer> {
  const words = [user, "ssh-connection", method].map((word) => sshString(word));
  return concatBytes(byte(SSH_MESSAGE.userauthRequest), ...words, ...rest);
}

Deno.test("parseUserauthRequest() gives what was sent back, and the part that is signed", () => {
  fc.assert(fc.property(anyBytes, anyText, anyBytes, fc.option(anyBytes), (user, algorithm, blob, signature) => {
    const key = [byte(signature ? 1 : 0), sshString(algorithm), sshString(blob)];
    const unsigned = userauth("publickey", key, user);
    const payload = signature ? concatBytes(unsigned, sshString(signature)) : unsigned;
    const request = parseUserauthRequest(payload);
    assert.deepEqual([...bytesOfText(request.user)], [...user]);
    const { method } = request;
    assert.ok(method.kind === "publickey");
    assert.deepEqual([method.algorithm, [...method.blob]], [algorithm, [...blob]]);
    assert.deepEqual(method.signature && [...method.signature], signature ? [...signature] : undefined);
    assert.deepEqual([...method.signed], [...unsigned]);
  }));
});

Deno.test("parseUserauthRequest() takes no request that goes on after its end, or ends before it", () => {
  const key = [byte(1), sshString("ssh-ed25519"), sshString("blob"), sshString("signature")];
  const whole = userauth("publickey", key);
  assert.doesNotThrow(() => parseUserauthRequest(whole));
  assert.throws(() => parseUserauthRequest(concatBytes(whole, byte(0))), SshFormatError);
  for (let length = 0; length < whole.length; length++) {
    assert.throws(() => parseUserauthRequest(whole.subarray(0, length)), SshFormatError);
  }
});

Deno.test("parseUserauthRequest() names methods that it does not read", () => {
  const interactive = userauth("keyboard-interactive", [sshString(""), sshString("")]);
  assert.deepEqual(parseUserauthRequest(interactive).method, { kind: "keyboard-interactive" });
  const password = userauth("password", [byte(0), sshString("secret")]);
  assert.deepEqual(parseUserauthRequest(password).method, { kind: "other", name: "password" });
});

Deno.test("parseInfoResponse() gives the answers back, sixteen at most", () => {
  const message = (count: number, answers: readonly string[]) =>
    concatBytes(byte(SSH_MESSAGE.userauthInfoResponse), sshUint32(count), ...answers.map((one) => sshString(one)));
  fc.assert(fc.property(fc.array(anyText, { maxLength: 16 }), (answers) => {
    assert.deepEqual(parseInfoResponse(message(answers.length, answers)), answers);
    assert.throws(() => parseInfoResponse(message(answers.length + 1, answers)), SshFormatError);
  }));
  assert.throws(() => parseInfoResponse(message(17, Array(17).fill(""))), SshFormatError);
  assert.throws(() => parseInfoResponse(message(0xffffffff, [])), SshFormatError);
});

Deno.test("answers to a login are what the RFCs say", () => {
  const methods = ["publickey", "keyboard-interactive"];
  assert.deepEqual(fields(userauthFailure(methods), "btb"), [51, methods.join(), 0]);
  assert.deepEqual(fields(userauthPkOk("ssh-ed25519", byte(65)), "btt"), [60, "ssh-ed25519", "A"]);
  // RFC 4256, 3.2: name, instruction, language, one prompt that is not shown.
  assert.deepEqual(fields(userauthInfoRequest("words", "Token: "), "btttntb"), [60, "", "words", "", 1, "Token: ", 0]);
});
