import assert from "node:assert/strict";
import type { FileReader } from "../core/file_reader.ts";
import { readPodFile } from "./pod_file.ts";

function files(text: string): FileReader {
  return { text: () => Promise.resolve(text), textSync: () => text };
}

const read = (text: string) => readPodFile("/pod.yaml", files(text));

Deno.test("readPodFile() reads JSON, YAML, and YAML in braces that is no JSON", async () => {
  for (
    const text of [
      '{"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "web"}, "spec": {"containers": [{"name": "app"}]}}',
      "apiVersion: v1\nkind: Pod\nmetadata:\n  name: web\nspec:\n  containers:\n  - name: app\n",
      "{apiVersion: v1, kind: Pod, metadata: {name: web}, # a comment\n spec: {containers: [{name: app}]}}",
    ]
  ) {
    const { pod } = await read(text);
    assert.equal(pod.metadata?.name, "web");
    assert.equal(pod.spec?.containers[0]?.name, "app");
  }
});

Deno.test("readPodFile() names line and column when a text is neither JSON nor YAML", async () => {
  for (
    const [text, place] of [
      ['{"kind": "Pod",\n  "spec": [}', "line 2, column 12: "],
      ["{kind: Pod\n spec: {}}", "line 2, column 6: "],
      ["kind: Pod\nspec: [", "line 2, column 8: "],
    ] as const
  ) {
    await assert.rejects(read(text), (error: Error & { code?: string }) => {
      assert.equal(error.code, "PodInvalid");
      assert.ok(error.message.startsWith(`Cannot read the Pod of KRUN_POD "/pod.yaml": ${place}`), error.message);
      return true;
    });
  }
});

Deno.test("readPodFile() never quotes the file, whether it is read as JSON or as YAML", async () => {
  const head = "kind: Pod\nspec:\n  containers:\n  - name: app\n    env:\n    - name: PASSWORD\n      value: ";
  const unquoted = ["*S3cr3t", "!S3cr3t!pw", "!<S3cr3t> x"].map((value) => head + value);
  for (const text of [...unquoted, '{"kind": "Pod", "spec": S3cr3t}', '{"kind": "S3cr3t', '{"a": "b"} S3cr3t: [']) {
    await assert.rejects(read(text), (error: Error & { code?: string; hint?: string }) => {
      assert.equal(error.code, "PodInvalid");
      assert.doesNotMatch(`${error.message} ${error.hint} ${(error.cause as Error).message}`, /S3cr3t/);
      return true;
    });
  }
});

Deno.test("readPodFile() refuses a text that holds no Pod or two, and a file that cannot be read", async () => {
  const pod = '{"spec": {"containers": [{"name": "app"}]}}';
  await assert.rejects(read(pod + pod), { code: "PodInvalid", message: /: it holds 2 documents, not one Pod$/ });
  await assert.rejects(read(""), { code: "PodInvalid", message: /: it holds 0 documents, not one Pod$/ });
  const missing: FileReader = { ...files(""), text: () => Promise.reject(new Deno.errors.NotFound("not there")) };
  await assert.rejects(readPodFile("/p", missing), {
    code: "PodInvalid",
    message: /KRUN_POD "\/p": it does not exist$/,
  });
});
