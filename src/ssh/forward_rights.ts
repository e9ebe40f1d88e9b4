/**
 * From what a login may do to which forwards it may have.
 *
 * @module
 */
import { permitsListen, permitsOpen } from "../core/ssh_forward_permit.ts";
import type { LoginRights } from "../core/ssh_login_rights.ts";
import type { ForwardRights } from "./forwards.ts";

/** Which forwards a login with these rights may have. */
export function forwardRights({ portForwarding, permitOpen, permitListen }: LoginRights): ForwardRights {
  return {
    mayOpen: (host, port) => portForwarding && permitsOpen(permitOpen, { host, port }),
    mayListen: (host, port) => portForwarding && permitsListen(permitListen, { host, port }),
    // There is no list of permitted sockets: whoever has one of ports has none of these.
    unixSockets: portForwarding && permitOpen === "any" && permitListen === "any",
  };
}
