import assert from "node:assert/strict";
import { RecordingLog } from "../../tests/recording_log.ts";
import { ApiClient } from "./api_client.ts";
import { ApiCluster } from "./api_cluster.ts";
import type { Transport } from "./transport.ts";

Deno.test("ApiCluster.follow() gives up a watch that is silent for longer than a bookmark takes, well before the next", async () => {
  const stop = new AbortController();
  const silences: number[] = [];
  const transport: Transport = {
    call: () => Promise.reject(new Error("not expected")),
    watch: (_path, { silenceMs }) => {
      silences.push(silenceMs);
      stop.abort();
      return Promise.reject(stop.signal.reason);
    },
    [Symbol.asyncDispose]: () => Promise.resolve(),
  };
  const source = { kind: "kubeconfig", where: "/k" } as const;
  const log = new RecordingLog();
  const lifetime = new AbortController();
  const credentials = {
    current: () => Promise.resolve({ headers: [], certificate: undefined }),
    refused: () => Promise.resolve(false),
  };
  const server = "https://api";
  const client = new ApiClient({ server, source, transport, credentials, log, lifetime: lifetime.signal });
  const endpoint = { server, caPem: undefined };
  await using cluster = new ApiCluster({ client, source, endpoint, log, timing: undefined, lifetime });
  await cluster.follow({ kind: "Secret", namespace: "shop", name: "db" }, { signal: stop.signal, deliver() {} });
  // kube-apiserver sends a bookmark every 60 s, up to 2 s later when it is busy.
  assert.ok(silences.length === 1 && silences[0]! > 65_000 && silences[0]! <= 80_000, silences.join());
});
