/**
 * What every connection of HTTP/2 needs on Deno 2.9.6.
 *
 * @module
 */
import type { Http2Session } from "node:http2";

/**
 * Lets a session end only between two turns of the event loop; to be called as soon as there is one.
 *
 * When the far side's GOAWAY is read, node closes the session at once, and with no stream open destroys it. Deno 2.9.6 does
 * so while nghttp2 reads frames, which then uses memory that was freed (https://github.com/denoland/deno/issues/36788): the
 * process ends with SIGSEGV, or aborts ("stream->closed_next == NULL"). So any peer could end krun and its program, by GOAWAY
 * and a request behind it on some hundred connections. tests/live/hostile_peers_test.ts shows both.
 */
export function endBetweenTurns(session: Http2Session): void {
  const close = session.close.bind(session);
  const destroy = session.destroy.bind(session);
  session.close = (callback) => void setImmediate(() => close(callback));
  session.destroy = (error, code) => void setImmediate(() => destroy(error, code));
}
