import assert from "node:assert/strict";
import { RecordingLog } from "../../tests/recording_log.ts";
import { GoogleAccount } from "./google_account.ts";
import { GoogleClusters } from "./google_clusters.ts";
import { GoogleHttp } from "./google_http.ts";
import { MetadataAccount } from "./metadata_account.ts";
import { MetadataServer } from "./metadata_server.ts";

/** Where none is. */
class NoMetadata extends MetadataServer {
  asked = 0;

  override isThere(): Promise<boolean> {
    this.asked++;
    return Promise.resolve(false);
  }
}

function trial(sign?: string) {
  const metadata = new NoMetadata();
  const clusters = new GoogleClusters({
    settings: { off: false, clusterName: "prod" },
    sign,
    namesNamespace: true,
    account: new GoogleAccount(new MetadataAccount(metadata), { http: new GoogleHttp() }),
    metadata,
    log: new RecordingLog(),
    deadlineMs: 0,
  });
  return { metadata, clusters };
}

Deno.test("GoogleClusters.begin() looks for a metadata server before anybody asks for a cluster, and once", async () => {
  const { metadata, clusters } = trial();
  clusters.begin();
  assert.equal(metadata.asked, 1);
  await assert.rejects(clusters.find({}), { code: "GoogleSettingsMissing" });
  assert.equal(metadata.asked, 1);
});

Deno.test("GoogleClusters.begin() looks for nothing where something says that it is there", () => {
  const { metadata, clusters } = trial("this is Cloud Run");
  clusters.begin();
  assert.equal(metadata.asked, 0);
});
