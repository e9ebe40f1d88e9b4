import assert from "node:assert/strict";
import { TestAuthority } from "../../tests/certificates.ts";
import { lookAtControlPlane } from "./control_plane_probe.ts";

const HOST = "127.0.0.1";
const portOf = ({ addr }: Deno.Listener) => (addr as Deno.NetAddr).port;

Deno.test("lookAtControlPlane() gives the names of whoever answers, believed or not", async () => {
  const { certPem, keyPem } = new TestAuthority().issue({ dnsNames: ["istiod.istio-system.svc"], addresses: [HOST] });
  using listener = Deno.listenTls({ hostname: HOST, port: 0, cert: certPem, key: keyPem });
  // The look at TCP alone comes first.
  const served = (async () => {
    for (let connections = 0; connections < 2; connections++) {
      const connection = await listener.accept();
      await connection.handshake().catch(() => {});
      connection.close();
    }
  })();
  const look = await lookAtControlPlane({ host: HOST, port: portOf(listener) });
  assert.deepEqual(look, { names: ["istiod.istio-system.svc", HOST] });
  await served;
});

Deno.test("lookAtControlPlane() tells where nobody listens", async () => {
  const listener = Deno.listen({ hostname: HOST, port: 0 });
  const port = portOf(listener);
  listener.close();
  assert.deepEqual(await lookAtControlPlane({ host: HOST, port }), { step: "TCP", reason: "connection refused" });
  const look = await lookAtControlPlane({ host: "nobody.invalid", port });
  assert.equal("step" in look && look.step, "TCP");
});

Deno.test("lookAtControlPlane() tells who does not speak TLS, and waits no longer than it says", async (t) => {
  for (const answers of [true, false]) {
    await t.step(answers ? "by another answer" : "by none", async () => {
      using listener = Deno.listen({ hostname: HOST, port: 0 });
      const connections: Deno.Conn[] = [];
      const served = (async () => {
        for await (const connection of listener) {
          connections.push(connection);
          if (answers) {
            await connection.write(new TextEncoder().encode("HTTP/1.1 400 Bad Request\r\n\r\n")).catch(() => {});
          }
        }
      })();
      const look = await lookAtControlPlane({ host: HOST, port: portOf(listener) }, { stepMs: answers ? 60_000 : 300 });
      assert.ok("step" in look && look.step === "TLS", JSON.stringify(look));
      if (!answers) assert.equal(look.reason, "no answer within 0.3 s");
      listener.close();
      await served.catch(() => {});
      for (const connection of connections) connection.close();
    });
  }
});
