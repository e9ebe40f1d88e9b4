import assert from "node:assert/strict";
import type { SessionProcess } from "../core/session_process.ts";
import { SessionRig } from "../../tests/session_rig.ts";

const KIB = 1024;

/** A program that always has something to say, once it has said much: how much is read of it at once. */
async function talkative(rig: SessionRig): Promise<{ readonly program: SessionProcess; readonly most: number }> {
  const program = rig.start(["cat", "/dev/zero"]);
  let most = 0;
  for (let read = 0; read < 1024 * KIB;) {
    const { length } = (await program.output.read())!;
    most = Math.max(most, length);
    read += length;
  }
  return { program, most };
}

Deno.test("read() takes 256 KiB at once of each of 64 streams, little of the others, and much again when those are closed", async () => {
  await using rig = new SessionRig();
  const programs: { readonly program: SessionProcess; readonly most: number }[] = [];
  const closeAll = () => programs.splice(0).forEach(({ program }) => program.close());
  for (let count = 0; count < 80; count++) programs.push(await talkative(rig));
  const sizes = programs.map(({ most }) => most);
  assert.ok(sizes.slice(0, 64).every((most) => most > 64 * KIB && most <= 256 * KIB), `${sizes}`);
  const all = sizes.reduce((sum, most) => sum + most);
  assert.ok(all <= (16 * 1024 + 80 * 16) * KIB, `${all} bytes`);
  assert.ok(sizes.at(-1)! <= 16 * KIB && sizes.at(-1)! >= 4 * KIB, `${sizes.at(-1)}`);
  closeAll();
  programs.push(await talkative(rig));
  assert.ok(programs[0]!.most > 64 * KIB);
  closeAll();
});
