import assert from "node:assert/strict";
import { join } from "node:path";
import { loadKubeconfig } from "./kubeconfig.ts";

const entries = {
  clusters: [{ name: "c", cluster: { server: "https://api" } }],
  users: [{ name: "u", user: { token: "t0ps3cret" } }],
  contexts: [{ name: "x", context: { cluster: "c", user: "u" } }],
};

async function withFiles(files: Record<string, string>, use: (path: (name: string) => string) => Promise<void>) {
  const folder = await Deno.makeTempDir();
  try {
    for (const [name, text] of Object.entries(files)) await Deno.writeTextFile(join(folder, name), text);
    await use((name) => join(folder, name));
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
}

const yaml = `clusters: [{name: c, cluster: {server: "https://api"}}]
users: [{name: u, user: {token: t0ps3cret}}]
contexts: [{name: x, context: {cluster: c, user: u}}]
current-context: x
`;

Deno.test("loadKubeconfig() reads YAML, JSON and flow YAML alike", async () => {
  const json = JSON.stringify({ ...entries, "current-context": "x" });
  const flow =
    "{clusters: [{name: c, cluster: {server: 'https://api'}}], users: [{name: u, user: {token: t0ps3cret}}], " +
    "contexts: [{name: x, context: {cluster: c, user: u}}], current-context: x}";
  await withFiles({ yaml, json, flow }, async (path) => {
    for (const name of ["yaml", "json", "flow"]) {
      const config = await loadKubeconfig([path(name)]);
      assert.deepEqual([config.server, config.user, config.source.where], [
        "https://api",
        { token: "t0ps3cret" },
        path(name),
      ]);
    }
  });
});

Deno.test("loadKubeconfig() merges several files and passes over those that do not exist", async () => {
  await withFiles({ one: JSON.stringify(entries), two: '{"current-context": "x"}' }, async (path) => {
    assert.equal((await loadKubeconfig([path("none"), path("one"), path("two")])).source.context, "x");
  });
});

Deno.test("loadKubeconfig() is KubeconfigInvalid when no file exists", async () => {
  await assert.rejects(loadKubeconfig(["/nowhere/a", "/nowhere/b"]), {
    code: "KubeconfigInvalid",
    message: 'Cannot read kubeconfig "/nowhere/a:/nowhere/b": no such file',
  });
});

Deno.test("loadKubeconfig() is KubeconfigInvalid for a folder, and for text that is neither, without quoting it", async () => {
  await withFiles({ broken: "token: t0ps3cret\n\t- [" }, async (path) => {
    await assert.rejects(loadKubeconfig([path(".")]), {
      code: "KubeconfigInvalid",
      message: /": it is a folder$/,
      hint: "make it readable",
    });
    await assert.rejects(
      loadKubeconfig([path("broken")]),
      (error: { code: string; message: string; cause?: unknown }) => {
        assert.equal(error.code, "KubeconfigInvalid");
        assert.match(error.message, /^Cannot read kubeconfig "[^"]*\/broken" line 2, column 1: /);
        assert.doesNotMatch(error.message, /t0ps3cret/);
        assert.equal(error.cause, undefined);
        return true;
      },
    );
  });
});

Deno.test("loadKubeconfig() never quotes a token without its quotes, in YAML or in JSON", async () => {
  const user = (token: string) => yaml.replace("t0ps3cret", token);
  const files = {
    alias: user("*t0ps3cret"),
    tag: user("!t0ps3cret"),
    handle: user("!t0ps3cret!x"),
    json: '{"a": t0ps3cret',
  };
  await withFiles(files, async (path) => {
    for (const name of Object.keys(files)) {
      await assert.rejects(loadKubeconfig([path(name)]), (error: Error & { code: string; hint: string }) => {
        assert.equal(error.code, "KubeconfigInvalid");
        assert.doesNotMatch(`${error.message} ${error.hint} ${error.cause}`, /t0ps3cret/);
        return true;
      });
    }
  });
});
