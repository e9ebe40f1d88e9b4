/** docs/rights.md, with a mesh: its Roles, applied as they stand there, are enough to join one, and each rule is needed. */
import assert from "node:assert/strict";
import { loadYamlParser } from "../../src/kube/yaml_documents.ts";
import type { KubeObject, PolicyRule } from "./api_server.ts";
import { MeshLab } from "./mesh_lab.ts";

type RoleObject = KubeObject & { rules: PolicyRule[] };

/** All Roles and RoleBindings of the page, those of its part without a mesh included. */
async function pageObjects(): Promise<KubeObject[]> {
  const page = await Deno.readTextFile(new URL("../../docs/rights.md", import.meta.url));
  const parse = await loadYamlParser();
  return [...page.matchAll(/^```yaml\n([^]*?)^```$/gm)].flatMap(([, yaml = ""]) =>
    parse(yaml).map(({ value }) => value as KubeObject)
  );
}

/** The mesh as the page names its objects. */
async function meshObjects(lab: MeshLab): Promise<void> {
  const named = (name: string) => ({ metadata: { namespace: "istio-system", name } });
  const values = JSON.stringify({
    global: { network: "vpc", meshID: "shops", multiCluster: { clusterName: "Kubernetes" } },
  });
  const [injector, gateway] = ["istio-sidecar-injector", "istio-eastwestgateway"];
  await lab.apply("ConfigMap", injector, { ...named(injector), data: { values } });
  await lab.apply("Service", gateway, { ...named(gateway), spec: { ports: [{ port: 15012 }] } });
  const template = { serviceAccount: "web" };
  await lab.apply("WorkloadGroup", "web", { spec: { metadata: { labels: { app: "web" } }, template } });
  await lab.apply("Sidecar", "default", { spec: { egress: [{ hosts: ["./*"] }] } });
}

const isRole = (object: KubeObject): object is RoleObject => object.kind === "Role";

Deno.test("the Roles of docs/rights.md let a powerless user join a mesh, and each rule is needed", async (t) => {
  await using lab = await MeshLab.create();
  await meshObjects(lab);
  const objects = await pageObjects();
  const roles = objects.filter(isRole).filter(({ metadata }) => metadata.name === "krun-mesh");
  const host = await lab.network.host("web");
  const KUBECONFIG = (await lab.server.user("ann")).kubeconfig;
  const run = async (args: string[]) => {
    const env = { KUBECONFIG, MESH_MODE: "proxyless", KRUN_LOG: "debug" };
    await using web = await lab.workload(host, { name: "web", args, env });
    return await web.krun.end;
  };
  const check = async () => {
    const { code, stdout, stderr } = await run(["--check", "--", "/bin/true"]);
    return { code, said: stdout + stderr };
  };
  for (const object of objects) await lab.server.apply(object);

  await t.step("with all of them the program starts in the mesh", async () => {
    const { code, stdout, stderr } = await run(["--", "/bin/sh", "-c", 'test -s "$GRPC_XDS_BOOTSTRAP" && echo joined']);
    assert.deepEqual([code, stdout], [0, "joined\n"], stderr);
    // Not a bare number: the milliseconds of a line's time may be any.
    assert.doesNotMatch(stderr, /user "ann" may not|may not be read|krun may not/);
  });

  const whole = await check();
  assert.equal(whole.code, 0, whole.said);
  for (const role of roles) {
    for (const left of role.rules) {
      await t.step(`not without the rule for ${left.resourceNames ?? left.resources}`, async () => {
        await lab.server.apply({ ...role, rules: role.rules.filter((rule) => rule !== left) });
        const { code, said } = await check();
        if (code === 0) assert.match(said, new RegExp(`may not be read.*${left.resources}`));
        else assert.match(said, new RegExp(`403, user "ann" may not \\w+ ${left.resources}`));
        await lab.server.apply(role);
      });
    }
  }
});
