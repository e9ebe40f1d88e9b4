/** Interception taken back: whole, half and after kill -9, beside other people's rules, and never theirs. */
import assert from "node:assert/strict";
import { markContent } from "../../src/core/interception_note.ts";
import { applyInterception } from "../../src/mesh/interception.ts";
import { removeInterception } from "../../src/mesh/interception_removal.ts";
import { type RunCommand, runCommand } from "../../src/mesh/run_command.ts";
import { loadLibc } from "../../src/pod/libc.ts";
import { waitFor } from "../wait.ts";
import { InterceptionRig } from "./interception_rig.ts";
import { PATH } from "./network_namespace.ts";

const BACKENDS = ["nft", "legacy"] as const;
const INTERCEPTOR = new URL("../programs/interceptor.ts", import.meta.url).pathname;

/** Both families, every table, everything that krun does. */
const ADDRESSES = ["10.9.0.2/24", "fd09::2/64"];
const PLAN = {
  scope: "shared",
  dualStack: true,
  dnsCapture: true,
  annotations: { "traffic.sidecar.istio.io/excludeInterfaces": "in9" },
} as const;

/** Rules of others in every table that Istio has something in, and one that has none; some that look like Istio's. */
const OTHERS = [
  "-t nat -N DOCKER",
  "-t nat -A PREROUTING -m addrtype --dst-type LOCAL -j DOCKER",
  "-t nat -A OUTPUT -p tcp --dport 9 -m comment --comment say:-j_ISTIO_OUTPUT -j ACCEPT",
  "-t nat -A DOCKER -p tcp --dport 8443 -j REDIRECT --to-ports 443",
  "-t nat -A POSTROUTING -o in9 -j MASQUERADE",
  "-t raw -A PREROUTING -p udp --dport 9 -j CT --notrack",
  "-t raw -A OUTPUT -p tcp --dport 7 -j ACCEPT",
  "-t filter -A INPUT -p tcp --dport 7 -j DROP",
  "-t filter -P FORWARD DROP",
  "-t mangle -N ISTIOLIKE",
  "-t mangle -A OUTPUT -p tcp -j ISTIOLIKE",
];

async function withOthers(kind: "nft" | "legacy"): Promise<InterceptionRig> {
  const rig = await InterceptionRig.create({ kind, addresses: ADDRESSES });
  for (const family of ["iptables", "ip6tables"]) {
    for (const rule of OTHERS) await rig.net.must("inner", `${family}-${kind}`, ...rule.split(" "));
  }
  return rig;
}

/** All that is to be as before. */
async function state(rig: InterceptionRig): Promise<string> {
  const lo = await rig.net.must("inner", "ip", "address", "show", "dev", "lo");
  return await rig.saved(4) + await rig.saved(6) + lo;
}

