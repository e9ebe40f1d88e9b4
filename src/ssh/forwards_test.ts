import assert from "node:assert/strict";
import { RecordingLog } from "../../tests/recording_log.ts";
import { CHANNEL_REFUSAL } from "../core/ssh_messages.ts";
import type { UserListener, UserSockets } from "../core/user_sockets.ts";
import type { ForwardTarget } from "./channel_table.ts";
import { Forwards } from "./forwards.ts";

const { prohibited, connectFailed } = CHANNEL_REFUSAL;

/** Sockets of nobody, whose listeners wait until they are closed. */
class WaitingSockets implements UserSockets {
  readonly open = new Set<string>();
  readonly asked: string[] = [];

  connectUnix(path: string): Promise<never> {
    this.asked.push(path);
    return Promise.reject(new Error("nobody listens there"));
  }

  listenUnix(path: string): UserListener {
    const closed = Promise.withResolvers<undefined>();
    this.open.add(path);
    return {
      accept: () => closed.promise,
      close: () => {
        this.open.delete(path);
        closed.resolve(undefined);
      },
    };
  }

  mayListen(): boolean {
    return true;
  }
}

/** Forwards that may do everything, and what they hold. */
class Rig implements Disposable {
  readonly sockets = new WaitingSockets();
  readonly forwards: Forwards;
  descriptors = 0;

  constructor() {
    this.forwards = new Forwards({
      rights: { mayOpen: () => true, mayListen: () => true, unixSockets: true },
      sockets: this.sockets,
      log: new RecordingLog(),
      takeDescriptor: () => {
        this.descriptors++;
        return { [Symbol.dispose]: () => void this.descriptors-- };
      },
      takeLookUp: () => Promise.resolve({ [Symbol.dispose]: () => {} }),
      channels: () => undefined,
    });
  }

  async tcp(address: string, port: number): Promise<boolean | number> {
    return await this.forwards.request({ kind: "tcpip-forward", address, port });
  }

  async unix(path: string): Promise<boolean | number> {
    return await this.forwards.request({ kind: "streamlocal-forward", path });
  }

  async cancelTcp(address: string, port: number): Promise<boolean | number> {
    return await this.forwards.request({ kind: "cancel-tcpip-forward", address, port });
  }

  async cancelUnix(path: string): Promise<boolean | number> {
    return await this.forwards.request({ kind: "cancel-streamlocal-forward", path });
  }

  [Symbol.dispose](): void {
    this.forwards.close();
    assert.deepEqual([this.descriptors, [...this.sockets.open]], [0, []], "all of it is closed");
  }
}

/** Whenever a port is opened meanwhile, it says that it is this one. */
function findingPort(port: number): Disposable {
  const { listen } = Deno;
  const found = (options: Deno.TcpListenOptions) => {
    const listener = listen({ ...options, port: 0 });
    return Object.defineProperty(listener, "addr", { value: { ...listener.addr, port } });
  };
  Object.assign(Deno, { listen: found });
  return { [Symbol.dispose]: () => void Object.assign(Deno, { listen }) };
}

Deno.test("Forwards: no address of a port is taken for a socket's path, nor the other way round", async () => {
  using rig = new Rig();
  const port = await rig.tcp("unix /tmp/s", 0);
  assert.equal(typeof port, "number");
  assert.equal(await rig.unix(`/tmp/s:${port}`), true);
  assert.equal(await rig.cancelTcp("unix /tmp/s", port as number), true);
  assert.deepEqual([...rig.sockets.open], [`/tmp/s:${port}`]);
  assert.equal(await rig.cancelTcp("unix /tmp/s", port as number), false);
  assert.equal(await rig.cancelUnix(`/tmp/s:${port}`), true);
  assert.equal(await rig.cancelUnix(`/tmp/s:${port}`), false);
});

Deno.test("Forwards: a port that was found takes no socket's place, whatever its address is", async () => {
  using rig = new Rig();
  const port = 40113;
  using _found = findingPort(port);
  assert.equal(await rig.unix(`/tmp/s:${port}`), true);
  assert.equal(await rig.tcp("unix /tmp/s", 0), port);
});

Deno.test("Forwards: a port that was found and is listened on already is refused, and closed", async () => {
  using rig = new Rig();
  const port = 40113;
  using _found = findingPort(port);
  assert.equal(await rig.tcp("localhost", 0), port);
  const { descriptors } = rig;
  assert.equal(await rig.tcp("localhost", 0), false);
  assert.equal(rig.descriptors, descriptors);
  assert.equal(await rig.tcp("other", 0), port);
});

Deno.test("Forwards: an address that is longer than any name is refused", async () => {
  using rig = new Rig();
  assert.equal(await rig.tcp("x".repeat(257), 0), false);
  assert.equal(typeof await rig.tcp("x".repeat(256), 0), "number");
});

Deno.test("forward() leads nowhere once close() was called", async () => {
  using rig = new Rig();
  const { forwards, sockets } = rig;
  const target: ForwardTarget = { kind: "direct-streamlocal", path: "/run/socket" };
  await assert.rejects(forwards.forward(target), { name: "ChannelRefused", reason: connectFailed });
  forwards.close();
  await assert.rejects(forwards.forward(target), { reason: prohibited, message: "this connection ends" });
  assert.deepEqual(sockets.asked, ["/run/socket"]);
});

Deno.test("forward() leads to no port that is none, whatever is permitted", async () => {
  using rig = new Rig();
  const { forwards } = rig;
  const tcp = (port: number): ForwardTarget => {
    return { kind: "direct-tcpip", host: "127.0.0.1", port, originHost: "127.0.0.1", originPort: 1 };
  };
  for (const port of [0, 65_536, 2 ** 32 - 1]) {
    await assert.rejects(forwards.forward(tcp(port)), { reason: prohibited }, `${port}`);
  }
});
