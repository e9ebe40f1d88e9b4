import { type ContractSubject, keepsClusterContract } from "./cluster_contract.ts";
import { FakeCluster } from "./fake_cluster.ts";

Deno.test("FakeCluster keeps the contract of a Cluster, so that what unit tests show holds for a real one", async (t) => {
  await using cluster = new FakeCluster();
  const subject: ContractSubject = {
    ...{ cluster, namespace: "contract", otherNamespace: "another" },
    put(object) {
      const { namespace = "", name = "" } = object.metadata ?? {};
      if (object.kind === "ServiceAccount") cluster.putServiceAccount(namespace, name);
      else if (object.kind === "Service") cluster.putService(object);
      else cluster.put(object);
      return Promise.resolve();
    },
    remove({ kind, namespace, name }) {
      if (kind !== "Secret" && kind !== "ConfigMap") throw new TypeError(`no case removes a ${kind}`);
      cluster.remove({ kind, namespace, name });
      return Promise.resolve();
    },
  };
  await keepsClusterContract(t, subject);
});
