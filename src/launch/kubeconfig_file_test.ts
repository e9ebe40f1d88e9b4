import assert from "node:assert/strict";
import { join } from "node:path";
import { writeKubeconfig } from "./kubeconfig_file.ts";

const ENTRY = {
  name: "gke_p_l_c",
  cluster: { server: "https://34.1.2.3" },
  context: { cluster: "gke_p_l_c", user: "gke_p_l_c" },
  user: { exec: { command: "/krun" } },
};

async function inFolder(trial: (folder: string) => Promise<void>): Promise<void> {
  const folder = await Deno.makeTempDir({ prefix: "krun-kubeconfig-" });
  try {
    await trial(folder);
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
}

const modeOf = (path: string) => Deno.lstatSync(path).mode! & 0o777;

Deno.test("writeKubeconfig() puts a new file in the place of the old one: whoever reads has one or the other, whole", async () => {
  await inFolder(async (folder) => {
    const path = join(folder, "config");
    const before = "kind: Config\ncurrent-context: dev\n";
    await Deno.writeTextFile(path, before, { mode: 0o644 });
    using reading = await Deno.open(path);
    const { ino } = Deno.statSync(path);
    await writeKubeconfig(path, ENTRY);
    assert.notEqual(Deno.statSync(path).ino, ino);
    assert.equal(await new Response(reading.readable).text(), before);
    assert.match(Deno.readTextFileSync(path), /^kind: Config\ncurrent-context: dev\n[^]*gke_p_l_c/);
    assert.equal(modeOf(path), 0o600);
    assert.deepEqual([...Deno.readDirSync(folder)].map(({ name }) => name), ["config"]);
  });
});

Deno.test("writeKubeconfig() refuses a file that is not UTF-8, and leaves it as it is", async () => {
  await inFolder(async (folder) => {
    const path = join(folder, "config");
    const bytes = new Uint8Array([
      ...new TextEncoder().encode("# "),
      0xe9,
      ...new TextEncoder().encode("\nkind: Config\n"),
    ]);
    await Deno.writeFile(path, bytes);
    await assert.rejects(writeKubeconfig(path, ENTRY), { code: "KubeconfigUnwritable", message: /it is not UTF-8/ });
    assert.deepEqual(Deno.readFileSync(path), bytes);
  });
});

Deno.test("writeKubeconfig() makes the file that a link leads to, and a folder for it that is its owner's alone", async () => {
  await inFolder(async (folder) => {
    const link = join(folder, "config");
    await Deno.symlink("home/.kube/config", link);
    await writeKubeconfig(link, ENTRY);
    assert.ok(Deno.lstatSync(link).isSymlink);
    assert.equal(modeOf(join(folder, "home", ".kube")), 0o700);
    assert.equal(modeOf(join(folder, "home", ".kube", "config")), 0o600);
    await Deno.symlink("loop", join(folder, "loop"));
    await assert.rejects(writeKubeconfig(join(folder, "loop"), ENTRY), { code: "KubeconfigUnwritable" });
  });
});

Deno.test("writeKubeconfig() keeps comments, and makes a file of nothing else a kubeconfig", async () => {
  await inFolder(async (folder) => {
    const path = join(folder, "config");
    await Deno.writeTextFile(path, "# mine\n\n  # all of it");
    await writeKubeconfig(path, ENTRY);
    assert.match(
      Deno.readTextFileSync(path),
      /^# mine\n\n {2}# all of it\napiVersion: v1\n[^]*current-context: gke_p_l_c/,
    );
  });
});
