/**
 * The messages of a login. In: payloads of packets, as a stranger sent them. Out: what they ask for; and the payloads of answers. Rules:
 * RFC 4252, RFC 4256.
 *
 * @module
 */
import { textOfBytes } from "./byte_text.ts";
import { SSH_MESSAGE } from "./ssh_messages.ts";
import { concatBytes, SshFormatError, SshReader, sshString, sshUint32 } from "./ssh_wire.ts";

/** A try to log in. */
export interface UserauthRequest {
  readonly user: string;
  readonly service: string;
  readonly method:
    | {
      readonly kind: "publickey";
      readonly algorithm: string;
      /** Of the key or the certificate. */
      readonly blob: Uint8Array;
      /** Unset: the client asks whether such a signature would be taken. */
      readonly signature?: Uint8Array;
      /** The part of the payload that is signed, after the session's identifier. */
      readonly signed: Uint8Array;
    }
    | { readonly kind: "keyboard-interactive" }
    | { readonly kind: "other"; readonly name: string };
}

/** Reads SSH_MSG_USERAUTH_REQUEST. @throws {SshFormatError} */
export function parseUserauthRequest(payload: Uint8Array): UserauthRequest {
  const reader = new SshReader(payload);
  reader.uint8();
  const [user, service, name] = [textOfBytes(reader.string()), reader.text(), reader.text()];
  if (name === "keyboard-interactive") return { user, service, method: { kind: name } };
  if (name !== "publickey") return { user, service, method: { kind: "other", name } };
  const isSigned = reader.uint8() !== 0;
  const [algorithm, blob] = [reader.text(), reader.string()];
  const signed = payload.subarray(0, reader.position);
  const method = { kind: name, algorithm, blob, signed, ...(isSigned && { signature: reader.string() }) } as const;
  return { user, service, method: wholly(reader, method) };
}

/** Reads SSH_MSG_USERAUTH_INFO_RESPONSE. @throws {SshFormatError} */
export function parseInfoResponse(payload: Uint8Array): string[] {
  const reader = new SshReader(payload);
  reader.uint8();
  const count = reader.uint32();
  if (count > 16) throw new SshFormatError(`there are ${count} answers`);
  return wholly(reader, Array.from({ length: count }, () => reader.text()));
}

function wholly<Value>(reader: SshReader, value: Value): Value {
  if (!reader.isAtEnd) throw new SshFormatError("it goes on after its end");
  return value;
}

/** SSH_MSG_USERAUTH_FAILURE: how one may go on. */
export function userauthFailure(methods: readonly string[]): Uint8Array<ArrayBuffer> {
  return concatBytes(Uint8Array.of(SSH_MESSAGE.userauthFailure), sshString(methods.join()), Uint8Array.of(0));
}

/** SSH_MSG_USERAUTH_PK_OK: a signature by this key would be taken. */
export function userauthPkOk(algorithm: string, blob: Uint8Array): Uint8Array<ArrayBuffer> {
  return concatBytes(Uint8Array.of(SSH_MESSAGE.userauthPkOk), sshString(algorithm), sshString(blob));
}

/** SSH_MSG_USERAUTH_INFO_REQUEST with one question, whose answer is not shown. */
export function userauthInfoRequest(instruction: string, prompt: string): Uint8Array<ArrayBuffer> {
  const [name, language] = [sshString(""), sshString("")];
  const prompts = concatBytes(sshUint32(1), sshString(prompt), Uint8Array.of(0));
  return concatBytes(
    Uint8Array.of(SSH_MESSAGE.userauthInfoRequest),
    name,
    sshString(instruction),
    language,
    prompts,
  );
}
