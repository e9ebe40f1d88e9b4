/**
 * What a client asks of a session and does not get. In: requests that were refused. Out: a line in the log for each kind.
 *
 * @module
 */
import type { Logger } from "../core/log.ts";
import type { SessionRequest } from "../core/ssh_messages.ts";

/** Options of {@linkcode RefusedRequests}. */
export interface RefusedRequestsOptions {
  /** Names the login in each line. */
  readonly log: Logger;
  readonly rights: { readonly pty: boolean };
}

/** More of a name that the client has chosen is not logged, characters. */
const LONGEST_NAME = 256;

/** Why there is none of what krun does not have. */
const REASONS: ReadonlyMap<string, string> = new Map([
  ["auth-agent-req@openssh.com", "krun forwards no agent"],
  ["x11-req", "krun forwards no X11"],
]);

/** Those of one session. Each kind is told once: a client may ask without end. */
export class RefusedRequests {
  readonly #options: RefusedRequestsOptions;
  readonly #told = new Set<string>();

  constructor(options: RefusedRequestsOptions) {
    this.#options = options;
  }

  /** Tells of one that its user would miss; most clients ask for more than they need. */
  tell(request: SessionRequest): void {
    const { log, rights } = this.#options;
    const name = request.kind === "unknown" ? request.type : request.kind;
    const reason = reasonOf(request, rights);
    if (reason === undefined || this.#told.has(name)) return;
    this.#told.add(name);
    log.info("ssh request refused", { request: name, reason });
  }
}

function reasonOf(request: SessionRequest, { pty }: RefusedRequestsOptions["rights"]): string | undefined {
  if (request.kind === "pty-req") return pty ? undefined : "this login may have no terminal";
  if (request.kind === "subsystem" && request.name !== "sftp") {
    return `there is no subsystem ${JSON.stringify(request.name.slice(0, LONGEST_NAME))}`;
  }
  if (request.kind !== "unknown") return undefined;
  return REASONS.get(request.type);
}
