import assert from "node:assert/strict";
import { pathToFileURL } from "node:url";
import { failure } from "../../tests/planned_pod.ts";
import { parseText, readDescription } from "./mesh_text.ts";

const options = () => ({ roots: () => Promise.resolve([]), signal: new AbortController().signal });

/** Reads a description that a file holds. */
async function described(text: string) {
  const path = await Deno.makeTempFile();
  try {
    await Deno.writeTextFile(path, text);
    return await readDescription(pathToFileURL(path), options());
  } finally {
    await Deno.remove(path);
  }
}

Deno.test("parseText() reads YAML and JSON, of several documents the first", async () => {
  assert.deepEqual(await parseText("a: 1\nb: [x]\n", "x"), { a: 1, b: ["x"] });
  assert.deepEqual(await parseText(' {"a": 1}', "x"), { a: 1 });
  assert.deepEqual(await parseText("a: 1\n---\na: 2\n", "x"), { a: 1 });
  assert.equal(await parseText("", "x"), undefined);
});

Deno.test("parseText() says what cannot be read and where, and quotes nothing of it", async () => {
  for (const text of ["a: [secret-text", '{"a": secret-text']) {
    const error = await failure(parseText(text, "PROXY_CONFIG"), "MeshUnknown");
    assert.match(error.message, /^Cannot read PROXY_CONFIG: /);
    assert.doesNotMatch(error.message + error.hint, /secret-text/);
  }
});

Deno.test("readDescription() reads an environment file, a ConfigMap in YAML or JSON, and a map without one", async () => {
  const texts = [
    "# mesh\nexport XDS_ADDR=10.0.0.1:15012\n",
    "apiVersion: v1\nkind: ConfigMap\ndata:\n  XDS_ADDR: 10.0.0.1:15012\n",
    '{"kind": "ConfigMap", "data": {"XDS_ADDR": "10.0.0.1:15012"}}',
    "XDS_ADDR: 10.0.0.1:15012\n",
  ];
  for (const text of texts) {
    assert.deepEqual([...(await described(text))!.values], [["XDS_ADDR", "10.0.0.1:15012"]], text);
  }
});

Deno.test("readDescription() fails for a file that is not there, or that is something else", async () => {
  const missing = await failure(readDescription(new URL("file:///no/such/file"), options()), "MeshUnknown");
  assert.match(missing.message, /MESH=file:\/\/\/no\/such\/file/);
  await failure(described("a: [b"), "MeshUnknown");
});

/** A server on loopback whose answers are these. */
async function serving(answer: () => Response, use: (url: URL) => Promise<void>): Promise<void> {
  await using server = Deno.serve({ hostname: "127.0.0.1", port: 0, onListen: () => {} }, answer);
  await use(new URL(`http://127.0.0.1:${server.addr.port}/mesh.env?signature=secret-text`));
}

Deno.test("readDescription() reads from a server, and what it says of one leaves out the query, which may be a key", async () => {
  await serving(() => new Response("XDS_ADDR=10.0.0.1:15012\n"), async (url) => {
    const { values, where } = (await readDescription(url, options()))!;
    assert.equal(values.get("XDS_ADDR"), "10.0.0.1:15012");
    assert.equal(where, `MESH=${url.origin}/mesh.env`);
  });
  await serving(() => new Response("XDS_ADDR=no", { status: 403 }), async (url) => {
    const error = await failure(readDescription(url, options()), "MeshUnknown");
    assert.match(error.message, /the answer is 403/);
    assert.doesNotMatch(error.message + error.hint, /secret-text/);
  });
  await serving(() => new Response("a: [secret-text"), async (url) => {
    const error = await failure(readDescription(url, options()), "MeshUnknown");
    assert.doesNotMatch(error.message + error.hint, /secret-text/);
  });
});

Deno.test("readDescription() does not show the query of a server that is not there, nor a password", async () => {
  const listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  const { port } = listener.addr;
  listener.close();
  for (const url of [`http://127.0.0.1:${port}/m?k=secret-text`, `http://ann:secret-text@127.0.0.1:${port}/m`]) {
    const error = await failure(readDescription(new URL(url), options()), "MeshUnknown");
    assert.match(error.message, /^Cannot read MESH=http:\/\/127\.0\.0\.1:\d+\/m: /);
    assert.doesNotMatch(error.message + error.hint, /secret-text/);
  }
});

Deno.test("readDescription() ends at once with krun's own reason when the start ends", async () => {
  const stop = new AbortController();
  stop.abort(new Error("stopped"));
  await serving(() => new Response(""), async (url) => {
    await assert.rejects(readDescription(url, { ...options(), signal: stop.signal }), /stopped/);
  });
});
