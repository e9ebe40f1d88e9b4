/**
 * Loaded before krun by `deno run --preload`: shifts the wall clock by as many milliseconds as the file says that
 * `CLOCK_JUMP` names, at every look at it. So a test of the whole program can let an hour pass at once, forward or back.
 *
 * @module
 */
const file = Deno.env.get("CLOCK_JUMP");
const wallClock = Date.now;

Date.now = () => wallClock() + Number(file === undefined ? 0 : Deno.readTextFileSync(file));
