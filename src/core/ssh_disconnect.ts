/**
 * The goodbye of SSH. In: why, and in a few words. Out: the payload that tells it. Rules: RFC 4253, section 11.1.
 *
 * @module
 */
import { sshMessage } from "./ssh_messages.ts";
import { concatBytes, sshString } from "./ssh_wire.ts";

/** Reasons of SSH_MSG_DISCONNECT. */
export const DISCONNECT = {
  protocolError: 2,
  serviceNotAvailable: 7,
  byApplication: 11,
  tooManyConnections: 12,
  noMoreMethods: 14,
} as const;

/** SSH_MSG_DISCONNECT (RFC 4253, 11.1). */
export function disconnectMessage(reason: number, words: string): Uint8Array<ArrayBuffer> {
  const NUMBER = 1;
  return concatBytes(sshMessage(NUMBER, reason), sshString(words), sshString(""));
}
