import assert from "node:assert/strict";
import { RecordingLog } from "../../tests/recording_log.ts";
import { waitFor } from "../../tests/wait.ts";
import { parseSettings } from "../core/settings.ts";
import { LazyGoogle } from "./lazy_google.ts";
import type { Surroundings } from "./surroundings.ts";

/** A krun with those variables; `looked` is whether Google Cloud was begun with. */
function trial(env: Record<string, string>) {
  const state = { looked: false };
  const outer: Surroundings = {
    ...{ args: [], cwd: "/", pid: 1, self: { uid: 0, gid: 0, groups: [] }, writeError() {}, writeOutput() {} },
    // Its proxies are asked for when Google Cloud is made ready.
    get env() {
      state.looked = true;
      return env;
    },
  };
  // Something says that there is a metadata server, so that nothing is asked yet.
  const settings = parseSettings({ GCE_METADATA_HOST: "127.0.0.1:9", HOME: "/nonexistent", ...env });
  return { state, google: new LazyGoogle(outer, { settings, log: new RecordingLog(), deadlineMs: 0 }) };
}

Deno.test("LazyGoogle.search() begins beside the rest of a start, before a cluster is asked for", async () => {
  for (const env of [{ CLUSTER_NAME: "prod" }, { K8S_SECRET_db: "./db" }]) {
    const { state, google } = trial(env);
    await using _end = google;
    assert.ok(google.search("/nonexistent"));
    await waitFor("Google Cloud to be looked at", () => state.looked || undefined);
  }
});

Deno.test("LazyGoogle.search() begins nothing where a nearer cluster would be taken, and is none where another is named", async () => {
  for (const other of [{ KUBERNETES_SERVICE_HOST: "10.0.0.1" }, { CLUSTER_NAME: "-" }]) {
    const { google, state } = trial({ K8S_SECRET_db: "./db", ...other });
    await using _end = google;
    assert.ok(google.search("/nonexistent"));
    // As long as it takes to load what the other would have loaded.
    await import("./google_cloud.ts");
    await new Promise((resolve) => setTimeout(resolve, 0));
    assert.equal(state.looked, false);
  }
  for (const env of [{ KUBECONFIG: "/k", K8S_SECRET_db: "./db" }, {}]) {
    const { google } = trial(env);
    await using _ends = google;
    assert.equal(google.search("/nonexistent"), undefined);
  }
});
