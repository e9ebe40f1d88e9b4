/**
 * Serves scp's legacy protocol on a channel, as the far side that a client starts by `scp -t` or `scp -f`. In: what was asked for, and
 * the bytes of a client. Out: files, answers. Rules: OpenSSH's scp.c.
 *
 * What is read of files and of the client is a piece at a time: what the far side does not take waits where it is. All calls are
 * krun's main thread's, so after some work it is others' turn.
 *
 * @module
 */
import type { Clock } from "../core/clock.ts";
import type { ScpCommand } from "../core/scp_command.ts";
import { ScpFormatError } from "../core/scp_protocol.ts";
import type { UserFiles } from "../core/user_files.ts";
import type { Channel } from "../net/channel.ts";
import { ScpTeller } from "./scp_audit.ts";
import { PathSearch } from "./scp_paths.ts";
import { receiveFiles } from "./scp_sink.ts";
import { FileSource } from "./scp_source.ts";
import { ScpOver, ScpWire } from "./scp_wire.ts";
import type { SftpEvent } from "./sftp_audit.ts";
import { SharedTurns } from "./shared_turns.ts";

/** What a session is given. */
export interface ScpOptions {
  readonly command: ScpCommand;
  readonly files: UserFiles;
  /** Where a user's home folder is, `""` being the session's own; `undefined` when there is no such user. */
  home(user: string): string | undefined;
  readonly clock: Clock;
  /** Told of each file that is opened and closed, of each folder that is made, and of what was refused. */
  audit(event: SftpEvent): void;
}

/** How serving has ended: by the client's end, a channel that was cut or a client that went, or bytes that are none of the protocol. */
export type ScpEnd =
  /** 1 when something was not carried. */
  | { readonly kind: "ended"; readonly status: 0 | 1 }
  | { readonly kind: "cut" }
  | { readonly kind: "malformed"; readonly why: string };

/**
 * Serves a channel until the client ends it, or has all that it asked for. What was open is closed then; the channel itself is left to
 * the caller, who has an exit status to send. Rejects only for a mistake of krun's.
 */
export async function serveScp(channel: Channel, options: ScpOptions): Promise<ScpEnd> {
  const wire = new ScpWire(channel, new SharedTurns(channel.broken, options.clock));
  try {
    if (options.command.side === "sink") await sink(wire, options);
    else await source(wire, options);
    return { kind: "ended", status: wire.failures > 0 ? 1 : 0 };
  } catch (error) {
    if (error instanceof ScpOver) return { kind: "cut" };
    if (!(error instanceof ScpFormatError)) throw error;
    await wire.send({ kind: "fatal", text: `scp: protocol error: ${error.message}` }).catch(() => {});
    return { kind: "malformed", why: error.message };
  }
}

async function sink(wire: ScpWire, options: ScpOptions): Promise<void> {
  const { command: { paths, ...flags }, files, audit } = options;
  const teller = new ScpTeller(wire, audit);
  const search = new PathSearch({ ...options, pause: () => wire.pause() });
  let target: string | undefined;
  for (const path of paths) {
    const meant = await search.expand(path);
    if (typeof meant === "string") return await teller.giveUp(path.pattern, meant);
    const isOnly = target === undefined && meant.length === 1;
    target ??= meant[0]!;
    if (!isOnly) return await teller.giveUp(target, "this is not the only target");
  }
  await receiveFiles({ ...flags, wire, files, teller, target: target! });
}

async function source(wire: ScpWire, options: ScpOptions): Promise<void> {
  const { command: { paths, ...flags }, files, audit } = options;
  const teller = new ScpTeller(wire, audit);
  const sent = new FileSource({ ...flags, wire, files, teller });
  const search = new PathSearch({ ...options, pause: () => wire.pause() });
  await wire.isAgreed();
  for (const path of paths) {
    const meant = await search.expand(path);
    if (typeof meant === "string") await teller.refuse(path.pattern, meant);
    else for (const one of meant) await sent.send(one);
  }
}
