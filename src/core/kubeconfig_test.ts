import fc from "fast-check";
import assert from "node:assert/strict";
import { loadVectors } from "../../tests/vectors.ts";
import type { ClusterConfig } from "./cluster_config.ts";
import { KrunError } from "./errors.ts";
import { type KubeconfigDocument, mergeKubeconfigs, selectContext } from "./kubeconfig.ts";

interface Input {
  readonly documents: KubeconfigDocument[];
  readonly context?: string;
}

interface Expect {
  readonly config?: ClusterConfig;
  readonly code?: string;
  readonly says?: readonly string[];
}

for (const { id, why, input, expect } of loadVectors<Input, Expect>("kubeconfig")) {
  Deno.test(`selectContext() ${id}: ${why}`, () => {
    const select = () => selectContext(mergeKubeconfigs(input.documents), input.context);
    if (expect.config) {
      const { ca, ...rest } = select();
      return assert.deepEqual({ ...rest, ...(ca ? { ca } : {}) }, expect.config);
    }
    assert.throws(select, (error) => {
      assert.ok(error instanceof KrunError);
      assert.equal(error.code, expect.code);
      for (const words of expect.says ?? []) assert.ok(error.message.includes(words), error.message);
      return true;
    });
  });
}

/** Documents that are nearly kubeconfigs, so that the search gets past the first check. */
const document = fc.letrec((tie) => ({
  any: fc.oneof(
    { weight: 3, arbitrary: fc.constantFrom<unknown>("", "c", "https://api", null, undefined, true, 1, [], {}) },
    fc.array(tie("entry"), { maxLength: 2 }),
    tie("entry"),
  ),
  entry: fc.dictionary(
    fc.constantFrom(
      ...[
        "name",
        "cluster",
        "user",
        "context",
        "server",
        "exec",
        "env",
        "args",
        "command",
        "apiVersion",
        "token",
        "as-groups",
      ],
      ...[
        "clusters",
        "users",
        "contexts",
        "current-context",
        "kind",
        "auth-provider",
        "config",
        "proxy-url",
        "extensions",
      ],
    ),
    tie("any"),
  ),
})).entry;

Deno.test("selectContext() gives a config or KubeconfigInvalid, whatever the document holds", () => {
  fc.assert(
    fc.property(fc.array(fc.oneof(document, fc.anything()), { maxLength: 3 }), (documents) => {
      try {
        const config = selectContext(
          mergeKubeconfigs(documents.map((d, i) => ({ file: `/k/${i}`, document: d }))),
          "c",
        );
        assert.equal(typeof config.server, "string");
      } catch (error) {
        assert.ok(error instanceof KrunError, String(error));
        assert.equal(error.code, "KubeconfigInvalid");
        assert.ok(!error.message.includes("\n"), error.message);
      }
    }),
    { numRuns: 300 },
  );
});

Deno.test("selectContext() never repeats a token in its errors", () => {
  const entry = { name: "u", user: { token: "t0ps3cret", "client-certificate-data": "t0ps3cret", exec: "t0ps3cret" } };
  const users = [entry];
  const contexts = [{ name: "x", context: { cluster: "c", user: "u" } }];
  const clusters = [{ name: "c", cluster: { server: "https://api" } }];
  const merged = mergeKubeconfigs([{ file: "/k", document: { users, contexts, clusters, "current-context": "x" } }]);
  assert.throws(() => selectContext(merged), (error) => {
    assert.ok(error instanceof KrunError);
    assert.ok(!`${error.message} ${error.hint} ${error.details}`.includes("t0ps3cret"), error.message);
    return true;
  });
});

Deno.test("selectContext() never tells the password in a server's or a proxy's URL, whatever else is wrong with it", () => {
  const user = "u:t0ps3cret@";
  for (
    const cluster of [
      { server: `https://${user}api` },
      { server: `ftp://${user}api` },
      { server: `${user}api` },
      { server: `https://${user}api:port` },
      { server: `https://u:t0ps3cret/x@api` },
      { server: "https://api", "proxy-url": `ftp://${user}proxy` },
      { server: "https://api", "proxy-url": `http://${user}proxy:port` },
    ]
  ) {
    const document = {
      clusters: [{ name: "c", cluster }],
      contexts: [{ name: "x", context: { cluster: "c" } }],
      "current-context": "x",
    };
    assert.throws(() => selectContext(mergeKubeconfigs([{ file: "/k", document }])), (error: KrunError) => {
      assert.equal(error.code, "KubeconfigInvalid");
      assert.doesNotMatch(error.message + error.hint + error.cause, /t0ps3cret/);
      return true;
    }, JSON.stringify(cluster));
  }
});
