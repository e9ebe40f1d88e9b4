import assert from "node:assert/strict";
import { loadVectors } from "../../tests/vectors.ts";
import {
  chooseCluster,
  type ClusterWish,
  type GkeCluster,
  type GkeEndpoint,
  gkeEndpoint,
  isGkeHost,
} from "./gke_cluster.ts";

interface Candidate {
  readonly name: string;
  readonly location: string;
  readonly labels?: Readonly<Record<string, string>>;
}

interface Choice {
  readonly chosen?: string;
  readonly ambiguous?: readonly string[];
  readonly none?: boolean;
  readonly rule?: string;
}

const said = ({ name, location }: Candidate) => `${name} ${location}`;

for (const v of loadVectors<{ clusters: Candidate[]; wish: ClusterWish }, Choice>("gke_choice")) {
  Deno.test(`chooseCluster() ${v.id}: ${v.why}`, () => {
    const choice = chooseCluster(v.input.clusters, v.input.wish);
    const found: Choice = choice.kind === "chosen"
      ? { chosen: said(choice.chosen), rule: choice.rule }
      : choice.kind === "ambiguous"
      ? { ambiguous: choice.candidates.map(said), rule: choice.rule }
      : { none: true };
    assert.deepEqual(found, v.expect);
  });
}

type Wish = Parameters<typeof gkeEndpoint>[1];

for (const v of loadVectors<{ cluster: GkeCluster; wish?: Wish }, GkeEndpoint | null>("gke_endpoint")) {
  Deno.test(`gkeEndpoint() ${v.id}: ${v.why}`, () => {
    const endpoint = gkeEndpoint(v.input.cluster, v.input.wish);
    assert.deepEqual(endpoint ?? null, v.expect);
    if (endpoint) assert.ok(isGkeHost(endpoint));
  });
}

Deno.test("isGkeHost() refuses what no cluster of Google's has", () => {
  for (
    const host of [
      "evil.example",
      "gke.goog.evil.example",
      "x.gke.goog:8443",
      "x.gke.goog/y",
      "a@x.gke.goog",
      "gke.goog",
    ]
  ) {
    assert.equal(isGkeHost({ kind: "dns", host, trust: "public" }), false, host);
  }
  for (const host of ["evil.example", "34.1.2.3:8443", "34.1.2.3/x", "[::1]@evil.example", ""]) {
    assert.equal(isGkeHost({ kind: "public", host, trust: "cluster" }), false, host);
  }
});
