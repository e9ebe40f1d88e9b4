/** Interception in a network namespace with strangers: the program's group is captured, and nobody else notices anything. */
import assert from "node:assert/strict";
import type { AskOptions, Hammer } from "./network_namespace.ts";
import { InterceptionRig, KRUN, PROGRAM, PROXY, STRANGER } from "./interception_rig.ts";

const BACKENDS = ["nft", "legacy"] as const;
const SHARED = { scope: "shared", inboundPorts: [22, 8080], dnsCapture: true, otherGids: [0, STRANGER.gid] } as const;

/** A machine with a firewall that lets in answers and two services, a router for others, and an SSH server. */
async function machine(kind: "nft" | "legacy"): Promise<InterceptionRig> {
  const rig = await InterceptionRig.create({ kind, far: true });
  for (
    const rule of [
      "-A INPUT -m conntrack --ctstate ESTABLISHED,RELATED -j ACCEPT",
      "-A INPUT -i lo -j ACCEPT",
      "-A INPUT -p tcp -m multiport --dports 22,7070,8080,15006 -j ACCEPT",
      "-P INPUT DROP",
      "-t nat -A PREROUTING -p tcp --dport 9999 -j REDIRECT --to-ports 22",
      "-t nat -A POSTROUTING -o in9 -j MASQUERADE",
      "-t raw -A OUTPUT -p udp --dport 9 -j CT --notrack",
    ]
  ) await rig.iptables(...rule.split(" "));
  await rig.net.serve("inner", ["tcp:0.0.0.0:22:sshd", "tcp:0.0.0.0:8080:app", "tcp:0.0.0.0:7070:other"]);
  await rig.net.serve("far", ["tcp:10.7.0.1:8080:far"]);
  return rig;
}

/** Everything that strangers do: out, DNS, on the machine itself, in, and through it to a port that the program declares. */
async function strangers({ net }: InterceptionRig): Promise<Hammer[]> {
  const dns = ["udp:10.9.0.1:53:dns", "tcp:10.9.0.1:53:dns"];
  return await Promise.all([
    net.hammer("inner", ["tcp:10.9.0.1:80:web", ...dns, "tcp:127.0.0.1:22:sshd", "tcp:10.9.0.2:8080:app"], STRANGER),
    net.hammer("outer", ["tcp:10.9.0.2:22:sshd", "tcp:10.9.0.2:9999:sshd", "tcp:10.9.0.2:7070:other"]),
    net.hammer("outer", ["tcp:10.7.0.1:8080:far"]),
  ]);
}

async function undisturbed(hammers: readonly Hammer[]): Promise<void> {
  for (const { right, wrong } of await Promise.all(hammers.map((hammer) => hammer.end()))) {
    assert.deepEqual(wrong, []);
    assert.ok(right > 10, `only ${right} answers`);
  }
}

for (const kind of BACKENDS) {
  Deno.test(`In a shared namespace the program's group alone is captured, before strangers' eyes (${kind})`, async (t) => {
    await using rig = await machine(kind);
    const { net } = rig;
    const before = await rig.saved();
    const hammers = await strangers(rig);
    const asked = (options: AskOptions = {}) => ({
      web: net.ask("tcp", "10.9.0.1:80", options),
      udp: net.ask("udp", "10.9.0.1:53", options),
      tcp: net.ask("tcp", "10.9.0.1:53", options),
    });
    const got = async (ids: typeof PROGRAM) => {
      const { web, udp, tcp } = asked({ ids });
      return [await web, await udp, await tcp];
    };
    await rig.apply(SHARED);
    await t.step("outbound and DNS of the program", async () => {
      assert.deepEqual(await got(PROGRAM), ["outbound", "agent", "agent"]);
    });
    await t.step("not of another user in the machine, the proxy, krun", async () => {
      for (const ids of [STRANGER, PROXY, KRUN]) assert.deepEqual(await got(ids), ["web", "dns", "dns"], `${ids.uid}`);
    });
    await t.step("inbound to the declared port, and never to 22", async () => {
      assert.equal(await net.ask("tcp", "10.9.0.2:8080", { side: "outer" }), "inbound");
      assert.equal(await net.ask("tcp", "10.9.0.2:22", { side: "outer" }), "sshd");
      assert.deepEqual(rig.log.lines.filter(({ level }) => level === "warn").map(({ fields }) => fields.reason), [
        "port 22 is not captured: it is one of those that stay as they are in a shared network namespace",
      ]);
    });
    await t.step("again, with another plan, and off", async () => {
      await rig.apply({ ...SHARED, dnsCapture: false, inboundPorts: [] }, { previous: rig.notes.at(-1) });
      // Without DNS capture a question over TCP is traffic like any other.
      assert.deepEqual(await got(PROGRAM), ["outbound", "dns", "outbound"]);
      await rig.remove();
      assert.equal(await rig.saved(), before);
    });
    await undisturbed(hammers);
    assert.equal(rig.proxy.count("outbound"), 3, "nobody else's connection came to the proxy");
    assert.equal(rig.proxy.count("inbound"), 1);
  });
}

