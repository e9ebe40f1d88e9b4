import assert from "node:assert/strict";
import fc from "fast-check";
import { loadYamlParser } from "../kube/yaml_documents.ts";
import { loadVectors } from "../../tests/vectors.ts";
import { KrunError } from "./errors.ts";
import type { ManifestObject } from "./manifest_object.ts";
import { type ManifestFileContent, ManifestIndex, parseManifestFile } from "./manifests.ts";
import { parseJsonDocuments } from "./source_document.ts";

const parseYaml = await loadYamlParser();

function parse(file: string, content: string | Uint8Array): ManifestFileContent {
  const bytes = typeof content === "string" ? new TextEncoder().encode(content) : content;
  return parseManifestFile({ name: file, bytes }, file.endsWith(".json") ? parseJsonDocuments : parseYaml);
}

interface File {
  readonly file: string;
  readonly text: string;
}
type Outcome = { objects: ManifestObject[]; ignored?: string[] } | { fault: string };

for (const { id, why, input, expect } of loadVectors<File, Outcome>("manifests")) {
  Deno.test(`parseManifestFile() ${id}: ${why}`, () => {
    if ("fault" in expect) {
      assert.throws(() => parse(input.file, input.text), { code: "ManifestInvalid", message: expect.fault });
      return;
    }
    const { manifests, ignored } = parse(input.file, input.text);
    // As text: a key such as __proto__ must be a key like any other.
    assert.equal(JSON.stringify(manifests.map((m) => sorted(m.object))), JSON.stringify(expect.objects.map(sorted)));
    assert.deepEqual(ignored, expect.ignored ?? []);
  });
}

/** The order of an object's fields is no part of what it says. */
function sorted(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(sorted);
  if (typeof value !== "object" || value === null) return value;
  return Object.fromEntries(Object.entries(value).map(([k, v]) => [k, sorted(v)]).sort(([a], [b]) => a! < b! ? -1 : 1));
}

const MIB = 1024 * 1024;

/** Each kind with values that are `bytes` long in all: kubelet.md 2.1, 1 MiB in total, keys not counted. */
function ofSize(bytes: number): Record<string, string> {
  const head = (kind: string) => `{"apiVersion":"v1","kind":"${kind}","metadata":{"name":"t"}`;
  return {
    "Secret data": `${head("Secret")},"data":{"a":"${new Uint8Array(bytes).toBase64()}"}}`,
    "Secret stringData": `${head("Secret")},"stringData":{"a":"${"x".repeat(bytes - 2)}","b":"é"}}`,
    "ConfigMap data": `${head("ConfigMap")},"data":{"a":"${"x".repeat(bytes - 2)}","b":"é"}}`,
    "ConfigMap both": `${head("ConfigMap")},"data":{"a":"12"},"binaryData":{"b":"${
      new Uint8Array(bytes - 2).toBase64()
    }"}}`,
  };
}

Deno.test("parseManifestFile() takes 1 MiB of values and refuses one byte more (kubelet.md 2.1)", () => {
  for (const text of Object.values(ofSize(MIB))) assert.equal(parse("a.json", text).manifests.length, 1);
  for (const [what, text] of Object.entries(ofSize(MIB + 1))) {
    assert.throws(() => parse("a.json", text), { code: "ManifestInvalid", message: /larger than 1048576 bytes/ }, what);
  }
});

Deno.test("parseManifestFile() refuses annotations that an alias makes huge", () => {
  const keys = Array.from({ length: 300 }, (_, i) => `    k${i}: *big\n`).join("");
  const text = `apiVersion: v1\nkind: Secret\nmetadata:\n  name: t\n  annotations:\n    a: &big ${
    "x".repeat(1000)
  }\n${keys}`;
  assert.throws(() => parse("a.yaml", text), { code: "ManifestInvalid", message: /annotations is larger than 262144/ });
});

