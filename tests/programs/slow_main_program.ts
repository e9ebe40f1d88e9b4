/**
 * krun's main program on a machine where loading it takes long: until the file `$GO` exists. Takes the place of
 * `src/launch/main_program.ts` by an import map.
 */
const go = Deno.env.get("GO")!;
console.error("loading");
const isThere = () => Deno.stat(go).then(() => true, () => false);
while (!await isThere()) await new Promise((resolve) => setTimeout(resolve, 10));

export const { mainProgram } = await import("../../src/launch/main_program.ts?loaded");
