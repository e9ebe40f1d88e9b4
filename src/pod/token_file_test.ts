import assert from "node:assert/strict";
import { join } from "node:path";
import type { TokenRef } from "../core/cluster.ts";
import { KrunError } from "../core/errors.ts";
import { FakeClock, settle } from "../../tests/fake_clock.ts";
import { fakeClaims, FakeCluster, unreachable } from "../../tests/fake_cluster.ts";
import { RecordingLog } from "../../tests/recording_log.ts";
import { keepToken } from "./token_file.ts";

const REF: TokenRef = { namespace: "shop", serviceAccount: "web", audience: "vault", expirationSeconds: 3600 };

async function setUp() {
  const folder = await Deno.makeTempDir({ prefix: "krun-token-" });
  const clock = new FakeClock();
  const cluster = new FakeCluster(clock);
  cluster.putServiceAccount("shop", "web");
  const stop = new AbortController();
  const path = join(folder, "token");
  const options = { path, signal: stop.signal, log: new RecordingLog(), clock, random: () => 0 };
  return { folder, clock, cluster, stop, path, options };
}

Deno.test("keepToken() writes the token 0600, replaces it by rename when it is renewed, and leaves it at the end", async () => {
  const { folder, clock, cluster, stop, path, options } = await setUp();
  let written = 0;
  const kept = keepToken(cluster, REF, { ...options, onWritten: () => written++ });
  await settle();
  const [first, before] = [await Deno.readTextFile(path), await Deno.stat(path)];
  assert.equal(before.mode! & 0o777, 0o600);
  using open = await Deno.open(path);
  await clock.pass(48 * 60_000 + 10);
  assert.equal(written, 2);
  assert.notEqual(await Deno.readTextFile(path), first);
  assert.equal(await new Response(open.readable).text(), first, "who had it open still reads one whole token");
  stop.abort();
  await kept;
  assert.deepEqual([...Deno.readDirSync(folder)].map(({ name }) => name), ["token"]);
  await Deno.remove(folder, { recursive: true });
});

Deno.test("keepToken() gives the file the mode that is asked for, bits that a umask takes away included", async () => {
  const { folder, cluster, stop, path, options } = await setUp();
  const kept = keepToken(cluster, REF, { ...options, mode: 0o666 });
  await settle();
  assert.equal((await Deno.stat(path)).mode! & 0o777, 0o666);
  stop.abort();
  await kept;
  await Deno.remove(folder, { recursive: true });
});

Deno.test("keepToken() is not stopped by what a killed run left, nor follows a link there", async () => {
  const { folder, cluster, stop, path, options } = await setUp();
  const elsewhere = join(folder, "elsewhere");
  await Deno.writeTextFile(elsewhere, "mine");
  await Deno.symlink(elsewhere, join(folder, ".token.krun"));
  const kept = keepToken(cluster, REF, options);
  await settle();
  assert.equal(fakeClaims(await Deno.readTextFile(path)).sub, "system:serviceaccount:shop:web");
  assert.equal(await Deno.readTextFile(elsewhere), "mine");
  stop.abort();
  await kept;
  await Deno.remove(folder, { recursive: true });
});

Deno.test("keepToken() throws when the first request or the first write fails", async () => {
  const { folder, cluster, options } = await setUp();
  const code = (wanted: string) => (error: unknown) => error instanceof KrunError && error.code === wanted;
  const elsewhere = { ...options, path: join(folder, "absent", "token") };
  await assert.rejects(keepToken(cluster, REF, elsewhere), {
    code: "TargetUnwritable",
    message: `Cannot write token file "${elsewhere.path}": it does not exist`,
  });
  await assert.rejects(
    keepToken(cluster, { ...REF, serviceAccount: "nobody" }, options),
    code("ServiceAccountNotFound"),
  );
  cluster.fails(unreachable);
  await assert.rejects(keepToken(cluster, REF, options), code("ClusterUnreachable"));
  await Deno.remove(folder, { recursive: true });
});
