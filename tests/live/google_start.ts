/**
 * Starts of krun on a Google Cloud of fakes, and what came of them. In: a rig and variables. Out: assertions.
 *
 * @module
 */
import assert from "node:assert/strict";
import { CLOUD_RUN, GoogleRig, type RigEnd, RigFolder } from "./google_rig.ts";
import { sh } from "./shop.ts";

/** Prints what the Secret holds. */
export const READ = sh("cat db/username");
/** The Secret, which asks for a cluster. */
export const ASKED = { K8S_SECRET_db: "./db", KRUN_START_TIMEOUT: "5" };
/** The GKE API. */
export const GKE = "container.googleapis.com";
/** The fleet's. */
export const HUB = "gkehub.googleapis.com";
/** The metadata server. */
export const METADATA = "metadata.google.internal";

/** A start on Cloud Run, in a folder of its own. */
export async function start(
  rig: GoogleRig,
  env: Record<string, string> = {},
  args = READ,
): Promise<RigEnd> {
  await using folder = await RigFolder.create();
  return await rig.run(folder.path, { ...CLOUD_RUN, ...ASKED, ...env }, args);
}

/** The program has read the Secret, and krun has said those words. */
export function succeeds({ code, stdout, stderr }: RigEnd, ...says: readonly string[]): void {
  assert.equal(code, 0, stderr);
  assert.equal(stdout, "alice");
  for (const words of says) assert.ok(stderr.includes(words), `${words} in ${stderr}`);
}

/** krun has not started the program, for that reason and in those words. */
export function fails({ code, stderr }: RigEnd, error: string, ...says: readonly string[]): void {
  assert.equal(code, 125, stderr);
  for (const words of [`"code":"${error}"`, ...says]) assert.ok(stderr.includes(words), `${words} in ${stderr}`);
}

/** The hosts that were asked since, each once. */
export function asked(rig: GoogleRig, since: number): string[] {
  return [...new Set(rig.google.seen.slice(since).map(({ host }) => host))].filter((host) => host !== METADATA);
}

/** One trial. */
export interface Case {
  readonly name: string;
  readonly test: (rig: GoogleRig) => Promise<void>;
}

/** The cluster is known to the fleet alone. */
export function fleetOnly(rig: GoogleRig): void {
  const { google } = rig;
  google.clusters = [];
  google.memberships = [rig.membership()];
  google.grant(google.account!, "gkehub.memberships.list", "gkehub.gateway.get", "gkehub.gateway.post");
}

/** Runs them in turn on one rig, each with Google as it was at first. */
export function tryAll(name: string, cases: readonly Case[]): void {
  Deno.test(name, async (t) => {
    await using rig = await GoogleRig.create();
    for (const { name, test } of cases) {
      await t.step(name, async () => {
        rig.reset();
        await test(rig);
      });
    }
  });
}
