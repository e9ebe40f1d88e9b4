import assert from "node:assert/strict";
import fc from "fast-check";
import { load } from "js-yaml";
import { wholeKubeconfig } from "./google_kubeconfig.ts";
import { type KubeconfigEntry, mergeKubeconfigText } from "./kubeconfig_merge.ts";
import { yamlText } from "./yaml_text.ts";

const ENTRY: KubeconfigEntry = {
  name: "gke_p_us-central1_prod",
  cluster: { "server": "https://34.1.2.3", "certificate-authority-data": "LS0t" },
  context: { cluster: "gke_p_us-central1_prod", user: "gke_p_us-central1_prod", namespace: "shop" },
  user: { exec: { apiVersion: "client.authentication.k8s.io/v1", command: "/krun", args: ["--exec-credential"] } },
};

const parse = (text: string) => load(text);

interface Document {
  readonly clusters: readonly { readonly name: string }[];
  readonly contexts: readonly unknown[];
  readonly users: readonly unknown[];
  readonly "current-context"?: string;
}

function merged(text: string, entry = ENTRY): string {
  const result = mergeKubeconfigText(text, entry, parse);
  assert.ok(typeof result === "object", String(result));
  return result.text;
}

/** The lines that are neither of an entry nor the key of a list, which may have been empty. */
function others(text: string): string[] {
  return text.split("\n").filter((line) =>
    !OURS.has(line.trim()) && !/^"?(clusters|contexts|users)"?:/.test(line) && line !== ""
  );
}

const OURS = new Set(yamlText(wholeKubeconfig(ENTRY)).split("\n").map((line) => line.trim()));

/** As kubectl, gcloud and people write them. */
const BLOCK: Readonly<Record<string, string>> = {
  "kubectl's own": `apiVersion: v1
clusters:
- cluster:
    certificate-authority-data: AAAA
    server: https://10.0.0.1
  name: dev
contexts:
- context:
    cluster: dev
    user: me
  name: dev
current-context: dev
kind: Config
preferences: {}
users:
- name: me
  user:
    token: s3cret
`,
  "a person's, with comments, quotation marks and items further in": `# mine
kind: Config
apiVersion: "v1"
users: # who
    - name: 'me'   # me
      user: {token: "a # b"}

    # the other one
    - name: other
      user:
        token: |
          line
          # no comment

          end

"clusters":

  - {name: dev, cluster: {server: "https://x"}}
# contexts come here
contexts:
  - name: dev
    context: {cluster: dev, user: me}
# the end`,
  "empty lists": "apiVersion: v1\nkind: Config\nclusters: []\ncontexts: null # none\nusers:\ncurrent-context: ''\n",
  "no lists, no line break at its end": "apiVersion: v1\nkind: Config",
  "a document that begins": "---\napiVersion: v1\nkind: Config\nclusters: []\n",
};

for (const [name, before] of Object.entries(BLOCK)) {
  Deno.test(`mergeKubeconfigText() adds an entry and touches nothing else in ${name}`, () => {
    const after = merged(before);
    const [old, now] = [load(before) as Partial<Document>, load(after) as Document];
    assert.equal(now.clusters.length, (old.clusters?.length ?? 0) + 1);
    assert.equal(now["current-context"], old["current-context"]);
    assert.deepEqual(now.users.slice(0, -1), old.users ?? []);
    assert.deepEqual(others(after), others(before));
  });

  Deno.test(`mergeKubeconfigText() changes nothing when it is done again in ${name}`, () => {
    const once = merged(before);
    assert.equal(merged(once), once);
  });

  Deno.test(`mergeKubeconfigText() replaces an entry of the same name in ${name}`, () => {
    const moved = { ...ENTRY, cluster: { server: "https://34.9.9.9" } };
    const after = load(merged(merged(before), moved)) as Document;
    assert.deepEqual(after.clusters.filter(({ name }) => name === ENTRY.name), [{
      name: ENTRY.name,
      cluster: moved.cluster,
    }]);
  });
}

Deno.test("mergeKubeconfigText() keeps the line breaks of a file from elsewhere", () => {
  const after = merged(BLOCK["kubectl's own"]!.replaceAll("\n", "\r\n"));
  assert.equal(after.replaceAll("\r\n", "").includes("\n"), false);
});

