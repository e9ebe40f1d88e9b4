/**
 * Loads libc before any test of a module begins: it is never unloaded, and the leak check counts what a test loads.
 *
 * @module
 */
import { loadLibc } from "../src/pod/libc.ts";

loadLibc();
