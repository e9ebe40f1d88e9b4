import assert from "node:assert/strict";
import fc from "fast-check";
import { loadVectors } from "../../tests/vectors.ts";
import { NO_KEY_OPTIONS, optionsEnd, parseExpiryTime, parseKeyOptions, type SshKeyOptions } from "./ssh_key_options.ts";
import { SshFormatError } from "./ssh_wire.ts";

type Expected = Partial<SshKeyOptions> | { reason: string };

for (const { id, why, input, expect } of loadVectors<string, Expected>("ssh_key_options")) {
  Deno.test(`parseKeyOptions() ${id}: ${why}`, () => {
    if ("reason" in expect) assert.throws(() => parseKeyOptions(input), new SshFormatError(expect.reason));
    else assert.deepEqual(parseKeyOptions(input), { ...NO_KEY_OPTIONS, ...expect });
  });
}

Deno.test("parseKeyOptions() gives back any value that was quoted", () => {
  fc.assert(fc.property(fc.string({ unit: fc.constantFrom(..."a\\\", ='\t") }), (command) => {
    // A backslash before the last quote would keep it from being the last.
    fc.pre(!command.endsWith("\\") && !command.includes('\\"'));
    const text = `command="${command.replaceAll('"', '\\"')}",no-pty`;
    assert.deepEqual(parseKeyOptions(text), { ...NO_KEY_OPTIONS, forcedCommand: command, pty: false });
    assert.equal(optionsEnd(`${text} ssh-ed25519 AAAA`), text.length);
  }));
});

Deno.test("parseKeyOptions() throws SshFormatError and nothing else, and restrict leaves nothing that is not given back", () => {
  const names = [
    "command",
    "from",
    "pty",
    "no-pty",
    "port-forwarding",
    "restrict",
    "PTY",
    "environment",
    "toString",
    "",
  ];
  const option = fc.tuple(fc.constantFrom(...names), fc.constantFrom("", '="a"', '="', "=a", '="10.0.0.1"'));
  const text = fc.oneof(fc.string(), fc.array(option.map((parts) => parts.join(""))).map((all) => all.join(",")));
  fc.assert(fc.property(text, (text) => {
    try {
      const { pty, portForwarding } = parseKeyOptions(text);
      // What stands between quotes is a value, whatever it looks like.
      const options = text.toLowerCase().replaceAll(/"(?:\\"|[^"])*"/g, "");
      const after = options.split("restrict").at(-1)!;
      if (options.includes("restrict")) {
        assert.equal(pty && !/(^|,)pty/.test(after), false);
        assert.equal(portForwarding && !/(^|,)port-forwarding/.test(after), false);
      }
      assert.equal(options.includes("environment"), false);
    } catch (error) {
      assert.ok(error instanceof SshFormatError);
    }
  }));
});

Deno.test("parseExpiryTime() reads every form as UTC", () => {
  const at = (text: string) => new Date(parseExpiryTime(text)).toISOString();
  assert.equal(at("20310506"), "2031-05-06T00:00:00.000Z");
  assert.equal(at("20310506Z"), "2031-05-06T00:00:00.000Z");
  assert.equal(at("203105061230"), "2031-05-06T12:30:00.000Z");
  assert.equal(at("203105061230z"), "2031-05-06T12:30:00.000Z");
  assert.equal(at("20310506123059UTC"), "2031-05-06T12:30:59.000Z");
  assert.equal(at("20320229"), "2032-02-29T00:00:00.000Z");
  assert.equal(at("19690101"), "1969-01-01T00:00:00.000Z");
});

Deno.test("parseExpiryTime() refuses what is no time of the calendar", () => {
  for (
    const text of [
      ...["", "Z", "2031", "2031050", "2031-05-06", "20310506 ", "+20310506", "202105061", "20310506T1230"],
      ...["20310231", "20310229", "20311301", "20310001", "20310500", "203105062400", "203105061260", "20310506123060"],
    ]
  ) assert.throws(() => parseExpiryTime(text), SshFormatError, text);
  fc.assert(fc.property(fc.string({ unit: fc.constantFrom(..."0123Z") }), (text) => {
    try {
      assert.ok(Number.isSafeInteger(parseExpiryTime(text)));
    } catch (error) {
      assert.ok(error instanceof SshFormatError);
    }
  }));
});

Deno.test("optionsEnd() finds the first space that no quotes hold", () => {
  assert.equal(optionsEnd('command="a b",pty ssh-rsa'), 17);
  assert.equal(optionsEnd('command="a \\" b" x'), 16);
  assert.equal(optionsEnd("restrict\tx"), 8);
  assert.equal(optionsEnd("restrict"), 8);
  assert.throws(() => optionsEnd('command="a b'), SshFormatError);
  assert.throws(() => optionsEnd('command="a\\" b'), SshFormatError);
});
