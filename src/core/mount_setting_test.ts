import assert from "node:assert/strict";
import fc from "fast-check";
import { loadVectors } from "../../tests/vectors.ts";
import { KrunError } from "./errors.ts";
import { type MountSetting, parseMountSetting } from "./mount_setting.ts";

interface Input {
  readonly env: string;
  readonly value: string;
}

/** What a person must find in the one line, and the code. */
interface Failure {
  readonly error: string;
  readonly says: string;
}

for (const { id, why, input, expect } of loadVectors<Input, MountSetting | Failure>("mount_setting")) {
  Deno.test(`parseMountSetting() ${id}: ${why}`, () => {
    const parse = () => parseMountSetting(input.env, input.value);
    if (!("error" in expect)) return assert.deepEqual(parse(), expect);
    assert.throws(parse, (error) => {
      assert.ok(error instanceof KrunError);
      assert.equal(error.code, expect.error);
      const line = `${error.message}; ${error.hint}`;
      assert.ok(line.includes(input.env) && line.includes(expect.says), line);
      return true;
    });
  });
}

Deno.test("parseMountSetting() gives undefined when the variable is no mount", () => {
  for (const env of ["K8S_SECRETS_db", "K8S_UID", "k8s_secret_db", "SECRET_db", "KRUN_POD", ""]) {
    assert.equal(parseMountSetting(env, "/x"), undefined);
  }
});

Deno.test("parseMountSetting() throws nothing but a KrunError of one line when given any text", () => {
  const piece = fc.oneof(
    fc.string({ unit: "binary" }),
    fc.constantFrom(
      ":",
      "/",
      "//",
      "?",
      "&",
      "=",
      "..",
      "./",
      "mode=",
      "key=",
      "optional=true",
      "\0",
      "\n",
      "db",
      "0400",
    ),
  );
  const text = fc.array(piece).map((pieces) => pieces.join(""));
  const prefix = fc.constantFrom("K8S_SECRET_", "K8S_CM_", "K8S_TOKEN_", "GCP_ID_TOKEN_");
  fc.assert(fc.property(prefix, text, text, (start, name, value) => {
    try {
      const mount = parseMountSetting(start + name, value);
      assert.ok(mount && mount.path !== "" && !mount.path.split("/").includes(".."));
    } catch (error) {
      assert.ok(error instanceof KrunError, String(error));
      assert.doesNotMatch(error.message + error.hint, /[\n\0]/);
    }
  }));
});

Deno.test("parseMountSetting() gives back what was written when a mount is spelt out", () => {
  const name = fc.stringMatching(/^[a-z0-9]([-.a-z0-9]{0,20}[a-z0-9])?$/).filter((n) => !/[.][.-]|-[.]/.test(n));
  const audience = fc.oneof(fc.webUrl(), fc.string({ minLength: 1, maxLength: 40 }))
    .filter((a) => !/^\.|^\/(?!\/)/.test(a));
  const element = fc.stringMatching(/^[a-zA-Z0-9_ @-]{1,8}$/);
  const elements = fc.array(element, { minLength: 1, maxLength: 4 }).map((names) => names.join("/"));
  const shown = fc.tuple(fc.constantFrom("/", "./"), elements).map(([start, rest]) => start + rest);
  // After an audience such as "https://a:/b" a path must show itself.
  const path = fc.oneof(shown, elements);
  const mode = fc.integer({ min: 0, max: 0o777 });
  const key = fc.stringMatching(/^[a-zA-Z0-9_-][-._a-zA-Z0-9]{0,9}$/);
  const ofObject = fc.record(
    {
      kind: fc.constantFrom("Secret" as const, "ConfigMap" as const),
      object: name,
      path,
      optional: fc.boolean(),
      mode,
      key,
    },
    { requiredKeys: ["kind", "object", "path", "optional"] },
  );
  const ofToken = fc.record(
    {
      kind: fc.constant("Token" as const),
      object: audience,
      path: shown,
      optional: fc.constant(false),
      expirationSeconds: fc.integer({ min: 600, max: 2 ** 32 }),
    },
    { requiredKeys: ["kind", "object", "path", "optional"] },
  );
  const ofGoogle = fc.record({
    kind: fc.constant("GoogleIdToken" as const),
    object: audience,
    path: shown,
    optional: fc.constant(false),
  });
  fc.assert(fc.property(fc.oneof(ofObject, ofToken, ofGoogle), (mount) => {
    const written = spelt(mount);
    assert.deepEqual(parseMountSetting(written.env, written.value), { env: written.env, ...mount });
  }));
});

function spelt(mount: Omit<MountSetting, "env">): Input {
  const names = { Secret: "K8S_SECRET_x", ConfigMap: "K8S_CM_x", Token: "K8S_TOKEN_x" };
  const env = { ...names, GoogleIdToken: "GCP_ID_TOKEN_x", GoogleAccessToken: "GCP_ACCESS_TOKEN" }[mount.kind];
  const options = [
    mount.optional && "optional=true",
    mount.mode !== undefined && `mode=${mount.mode.toString(8)}`,
    mount.key !== undefined && `key=${mount.key}`,
    mount.expirationSeconds !== undefined && `expirationSeconds=${mount.expirationSeconds}`,
  ].filter(Boolean);
  return { env, value: `${mount.object}:${mount.path}${options.length > 0 ? `?${options.join("&")}` : ""}` };
}
