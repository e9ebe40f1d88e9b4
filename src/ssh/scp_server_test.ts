import assert from "node:assert/strict";
import { ServedScp } from "../../tests/served_scp.ts";
import { systemClock } from "../pod/clock.ts";

Deno.test("serveScp() lets others have their turn at every 256 KiB, both ways", async () => {
  let turns = 0;
  await using served = new ServedScp({ ...systemClock, elapsedMs: () => 0, turn: () => Promise.resolve(void turns++) });
  const piece = new Uint8Array(64 * 1024);
  await served.serve("scp -t x", `C0644 ${16 * piece.length} x\n`, ...Array.from({ length: 16 }, () => piece), "\0");
  assert.ok(turns >= 3 && turns <= 4, `${turns} turns`);
  turns = 0;
  await served.serve("scp -f x", "\0\0\0");
  assert.ok(turns >= 3 && turns <= 4, `${turns} turns`);
});

Deno.test("serveScp() tells of what changes files at info, of the rest at debug", async () => {
  await using served = new ServedScp();
  await served.serve("scp -r -t .", "D0755 0 d\nC0644 2 x\nhi\0E\n");
  await served.serve("scp -r -f d none", "\0".repeat(6));
  assert.deepEqual(served.events.map(({ level, event, fields }) => `${level} ${event} ${JSON.stringify(fields)}`), [
    'info scp directory made {"path":"./d"}',
    'info scp file opened {"path":"./d/x","access":"write"}',
    'info scp file closed {"path":"./d/x","readBytes":0,"writtenBytes":2}',
    'debug scp directory opened {"path":"d"}',
    'debug scp file opened {"path":"d/x","access":"read"}',
    'debug scp file closed {"path":"d/x","readBytes":2,"writtenBytes":0}',
    'debug scp request refused {"path":"none","reason":"No such file or directory"}',
  ]);
});