Deno.test("parseManifestFile() says so when a file is no text", () => {
  assert.throws(() => parse("a.yaml", new Uint8Array([0x61, 0x3a, 0xff])), {
    code: "ManifestInvalid",
    message: 'Cannot read manifest "a.yaml": it is not UTF-8 text',
  });
});

/** Text that is often nearly a manifest. */
const nearlyManifest = fc.array(
  fc.oneof(
    fc.constantFrom(
      "apiVersion: v1\n",
      "kind: Secret\n",
      "kind: List\n",
      "metadata: {name: t}\n",
      "data: {a: aGk=}\n",
      "stringData:\n  a: ",
      "items:\n- ",
      "---\n",
      "&a ",
      "*a",
      "<<: ",
      "!!binary ",
      "{",
      "}",
      "[",
      '"',
      "\n  ",
      "? ",
      "\t",
      "\u0000",
      "|\n",
    ),
    fc.string({ unit: "binary" }),
  ),
).map((parts) => parts.join(""));

for (const file of ["a.yaml", "a.json"]) {
  Deno.test(`parseManifestFile() never fails but with ManifestInvalid when ${file} holds anything`, () => {
    const content = fc.oneof(nearlyManifest, fc.json(), fc.string({ unit: "binary" }), fc.uint8Array());
    fc.assert(fc.property(content, (content) => {
      try {
        parse(file, content);
      } catch (error) {
        assert(error instanceof KrunError, `${error}`);
        assert.equal(error.code, "ManifestInvalid");
        assert(!error.message.includes("\n"), error.message);
      }
    }));
  });
}

Deno.test("parseManifestFile() names no value of a Secret when it fails", () => {
  const hidden = "hunter2hunter2";
  const head = "apiVersion: v1\nkind: Secret\nmetadata: {name: t}\n";
  for (
    const [file, text] of [
      ["a.yaml", `${head}data: {a: ${hidden}}\n`],
      ["a.yaml", `${head}stringData: {a: ${hidden}, b: [${hidden}]}\n`],
      ["a.yaml", `${head}stringData: {a: "${hidden}`],
      ["a.yaml", `${head}stringData: {a: !!int ${hidden}}\n`],
      ["a.yaml", `${head}stringData:\n  a: ${hidden}\n b: x\n`],
      ["a.json", `{"data": ${hidden}}`],
      ["a.json", `{"data": {"a": "${hidden}" "b"}}`],
      ["a.json", `{"apiVersion":"v1","kind":"Secret","metadata":{"name":"t"},"data":{"a":"${hidden}"}}`],
    ] as const
  ) {
    assert.throws(() => parse(file, text), (error: unknown) => {
      assert(error instanceof KrunError);
      const shown = [error.message, error.hint, error.details, String((error.cause as Error)?.stack)].join();
      assert(!shown.includes("hunter2"), shown);
      return true;
    }, text);
  }
});

const secret = (namespace: string | undefined, value: string) =>
  parse(
    `${namespace ?? "any"}.yaml`,
    `apiVersion: v1\nkind: Secret\nmetadata: {name: t${
      namespace === undefined ? "" : `, namespace: ${namespace}`
    }}\nstringData: {a: "${value}"}\n`,
  ).manifests;
const inShop = { kind: "Secret", namespace: "shop", name: "t" } as const;

Deno.test("ManifestIndex finds an object in its own namespace only", () => {
  const index = new ManifestIndex(secret("shop", "x"));
  assert.equal(index.object(inShop)?.metadata?.namespace, "shop");
  assert.equal(index.object({ ...inShop, namespace: "bank" }), undefined);
  assert.equal(index.object({ ...inShop, kind: "ConfigMap" }), undefined);
});

Deno.test("ManifestIndex finds an object without a namespace in any that is asked for", () => {
  const index = new ManifestIndex(secret(undefined, "x"));
  assert.equal(index.object(inShop)?.metadata?.namespace, "shop");
  assert.equal(index.object({ ...inShop, namespace: "bank" })?.metadata?.namespace, "bank");
});

