/**
 * A client's guess of the key exchange, whose first packet it sends before it knows what it is offered. In: ssh2's protocol. Out:
 * nothing; it takes a right guess then. Rules: RFC 4253, section 7.
 *
 * ssh2 takes every guess for a wrong one, and waits for a packet that is there already: it compares the method with the first letter of
 * itself. Nothing of what the client has said can be changed for it, for both sides sign that.
 *
 * @module
 */
import { guessesRight } from "../core/ssh_kexinit.ts";
import type { Ssh2Protocol } from "./ssh2.ts";

/** Lets ssh2 pass over the packet after a client's algorithms where that was guessed wrong, and only there; in each exchange. */
export function judgeGuesses(protocol: Pick<Ssh2Protocol, "_kex">): void {
  let hasGuessed = false;
  Object.defineProperty(protocol, "_skipNextInboundPacket", {
    set: (follows: boolean) => void (hasGuessed = follows),
    get: () => {
      const isGuess = hasGuessed;
      hasGuessed = false;
      const { _remoteKexinit: client, _kexinit: server } = protocol._kex ?? {};
      return isGuess && !(client && server && guessesRight({ client, server }));
    },
  });
}
