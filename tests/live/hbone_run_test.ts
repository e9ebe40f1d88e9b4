/**
 * krun's HBONE endpoint as a run has it: in each mode of the mesh, with the certificates that istiod signs; called by Istio's own test
 * client, by `krun --connect`, and by OpenSSH through that.
 */
import { randomBytes } from "node:crypto";
import { fileURLToPath } from "node:url";
import assert from "node:assert/strict";
import { waitFor } from "../wait.ts";
import { Caller, digest, echoed } from "./hbone_caller.ts";
import { callsIn, MeshLab, ORDINARY, PEER_CALLS, type Workload, type WorkloadOptions } from "./mesh_lab.ts";
import type { MeshHost } from "./mesh_network.ts";
import { makeKey, runClient } from "./ssh_rig.ts";

const ECHO = fileURLToPath(new URL("../programs/tcp_echo.py", import.meta.url));

/** HTTP by Istio's test server, and TCP. */
const BOTH = ["/bin/sh", "-c", `python3 ${ECHO} 8090 & exec echo-server --port 8080 --bind-localhost 8080`];

const MODES: Readonly<Record<string, Partial<WorkloadOptions>>> = {
  intercept: { env: { KRUN_RUN_AS: "3000" } },
  proxy: { uid: ORDINARY },
  proxyless: { uid: ORDINARY, without: ["envoy"] },
};

function server(more: Partial<WorkloadOptions> = {}): WorkloadOptions {
  return { name: "web", args: BOTH, runtime: "2.9", ...more, env: { PORT: "8080", PORT_tcp: "8090", ...more.env } };
}

interface Found {
  readonly what: string;
  readonly value: string;
  readonly because: string;
}

async function findings(host: MeshHost, options: WorkloadOptions): Promise<Record<string, string>> {
  await using check = await lab.workload(host, { ...options, args: ["--check=json", ...options.args] });
  const { stdout, stderr } = await check.krun.end;
  const report = JSON.parse(stdout || assert.fail(stderr)) as { findings: Found[]; warnings: string[] };
  const found = report.findings.map(({ what, value, because }) => [what, `${value}: ${because}`]);
  return { ...Object.fromEntries(found), warnings: report.warnings.join("\n") };
}

/** Until krun has started its program, and that accepts on its ports. */
async function started({ krun }: Workload, host: MeshHost, ports: readonly number[] = [8080, 8090]): Promise<void> {
  await krun.sees("stderr", /program started/);
  await lab.network.accepts(host, ...ports);
}

let lab: MeshLab;
Deno.test.beforeAll(async () => {
  lab = await MeshLab.create();
});
Deno.test.afterAll(() => lab?.[Symbol.asyncDispose]());

