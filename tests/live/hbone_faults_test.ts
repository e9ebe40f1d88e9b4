/** What goes on while others fail: streams of HBONE, and connections of the tunnel. And what of them no program of the Pod inherits. */
import { fileURLToPath } from "node:url";
import assert from "node:assert/strict";
import { waitFor } from "../wait.ts";
import { Caller, echoed } from "./hbone_caller.ts";
import { MeshLab, type Workload } from "./mesh_lab.ts";

const ECHO = fileURLToPath(new URL("../programs/tcp_echo.py", import.meta.url));

/** What a process's descriptors are, by number: sockets and pipes by their inode, files by their path. */
function descriptorsOf(pid: number): Map<number, string> {
  const links = new Map<number, string>();
  for (const { name } of Deno.readDirSync(`/proc/${pid}/fd`)) {
    try {
      links.set(Number(name), Deno.readLinkSync(`/proc/${pid}/fd/${name}`));
    } catch {
      // It has been closed meanwhile.
    }
  }
  return links;
}

/**
 * Those of a child's descriptors that are krun's as well. What krun itself was given by whoever started it, and so by the tests, is the
 * program's too, as with a shell. What every process may have of its own has no inode of its own.
 */
function sharedWith(krun: number, child: number): { readonly standard: number; readonly others: readonly string[] } {
  const own = new Set([...descriptorsOf(krun).values()].filter((link) => !/^anon_inode:|^\/dev\/null$/.test(link)));
  const shared = [...descriptorsOf(child)].filter(([, link]) => own.has(link));
  const given = new Set(descriptorsOf(Deno.pid).values());
  const isStandard = ([fd]: readonly [number, string]) => fd <= 2;
  return {
    standard: shared.filter(isStandard).length,
    others: shared.filter((one) => !isStandard(one) && !given.has(one[1])).map(([fd, link]) => `${fd} ${link}`),
  };
}

/** Kills the agent, and waits until it and Envoy are others. */
async function crashAgent({ krun, pid }: Workload): Promise<void> {
  const old = [pid("pilot-agent"), pid("envoy")];
  Deno.kill(pid("pilot-agent"), "SIGKILL");
  await krun.sees("stderr", /container restarts container=istio-proxy/);
  await waitFor("agent and Envoy to run again", () => !old.includes(pid("envoy")) && !old.includes(pid("pilot-agent")));
}

Deno.test("streams by HBONE go on while istiod, the API server or the agent is away, and no program inherits them", async (t) => {
  await using lab = await MeshLab.create();
  await lab.apply("ConfigMap", "words", { data: { word: "one" } });
  await using client = await Caller.start(lab, "client");
  const host = await lab.network.host("web");
  await using web = await lab.workload(host, {
    name: "web",
    args: ["python3", ECHO, "8080"],
    runtime: "2.9",
    env: {
      ...{ PORT: "8080", KRUN_RUN_AS: "3000", KRUN_LOG: "debug" },
      ...{ KRUN_TUNNEL: "h2c", KRUN_TUNNEL_ADDRESS: host.address },
      ...{ KRUN_ON_CHANGE: "restart", K8S_CM_words: "./words", KRUN_GRACE_PERIOD: "2s" },
    },
  });
  await web.krun.sees("stderr", /tunnel listens/);
  await using open = await client.connect(`${host.address}:8080`);
  using tunnel = await Deno.connect({ hostname: host.address, port: 15009 });
  await tunnel.write(new TextEncoder().encode("GET / HTTP/1.1\r\nhost: web\r\n"));
  let said = 0;
  const goesOn = async () => {
    await open.write(new TextEncoder().encode("word "));
    await open.bytes(said += 5);
  };
  await goesOn();

  await t.step("istiod", async () => {
    await lab.istiod.stop();
    await goesOn();
    const anew = await echoed(client, `${host.address}:8080`, new Uint8Array(10));
    assert.equal(anew.code, 0, anew.stderr);
    await lab.istiod.start();
    await goesOn();
  });
  await t.step("the API server", async () => {
    lab.server.freeze();
    try {
      await goesOn();
      const anew = await echoed(client, `${host.address}:8080`, new Uint8Array(10));
      assert.equal(anew.code, 0, anew.stderr);
    } finally {
      lab.server.thaw();
    }
    await goesOn();
  });
  await t.step("the agent, and with it Envoy", async () => {
    await crashAgent(web);
    await goesOn();
    const anew = await echoed(client, `${host.address}:8080`, new Uint8Array(10));
    assert.equal(anew.code, 0, anew.stderr);
  });
  await t.step("agent and Envoy, started amid them, have nothing of krun's", () => {
    for (const program of ["pilot-agent", "envoy"] as const) {
      const { standard, others } = sharedWith(web.krun.pid, web.pid(program));
      assert.deepEqual(others, [], program);
      // The control: what is shared is seen.
      assert.ok(standard > 0, program);
    }
    const sockets = [...descriptorsOf(web.krun.pid).values()].filter((link) => link.startsWith("socket:"));
    assert.ok(sockets.length >= 5, "two listeners, a peer's connection and its stream, one of the tunnel");
  });
  await t.step("nor has the program", async () => {
    await lab.apply("ConfigMap", "words", { data: { word: "two" } });
    const [, pid] = await web.krun.sees("stderr", /container started container=web pid=(\d+) restarts=1/);
    const { standard, others } = sharedWith(web.krun.pid, Number(pid));
    assert.deepEqual([others, standard > 0], [[], true]);
  });
});
