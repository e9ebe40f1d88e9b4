import fc from "fast-check";
import assert from "node:assert/strict";
import { bytesOfText } from "./byte_text.ts";
import {
  CHANNEL_REFUSAL,
  channelOpenFailure,
  exitMessage,
  extInfo,
  forwardedChannelOpen,
  isSshMessage,
  parseChannelOpen,
  parseChannelRequest,
  parseGlobalRequest,
  parseInfoResponse,
  parseUserauthRequest,
  SSH_MESSAGE,
  sshMessage,
  userauthFailure,
  userauthInfoRequest,
  userauthPkOk,
} from "./ssh_messages.ts";
import { concatBytes, SshFormatError, SshReader, sshString, sshUint32 } from "./ssh_wire.ts";

const byte = (value: number) => Uint8Array.of(value);
const uint32 = fc.integer({ min: 0, max: 0xffffffff });
/** Texts, and bytes that are none. */
const anyBytes = fc.oneof(fc.string().map((text) => new TextEncoder().encode(text)), fc.uint8Array());
const anyText = fc.string({ unit: "grapheme" });
const PARSERS = {
  parseChannelOpen,
  parseChannelRequest,
  parseGlobalRequest,
  parseInfoResponse,
  parseUserauthRequest,
};

function userauth(
  method: string,
  rest: readonly Uint8Array[],
  user: Uint8Array | string = "ann",
): Uint8Array<ArrayBuffer> {
  const words = [user, "ssh-connection", method].map((word) => sshString(word));
  return concatBytes(byte(SSH_MESSAGE.userauthRequest), ...words, ...rest);
}

Deno.test("isSshMessage() knows what krun reads and writes, and no other number", () => {
  assert.deepEqual([50, 80, 94, 100].map(isSshMessage), [true, true, true, true]);
  assert.deepEqual([0, 62, 79, 83, 101, 192, 255].filter(isSshMessage), []);
});

Deno.test("no message of a stranger makes a parser throw anything but SshFormatError", () => {
  const type = fc.constantFrom(
    ...["session", "direct-tcpip", "direct-streamlocal@openssh.com", "env", "pty-req", "exec", "signal"],
    ...["window-change", "tcpip-forward", "streamlocal-forward@openssh.com", "publickey", "keyboard-interactive"],
  );
  const field = fc.oneof(
    uint32.map(sshUint32),
    anyBytes.map((bytes) => sshString(bytes)),
    type.map((name) => sshString(name)),
    fc.uint8Array(),
  );
  const payload = fc.oneof(fc.uint8Array(), fc.array(field).map((fields) => concatBytes(byte(0), ...fields)));
  fc.assert(
    fc.property(payload, (bytes) => {
      for (const parse of Object.values(PARSERS)) {
        try {
          parse(bytes);
        } catch (error) {
          if (!(error instanceof SshFormatError)) throw error;
        }
      }
    }),
    { numRuns: 2_000 },
  );
});

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

Deno.test("parseChannelOpen() reads where a channel is to lead", () => {
  const open = (type: string, ...rest: Uint8Array[]) =>
    concatBytes(byte(SSH_MESSAGE.channelOpen), sshString(type), ...[1, 2, 3].map(sshUint32), ...rest);
  const numbers = { sender: 1, window: 2, maxPacket: 3 };
  assert.deepEqual(parseChannelOpen(open("session")), { ...numbers, target: { kind: "session" } });
  const tcp = [sshString("::1"), sshUint32(80), sshString("10.0.0.9"), sshUint32(40000)];
  const target = { kind: "direct-tcpip", host: "::1", port: 80, originHost: "10.0.0.9", originPort: 40000 };
  assert.deepEqual(parseChannelOpen(open("direct-tcpip", ...tcp)), { ...numbers, target });
  const unix = open(
    "direct-streamlocal@openssh.com",
    sshString(Uint8Array.of(0x2f, 0xff)),
    sshString(""),
    sshUint32(0),
  );
  const opened = parseChannelOpen(unix).target;
  assert.deepEqual(opened.kind === "direct-streamlocal" && [...bytesOfText(opened.path)], [0x2f, 0xff]);
  assert.deepEqual(parseChannelOpen(open("x11")).target, { kind: "unknown", type: "x11" });
});

