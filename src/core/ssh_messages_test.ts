import fc from "fast-check";
import assert from "node:assert/strict";
import { fields } from "../../tests/ssh_fields.ts";
import { bytesOfText } from "./byte_text.ts";
import {
  CHANNEL_REFUSAL,
  channelOpenFailure,
  exitMessage,
  extInfo,
  forwardedChannelOpen,
  isSshMessage,
  layerOfMessage,
  parseChannelOpen,
  parseChannelRequest,
  parseGlobalRequest,
  SSH_MESSAGE,
  sshMessage,
} from "./ssh_messages.ts";
import { parseInfoResponse, parseUserauthRequest } from "./ssh_userauth.ts";
import { concatBytes, SshFormatError, sshString, sshUint32 } from "./ssh_wire.ts";

const byte = (value: number) => Uint8Array.of(value);
const uint32 = fc.integer({ min: 0, max: 0xffffffff });
/** Texts, and bytes that are none. */
const anyBytes = fc.oneof(fc.string().map((text) => new TextEncoder().encode(text)), fc.uint8Array());
const PARSERS = {
  parseChannelOpen,
  parseChannelRequest,
  parseGlobalRequest,
  parseInfoResponse,
  parseUserauthRequest,
};

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

Deno.test("messages of krun's own are what the RFCs say", () => {
  assert.deepEqual(fields(sshMessage(93, 1, 0xffffffff), "bnn"), [93, 1, 0xffffffff]);
  assert.deepEqual(fields(extInfo(["a", "b"]), "bntt"), [7, 1, "server-sig-algs", "a,b"]);
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

Deno.test("layerOfMessage() knows whose each number is, and throws for those of an exchange of keys", () => {
  const layers = Array.from({ length: 256 }, (_, number) => {
    try {
      return layerOfMessage(number);
    } catch (cause) {
      assert.ok(cause instanceof SshFormatError);
      return "misplaced";
    }
  });
  const numbersOf = (wanted: string) => layers.flatMap((layer, number) => layer === wanted ? [number] : []);
  const range = (from: number, to: number) => Array.from({ length: to - from + 1 }, (_, at) => from + at);
  assert.deepEqual(numbersOf("transport"), [...range(1, 7), 20]);
  assert.deepEqual(numbersOf("unknown"), [0, ...range(8, 19)]);
  assert.deepEqual(numbersOf("misplaced"), range(21, 49));
  assert.deepEqual(numbersOf("above"), range(50, 255));
  assert.equal(layerOfMessage(undefined), "transport");
});
