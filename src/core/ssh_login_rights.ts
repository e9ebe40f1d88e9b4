/**
 * What a login may do. In: the options of a key, and of a certificate. Out: the rights that they leave.
 *
 * Rule: `sshauthopt_merge` of OpenSSH (auth-options.c): what one of the two forbids is forbidden.
 *
 * @module
 */
import type { CertificateOptions } from "./ssh_certificate_options.ts";
import type { ForwardPermit } from "./ssh_forward_permit.ts";
import type { SshKeyOptions } from "./ssh_key_options.ts";
import { SshFormatError } from "./ssh_wire.ts";

/** What a login may do. Agents and X11 are forwarded for nobody, and nobody's ~/.ssh/rc is run. */
export interface LoginRights {
  readonly pty: boolean;
  /** Whether there is any forwarding at all; what follows narrows it. */
  readonly portForwarding: boolean;
  /** Where connections may go to, for {@linkcode permitsOpen}. */
  readonly permitOpen: readonly ForwardPermit[] | "any";
  /** What may be listened at, for {@linkcode permitsListen}. */
  readonly permitListen: readonly ForwardPermit[] | "any";
  /** What is run whatever the client asks for; may be empty, which is not the same as unset. */
  readonly forcedCommand?: string;
  /** When the key or the certificate ends, ms since the epoch: a session need not outlive it. @default {never} */
  readonly expiresAtMs?: number;
  /** Of a key in an authenticator: its signature must say that it was touched. */
  readonly touchRequired: boolean;
  /** The signature must say that the authenticator has verified its user. */
  readonly verifyRequired: boolean;
}

/** Whether two logins may do the same, each until its end. */
export function sameRights(one: LoginRights, other: LoginRights): boolean {
  const text = ({ expiresAtMs: _end, ...rights }: LoginRights) => JSON.stringify(Object.entries(rights).sort());
  return text(one) === text(other);
}

/** What the options of a key leave. */
export function rightsOfKey(options: SshKeyOptions): LoginRights {
  const { pty, portForwarding, touchRequired, verifyRequired, forcedCommand, expiresAtMs } = options;
  return {
    ...{ pty, portForwarding, touchRequired, verifyRequired },
    permitOpen: options.permitOpen ?? "any",
    permitListen: options.permitListen ?? "any",
    ...forcedCommand === undefined ? {} : { forcedCommand },
    ...expiresAtMs === undefined ? {} : { expiresAtMs },
  };
}

/**
 * What the options of a CA and those of its certificate both leave; the earlier end counts.
 *
 * @throws {SshFormatError} when each forces a command, and not the same
 */
export function rightsOfCertificate(
  ca: SshKeyOptions,
  certificate: { readonly options: CertificateOptions; readonly expiresAtMs?: number },
): LoginRights {
  const rights = rightsOfKey(ca);
  const { options } = certificate;
  const forcedCommand = rights.forcedCommand ?? options.forcedCommand;
  if (forcedCommand !== (options.forcedCommand ?? forcedCommand)) {
    throw new SshFormatError("the certificate and its CA's line force two different commands");
  }
  const expiresAtMs = Math.min(rights.expiresAtMs ?? Infinity, certificate.expiresAtMs ?? Infinity);
  return {
    ...rights,
    pty: rights.pty && options.pty,
    portForwarding: rights.portForwarding && options.portForwarding,
    touchRequired: rights.touchRequired || options.touchRequired,
    verifyRequired: rights.verifyRequired || options.verifyRequired,
    ...forcedCommand === undefined ? {} : { forcedCommand },
    ...expiresAtMs === Infinity ? {} : { expiresAtMs },
  };
}
