// Whether what is aborted hears of it although garbage is collected meanwhile: for the runtime inside the compiled krun. Needs
// --v8-flags=--expose-gc. Prints how many of 20 tries of a probe, and of 20 listeners of AbortSignal.any, the control, did not.
import { systemClock } from "../../src/pod/clock.ts";
import { type ProbeTarget, tryProbe } from "../../src/pod/probe_handlers.ts";

const TRIES = 20;
const { gc } = globalThis as unknown as { gc(): void };
const pause = () => new Promise((resolve) => setTimeout(resolve, 5));

/** How many of those that wait until the abort of a signal, and for nothing else, go on waiting after it. */
async function lost(begin: (over: AbortSignal, done: () => void) => void): Promise<number> {
  let ended = 0;
  for (let tries = 0; tries < TRIES; tries++) {
    const over = new AbortController();
    begin(over.signal, () => ended++);
    await pause();
    gc();
    await pause();
    over.abort();
    await pause();
  }
  return TRIES - ended;
}

/** A program that nobody holds but the signal, as a request whose connection was reset. */
const run: ProbeTarget["run"] = (_, signal) =>
  new Promise((resolve) =>
    signal.addEventListener("abort", () => resolve({ kind: "exited", code: 0 }), { once: true })
  );
const target: ProbeTarget = { container: { name: "app" }, host: "127.0.0.1", clock: systemClock, run };
const probe = { exec: { command: ["check"] }, timeoutSeconds: 60 };
const probes = await lost((over, done) => void tryProbe(probe, target, over).then(done));
const signals = await lost((over, done) => {
  AbortSignal.any([over, new AbortController().signal]).addEventListener("abort", done, { once: true });
});
console.log(JSON.stringify({ probes, signals }));
Deno.exit();
