/**
 * The least that a start needs of the network, and nothing else: one Secret, one ConfigMap and one token, at once, by the
 * runtime's own fetch. What krun's start is compared with. In: KUBECONFIG, as the bench's API server writes it.
 *
 * @module
 */

// As in main.ts, and for the same reason.
void crypto.subtle.generateKey({ name: "ECDSA", namedCurve: "P-256" }, true, ["sign"]);

const { clusters: [{ cluster }], users: [{ user }] } = JSON.parse(await Deno.readTextFile(Deno.env.get("KUBECONFIG")!));
const pem = (of: Record<string, string>, name: string) => atob(of[`${name}-data`]!);
const client = Deno.createHttpClient({
  caCerts: [pem(cluster, "certificate-authority")],
  cert: pem(user, "client-certificate"),
  key: pem(user, "client-key"),
  http1: false,
});
const namespace = `${cluster.server}/api/v1/namespaces/bench`;
const json = { "content-type": "application/json" };
const answers = await Promise.all([
  fetch(`${namespace}/secrets/o0`, { client }),
  fetch(`${namespace}/configmaps/o0`, { client }),
  fetch(`${namespace}/serviceaccounts/default/token`, { client, method: "POST", headers: json, body: '{"spec":{}}' }),
]);
await Promise.all(answers.map((answer) => answer.text()));
if (!answers.every(({ ok }) => ok)) Deno.exit(1);
Deno.exit(0);
