/** What istio-iptables captures in a namespace of its own and on Cloud Run, by the real one, with real connections. */
import assert from "node:assert/strict";
import { markContent } from "../../src/core/interception_note.ts";
import type { InterceptionPlan } from "../../src/core/interception.ts";
import { ipCapture } from "../../src/core/ip_capture.ts";
import { waitFor } from "../wait.ts";
import { InterceptionRig, KRUN, PROGRAM, PROXY } from "./interception_rig.ts";

const BACKENDS = ["nft", "legacy"] as const;
const GOLDEN = new URL("../testdata/golden/interception_rules.txt", import.meta.url);
const TRAFFIC = "traffic.sidecar.istio.io/";

/** What a program of somebody gets from a server, by TCP. */
function asker(rig: InterceptionRig, ids: typeof PROGRAM) {
  return (to: string) => rig.net.ask("tcp", to, { ids });
}

const PLANS: Readonly<Record<string, Partial<InterceptionPlan>>> = {
  "own": { scope: "own" },
  "own, with DNS capture": { scope: "own", dnsCapture: true },
  "shared, with DNS capture": { scope: "shared", inboundPorts: [22, 8080], dnsCapture: true },
  "cloud-run": { scope: "cloud-run" },
};

Deno.test("The rules of each scope are what tests/testdata/golden/interception_rules.txt holds, in both iptables", async () => {
  for (const kind of BACKENDS) {
    await using rig = await InterceptionRig.create({ kind });
    let text = "";
    for (const [title, plan] of Object.entries(PLANS)) {
      const { mark } = await rig.apply(plan, { previous: rig.notes.at(-1) });
      // The older tables that an earlier plan brought are there for good.
      text += `## ${title}\n${(await rig.saved()).replaceAll(mark, "KRUN_MARK")}\n`;
    }
    if (kind === "nft" && Deno.env.has("UPDATE_GOLDEN")) Deno.writeTextFileSync(GOLDEN, text);
    const seen = kind === "nft" ? text : text.replace(/(?<=cloud-run\n)\*raw\n(:.*\n)*COMMIT\n/, "");
    assert.equal(
      seen,
      Deno.readTextFileSync(GOLDEN),
      "run the test once with UPDATE_GOLDEN=1, and read the difference",
    );
  }
});

