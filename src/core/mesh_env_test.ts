import assert from "node:assert/strict";
import fc from "fast-check";
import { meshEnvOfDocument, meshEnvOfLines } from "./mesh_env.ts";

Deno.test("meshEnvOfLines() reads what a shell would, and refuses what is no environment file", () => {
  const text =
    "# mesh\nXDS_ADDR=1.2.3.4:15012\r\n\nexport TRUST_DOMAIN=\"example.org\"\n  MCON_ADDR='a b'  \nEMPTY=\nURL=a=b#c\n";
  assert.deepEqual(Object.fromEntries(meshEnvOfLines(text)!), {
    XDS_ADDR: "1.2.3.4:15012",
    TRUST_DOMAIN: "example.org",
    MCON_ADDR: "a b",
    EMPTY: "",
    URL: "a=b#c",
  });
  for (const other of ["apiVersion: v1\nkind: ConfigMap\n", '{"data":{}}', "1A=x", "-----BEGIN CERTIFICATE-----"]) {
    assert.equal(meshEnvOfLines(other), undefined, other);
  }
});

Deno.test("meshEnvOfLines() gives back what it is given, one name a line", () => {
  const name = fc.stringMatching(/^[A-Za-z_]\w{0,9}$/);
  const value = fc.string().filter((text) => !/[\r\n]|^["']|["']$/.test(text) && text.trim() === text);
  fc.assert(fc.property(fc.dictionary(name, value), (env) => {
    const text = Object.entries(env).map(([name, value]) => `${name}=${value}`).join("\n");
    assert.deepEqual(Object.fromEntries(meshEnvOfLines(text)!), { ...env });
  }));
});

Deno.test("meshEnvOfDocument() takes a ConfigMap's data, or the document itself, and only texts of it", () => {
  const data = { XDS_ADDR: "a:1", PORT: 1, NESTED: {} };
  const expected = { XDS_ADDR: "a:1" };
  assert.deepEqual(Object.fromEntries(meshEnvOfDocument({ kind: "ConfigMap", data })), expected);
  assert.deepEqual(Object.fromEntries(meshEnvOfDocument(data)), expected);
  for (const other of [null, undefined, 1, "text", [], { data: null }]) assert.equal(meshEnvOfDocument(other).size, 0);
});
