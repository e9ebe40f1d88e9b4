/**
 * What a certificate demands and gives. In: its critical options and its extensions. Out: the same by name.
 *
 * Rule: draft-miller-ssh-cert, critical options and extensions (once PROTOCOL.certkeys). Names stand in order, each once: the
 * format says so, Go's x/crypto/ssh refuses anything else, and ssh-keygen makes nothing else; sshd itself looks only at what is there twice.
 *
 * @module
 */
import { addressListFault } from "./ssh_address_pattern.ts";
import { textOfBytes } from "./byte_text.ts";
import { SshFormatError, SshReader } from "./ssh_wire.ts";

/** What the critical options demand. */
export interface CertificateDemands {
  /** What is run whatever the client asks for; may be empty. */
  readonly forcedCommand?: string;
  /** For {@linkcode matchesAddressList}, and well-formed. */
  readonly sourceAddress?: string;
  readonly verifyRequired: boolean;
}

/** What the extensions give. */
export interface CertificateGifts {
  readonly pty: boolean;
  readonly portForwarding: boolean;
  /** Of a key in an authenticator: true unless `no-touch-required` is there. */
  readonly touchRequired: boolean;
}

/** What a certificate demands and gives. */
export interface CertificateOptions extends CertificateDemands, CertificateGifts {}

/**
 * Reads pairs of name and data.
 *
 * @throws {SshFormatError} where they are none, or not in order
 */
export function readNamedValues(bytes: Uint8Array): ReadonlyMap<string, Uint8Array> {
  const reader = new SshReader(bytes);
  const values = new Map<string, Uint8Array>();
  let last: string | undefined;
  while (!reader.isAtEnd) {
    const name = textOfBytes(reader.string());
    if (last !== undefined && name <= last) {
      throw new SshFormatError(
        `the certificate's option ${quoted(name)} ${name === last ? "is there twice" : "is out of order"}`,
      );
    }
    values.set(name, reader.string());
    last = name;
  }
  return values;
}

/** Reads the critical options. @throws {SshFormatError} for one that is unknown, and for one whose data is not what it should be */
export function parseCriticalOptions(bytes: Uint8Array): CertificateDemands {
  let demands: CertificateDemands = { verifyRequired: false };
  for (const [name, data] of readNamedValues(bytes)) {
    if (name === "force-command") demands = { ...demands, forcedCommand: textIn(name, data) };
    else if (name === "source-address") demands = { ...demands, sourceAddress: addressList(textIn(name, data)) };
    else if (name === "verify-required") demands = { ...demands, verifyRequired: flag(name, data) };
    else throw new SshFormatError(`the certificate's critical option ${quoted(name)} is unknown`);
  }
  return demands;
}

/** Known, and without effect: krun forwards no agent and no X11, and runs no ~/.ssh/rc. */
const WITHOUT_EFFECT = ["permit-agent-forwarding", "permit-X11-forwarding", "permit-user-rc"];

/** Reads the extensions; one that is unknown is passed over. @throws {SshFormatError} for a known one with data */
export function parseExtensions(bytes: Uint8Array): CertificateGifts {
  const given = new Set<string>();
  const known = ["permit-pty", "permit-port-forwarding", "no-touch-required", ...WITHOUT_EFFECT];
  for (const [name, data] of readNamedValues(bytes)) {
    if (known.includes(name) && flag(name, data)) given.add(name);
  }
  return {
    pty: given.has("permit-pty"),
    portForwarding: given.has("permit-port-forwarding"),
    touchRequired: !given.has("no-touch-required"),
  };
}

function flag(name: string, data: Uint8Array): true {
  if (data.length > 0) throw new SshFormatError(`the certificate's option ${quoted(name)} has data, which it must not`);
  return true;
}

function textIn(name: string, data: Uint8Array): string {
  const reader = new SshReader(data);
  const bytes = reader.string();
  if (!reader.isAtEnd) throw new SshFormatError(`bytes follow the certificate's option ${quoted(name)}`);
  if (bytes.includes(0)) throw new SshFormatError(`the certificate's option ${quoted(name)} has a NUL`);
  return textOfBytes(bytes);
}

function addressList(list: string): string {
  const fault = addressListFault(list);
  if (fault !== undefined) throw new SshFormatError(`the certificate's source-address: ${fault}`);
  return list;
}

function quoted(name: string): string {
  return JSON.stringify(name.slice(0, 64));
}
