import assert from "node:assert/strict";
import { filledBootstrap } from "../../tests/filled_bootstrap.ts";
import { assertGolden } from "../../tests/golden.ts";
import { envoyBootstrapTemplate } from "./envoy_bootstrap.ts";

Deno.test("envoyBootstrapTemplate() is what tests/testdata/golden/envoy_bootstrap.json holds", () => {
  assertGolden("envoy_bootstrap.json", `${envoyBootstrapTemplate()}\n`);
});

Deno.test("envoyBootstrapTemplate() is JSON once the agent has filled it in, and nothing in it is left to fill in", () => {
  const text = filledBootstrap(envoyBootstrapTemplate());
  assert.doesNotMatch(text, /\{\{|<</);
  const { node, admin } = JSON.parse(text);
  assert.deepEqual(node.metadata, { NAMESPACE: "shop" });
  assert.equal(admin.address.socket_address.port_value, 15000);
});

Deno.test("envoyBootstrapTemplate() shows health and metrics to others, and of the admin endpoint nothing else", () => {
  const { admin, static_resources } = JSON.parse(filledBootstrap(envoyBootstrapTemplate()));
  assert.equal(admin.address.socket_address.address, "127.0.0.1");
  const { clusters, listeners } = static_resources;
  const routes = listeners.map((listener: Listener) => {
    const [{ routes: [{ match, route }] }] =
      listener.filter_chains[0]!.filters[0]!.typed_config.route_config.virtual_hosts;
    return [listener.address.socket_address.port_value, match.prefix, route.cluster];
  });
  assert.deepEqual(routes, [[15090, "/stats/prometheus", "prometheus_stats"], [15021, "/healthz/ready", "agent"]]);
  const names = clusters.map(({ name }: { name: string }) => name);
  assert.deepEqual(names, ["prometheus_stats", "agent", "sds-grpc", "xds-grpc"]);
});

interface Listener {
  readonly address: { readonly socket_address: { readonly port_value: number } };
  readonly filter_chains: {
    readonly filters: {
      readonly typed_config: {
        readonly route_config: {
          readonly virtual_hosts: [{ readonly routes: [{ match: { prefix: string }; route: { cluster: string } }] }];
        };
      };
    }[];
  }[];
}
