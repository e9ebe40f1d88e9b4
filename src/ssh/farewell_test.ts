import assert from "node:assert/strict";
import { FakeClock, settle } from "../../tests/fake_clock.ts";
import { RecordingLog } from "../../tests/recording_log.ts";
import { type Client, dismiss, putOut } from "./farewell.ts";

/** A client whose connection notes what it is told, and when. */
function client(more: Partial<Client> = {}) {
  const clock = new FakeClock();
  const over = new AbortController();
  const told: string[] = [];
  const beganMs = clock.elapsedMs();
  const tell = (text: string) => void told.push(`${clock.elapsedMs() - beganMs} ${text}`);
  const session = {
    tell: (text: string) => tell(`terminal: ${text}`),
    stopFiles: () => {},
    hangUp: async (words: string) => {
      tell(`session: ${words}`);
      await clock.sleep(2_000, new AbortController().signal);
    },
  };
  const connection = {
    over: over.signal,
    refuseNew: () => {},
    end: (_: number | undefined, words: string) => {
      tell(`goodbye: ${words}`);
      over.abort();
    },
  };
  const one = { connection, sessions: new Set(), ...more } as unknown as Client;
  const withSession = () => {
    (one.sessions as Set<unknown>).add(session);
    return one;
  };
  return { clock, over, told, one, withSession, log: new RecordingLog() };
}

Deno.test("dismiss() says goodbye at once to a client whose sessions ended long ago, if it had any", async () => {
  for (const lastSessionMs of [undefined, 500]) {
    const { one, clock, told } = client(lastSessionMs === undefined ? {} : { lastSessionMs });
    await dismiss(one, { reason: "the program has ended", clock });
    assert.deepEqual(told, ["0 goodbye: the program has ended"]);
  }
});

Deno.test("dismiss() leaves a client whose session has just ended the time to hear how", async () => {
  const { one, clock, told } = client();
  one.lastSessionMs = clock.elapsedMs() - 100;
  const done = dismiss(one, { reason: "the program has ended", clock });
  await clock.pass(399);
  assert.deepEqual(told, []);
  await clock.pass(1);
  assert.deepEqual(told, ["400 goodbye: the program has ended"]);
  await done;
});

Deno.test("dismiss() tells open sessions why, hangs them up, and waits for a client that leaves by itself no longer", async () => {
  const { withSession, clock, told, over } = client();
  const done = dismiss(withSession(), { reason: "the program has ended", clock });
  await clock.pass(2_100);
  assert.deepEqual(told, ["0 session: this session ends: the program has ended"]);
  over.abort();
  await settle();
  await done;
});

Deno.test("putOut() tells a terminal before the goodbye, once, and its reason is that of the end", async () => {
  const { withSession, clock, told, log } = client();
  const one = withSession();
  putOut(one, { reason: "the key is not authorized", clock, log });
  putOut(one, { reason: "it was idle too long", clock, log });
  const done = dismiss(one, { reason: "nobody may log in any more", clock });
  await clock.pass(100);
  assert.deepEqual(told, [
    "0 terminal: this connection ends: the key is not authorized",
    "100 goodbye: the key is not authorized",
    "100 session: this session ends: the key is not authorized",
  ]);
  assert.deepEqual(log.events, ["info ssh connection ended"]);
  await clock.pass(2_000);
  await done;
});

Deno.test("putOut() ends forwards and files at once, before the goodbye", async () => {
  const { one, clock, told, log } = client();
  Object.assign(one, { forwards: { close: () => void told.push("forwards") } });
  const files = { tell: () => {}, stopFiles: () => void told.push("files") };
  (one.sessions as Set<unknown>).add(files);
  putOut(one, { reason: "the key is not authorized", clock, log });
  assert.deepEqual(told, ["forwards", "files"]);
  await clock.pass(100);
  assert.deepEqual(told.slice(2), ["100 goodbye: the key is not authorized"]);
});
