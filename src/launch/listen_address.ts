/**
 * Whether krun could listen where it is asked to. In: addresses, and the setting that asks. Out: the failure in words.
 *
 * @module
 */
import { KrunError } from "../core/errors.ts";
import type { ListenAddress } from "../core/settings.ts";
import { readFailure } from "../kube/deno_files.ts";

/** Options of {@linkcode checkAddress} and {@linkcode cannotListen}. */
export interface AskedAddress {
  /** The setting, or what else asks for it. */
  readonly setting: string;
  /** What to do about a failure. @default {one hint for all} */
  hint?(cause: unknown): string;
  /** The program that listens on a port, in words. @default {nobody is named} */
  holder?(port: number): string;
}

/** An address as a person writes it. */
export function addressText({ hostname, port }: ListenAddress): string {
  return `${hostname.includes(":") ? `[${hostname}]` : hostname}:${port}`;
}

/** Listens for an instant, to make sure that somebody could now. @throws {KrunError} `AddressInUse` */
export function checkAddress({ hostname, port }: ListenAddress, options: AskedAddress): void {
  try {
    Deno.listen({ hostname, port }).close();
  } catch (cause) {
    throw cannotListen({ hostname, port }, { ...options, cause });
  }
}

/** The failure to listen. */
export function cannotListen(
  address: ListenAddress,
  { setting, cause, hint, holder }: AskedAddress & { readonly cause: unknown },
): KrunError {
  const by = holder && cause instanceof Deno.errors.AddrInUse ? `, ${holder(address.port)}` : "";
  return new KrunError(
    "AddressInUse",
    `Cannot listen on ${addressText(address)} for ${setting}: ${readFailure(cause)}${by}`,
    hint?.(cause) ?? "choose a free address of this machine",
    { cause },
  );
}
