import assert from "node:assert/strict";
import { closedPort } from "../../tests/fake_proxy.ts";
import { KrunError } from "../core/errors.ts";
import { systemClock } from "../pod/clock.ts";
import { MeshHealth } from "./mesh_health.ts";

const never = () => new AbortController().signal;

async function asked(port: number): Promise<number> {
  const response = await fetch(`http://127.0.0.1:${port}/`);
  await response.body?.cancel();
  return response.status;
}

Deno.test("MeshHealth says of a workload what those say who know it, and nothing good before and after", async () => {
  const port = closedPort();
  await using health = new MeshHealth(port);
  assert.equal(await asked(port), 503, "nobody knows");
  let isReady = false;
  health.follow(() => isReady);
  assert.equal(await asked(port), 503);
  isReady = true;
  assert.equal(await asked(port), 200);
  health.stop();
  assert.equal(await asked(port), 503);
});

Deno.test("MeshHealth.untilTold() waits until the agent has asked once more, and no longer than there is time", async (t) => {
  await t.step("it asks", async () => {
    const port = closedPort();
    await using health = new MeshHealth(port);
    health.follow(() => true);
    await asked(port);
    health.stop();
    let isTold = false;
    const told = health.untilTold(never()).then(() => isTold = true);
    await systemClock.turn();
    assert.equal(isTold, false);
    await asked(port);
    await told;
  });
  await t.step("there is no time", async () => {
    const port = closedPort();
    await using health = new MeshHealth(port);
    await asked(port);
    health.stop();
    await health.untilTold(AbortSignal.abort());
  });
  await t.step("nobody ever asked", async () => {
    await using health = new MeshHealth(closedPort());
    health.stop();
    await health.untilTold(never());
  });
});

Deno.test("MeshHealth is for this machine alone, and says which port somebody else has", () => {
  using other = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  assert.throws(
    () => new MeshHealth(other.addr.port),
    (error) =>
      error instanceof KrunError && error.code === "MeshUnavailable" && error.message.includes(`${other.addr.port}`),
  );
});

Deno.test("MeshHealth ends although somebody keeps a connection to it", async () => {
  const port = closedPort();
  await using health = new MeshHealth(port);
  const kept = await Deno.connect({ hostname: "127.0.0.1", port });
  await kept.write(new TextEncoder().encode("GET / HTTP/1.1\r\nhost: a\r\n\r\n"));
  await kept.read(new Uint8Array(1000));
  await health[Symbol.asyncDispose]();
  kept.close();
});