Deno.test("parseChannelRequest() reads what is asked of a session", () => {
  const request = (type: string, ...rest: Uint8Array[]) =>
    parseChannelRequest(concatBytes(byte(SSH_MESSAGE.channelRequest), sshUint32(7), sshString(type), byte(1), ...rest));
  const read = (type: string, ...rest: Uint8Array[]) => request(type, ...rest).request;
  assert.deepEqual(request("shell"), { recipient: 7, wantsReply: true, request: { kind: "shell" } });
  assert.deepEqual(read("env", sshString("LANG"), sshString("C")), { kind: "env", name: "LANG", value: "C" });
  assert.deepEqual(read("exec", sshString("ls -l")), { kind: "exec", command: "ls -l" });
  assert.deepEqual(read("subsystem", sshString("sftp")), { kind: "subsystem", name: "sftp" });
  assert.deepEqual(read("signal", sshString("TERM")), { kind: "signal", name: "TERM" });
  assert.deepEqual(read("auth-agent-req@openssh.com"), { kind: "unknown", type: "auth-agent-req@openssh.com" });
  const size = { columns: 80, rows: 24, widthPixels: 640, heightPixels: 480 };
  const numbers = [80, 24, 640, 480].map(sshUint32);
  assert.deepEqual(read("window-change", ...numbers), { kind: "window-change", size });
  const modes = concatBytes(byte(1), sshUint32(3), byte(53), sshUint32(0), byte(0), byte(99));
  const terminal = { ...size, modes: new Map([[1, 3], [53, 0]]) };
  const asked = [sshString("xterm"), ...numbers, sshString(modes)];
  assert.deepEqual(read("pty-req", ...asked), { kind: "pty-req", term: "xterm", terminal });
  const undefinedMode = [sshString("xterm"), ...numbers, sshString(concatBytes(byte(160), byte(1)))];
  assert.deepEqual(read("pty-req", ...undefinedMode), {
    kind: "pty-req",
    term: "xterm",
    terminal: { ...size, modes: new Map() },
  });
});

Deno.test("parseGlobalRequest() reads what is asked of the connection", () => {
  const read = (name: string, ...rest: Uint8Array[]) =>
    parseGlobalRequest(concatBytes(byte(SSH_MESSAGE.globalRequest), sshString(name), byte(0), ...rest));
  const at = [sshString("localhost"), sshUint32(0)];
  for (const kind of ["tcpip-forward", "cancel-tcpip-forward"]) {
    assert.deepEqual(read(kind, ...at), { wantsReply: false, request: { kind, address: "localhost", port: 0 } });
  }
  for (const kind of ["streamlocal-forward", "cancel-streamlocal-forward"]) {
    assert.deepEqual(read(`${kind}@openssh.com`, sshString("/s")).request, { kind, path: "/s" });
  }
  assert.deepEqual(read("no-more-sessions@openssh.com").request, { kind: "no-more-sessions" });
  assert.deepEqual(read("keepalive@openssh.com").request, { kind: "unknown", name: "keepalive@openssh.com" });
});

/** Fields of a message that was written here, as its letters say: byte, number, text. */
function fields(bytes: Uint8Array, letters: string): (string | number)[] {
  const reader = new SshReader(bytes);
  const values = [...letters].map((letter) =>
    letter === "b" ? reader.uint8() : letter === "n" ? reader.uint32() : reader.text()
  );
  assert.ok(reader.isAtEnd);
  return values;
}

Deno.test("messages of krun's own are what the RFCs say", () => {
  assert.deepEqual(fields(sshMessage(93, 1, 0xffffffff), "bnn"), [93, 1, 0xffffffff]);
  assert.deepEqual(fields(extInfo(["a", "b"]), "bntt"), [7, 1, "server-sig-algs", "a,b"]);
  const methods = ["publickey", "keyboard-interactive"];
  assert.deepEqual(fields(userauthFailure(methods), "btb"), [51, methods.join(), 0]);
  assert.deepEqual(fields(userauthPkOk("ssh-ed25519", byte(65)), "btt"), [60, "ssh-ed25519", "A"]);
  // RFC 4256, 3.2: name, instruction, language, one prompt that is not shown.
  assert.deepEqual(fields(userauthInfoRequest("words", "Token: "), "btttntb"), [60, "", "words", "", 1, "Token: ", 0]);
  assert.deepEqual(fields(channelOpenFailure(7, CHANNEL_REFUSAL.shortage, "no"), "bnntt"), [92, 7, 4, "no", ""]);
  assert.deepEqual(fields(exitMessage(7, { status: 3 }), "bntbn"), [98, 7, "exit-status", 0, 3]);
  assert.deepEqual(fields(exitMessage(7, { signal: "TERM" }), "bntbtbtt"), [
    98,
    7,
    "exit-signal",
    0,
    "TERM",
    0,
    "",
    "",
  ]);
});

Deno.test("forwardedChannelOpen() says where a connection has come in", () => {
  const numbers = { sender: 1, window: 2, maxPacket: 3 };
  const tcp = { kind: "tcpip", address: "localhost", port: 80, originHost: "::1", originPort: 4 } as const;
  assert.deepEqual(fields(forwardedChannelOpen(numbers, tcp), "btnnntntn"), [
    ...[90, "forwarded-tcpip", 1, 2, 3],
    ...["localhost", 80, "::1", 4],
  ]);
  const unix = { kind: "streamlocal", path: byte(0x2f) } as const;
  const type = "forwarded-streamlocal@openssh.com";
  assert.deepEqual(fields(forwardedChannelOpen(numbers, unix), "btnnntt"), [90, type, 1, 2, 3, "/", ""]);
});
