/** krun as PID 1 of a container that has nothing but the mesh's programs: base `/`, as in a distroless image. */
import assert from "node:assert/strict";
import { join } from "node:path";
import { liveTool } from "../../scripts/live_tools.ts";
import { tree } from "../workspace.ts";
import { type RootFs, rootFs } from "./compiled.ts";
import { MeshLab } from "./mesh_lab.ts";
import type { MeshHost } from "./mesh_network.ts";

const IPTABLES = ["iptables-nft", "iptables-nft-save", "iptables-nft-restore"];
const ROOTS = "/etc/ssl/certs/ca-certificates.crt";
const PLUGINS = "/usr/lib/x86_64-linux-gnu/xtables";

let lab: MeshLab;

/** An image with agent, Envoy and Istio's test programs; with iptables if it shall intercept. */
async function image(name: string, { iptables }: { iptables: boolean }): Promise<RootFs> {
  const mounts = [{ target: "/dev", bind: "/dev" }, { target: "/dev/shm", tmpfs: "mode=1777" }, {
    target: "/tmp",
    tmpfs: "mode=1777",
  }];
  const root = await rootFs({ mounts: [...mounts, ...iptables ? [{ target: PLUGINS, bind: PLUGINS }] : []] });
  for (const program of ["pilot-agent", "envoy", "echo-server", "echo-client"] as const) {
    await root.install(await liveTool(program), `/usr/local/bin/${program}`);
  }
  for (const program of iptables ? IPTABLES : []) await root.install(`/usr/sbin/${program}`, `/usr/sbin/${program}`);
  await root.write("/kubeconfig", await Deno.readTextFile((await lab.server.user("krun")).kubeconfig));
  // What such an image has besides, or what a container is given.
  await root.write("/etc/resolv.conf", `nameserver ${lab.network.address}\n`);
  await root.write("/etc/hosts", "127.0.0.1 localhost\n");
  await root.write(ROOTS, await Deno.readTextFile(ROOTS));
  for (const path of ["/etc/resolv.conf", "/etc/hosts", ROOTS]) await Deno.chmod(join(root.path, path), 0o644);
  await lab.apply("ServiceAccount", name, {});
  return root;
}

function environment(name: string): Record<string, string> {
  return {
    ...{ PATH: "/usr/local/bin:/usr/sbin", KUBECONFIG: "/kubeconfig", XDS_ADDR: lab.istiod.discoveryAddress },
    ...{ WORKLOAD_NAMESPACE: "shop", WORKLOAD_NAME: name, WORKLOAD_SERVICE_ACCOUNT: name },
    // This binary has a Deno without it, and would warn of that.
    HBONE_ALLOW: "-",
  };
}

/** Runs a program in an image of its own to its end, which leaves the image as it was. */
async function runIn(host: MeshHost, options: { name: string; iptables: boolean; program: readonly string[] }) {
  const { name, iptables, program } = options;
  await using root = await image(name, { iptables });
  const before = tree(root.path);
  await using krun = root.start({ args: ["--", ...program], env: environment(name), under: host.under });
  const end = await krun.end;
  assert.deepEqual(tree(root.path), before, end.stderr);
  return end;
}

Deno.test("krun as PID 1 joins the mesh in an image that has only agent and Envoy, below /", async (t) => {
  lab = await MeshLab.create();
  await using _lab = lab;
  const ports = [{ name: "http", port: 80, targetPort: 8080 }, { name: "tcp", port: 9000, targetPort: 9090 }];
  await lab.apply("Service", "web", { spec: { selector: { app: "web" }, ports } });
  const template = { serviceAccount: "web" };
  await lab.apply("WorkloadGroup", "web", { spec: { metadata: { labels: { app: "web" } }, template } });
  await lab.apply("PeerAuthentication", "default", { spec: { mtls: { mode: "STRICT" } } });
  const host = await lab.network.host("web");
  await using root = await image("web", { iptables: true });
  const before = tree(root.path);
  await using web = root.start({
    args: ["--", "/usr/local/bin/echo-server", "--port", "8080", "--tcp", "9090"],
    env: { ...environment("web"), PORT: "8080", PORT_tcp: "9090" },
    under: host.under,
  });
  await web.sees("stderr", /program started/);
  await lab.network.accepts(host, 8080, 9090);
  await lab.callable(host);

  await t.step("files are where a Pod has them, for the proxy's user alone where they are its own", async () => {
    assert.match(web.stderr, /traffic is intercepted scope=own/);
    assert.doesNotMatch(web.stderr, /in-cluster configuration will not work/);
    const seen = async (path: string) => JSON.parse((await web.exec(["/program", "ls", path])).stdout)[path];
    for (
      const path of [
        "/etc/istio/proxy/",
        "/var/run/secrets/tokens/..data/istio-token",
        "/var/run/secrets/workload-spiffe-uds/",
      ]
    ) {
      const { uid, mode } = await seen(path);
      assert.deepEqual([uid, parseInt(mode, 8) & 0o077], [1337, 0], path);
    }
    assert.match((await web.exec(["/program", "cat", "/etc/istio/pod/labels"])).stdout, /canonical-name/);
  });
  await t.step("a client without iptables calls it in mode proxy", async () => {
    const { code, stdout, stderr } = await runIn(await lab.network.host("proxy"), {
      ...{ name: "client", iptables: false },
      program: ["/usr/local/bin/echo-client", "tcp://127.0.0.1:9000"],
    });
    assert.equal(code, 0, stderr);
    assert.match(stderr, /traffic is not captured reason=.*no iptables is in PATH/);
    assert.match(stdout, /Proto=TCP/);
  });
  await t.step("one with iptables by its name", async () => {
    const { code, stdout, stderr } = await runIn(await lab.network.host("intercept"), {
      ...{ name: "client", iptables: true },
      program: ["/usr/local/bin/echo-client", "http://web.shop.svc.cluster.local/"],
    });
    assert.equal(code, 0, stderr);
    assert.match(stdout, /StatusCode=200/);
    assert.match(stdout, /URI=spiffe:\/\/cluster\.local\/ns\/shop\/sa\/client/);
  });
  await t.step("SIGTERM to PID 1 ends it in order, and nothing is left", async () => {
    web.kill("SIGTERM");
    const { code, stderr } = await web.end;
    assert.equal(code, 0, stderr);
    assert.doesNotMatch(stderr, / (?:warn|error) /);
    assert.deepEqual(tree(root.path), before);
  });
});
