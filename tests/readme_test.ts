/** The commands of the README print what the README says. */
import assert from "node:assert/strict";
import { join } from "node:path";
import { krunArgv } from "./krun_process.ts";

const REPOSITORY = new URL("..", import.meta.url).pathname;

/** The first fenced block that begins with a prompt: its commands, and the output below them. */
function example(markdown: string): { script: string; output: string } {
  const block = /^```\n(\$ [^]*?)^```$/m.exec(markdown)?.[1];
  assert.ok(block, "the README has an example");
  const lines = block.trimEnd().split("\n");
  const isCommand = (line: string) => line.startsWith("$ ");
  return {
    script: lines.filter(isCommand).map((line) => line.slice(2)).join("\n"),
    output: lines.filter((line) => !isCommand(line)).join("\n") + "\n",
  };
}

Deno.test("README: its first example prints what it says", async () => {
  const { script, output } = example(await Deno.readTextFile(join(REPOSITORY, "README.md")));
  const bin = await Deno.makeTempDir();
  const words = krunArgv().map((word) => `'${word}'`).join(" ");
  await Deno.writeTextFile(join(bin, "krun"), `#!/bin/sh\nexec ${words} "$@"\n`, { mode: 0o755 });
  const { stdout, stderr } = await new Deno.Command("/bin/sh", {
    args: ["-c", script],
    cwd: REPOSITORY,
    env: { PATH: `${bin}:${Deno.env.get("PATH")}` },
  }).output();
  await Deno.remove(bin, { recursive: true });
  assert.equal(new TextDecoder().decode(stdout), output, new TextDecoder().decode(stderr));
});

Deno.test("README: the two commands of the set-up are tasks of deno.json, and the first screen has 25 lines at most", async () => {
  const readme = await Deno.readTextFile(join(REPOSITORY, "README.md"));
  const { tasks } = JSON.parse(await Deno.readTextFile(join(REPOSITORY, "deno.json")));
  const named = [...readme.matchAll(/^npx -y deno@2\.9\.6 task (\S+)$/gm)].map((match) => match[1]!);
  assert.deepEqual(named, ["demo", "test"]);
  for (const name of named) assert.ok(tasks[name], name);
  assert.ok(readme.split("\n").indexOf("## What it does") <= 27);
});

Deno.test("docs: every link to a file of the repository leads to one", async () => {
  for (
    const page of [
      "README.md",
      "CONTRIBUTING.md",
      ...[...Deno.readDirSync(join(REPOSITORY, "docs"))].map((e) => `docs/${e.name}`),
    ]
  ) {
    const text = await Deno.readTextFile(join(REPOSITORY, page));
    for (const [, target] of text.matchAll(/\]\((?!https?:|#)([^)#]+)[^)]*\)/g)) {
      await Deno.stat(new URL(target!, new URL(page, `file://${REPOSITORY}`)));
    }
  }
});
