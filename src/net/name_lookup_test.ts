import assert from "node:assert/strict";
import { limitedLookup, lookUpName, lookupWithLocalhost } from "./name_lookup.ts";

Deno.test("lookUpName() gives addresses of names, and of addresses themselves", async () => {
  assert.ok((await lookUpName("localhost")).some((address) => ["127.0.0.1", "::1"].includes(address)));
  assert.deepEqual(await lookUpName("127.0.0.1"), ["127.0.0.1"]);
  await assert.rejects(lookUpName("no.such.host.invalid"));
});

Deno.test("lookupWithLocalhost() has localhost be loopback where nobody else knows it, and no other name", async () => {
  const nobody = lookupWithLocalhost((host) => Promise.reject(new Error(`getaddrinfo ENOTFOUND ${host}`)));
  for (const host of ["localhost", "LocalHost", "localhost.", "app.localhost", "a.b.localhost."]) {
    assert.deepEqual(await nobody(host), ["127.0.0.1", "::1"], host);
  }
  for (const host of ["", ".localhost", "mylocalhost", "localhost.example", "localhost..", "localhost\n"]) {
    await assert.rejects(nobody(host), /ENOTFOUND/, host);
  }
  const hosts = lookupWithLocalhost(() => Promise.resolve(["::1"]));
  assert.deepEqual(await hosts("localhost"), ["::1"]);
});

Deno.test("limitedLookup() lets so many be under way, in the order of their coming, also after one that fails", async () => {
  const asked: string[] = [];
  const answers: PromiseWithResolvers<readonly string[]>[] = [];
  const look = limitedLookup((host) => {
    asked.push(host);
    answers.push(Promise.withResolvers());
    return answers.at(-1)!.promise;
  }, 2);
  const all = ["a", "b", "c", "d"].map((host) => look(host));
  await Promise.resolve();
  assert.deepEqual(asked, ["a", "b"]);
  answers[1]!.reject(new Error("no"));
  await assert.rejects(all[1]!);
  assert.deepEqual(asked, ["a", "b", "c"]);
  for (const at of [0, 2]) answers[at]!.resolve([`of ${at}`]);
  assert.deepEqual(await all[0], ["of 0"]);
  assert.deepEqual(await all[2], ["of 2"]);
  answers[3]!.resolve([]);
  await all[3];
  // The places are free again.
  const more = [look("e"), look("f")];
  await Promise.resolve();
  assert.deepEqual(asked.slice(4), ["e", "f"]);
  for (const answer of answers.slice(4)) answer.resolve([]);
  await Promise.all(more);
});