Deno.test("What would happen without krun's rules and the group: each protects somebody", async (t) => {
  await using rig = await machine("nft");
  const { net } = rig;
  const clean = async () => {
    const { mark } = await rig.apply(SHARED);
    await rig.remove();
    assert.doesNotMatch(await rig.saved(), new RegExp(`ISTIO|${mark}`));
  };
  await t.step("the scope of an own namespace captures strangers", async () => {
    await rig.apply({ scope: "own" });
    assert.equal(await net.ask("tcp", "10.9.0.1:80", { ids: STRANGER }), "outbound");
    assert.equal(await net.ask("tcp", "10.9.0.2:22", { side: "outer" }), "inbound");
    await rig.remove();
    await clean();
  });
  await t.step("istio-iptables alone breaks strangers' DNS, and takes what is only forwarded", async () => {
    await rig.istioAlone(SHARED);
    assert.equal(await net.ask("tcp", "10.9.0.1:80", { ids: STRANGER }), "web", "the group is its own work");
    assert.equal(await net.ask("udp", "10.9.0.1:53", { ids: STRANGER }), "");
    assert.equal(await net.ask("tcp", "10.7.0.1:8080", { side: "outer" }), "inbound");
  });
});

for (const kind of BACKENDS) {
  Deno.test(`A resolver on loopback, as systemd has one, answers everybody but the program (${kind})`, async () => {
    await using rig = await InterceptionRig.create({ kind, resolver: "127.0.0.53" });
    await rig.net.serve("inner", ["udp:127.0.0.53:53:resolved", "tcp:127.0.0.53:53:resolved"]);
    for (const plan of [SHARED, { ...SHARED, scope: "own" as const }]) {
      await rig.apply(plan, { previous: rig.notes.at(-1) });
      for (const protocol of ["udp", "tcp"] as const) {
        const answers = [PROGRAM, STRANGER, PROXY, KRUN].map((ids) => rig.net.ask(protocol, "127.0.0.53:53", { ids }));
        const others = plan.scope === "own" ? "agent" : "resolved";
        assert.deepEqual(
          await Promise.all(answers),
          ["agent", others, "resolved", "resolved"],
          `${plan.scope} ${protocol}`,
        );
      }
    }
    await rig.remove();
    await rig.istioAlone(SHARED);
    const krun = await rig.net.ask("tcp", "127.0.0.53:53", { ids: KRUN });
    assert.equal(krun, "inbound", "what istio-iptables alone does with krun's own question");
  });
}

Deno.test("Annotated interfaces of a shared namespace are left alone within Istio's own chains", async () => {
  await using rig = await machine("nft");
  const annotations = {
    "traffic.sidecar.istio.io/excludeInterfaces": "in0",
    "istio.io/reroute-virtual-interfaces": "in1",
  };
  const before = await rig.saved();
  await rig.apply({ ...SHARED, annotations });
  assert.equal(await rig.net.ask("tcp", "10.9.0.1:80", { ids: PROGRAM }), "web");
  assert.equal(await rig.net.ask("tcp", "10.9.0.2:8080", { side: "outer" }), "app");
  assert.doesNotMatch(await rig.saved(), /in1/);
  await rig.remove();
  assert.equal(await rig.saved(), before);
});
