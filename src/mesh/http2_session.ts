/**
 * What every connection of HTTP/2 needs on Deno 2.9.6.
 *
 * @module
 */
import { constants, type Http2Session, type ServerHttp2Session } from "node:http2";

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

/**
 * Takes no more streams, and tells the far side which was the last one that counts: it may ask elsewhere for what came after that
 * (RFC 9113, 6.8 and 8.7). The session stays open: one that is closed at once would be reset under what is still on its way.
 *
 * Of the two steps of that section the first, a GOAWAY after which streams are still taken, is out of reach: nghttp2 then ignores
 * every stream, and node 24 and Deno 2.9.6 have no call for its `nghttp2_submit_shutdown_notice`.
 */
export function refuseStreams(session: ServerHttp2Session): void {
  if (!session.closed && !session.destroyed) session.goaway(constants.NGHTTP2_NO_ERROR);
}