for (const kind of BACKENDS) {
  Deno.test(`Afterwards the rules of others are as they were, their counters too (${kind})`, async () => {
    await using rig = await withOthers(kind);
    await rig.net.ask("tcp", "10.9.0.2:7");
    const counted = async () =>
      (await rig.net.must("inner", `iptables-${kind}-save`, "-c", "-t", "filter")).match(
        /^\[[1-9].*--dport 7 -j DROP$/m,
      )?.[0];
    const [before, counter] = [await state(rig), await counted()];
    assert.ok(counter, "the rule has met something");
    await rig.apply(PLAN);
    assert.notEqual(await state(rig), before);
    assert.equal(await rig.remove(), "removed");
    assert.equal(await state(rig), before);
    assert.equal(await counted(), counter);
    assert.equal(await rig.remove(), "nothing");
  });

  Deno.test(`Wherever krun is stopped for good, the note alone is enough to clean up (${kind})`, async () => {
    await using rig = await withOthers(kind);
    const before = await state(rig);
    const whole = recorder(rig.net.run);
    await rig.apply(PLAN, { run: whole.run });
    await rig.remove();
    const programs = whole.argvs.length;
    assert.ok(programs > 8, `${programs} programs`);
    for (let stopAt = 1; stopAt <= programs; stopAt++) {
      const noted = rig.notes.length;
      const stopped = recorder(rig.net.run, stopAt);
      void rig.apply(PLAN, { run: stopped.run });
      await stopped.reached;
      const after = `after ${stopped.argvs.join("; ")}`;
      if (rig.notes.length === noted) assert.equal(await state(rig), before, `not noted ${after}`);
      await rig.remove();
      assert.equal(await state(rig), before, after);
    }
  });

  Deno.test(`Where there were no tables, none are left that could be removed (${kind})`, async () => {
    await using rig = await InterceptionRig.create({ kind, addresses: ADDRESSES });
    await rig.apply(PLAN);
    await rig.remove();
    const tables = (await rig.saved(4) + await rig.saved(6)).match(/^\*.*$/gm) ?? [];
    // The kernel keeps the older tables until the namespace ends; what is in them is not.
    assert.deepEqual(tables.sort(), kind === "nft" ? [] : ["*nat", "*nat", "*raw", "*raw"]);
    assert.doesNotMatch(await rig.saved(4) + await rig.saved(6), /^-A|- \[/m);
  });

  Deno.test(`kill -9 at any time: the next krun cleans up, also one that has not the note (${kind})`, async (t) => {
    await using rig = await withOthers(kind);
    const before = await state(rig);
    const folder = await Deno.makeTempDir({ prefix: "krun-ic-" });
    const [noteFile, flag] = [`${folder}/note`, `${folder}/flag`];
    await Deno.writeTextFile(`${folder}/iptables-${kind}-restore`, slowForIstio(kind, flag), { mode: 0o755 });
    try {
      const points = ["noted", "restoring", "applied"].flatMap((point) => [[point, true], [point, false]] as const);
      for (const [point, hasNote] of points) {
        await t.step(`${point}, ${hasNote ? "with" : "without"} its note`, async () => {
          const path = `${point === "restoring" ? `${folder}:` : ""}${PATH}`;
          const options = JSON.stringify({ plan: rig.plan(PLAN), agent: rig.agent, path, flag });
          const argv = [Deno.execPath(), "run", "-qA", "--no-lock", INTERCEPTOR, noteFile, options, point];
          const { code, stderr } = await runCommand(rig.net.argv("inner", argv), { env: Deno.env.toObject() });
          assert.equal(code, 137, stderr);
          if (point === "applied") assert.match(await rig.saved(), /ISTIO_OUTPUT/);
          const noted = JSON.parse(await Deno.readTextFile(noteFile));
          if (hasNote) {
            assert.equal(await removeInterception(noted, rig.options), point === "noted" ? "nothing" : "removed");
          } else {
            // A krun of another base folder, which knows of the rules by their mark alone.
            await rig.apply(PLAN);
            await rig.remove();
          }
          // An agent that outlives krun, and the programs that it started, must not come after the clean-up.
          await waitFor("what was started to end", () => !startedFrom(folder));
          assert.equal(await state(rig), before);
        });
      }
    } finally {
      await Deno.remove(folder, { recursive: true });
    }
  });

  Deno.test(`The same plan again, and another one, take the place of what was there (${kind})`, async () => {
    await using rig = await withOthers(kind);
    const before = await state(rig);
    await rig.apply(PLAN);
    const first = await state(rig);
    const unmarked = (text: string) => text.replaceAll(/KRUN_\w+/g, "KRUN");
    await rig.apply(PLAN, { previous: rig.notes.at(-1) });
    assert.equal(unmarked(await state(rig)), unmarked(first));
    await rig.apply({ scope: "own" }, { previous: rig.notes.at(-1) });
    assert.doesNotMatch(await rig.saved(), /addrtype ! --dst-type|ISTIO_OUTPUT_DNS/);
    await rig.remove();
    assert.equal(await state(rig), before);
  });
}

/** An iptables-restore that takes its time when istio-iptables calls it, as behind a lock, so that krun can be killed meanwhile. */
function slowForIstio(kind: "nft" | "legacy", flag: string): string {
  return `#!/bin/sh
PATH=${PATH}
if grep -q istio-iptables "/proc/$PPID/cmdline"; then touch ${flag}; sleep 1; fi
iptables-${kind}-restore "$@"
`;
}

/** Whether a program from a folder still runs. */
function startedFrom(folder: string): boolean {
  const libc = loadLibc();
  return libc.pids().some((pid) => libc.procText(`/proc/${pid}/cmdline`)?.includes(folder));
}

/** Notes what is run; after `stopAt` programs nothing returns any more, as if krun were gone. */
function recorder(run: RunCommand, stopAt = Infinity) {
  const argvs: string[] = [];
  const stopped = Promise.withResolvers<void>();
  return {
    argvs,
    reached: stopped.promise,
    run: (async (argv, options) => {
      const result = await run(argv, options);
      argvs.push(argv.join(" "));
      if (argvs.length < stopAt) return result;
      stopped.resolve();
      return await new Promise<never>(() => {});
    }) satisfies RunCommand as RunCommand,
  };
}

Deno.test("Chains of an Istio that krun did not make are refused, in either iptables, with the way to remove them", async (t) => {
  const chains = "nat ISTIO_INBOUND, nat ISTIO_IN_REDIRECT, nat ISTIO_OUTPUT, nat ISTIO_REDIRECT";
  for (const kind of BACKENDS) {
    await t.step(kind, async () => {
      await using rig = await InterceptionRig.create();
      const before = await rig.saved();
      await rig.istioAlone({ backend: { kind, suffix: `-${kind}` } });
      const refused = await fault(rig.apply({}));
      assert.equal(refused.code, "InterceptionConflict");
      assert.equal(
        refused.message,
        `Cannot intercept traffic: iptables-${kind} has chains of an Istio that this krun did not make: ${chains}`,
      );
      assert.deepEqual(rig.notes, [], "nothing is noted");
      for (const line of refused.details.split("\n")) await rig.net.must("inner", ...line.split(" "));
      await rig.apply({});
      await rig.remove();
      if (kind === "nft") assert.equal((await rig.saved()).replace(/^\*nat\n(:.*\n)*COMMIT\n/m, ""), before);
    });
  }
  await t.step("those of another krun that runs", async () => {
    await using rig = await InterceptionRig.create();
    await rig.apply({});
    const refused = await fault(rig.apply({}));
    assert.match(refused.message, /has chains of another krun, which runs: /);
    assert.deepEqual(rig.ended, []);
    for (const line of refused.details.split("\n")) await rig.net.must("inner", ...line.split(" "));
    assert.doesNotMatch(await rig.saved(), /ISTIO|KRUN/);
  });
  await t.step("those of a krun that is gone are taken back, and its processes end first", async () => {
    await using rig = await InterceptionRig.create();
    const before = await rig.saved();
    await rig.apply({});
    rig.alive.clear();
    const { mark } = await rig.apply({});
    assert.deepEqual(rig.ended, [markContent(rig.notes[0]!.mark)!.run]);
    assert.doesNotMatch(await rig.saved(), new RegExp(rig.notes[0]!.mark));
    assert.match(await rig.saved(), new RegExp(mark));
    await rig.remove();
    assert.equal(await rig.saved(), before);
  });
});

Deno.test("A note is believed only in its own namespace, and only beside its own mark", async (t) => {
  await using rig = await InterceptionRig.create();
  await rig.apply({});
  const here = await rig.saved();
  const note = rig.notes[0]!;
  const cases = [
    ["another namespace", { ...note, namespace: note.namespace.replace("net:[", "net:[1") }, "elsewhere"],
    ["another boot", { ...note, namespace: note.namespace.slice(0, -1) }, "elsewhere"],
    ["another krun's rules", { ...note, mark: "KRUN_000000000000_000" }, "nothing"],
    ["no note", { ...note, mark: "nat" }, "nothing"],
    ["nothing", null, "nothing"],
  ] as const;
  for (const [title, value, expected] of cases) {
    await t.step(title, async () => {
      assert.equal(await removeInterception(value, rig.options), expected);
      assert.equal(await rig.saved(), here);
    });
  }
});

Deno.test("A failure of istio-iptables has its own last words, and leaves nothing behind", async (t) => {
  await using rig = await withOthers("nft");
  const before = await state(rig);
  const only = (program: string, run: RunCommand): RunCommand => async (argv, options) =>
    argv[0] === program ? await run(argv, options) : await rig.net.run(argv, options);
  await t.step("at once", async () => {
    const run = only(rig.agent, (argv) => rig.net.run(argv, { env: { PATH: "/nonexistent" } }));
    const failed = await fault(rig.apply(PLAN, { run }));
    assert.equal(failed.code, "InterceptionFailed");
    assert.match(failed.message, /^Cannot intercept traffic: istio-iptables ended with status 1$/);
    assert.match(failed.details, /\terror\t.*exec: "iptables-nft-save": executable file not found in \$PATH/);
  });
  await t.step("after it has changed everything", async () => {
    const run = only(rig.agent, async (argv, options) => ({ ...await rig.net.run(argv, options), code: 3 }));
    assert.match((await fault(rig.apply(PLAN, { run }))).message, /ended with status 3$/);
  });
  await t.step("krun is told to stop meanwhile", async () => {
    const stop = new AbortController();
    const run = only(rig.agent, async (argv, options) => {
      const result = await rig.net.run(argv, options);
      stop.abort(new Error("enough"));
      return result;
    });
    await assert.rejects(rig.apply(PLAN, { run, signal: stop.signal }), /enough/);
  });
  assert.equal(await state(rig), before);
});

Deno.test("A rule that changes while krun cleans up makes it look again", async () => {
  await using rig = await withOthers("nft");
  const before = await state(rig);
  await rig.apply(PLAN);
  let changes = 0;
  const run: RunCommand = async (argv, options) => {
    // Between krun's look and its change somebody else removes what krun is going to remove.
    if (argv[0] === "iptables-nft-restore" && changes++ === 0) {
      await rig.iptables("-t", "nat", "-D", "PREROUTING", "-p", "tcp", "-j", "ISTIO_INBOUND");
    }
    return await rig.net.run(argv, options);
  };
  assert.equal(await removeInterception(rig.notes[0], { ...rig.options, run }), "removed");
  assert.ok(changes > 1);
  assert.equal(await state(rig), before);
});

Deno.test("A namespace without an address of its own is told before anything is tried", async () => {
  await using rig = await InterceptionRig.create();
  const plan = { ...rig.plan({}), addresses: ["127.0.0.1", "169.254.8.1"] };
  const run = () => Promise.reject(new Error("nothing is run"));
  const refused = await fault(applyInterception(plan, { ...rig.options, run }));
  assert.equal(refused.code, "InterceptionUnavailable");
});

async function fault(work: Promise<unknown>): Promise<{ code: string; message: string; details: string }> {
  return await work.then(() => assert.fail("it worked"), (error) => error);
}
