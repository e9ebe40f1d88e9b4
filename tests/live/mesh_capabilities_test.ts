/** What root must be able to do in order to capture traffic: the list of docs/mesh.md, no more and no less. */
import assert from "node:assert/strict";
import { MeshLab } from "./mesh_lab.ts";

/** The capabilities that the page names, as setpriv(1) spells them. */
async function pageCapabilities(): Promise<string[]> {
  const page = await Deno.readTextFile(new URL("../../docs/mesh.md", import.meta.url));
  const [, list = ""] = /capabilities ((?:`[A-Z_]+`(?:, | and )?)+)/.exec(page) ?? [];
  return [...list.matchAll(/`([A-Z_]+)`/g)].map(([, name]) => name!.toLowerCase());
}

const NO_USER = /^krun: Cannot start program .* as user 1337, .*SETUID, SETGID and KILL/m;

/** What krun says without it. Only of what it cannot take away it learns no earlier than at the end. */
const SAID: Readonly<Record<string, RegExp>> = {
  net_admin: /^krun: Cannot intercept traffic: krun has not the capability NET_ADMIN/m,
  setuid: NO_USER,
  setgid: NO_USER,
  kill: NO_USER,
  chown: /^krun: Cannot write volume .*chown/m,
  fowner: /^krun: Cannot write volume .*chmod/m,
  dac_override: /Secrets and tokens lie on disk: .*EACCES[^]*cannot remove what krun made/,
};

Deno.test("krun captures traffic with the capabilities of docs/mesh.md, and says what is wrong without one", async (t) => {
  const needed = await pageCapabilities();
  assert.ok(needed.includes("net_admin"));
  await using lab = await MeshLab.create();
  const run = async (capabilities: readonly string[], host: string) => {
    await using web = await lab.workload(await lab.network.host(host), {
      ...{ name: "web", capabilities, env: { MESH_MODE: "intercept", KRUN_RUN_AS: "1500:1500" } },
      args: ["--", "/bin/sh", "-c", "id -u; grep CapEff /proc/self/status"],
    });
    return await web.krun.end;
  };
  await t.step("with all of them", async () => {
    const { code, stdout, stderr } = await run(needed, "all");
    assert.deepEqual([code, stdout], [0, "1500\nCapEff:\t0000000000000000\n"], stderr);
  });
  for (const [index, left] of needed.entries()) {
    await t.step(`not without ${left}`, async () => {
      const { stderr } = await run(needed.filter((name) => name !== left), `h${index}`);
      assert.match(stderr, SAID[left]!);
    });
  }
});