for (const kind of BACKENDS) {
  Deno.test(`In a namespace of its own all is captured but what is the proxy's (${kind})`, async (t) => {
    await using rig = await InterceptionRig.create({ kind });
    const [program, proxy, krun] = [PROGRAM, PROXY, KRUN].map((ids) => asker(rig, ids)) as [Ask, Ask, Ask];
    const { net } = rig;
    await net.serve("inner", ["tcp:0.0.0.0:8080:app", "tcp:0.0.0.0:15021:health"]);
    await net.serve("outer", ["tcp:10.9.0.1:15008:tunnel"]);
    const fromOutside = (port: number) => net.ask("tcp", `10.9.0.2:${port}`, { side: "outer" });
    assert.equal(await program("10.9.0.1:80"), "web", "before");
    assert.equal(await fromOutside(8080), "app", "before");
    await rig.apply({ scope: "own" });
    await t.step("outbound: the program's, not the proxy's, not krun's own, not to excluded ports", async () => {
      assert.equal(await program("10.9.0.1:80"), "outbound");
      assert.equal(await proxy("10.9.0.1:80"), "web");
      assert.equal(await krun("10.9.0.1:80"), "web");
      assert.equal(await program("10.9.0.1:15008"), "tunnel");
      assert.deepEqual([rig.proxy.count("outbound"), rig.world.count("web")], [1, 3]);
    });
    await t.step("inbound: every port but the excluded ones", async () => {
      assert.equal(await fromOutside(8080), "inbound");
      assert.equal(await fromOutside(15021), "health");
    });
    await t.step("loopback and the own address: not captured, unless the proxy calls its own", async () => {
      assert.equal(await program("127.0.0.1:8080"), "app");
      assert.equal(await program("10.9.0.2:8080"), "app");
      assert.equal(await proxy("10.9.0.2:8080"), "inbound");
      assert.equal(await krun("10.9.0.2:8080"), "app");
    });
    await t.step("DNS is not, without DNS capture", async () => {
      assert.equal(await net.ask("udp", "10.9.0.1:53", { ids: PROGRAM }), "dns");
    });
    await t.step("afterwards nothing is", async () => {
      assert.equal(await rig.remove(), "removed");
      assert.equal(await program("10.9.0.1:80"), "web");
      assert.equal(await fromOutside(8080), "app");
    });
  });

  Deno.test(`DNS capture: the program's questions go to the agent, and the agent's to the resolver (${kind})`, async () => {
    await using rig = await InterceptionRig.create({ kind });
    await rig.apply({ scope: "own", dnsCapture: true });
    for (const protocol of ["udp", "tcp"] as const) {
      for (const [ids, answer] of [[PROGRAM, "agent"], [PROXY, "dns"], [KRUN, "dns"]] as const) {
        assert.equal(await rig.net.ask(protocol, "10.9.0.1:53", { ids }), answer, `${protocol} ${ids.uid}`);
      }
    }
  });

  Deno.test(`Connections that are open before go on, and hang with istio-iptables alone (${kind})`, async (t) => {
    for (const alone of kind === "nft" ? [false, true] : [false]) {
      await t.step(alone ? "istio-iptables alone" : "krun", async () => {
        await using rig = await InterceptionRig.create({ kind });
        const { net } = rig;
        await net.serve("outer", ["tcp:10.9.0.1:7000:late", "tcp:10.9.0.1:7001:release"]);
        await net.serve("inner", ["tcp:10.9.0.2:7000:late", "tcp:127.0.0.1:7001:release"]);
        const heard = [await net.hold("inner", "10.9.0.1", 7000), await net.hold("outer", "10.9.0.2", 7000)];
        await waitFor("both to be open", () => heard.every((lines) => lines().length === 1));
        if (alone) await rig.istioAlone({ scope: "own" });
        else await rig.apply({ scope: "own" });
        await net.ask("tcp", "10.9.0.1:7001", { side: "outer" });
        await net.ask("tcp", "127.0.0.1:7001");
        await waitFor("both to be spoken to", () => heard.every((lines) => lines().length === 2));
        const expected = alone ? ["late", "timed out"] : ["late", "!"];
        assert.deepEqual(heard.map((lines) => lines()), [expected, expected]);
      });
    }
  });
}

type Ask = (to: string) => Promise<string>;

Deno.test("DNS capture works behind docker's resolver, which istio-iptables alone cuts off", async (t) => {
  for (const alone of [false, true]) {
    await t.step(alone ? "istio-iptables alone" : "krun", async () => {
      await using rig = await InterceptionRig.create({ resolver: "127.0.0.11" });
      await rig.net.serve("inner", ["udp:127.0.0.11:40053:docker"]);
      // As dockerd writes them into every container of a network that a user made.
      for (const chain of ["DOCKER_OUTPUT", "DOCKER_POSTROUTING"]) await rig.iptables("-t", "nat", "-N", chain);
      for (
        const rule of [
          "OUTPUT -d 127.0.0.11/32 -j DOCKER_OUTPUT",
          "POSTROUTING -d 127.0.0.11/32 -j DOCKER_POSTROUTING",
          "DOCKER_OUTPUT -d 127.0.0.11/32 -p udp --dport 53 -j DNAT --to-destination 127.0.0.11:40053",
          "DOCKER_POSTROUTING -s 127.0.0.11/32 -p udp --sport 40053 -j SNAT --to-source :53",
        ]
      ) await rig.iptables("-t", "nat", "-A", ...rule.split(" "));
      const answers = () => Promise.all([PROGRAM, PROXY].map((ids) => rig.net.ask("udp", "127.0.0.11:53", { ids })));
      assert.deepEqual(await answers(), ["docker", "docker"], "before");
      const plan = { scope: "own", dnsCapture: true } as const;
      if (alone) await rig.istioAlone(plan);
      else await rig.apply(plan);
      assert.deepEqual(await answers(), alone ? ["", ""] : ["agent", "docker"]);
    });
  }
});

