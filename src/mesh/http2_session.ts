/**
 * What every connection of HTTP/2 needs on Deno 2.9.6.
 *
 * @module
 */
import type { Http2Session } from "node:http2";

/**
 * Lets a session end only between two turns of the event loop; to be called as soon as there is one.
 *
 * When the far side's GOAWAY is read, node closes the session at once, and with no stream open destroys it. Deno 2.9.6 then
 * writes from within the reading of frames, which frees memory that is still in use: the process aborts ("stream->closed_next
 * == NULL", "free(): invalid pointer") or worse. So any peer that said goodbye could end krun and its program.
 */
export function endBetweenTurns(session: Http2Session): void {
  const close = session.close.bind(session);
  const destroy = session.destroy.bind(session);
  session.close = (callback) => void setImmediate(() => close(callback));
  session.destroy = (error, code) => void setImmediate(() => destroy(error, code));
}