Deno.test("mergeKubeconfigText() adds to JSON and touches nothing else", () => {
  const before = '{ "kind":"Config","users" : [ {"name":"a]\\"}","user":{}} ],\n"clusters":[], "x":1e3}\n';
  const after = merged(before);
  const now = JSON.parse(after);
  assert.equal(now.users.length, 2);
  assert.equal(now.contexts[0].name, ENTRY.name);
  assert.ok(after.includes('"users" : [ {"name":"a]\\"}","user":{}},') && after.includes('"x":1e3}\n'));
  assert.equal(merged(after), after);
});

Deno.test("mergeKubeconfigText() takes null for an empty list in JSON, as kubectl writes it", () => {
  const after = merged('{"kind":"Config","clusters":null,"contexts": null ,"users":[]}');
  assert.equal(JSON.parse(after).contexts[0].name, ENTRY.name);
  assert.ok(after.startsWith('{"kind":"Config","clusters":[{'));
});

Deno.test("mergeKubeconfigText() keeps a context's own namespace where nobody has named another one", () => {
  const { namespace: _namespace, ...context } = ENTRY.context;
  for (const before of [merged(BLOCK["kubectl's own"]!), merged('{"kind":"Config"}')]) {
    const namespaceOf = (entry: KubeconfigEntry) => {
      const { contexts } = load(merged(before, entry)) as {
        contexts: { name: string; context: { namespace?: string } }[];
      };
      return contexts.find(({ name }) => name === ENTRY.name)?.context.namespace;
    };
    assert.equal(
      namespaceOf({ ...ENTRY, context: { ...ENTRY.context, namespace: "pay" }, keepsNamespace: true }),
      "shop",
    );
    assert.equal(namespaceOf({ ...ENTRY, context, keepsNamespace: true }), "shop");
    assert.equal(namespaceOf({ ...ENTRY, context: { ...ENTRY.context, namespace: "pay" } }), "pay");
    assert.equal(namespaceOf({ ...ENTRY, context }), undefined);
  }
});

Deno.test("mergeKubeconfigText() refuses what it cannot add to without a change of the rest", () => {
  for (
    const text of [
      "clusters: [{name: a, cluster: {server: https://x}}]\n",
      "clusters: &all\n- name: a\n",
      "a: 1\n---\nb: 2\n",
      "kind: Pod\n",
      "- a\n",
      "a: [",
      '{"clusters": {"a": 1}}',
    ]
  ) assert.equal(typeof mergeKubeconfigText(text, ENTRY, parse), "string", text);
});

Deno.test("mergeKubeconfigText() gives a text that reads as it should, or none, whatever the file holds", () => {
  const word = fc.stringMatching(/^[a-z0-9#:\-"' ]{1,8}$/);
  const value = fc.oneof(word, fc.integer(), fc.boolean(), fc.constant("a\n# b\n\n- c\n"));
  const item = fc.record({
    name: word,
    cluster: fc.dictionary(fc.stringMatching(/^[a-z]{1,5}$/), value, { maxKeys: 3 }),
  });
  const document = fc.record({
    clusters: fc.array(item, { maxLength: 3 }),
    users: fc.array(item, { maxLength: 2 }),
    other: value,
  }, {
    requiredKeys: [],
  });
  fc.assert(fc.property(document, fc.boolean(), (fields, asJson) => {
    const before = asJson ? JSON.stringify(fields) : yamlText(fields);
    const result = mergeKubeconfigText(before, ENTRY, parse);
    if (typeof result === "string") return;
    const now = load(result.text) as Document & Record<string, unknown>;
    assert.ok(now.clusters.some(({ name }) => name === ENTRY.name));
    assert.deepEqual(now.other, fields.other);
    assert.equal(now.clusters.length, (fields.clusters?.length ?? 0) + 1);
  }));
});

Deno.test("yamlText() reads as what it was made of", () => {
  const leaf = fc.oneof(fc.string(), fc.integer(), fc.boolean(), fc.constant(null));
  const { plain } = fc.letrec<{ plain: unknown }>((tie) => ({
    plain: fc.oneof(
      { maxDepth: 4 },
      leaf,
      fc.array(tie("plain"), { minLength: 1, maxLength: 3 }),
      fc.dictionary(fc.string({ minLength: 1 }).filter((key) => key !== "__proto__" && key !== "<<"), tie("plain"), {
        minKeys: 1,
        maxKeys: 3,
      }),
    ),
  }));
  fc.assert(
    fc.property(plain, (value) => {
      assert.deepEqual(load(yamlText(value as Parameters<typeof yamlText>[0])), JSON.parse(JSON.stringify(value)));
    }),
  );
});
