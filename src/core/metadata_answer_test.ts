import assert from "node:assert/strict";
import fc from "fast-check";
import { loadVectors } from "../../tests/vectors.ts";
import { type MetadataAnswer, metadataAnswer, type MetadataFacts } from "./metadata_answer.ts";

interface Input {
  readonly method: string;
  readonly target: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly facts: MetadataFacts;
}

const answer = ({ method, target, headers, facts }: Input) =>
  metadataAnswer({ method, target, header: (name) => headers[name] ?? null, address: "127.0.0.1:15988" }, facts);

for (const { id, why, input, expect } of loadVectors<Input, MetadataAnswer>("metadata_answer")) {
  Deno.test(`metadataAnswer() ${id}: ${why}`, () => assert.deepEqual(answer(input), expect));
}

Deno.test("metadataAnswer() gives no token to a request without the header, whatever it asks for", () => {
  const facts: MetadataFacts = { account: "a", scopes: [] };
  const target = fc.oneof(
    fc.constantFrom("instance/service-accounts/default/token", "instance/service-accounts/default/identity?audience=a")
      .map((path) => `/computeMetadata/v1/${path}`),
    fc.webPath(),
    fc.string(),
  );
  const headers = { host: "127.0.0.1:15988" };
  fc.assert(fc.property(target, (any) => answer({ method: "GET", target: any, headers, facts }).kind === "text"));
});