Deno.test("ManifestIndex refuses one object in two files, naming both", () => {
  const twice = [...secret("shop", "x"), ...secret("shop", "x")];
  assert.throws(() => new ManifestIndex(twice), {
    code: "ManifestInvalid",
    message: 'Cannot read manifest "shop.yaml" document 1 line 1: Secret "t" is in "shop.yaml" document 1 line 1 too',
  });
});

Deno.test("ManifestIndex refuses an object with and one without a namespace where both are meant", () => {
  const index = new ManifestIndex([...secret("shop", "x"), ...secret(undefined, "x")]);
  assert.throws(() => index.object(inShop), { code: "ManifestInvalid", message: /"any\.yaml".*"shop\.yaml"/ });
  // The negative control: elsewhere only one of them is meant.
  assert.equal(index.object({ ...inShop, namespace: "bank" })?.metadata?.namespace, "bank");
});

Deno.test("ManifestIndex gives a new version for new content only, also after an object was gone", () => {
  const version = (index: ManifestIndex) => Number(index.object(inShop)?.metadata?.resourceVersion);
  const first = new ManifestIndex(secret("shop", "x"));
  const same = new ManifestIndex(secret("shop", "x"), first);
  assert.equal(version(same), version(first));
  assert(same.equals(first));
  const changed = new ManifestIndex(secret("shop", "y"), same);
  assert(version(changed) > version(same));
  assert(!changed.equals(same));
  const gone = new ManifestIndex([], changed);
  assert.equal(gone.object(inShop), undefined);
  assert(!gone.equals(changed));
  assert(version(new ManifestIndex(secret("shop", "y"), gone)) > version(changed));
});

Deno.test("ManifestIndex lists the Services of a namespace by name", () => {
  const service = (name: string, namespace: string) =>
    `apiVersion: v1\nkind: Service\nmetadata: {name: ${name}, namespace: ${namespace}}\n---\n`;
  const { manifests } = parse("a.yaml", [service("b", "shop"), service("a", "shop"), service("c", "bank")].join(""));
  assert.deepEqual(new ManifestIndex(manifests).services("shop").map((s) => s.metadata?.name), ["a", "b"]);
});

Deno.test("parseManifestFile() never quotes a Secret's value that stands without quotes, in YAML or in JSON", () => {
  const yaml = "apiVersion: v1\nkind: Secret\nmetadata: {name: db}\nstringData:\n  password: ";
  const json = '{"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "db"}, "stringData": {"password": ';
  for (const value of ["*S3cr3t!pw", "!S3cr3t!pw", "!S3cr3t", "!<S3cr3t> x", '"S3cr3t', "S3cr3t: *"]) {
    for (const [file, text] of [["a.yaml", yaml + value], ["a.json", `${json}${value}}}`]] as const) {
      assert.throws(() => parse(file, text), (error: KrunError) => {
        assert.equal(error.code, "ManifestInvalid");
        assert.match(error.message, /^Cannot read manifest "a\.(yaml|json)" (document \d )?line \d(, column \d+)?: /);
        assert.doesNotMatch(error.message + error.hint + error.details + error.cause, /S3cr3t/);
        return true;
      }, text);
    }
  }
});

Deno.test("parseManifestFile() names line and column of what cannot be read", () => {
  const [first, bad] = ['{"kind": "Namespace"}\n\n', ' {"kind": "Secret", }'];
  for (
    const [file, text, place] of [
      ["a.yaml", "kind: Secret\n  data: x", "line 2, column 7"],
      ["a.json", bad, "line 1, column 21"],
      ["a.json", first + bad, "line 3, column 21"],
      ["a.json", `${first}{"kind": 1\n  x}`, "line 4, column 3"],
      ["a.json", `${first}{"kind"`, "line 3, column 8"],
      ["a.json", `${first}{"kind":\n  x}`, "line 3"],
    ] as const
  ) {
    assert.throws(() => parse(file, text), (error: KrunError) => {
      assert.ok(error.message.startsWith(`Cannot read manifest "${file}" ${place}: `), error.message);
      return true;
    });
  }
});
