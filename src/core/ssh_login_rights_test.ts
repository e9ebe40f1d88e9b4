import assert from "node:assert/strict";
import fc from "fast-check";
import type { CertificateOptions } from "./ssh_certificate_options.ts";
import { NO_KEY_OPTIONS, parseKeyOptions, type SshKeyOptions } from "./ssh_key_options.ts";
import { rightsOfCertificate, rightsOfKey } from "./ssh_login_rights.ts";
import { SshFormatError } from "./ssh_wire.ts";

const EVERYTHING: CertificateOptions = { pty: true, portForwarding: true, touchRequired: true, verifyRequired: false };

Deno.test("rightsOfKey() gives everything to a key without options, and what its options leave", () => {
  assert.deepEqual(rightsOfKey(NO_KEY_OPTIONS), { ...EVERYTHING, permitOpen: "any", permitListen: "any" });
  const options = parseKeyOptions('restrict,port-forwarding,permitopen="db:5432",command="",expiry-time="20310506"');
  assert.deepEqual(rightsOfKey(options), {
    ...EVERYTHING,
    pty: false,
    permitOpen: [{ host: "db", port: 5432 }],
    permitListen: "any",
    forcedCommand: "",
    expiresAtMs: Date.UTC(2031, 4, 6),
  });
});

const command = fc.constantFrom("a", "b", "", undefined);
const flags = {
  pty: fc.boolean(),
  portForwarding: fc.boolean(),
  touchRequired: fc.boolean(),
  verifyRequired: fc.boolean(),
};
const time = fc.option(fc.nat(9), { nil: undefined });
const set = <Value>(name: string, value: Value | undefined) => value === undefined ? {} : { [name]: value };

Deno.test("rightsOfCertificate() leaves what both leave, to the earlier end", () => {
  fc.assert(
    fc.property(fc.record(flags), fc.record(flags), command, command, time, time, (ca, of, one, other, t, u) => {
      const options: SshKeyOptions = {
        ...NO_KEY_OPTIONS,
        ...ca,
        ...set("forcedCommand", one),
        ...set("expiresAtMs", t),
      };
      const certificate = { options: { ...of, ...set("forcedCommand", other) }, ...set("expiresAtMs", u) };
      if (one !== undefined && other !== undefined && one !== other) {
        const reason = "the certificate and its CA's line force two different commands";
        assert.throws(() => rightsOfCertificate(options, certificate), new SshFormatError(reason));
        return;
      }
      const ends = [t, u].filter((end) => end !== undefined);
      assert.deepEqual(rightsOfCertificate(options, certificate), {
        pty: ca.pty && of.pty,
        portForwarding: ca.portForwarding && of.portForwarding,
        touchRequired: ca.touchRequired || of.touchRequired,
        verifyRequired: ca.verifyRequired || of.verifyRequired,
        permitOpen: "any",
        permitListen: "any",
        ...set("forcedCommand", one ?? other),
        ...set("expiresAtMs", ends.length > 0 ? Math.min(...ends) : undefined),
      });
    }),
  );
});

Deno.test("rightsOfCertificate() keeps where a CA's certificates may forward to", () => {
  const ca = parseKeyOptions('cert-authority,permitopen="db:5432",permitlisten="8080"');
  const { permitOpen, permitListen } = rightsOfCertificate(ca, { options: EVERYTHING });
  assert.deepEqual([permitOpen, permitListen], [[{ host: "db", port: 5432 }], [{ host: "*", port: 8080 }]]);
});
