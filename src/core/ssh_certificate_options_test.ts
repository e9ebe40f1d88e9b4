import assert from "node:assert/strict";
import fc from "fast-check";
import { NO_DATA } from "../../tests/ssh_keys.ts";
import { parseCriticalOptions, parseExtensions, readNamedValues } from "./ssh_certificate_options.ts";
import { concatBytes, SshFormatError, sshString } from "./ssh_wire.ts";

const pairs = (...values: readonly (readonly [string, Uint8Array])[]) =>
  concatBytes(...values.flatMap(([name, data]) => [sshString(name), sshString(data)]));

Deno.test("readNamedValues() gives names in order with their data", () => {
  fc.assert(fc.property(fc.dictionary(fc.string({ unit: "grapheme-ascii" }), fc.uint8Array()), (record) => {
    const values = Object.entries(record).sort(([a], [b]) => a < b ? -1 : 1);
    const read = [...readNamedValues(pairs(...values))].map(([name, data]) => [name, data.toHex()]);
    assert.deepEqual(read, values.map(([name, data]) => [name, data.toHex()]));
    if (values.length < 2) return;
    assert.throws(() => readNamedValues(pairs(...values.reverse())), SshFormatError);
  }));
});

Deno.test("parseCriticalOptions() reads what is demanded", () => {
  assert.deepEqual(parseCriticalOptions(NO_DATA), { verifyRequired: false });
  const all = pairs(
    ["force-command", sshString("")],
    ["source-address", sshString("10.0.0.0/8")],
    ["verify-required", NO_DATA],
  );
  assert.deepEqual(parseCriticalOptions(all), { forcedCommand: "", sourceAddress: "10.0.0.0/8", verifyRequired: true });
});

Deno.test("parseExtensions() gives only what is there, and knows no critical option", () => {
  const nothing = { pty: false, portForwarding: false, touchRequired: true };
  assert.deepEqual(parseExtensions(NO_DATA), nothing);
  assert.deepEqual(parseExtensions(pairs(["force-command", NO_DATA], ["zoo", sshString("a")])), nothing);
  const names = ["no-touch-required", "permit-X11-forwarding", "permit-agent-forwarding", "permit-port-forwarding"];
  const all = pairs(...[...names, "permit-pty", "permit-user-rc"].map((name) => [name, NO_DATA] as const));
  assert.deepEqual(parseExtensions(all), { pty: true, portForwarding: true, touchRequired: false });
});

Deno.test("options of a certificate throw SshFormatError and nothing else", () => {
  const name = fc.constantFrom("force-command", "source-address", "verify-required", "permit-pty", "zoo");
  const bytes = fc.oneof(fc.uint8Array(), fc.array(fc.tuple(name, fc.uint8Array())).map((values) => pairs(...values)));
  fc.assert(fc.property(bytes, (bytes) => {
    for (const parse of [readNamedValues, parseCriticalOptions, parseExtensions]) {
      try {
        parse(bytes);
      } catch (error) {
        assert.ok(error instanceof SshFormatError);
      }
    }
  }));
});
