/**
 * Forwards to names that no server ever resolves: they keep nobody else from what they do. In a network of its own, whose resolver says
 * nothing. Needs root, ip(8), openssh-client, python3.
 */
import assert from "node:assert/strict";
import { join } from "node:path";
import { unlessItHangs, waitFor } from "../wait.ts";
import { NetworkNamespace } from "./network_namespace.ts";
import { Forwarding } from "./ssh_forward_rig.ts";
import { makeKey, SshRig } from "./ssh_rig.ts";

/** How long a name is looked up until it is given up, seconds (resolv.conf(5)). */
const GIVEN_UP_S = 8;

/** People, of whom each has a key: so many can wait for names of theirs that nobody else's is looked up. */
const PEOPLE = 5;

/** Takes questions, and answers none. */
const SILENT = `
import socket, sys
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.bind(("10.9.0.1", 53))
print("ready", flush=True)
sys.stdin.read()
`;

class Names implements AsyncDisposable {
  readonly #owned = new AsyncDisposableStack();
  readonly rig: SshRig;
  /** Private keys of people, each of whom may log in. */
  readonly people: readonly string[];
  #clients = 0;

  private constructor(rig: SshRig, people: readonly string[]) {
    this.rig = rig;
    this.people = people;
  }

  static async create(): Promise<Names> {
    await using owned = new AsyncDisposableStack();
    const net = owned.use(await NetworkNamespace.create());
    const [program = "", ...args] = net.argv("outer", ["python3", "-c", SILENT]);
    const resolver = new Deno.Command(program, { args, stdin: "piped", stdout: "piped" }).spawn();
    owned.defer(async () => {
      await resolver.stdin.close();
      await resolver.output();
    });
    await net.serve("inner", ["tcp:127.0.0.1:8090:web"]);
    const folder = await Deno.makeTempDir({ prefix: "krun-ssh-names-" });
    owned.defer(() => Deno.remove(folder, { recursive: true }));
    const people = await Promise.all(Array.from({ length: PEOPLE }, (_, index) => makeKey(folder, `key-${index}`)));
    const lines = await Promise.all(people.map((key) => Deno.readTextFile(`${key}.pub`)));
    const rig = owned.use(
      await SshRig.start({
        sshAuth: ["$KEY", ...lines].join("\n"),
        env: { RES_OPTIONS: `timeout:${GIVEN_UP_S} attempts:1` },
        under: net.argv("inner", []),
        clientUnder: net.argv("inner", []),
      }),
    );
    const names = new Names(rig, people);
    names.#owned.use(owned.move());
    return names;
  }

  /** A client that forwards a socket to a place: the socket's path. */
  async client(to: string, key: string = this.rig.key): Promise<string> {
    const path = join(this.rig.folder, `client-${++this.#clients}`);
    this.#owned.use(await Forwarding.start(this.rig, ["-L", `${path}:${to}`], { key, local: path }));
    return path;
  }

  /** By a connection of its own, connects to a name that is never resolved, many times at once. */
  async lookUpForever(key: string): Promise<void> {
    const path = await this.client("never.example:80", key);
    for (let time = 0; time < 20; time++) {
      const conn = await Deno.connect({ transport: "unix", path });
      this.#owned.defer(() => conn.close());
    }
  }

  /** How many of them were given up so far. */
  get givenUp(): number {
    return this.rig.krun.stderr.match(/ssh forward refused .*to=never\.example:80/g)?.length ?? 0;
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.#owned.disposeAsync();
  }
}

/** What the server says at the other end of a socket. */
async function hears({ rig }: Names, path: string): Promise<string> {
  using conn = await Deno.connect({ transport: "unix", path });
  await conn.write(new TextEncoder().encode("?"));
  const answer = new Uint8Array(20);
  const length = await unlessItHangs("an answer", conn.read(answer), { seen: () => rig.krun.stderr }) ?? 0;
  return new TextDecoder().decode(answer.subarray(0, length));
}

Deno.test("names that are never resolved keep nobody from names, sessions and files", async (t) => {
  await using names = await Names.create();
  const { rig } = names;
  const near = await names.client("localhost:8090");
  assert.equal(await hears(names, near), "web");
  const [first = "", ...others] = names.people;
  await t.step("those of one login, by however many connections: others have theirs resolved at once", async () => {
    for (let connection = 0; connection < PEOPLE; connection++) await names.lookUpForever(first);
    assert.equal(await hears(names, near), "web");
    assert.equal(names.givenUp, 0, "they are looked up still");
  });
  await t.step("those of many: sessions and files are served at once, and names of others in their turn", async () => {
    await waitFor("the first to be given up", () => names.givenUp > 0);
    for (const key of others) await names.lookUpForever(key);
    const before = names.givenUp;
    assert.equal((await rig.ssh(["cat /proc/self/comm"])).stdout, "cat\n");
    const copy = join(rig.folder, "copy");
    assert.equal((await rig.scp([`$HOST:${rig.key}.pub`, copy])).code, 0);
    assert.equal(await Deno.readTextFile(copy), await Deno.readTextFile(`${rig.key}.pub`));
    assert.equal(await hears(names, await names.client("127.0.0.1:8090")), "web");
    assert.ok(names.givenUp - before <= 2, "no more than the first login's two meanwhile");
    assert.equal(await hears(names, near), "web");
  });
  await t.step("krun ends at once", async () => {
    const started = performance.now();
    rig.krun.kill("SIGTERM");
    assert.equal((await rig.krun.end).code, 143);
    assert.ok(performance.now() - started < GIVEN_UP_S * 1000);
  });
});