Deno.test("peers of the mesh reach a program by the HBONE endpoint that krun opens, in each mode", async (t) => {
  await using client = await Caller.start(lab, "client");
  for (const [mode, options] of Object.entries(MODES)) {
    await t.step(mode, async (t) => {
      const host = await lab.network.host(mode);
      await t.step("--check says where, for whom, and what is reached", async () => {
        const found = await findings(host, server(options));
        assert.match(found["mesh mode"]!, new RegExp(`^${mode}: `));
        const past =
          "past Envoy, where AuthorizationPolicy does not count: the whole trust domain may call, until HBONE_ALLOW says who";
        const because = mode === "proxyless" ? "nothing else holds it" : `nothing else holds it; ${past}`;
        assert.equal(found["HBONE endpoint"], `port 15008: ${because}`);
        assert.equal(found["HBONE peers"], "spiffe://cluster.local: the workload's own trust domain");
        assert.match(found["HBONE reaches"]!, /^8080,8090,ssh: |^8090,8080,ssh: /);
        if (mode === "intercept") assert.match(found["rules"]!, /-d 15090,15021,15020,15008,15009 /);
      });
      await using web = await lab.workload(host, server(options));
      await web.krun.sees(
        "stderr",
        /hbone endpoint listens port=15008 identity=spiffe:\/\/cluster\.local\/ns\/shop\/sa\/web/,
      );
      await started(web, host);
      await t.step("Istio's client, HTTP", async () => {
        const { code, stdout } = await client.call(`http://${host.address}:8080/`, `${host.address}:15008`);
        assert.equal(code, 0, stdout);
        assert.match(stdout, /StatusCode=200/);
      });
      await t.step("krun --connect, 1 MiB there and back", async () => {
        const sent = randomBytes(1 << 20);
        const { code, got, stderr } = await echoed(client, `${host.address}:8090`, sent);
        assert.deepEqual([code, got], [0, digest(sent)], stderr);
      });
      await t.step("nobody without a certificate, and nobody in plain text", async () => {
        const anonymous = await client.call(`http://${host.address}:8080/`, `${host.address}:15008`, {
          anonymous: true,
        });
        assert.equal(anonymous.code, 1, anonymous.stdout);
        const plain = [
          "timeout",
          "10",
          "bash",
          "-c",
          `exec 3<>/dev/tcp/${host.address}/15008; echo GET / >&3; cat <&3`,
        ];
        const { stdout } = await lab.network.run(client.host, plain);
        assert.doesNotMatch(stdout, /HTTP|StatusCode/);
      });
      await t.step("only the ports that the workload declares", async () => {
        const { code, stderr } = await echoed(client, `${host.address}:15000`, new Uint8Array(1));
        assert.equal(code, 125);
        assert.match(stderr, /^krun: Cannot reach port 15000 of .*: .* answers 404, this workload has no such port; /m);
      });
    });
  }
});

Deno.test("HBONE_ALLOW says who is let in by HBONE, in each mode, and krun --connect says who is not", async (t) => {
  await using client = await Caller.start(lab, "client");
  await using stranger = await Caller.start(lab, "stranger");
  const allowed = "spiffe://cluster.local/ns/shop/sa/client";
  const sent = randomBytes(1000);
  for (const [mode, more] of Object.entries(MODES)) {
    await t.step(mode, async () => {
      const host = await lab.network.host(`allow-${mode}`);
      const options = server({ ...more, env: { ...more.env, HBONE_ALLOW: allowed } });
      assert.equal((await findings(host, options))["HBONE peers"], `${allowed}: HBONE_ALLOW`);
      await using web = await lab.workload(host, options);
      await started(web, host);
      const admitted = await echoed(client, `${host.address}:8090`, sent);
      assert.deepEqual([admitted.code, admitted.got], [0, digest(sent)], admitted.stderr);
      // Once in the log however often it knocks.
      for (let i = 0; i < 2; i++) {
        const { code, stderr } = await echoed(stranger, `${host.address}:8090`, sent);
        assert.equal(code, 125);
        assert.match(
          stderr,
          /^krun: Cannot reach port 8090 .* answers 403, .*not in the allow list; let this workload in/m,
        );
      }
      const told = web.krun.stderr.match(/hbone peer refused .*\/sa\/stranger/g) ?? [];
      assert.equal(told.length, 1, web.krun.stderr);
    });
  }
  await t.step("HBONE_ALLOW=- has no endpoint", async () => {
    const closed = await lab.network.host("closed");
    const off = server({ ...MODES.proxyless, env: { HBONE_ALLOW: "-" } });
    assert.equal((await findings(closed, off))["HBONE endpoint"], "none: HBONE_ALLOW is -");
    await using workload = await lab.workload(closed, off);
    await workload.krun.sees("stderr", /program started/);
    const { code, stderr } = await echoed(client, `${closed.address}:8090`, sent);
    assert.equal(code, 125);
    assert.match(stderr, /Cannot connect to https:\/\/\S+:15008: .*15009: /);
  });
});

