import assert from "node:assert/strict";
import { fewDescriptors } from "../../tests/few_descriptors.ts";
import { RecordingLog } from "../../tests/recording_log.ts";
import { CHANNEL_REFUSAL } from "../core/ssh_messages.ts";
import type { ForwardTarget } from "./channel_table.ts";
import { Forwards } from "./forwards.ts";

/** Forwards of somebody who may have all of them, on a machine where nobody answers. */
function allForwards() {
  const asked: string[] = [];
  const forwards = new Forwards({
    rights: { mayOpen: () => true, mayListen: () => true, unixSockets: true },
    sockets: {
      connectUnix: (path) => {
        asked.push(path);
        return Promise.reject(new Error("nobody answers"));
      },
      listenUnix: () => assert.fail("nobody listens here"),
      mayListen: () => true,
    },
    takeDescriptor: fewDescriptors(10).take,
    takeLookUp: () => Promise.resolve({ [Symbol.dispose]: () => {} }),
    channels: () => undefined,
    log: new RecordingLog(),
  });
  return { forwards, asked };
}

const { prohibited, connectFailed } = CHANNEL_REFUSAL;

const tcp = (port: number): ForwardTarget => {
  return { kind: "direct-tcpip", host: "127.0.0.1", port, originHost: "127.0.0.1", originPort: 1 };
};

Deno.test("forward() leads nowhere once close() was called", async () => {
  const { forwards, asked } = allForwards();
  const target: ForwardTarget = { kind: "direct-streamlocal", path: "/run/socket" };
  await assert.rejects(forwards.forward(target), { name: "ChannelRefused", reason: connectFailed });
  forwards.close();
  await assert.rejects(forwards.forward(target), { reason: prohibited, message: "this connection ends" });
  assert.deepEqual(asked, ["/run/socket"]);
});

Deno.test("forward() leads to no port that is none, whatever is permitted", async () => {
  const { forwards } = allForwards();
  for (const port of [0, 65_536, 2 ** 32 - 1]) {
    await assert.rejects(forwards.forward(tcp(port)), { reason: prohibited }, `${port}`);
  }
});