Deno.test("On Cloud Run 10.0.0.0/8 is captured unless set, and nothing that comes in", async (t) => {
  await using rig = await InterceptionRig.create();
  const { net } = rig;
  const program = asker(rig, PROGRAM);
  await net.addAddress("outer", "192.168.9.1/32");
  await net.serve("outer", ["tcp:192.168.9.1:80:elsewhere"]);
  await net.serve("inner", ["tcp:0.0.0.0:8080:app"]);
  const seen = async () => [
    await program("10.9.0.1:80"),
    await program("192.168.9.1:80"),
    await net.ask("tcp", "10.9.0.2:8080", { side: "outer" }),
  ];
  await t.step("unless set", async () => {
    await rig.apply({ scope: "cloud-run" });
    assert.deepEqual(await seen(), ["outbound", "elsewhere", "app"]);
  });
  await t.step("set", async () => {
    const outboundIpRanges = "192.168.0.0/16";
    await rig.apply({ scope: "cloud-run", outboundIpRanges }, { previous: rig.notes.at(-1) });
    assert.deepEqual(await seen(), ["web", "outbound", "app"]);
  });
});

Deno.test("Annotations name interfaces that are left alone, and those whose traffic is a virtual machine's", async (t) => {
  await using rig = await InterceptionRig.create();
  const { net } = rig;
  await net.serve("inner", ["tcp:0.0.0.0:8080:app"]);
  const seen = async () => [
    await asker(rig, PROGRAM)("10.9.0.1:80"),
    await net.ask("tcp", "10.9.0.2:8080", { side: "outer" }),
  ];
  const before = await rig.saved();
  const cases = [
    ["excludeInterfaces", "in0", ["web", "app"]],
    ["excludeInterfaces", "in9", ["outbound", "inbound"]],
    ["kubevirtInterfaces", "in0", ["outbound", "outbound"]],
  ] as const;
  for (const [name, value, expected] of cases) {
    await t.step(`${name}: ${value}`, async () => {
      await rig.apply({ annotations: { [TRAFFIC + name]: value } });
      assert.deepEqual(await seen(), expected);
      await rig.remove();
      assert.equal(await rig.saved(), before, "nothing of it is left");
    });
  }
});

for (const kind of BACKENDS) {
  Deno.test(`IPv6 is captured where it is alone, or with dual stack, and ipCapture() says so (${kind})`, async (t) => {
    const both = ["10.9.0.2/24", "fd09::2/64"];
    const cases = [
      { title: "alone", addresses: ["fd09::2/64"], dualStack: false, ipv6: "outbound" },
      { title: "beside IPv4", addresses: both, dualStack: false, ipv6: "web6" },
      { title: "before IPv4", addresses: both.toReversed(), dualStack: false, ipv6: "web6" },
      { title: "dual stack", addresses: both, dualStack: true, ipv6: "outbound" },
    ];
    for (const { title, addresses, dualStack, ipv6 } of cases) {
      await t.step(title, async () => {
        await using rig = await InterceptionRig.create({ kind, addresses });
        await rig.net.serve("outer", ["tcp:[fd09::1]:80:web6"]);
        const program = asker(rig, PROGRAM);
        assert.equal(await program("[fd09::1]:80"), "web6", "before");
        const { mark } = await rig.apply({ dualStack });
        assert.equal(await program("[fd09::1]:80"), ipv6);
        if (addresses.length > 1) assert.equal(await program("10.9.0.1:80"), "outbound");
        const { families, leavesOut } = ipCapture(rig.plan({}).addresses, { dualStack });
        assert.equal(families.includes(6), ipv6 === "outbound");
        assert.equal(leavesOut?.startsWith("IPv6 is not captured"), ipv6 === "outbound" ? undefined : true);
        assert.equal(markContent(mark)!.loopback6, false);
        await rig.remove();
        assert.equal(await program("[fd09::1]:80"), "web6", "after");
        assert.doesNotMatch(await rig.net.must("inner", "ip", "-6", "address", "show", "dev", "lo"), /::6\/128/);
        if (kind === "nft") assert.equal(await rig.net.must("inner", "nft", "list", "ruleset"), "");
      });
    }
  });
}