Deno.test("the HBONE endpoint gives way to whoever has port 15008, and says so", async () => {
  await using client = await Caller.start(lab, "client");
  const host = await lab.network.host("web2");
  await using holder = await lab.workload(host, {
    name: "holder",
    args: ["python3", ECHO, "1"],
    env: { XDS_ADDR: "-", KRUN_STATUS: "0.0.0.0:15008" },
  });
  await holder.krun.sees("stdout", /ready/);
  const options = server(MODES.proxyless);
  assert.match(
    (await findings(host, options))["HBONE endpoint"]!,
    /^port 15009: port 15008 is in use by .*(?:krun|deno)/,
  );
  await using web = await lab.workload(host, options);
  await web.krun.sees("stderr", /hbone endpoint listens port=15009/);
  await started(web, host);
  const sent = randomBytes(1000);
  const { code, got, stderr } = await echoed(client, `${host.address}:8090`, sent);
  assert.deepEqual([code, got], [0, digest(sent)], stderr);
});

Deno.test("ssh reaches the program's world by HBONE, through krun --connect and krun's own ssh server", async (t) => {
  await using client = await Caller.start(lab, "client");
  const host = await lab.network.host("web3");
  const folder = await Deno.makeTempDir({ prefix: "krun-ssh-" });
  await using _removed = { [Symbol.asyncDispose]: () => Deno.remove(folder, { recursive: true }) };
  const [own, near, far] = [await makeKey(folder, "own"), await makeKey(folder, "near"), await makeKey(folder, "far")];
  const line = (key: string) => Deno.readTextFile(`${key}.pub`);
  const SSH_AUTH = [
    await line(own),
    `from="127.0.0.1" ${await line(near)}`,
    // Where the caller really is, which does not count.
    `from="${client.host.address},10.0.0.0/8" ${await line(far)}`,
  ].join("");
  // Not reached but by HBONE: it listens on 127.0.0.1 alone.
  const env = { SSH_AUTH, KRUN_SSH: "127.0.0.1:15022", GREETING: "hello" };
  await using web = await lab.workload(host, server({ ...MODES.proxy, env }));
  await web.krun.sees("stderr", /ssh server listens addresses=127\.0\.0\.1:15022 /);
  await web.krun.sees("stderr", /hbone endpoint listens/);
  const { argv, env: ofCaller } = await client.connectArgv("%h:%p");
  const assigned = Object.entries(ofCaller).map(([name, value]) => `${name}=${value}`);
  const proxy = `ProxyCommand=${["env", ...assigned, ...argv].join(" ")}`;
  const alone = ["BatchMode=yes", "IdentitiesOnly=yes", "IdentityAgent=none", "LogLevel=ERROR"];
  const options = [proxy, ...alone, "StrictHostKeyChecking=no", "UserKnownHostsFile=/dev/null"];
  const ssh = (key: string, command: string) => {
    const args = ["-F", "none", "-i", key, ...options.flatMap((option) => ["-o", option])];
    return runClient(["ssh", ...args, `ann@${host.address}`, command]);
  };
  await t.step("in the program's network", async () => {
    const { code, stdout, stderr } = await ssh(own, 'echo "$GREETING from $(hostname -I)"; exit 7');
    assert.equal(code, 7, stderr);
    assert.match(stdout, new RegExp(`^hello from .*\\b${host.address.replaceAll(".", "\\.")}\\b`));
  });
  await t.step("from= of a key sees 127.0.0.1, and nobody else", async () => {
    const admitted = await ssh(near, "echo in");
    assert.deepEqual([admitted.code, admitted.stdout], [0, "in\n"], admitted.stderr);
    const refused = await ssh(far, "echo in");
    assert.deepEqual([refused.code, refused.stdout], [255, ""]);
    assert.match(refused.stderr, /Permission denied/);
    await web.krun.sees("stderr", /ssh login refused from="127\.0\.0\.1 \d+" .*reason=.*, not from 127\.0\.0\.1"/);
  });
});

Deno.test("certificates are changed under an HBONE endpoint that is in use", async () => {
  await using client = await Caller.start(lab, "client");
  const host = await lab.network.host("web4");
  const PROXY_CONFIG = JSON.stringify({ proxyMetadata: { SECRET_TTL: "20s" } });
  await using web = await lab.workload(host, server({ ...MODES.proxyless, env: { PROXY_CONFIG } }));
  await started(web, host);
  await using old = await client.connect(`${host.address}:8090`);
  await old.write(new TextEncoder().encode("before "));
  await old.bytes(7);
  // So long that the first certificate is no good any more.
  await waitFor(
    "the certificate to be changed twice",
    () => (web.krun.stderr.match(/mesh certificate reloaded/g) ?? []).length >= 2,
  );
  await old.write(new TextEncoder().encode("after"));
  assert.equal(new TextDecoder().decode(await old.bytes(12)), "before after");
  const sent = randomBytes(1000);
  const { code, got, stderr } = await echoed(client, `${host.address}:8090`, sent);
  assert.deepEqual([code, got], [0, digest(sent)], stderr);
  assert.equal(await old.end(), 0, old.stderr);
});

Deno.test("a stop lets nobody new in by HBONE, and cuts nobody who is in before the program has ended", async (t) => {
  await using client = await Caller.start(lab, "client");
  for (const [mode, options] of Object.entries(MODES)) {
    await t.step(mode, async () => {
      const host = await lab.network.host(`stop-${mode}`);
      const args = ["python3", ECHO, "8090"];
      await using web = await lab.workload(host, { ...server(options), args });
      await web.krun.sees("stdout", /ready/);
      await using open = await client.connect(`${host.address}:8090`);
      await open.write(new TextEncoder().encode("before "));
      await open.bytes(7);
      web.krun.kill("SIGTERM");
      await web.krun.sees("stdout", /stopping/);
      await waitFor("the endpoint to be shut", async () => {
        const { code, stderr } = await echoed(client, `${host.address}:8090`, new Uint8Array(1));
        return code === 125 && /15008: .*refused/.test(stderr);
      });
      await open.write(new TextEncoder().encode("after"));
      assert.equal(new TextDecoder().decode(await open.bytes(12)), "before after");
      assert.equal(await open.end(), 0, open.stderr);
      const { code, stderr } = await web.krun.end;
      assert.equal(code, 0, stderr);
    });
  }
});

Deno.test("the binary's own Deno has no HBONE: one warning, and an error where HBONE_ALLOW asks for it", async () => {
  const host = await lab.network.host("web5");
  const options = { ...server(MODES.proxyless), args: ["/bin/true"], runtime: "2.6" } as const;
  // An empty value is none.
  await using usual = await lab.workload(host, { ...options, env: { HBONE_ALLOW: "" } });
  const ended = await usual.krun.end;
  assert.equal(ended.code, 0, ended.stderr);
  const warnings = ended.stderr.match(/warn .*HBONE.*/g) ?? [];
  assert.equal(warnings.length, 1, ended.stderr);
  assert.match(
    warnings[0]!,
    /peers of the mesh cannot call by HBONE: it needs Deno 2\.9\.0 or later, and this krun has 2\.6/,
  );
  await using asked = await lab.workload(host, { ...options, env: { HBONE_ALLOW: "spiffe://cluster.local" } });
  const refused = await asked.krun.end;
  assert.equal(refused.code, 125);
  assert.match(
    refused.stderr,
    /^krun: Cannot use HBONE_ALLOW: it needs Deno 2\.9\.0 or later, and this krun has 2\.6/m,
  );
});

/** What a workload of its own sees that calls through the mesh. */
async function statusThroughMesh(host: MeshHost, url: string): Promise<number | undefined> {
  await using caller = await lab.workload(host, { name: "client", args: [...PEER_CALLS, url] });
  const { stdout } = await caller.krun.end;
  return callsIn(stdout)[0]?.status;
}

Deno.test("HBONE is past Envoy: who is denied by AuthorizationPolicy comes in by it, until HBONE_ALLOW says who may", async (t) => {
  const ports = [{ name: "http", port: 80, targetPort: 8080 }];
  await lab.apply("Service", "vault", { spec: { selector: { app: "vault" }, ports } });
  const group = { metadata: { labels: { app: "vault" } }, template: { serviceAccount: "vault" } };
  await lab.apply("WorkloadGroup", "vault", { spec: group });
  const selector = { matchLabels: { app: "vault" } };
  await lab.apply("PeerAuthentication", "vault", { spec: { selector, mtls: { mode: "STRICT" } } });
  const rules = [{ from: [{ source: { principals: ["cluster.local/ns/shop/sa/client"] } }] }];
  await lab.apply("AuthorizationPolicy", "vault", { spec: { selector, action: "DENY", rules } });
  await using client = await Caller.start(lab, "client");
  const host = await lab.network.host("vault");
  const vault = (env: Record<string, string>) =>
    lab.workload(host, {
      name: "vault",
      args: ["echo-server", "--port", "8080"],
      runtime: "2.9",
      env: { PORT: "8080", KRUN_RUN_AS: "3000", ...env },
    });
  const forged = "x-forwarded-client-cert: By=spiffe://cluster.local/ns/ops/sa/admin";
  const byHbone = () => client.call(`http://${host.address}:8080/`, `${host.address}:15008`, { fields: [forged] });
  await t.step("unset", async () => {
    await using open = await vault({});
    await open.krun.sees("stderr", /hbone endpoint listens .*past Envoy.*HBONE_ALLOW/);
    await started(open, host, [8080]);
    await open.callable();
    const through = await lab.network.host("through");
    await waitFor("Envoy's verdict", async () => await statusThroughMesh(through, "http://vault/") === 403, {
      pauseMs: 250,
    });
    const { code, stdout } = await byHbone();
    assert.equal(code, 0, stdout);
    assert.match(stdout, /StatusCode=200/);
    assert.match(stdout, /RequestHeader=X-Forwarded-Client-Cert:By=spiffe:\/\/cluster\.local\/ns\/ops\/sa\/admin/i);
  });
  await t.step("with others on the list", async () => {
    await using shut = await vault({ HBONE_ALLOW: "spiffe://cluster.local/ns/ops/sa/admin" });
    await started(shut, host, [8080]);
    const { code, stdout } = await byHbone();
    assert.equal(code, 1, stdout);
    assert.doesNotMatch(stdout, /StatusCode=200/);
    await shut.krun.sees("stderr", /hbone peer refused .*\/sa\/client/);
  });
});

Deno.test("strangers who fill the tunnel keep no peer from HBONE", async () => {
  await using client = await Caller.start(lab, "client");
  const host = await lab.network.host("full");
  // So few descriptors that a test can take them all.
  const narrow = { ...host, under: [...host.under, "prlimit", "--nofile=256:256"] };
  const env = { KRUN_TUNNEL: "h2c", KRUN_TUNNEL_ADDRESS: host.address };
  await using web = await lab.workload(narrow, server({ ...MODES.proxyless, env }));
  await web.krun.sees("stderr", /tunnel listens/);
  await using strangers = new AsyncDisposableStack();
  for (let i = 0; i < 150; i++) {
    const stranger = await Deno.connect({ hostname: host.address, port: 15009 });
    strangers.defer(() => stranger.close());
    await stranger.write(new TextEncoder().encode("GET / HTTP/1.1\r\nhost: web\r\n\r\n")).catch(() => {});
  }
  const sent = randomBytes(1000);
  const { code, got, stderr } = await echoed(client, `${host.address}:8090`, sent);
  assert.deepEqual([code, got], [0, digest(sent)], stderr);
});
