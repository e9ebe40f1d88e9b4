import assert from "node:assert/strict";
import { listenAt } from "./callers.ts";

function placesOf(...hostnames: string[]): Deno.NetAddr[] {
  const listeners = listenAt(hostnames.map((hostname) => ({ hostname, port: 0 })));
  const places = listeners.map(({ addr }) => addr as Deno.NetAddr);
  for (const listener of listeners) listener.close();
  return places;
}

Deno.test("listenAt() listens at one port of all addresses, and once where a name leads to another of them", () => {
  const [first, second] = placesOf("127.0.0.2", "127.0.0.1");
  assert.deepEqual([first!.hostname, second!.hostname, second!.port], ["127.0.0.2", "127.0.0.1", first!.port]);
  assert.deepEqual(placesOf("127.0.0.1", "127.0.0.1").length, 1);
  assert.ok(placesOf("localhost", "127.0.0.1").some(({ hostname }) => hostname === "127.0.0.1"));
});

Deno.test("listenAt() leaves nothing open where one of the addresses cannot be had", () => {
  using taken = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  const { port } = taken.addr as Deno.NetAddr;
  const addresses = [{ hostname: "127.0.0.2", port }, { hostname: "127.0.0.1", port }];
  assert.throws(() => listenAt(addresses), Deno.errors.AddrInUse);
  Deno.listen({ hostname: "127.0.0.2", port }).close();
});
