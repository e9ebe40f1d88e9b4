/**
 * Clients of scp's legacy protocol without a network. In: what they say. Out: what they are told, and a folder.
 *
 * @module
 */
import assert from "node:assert/strict";
import { join } from "node:path";
import "./load_libc.ts";
import { bytesOfText } from "../src/core/byte_text.ts";
import { parseScpCommand } from "../src/core/scp_command.ts";
import { systemClock } from "../src/pod/clock.ts";
import { loadLibc } from "../src/pod/libc.ts";
import { ownUser } from "../src/pod/user.ts";
import { userFiles } from "../src/pod/user_files.ts";
import { type ScpEnd, serveScp } from "../src/ssh/scp_server.ts";
import type { SftpEvent } from "../src/ssh/sftp_audit.ts";
import { MemoryChannel } from "./memory_channel.ts";

const libc = loadLibc();

/** All went well; something was not carried. */
export const ENDED = { kind: "ended", status: 0 } as const, FAILED = { kind: "ended", status: 1 } as const;

/** A folder, and clients that are served there one after the other. Disposing it makes sure that nothing is open. */
export class ServedScp implements AsyncDisposable {
  readonly root = Deno.realPathSync(Deno.makeTempDirSync({ prefix: "krun-scp-" }));
  /** The session's working directory. */
  readonly folder = join(this.root, "in");
  /** What the audit was told. */
  readonly events: SftpEvent[] = [];
  channel = new MemoryChannel();
  end: Promise<ScpEnd> = Promise.resolve({ kind: "cut" });
  readonly #clock: typeof systemClock;

  constructor(clock = systemClock) {
    this.#clock = clock;
    Deno.mkdirSync(this.folder);
  }

  /** Starts to serve a command. */
  begin(line: string): MemoryChannel {
    this.channel = new MemoryChannel();
    this.end = serveScp(this.channel, {
      command: parseScpCommand(line)!,
      files: userFiles(libc, { user: ownUser(libc), cwd: this.folder }),
      home: (user) => user === "" ? join(this.folder, "home") : undefined,
      clock: this.#clock,
      audit: (event) => void this.events.push(event),
    });
    return this.channel;
  }

  /** A client that says all of this and ends; its end, and what it was told. */
  async serve(line: string, ...said: readonly (string | Uint8Array)[]): Promise<{ end: ScpEnd; told: string }> {
    const channel = this.begin(line);
    channel.send(...said.map((piece) => typeof piece === "string" ? bytesOfText(piece) : piece), undefined);
    return { end: await this.end, told: channel.text() };
  }

  /** A path in the session's folder. */
  path(...names: string[]): string {
    return join(this.folder, ...names);
  }

  write(name: string, text: string): void {
    Deno.writeTextFileSync(this.path(name), text);
  }

  read(name: string): string {
    return Deno.readTextFileSync(this.path(name));
  }

  /** What krun has open there. */
  openFiles(): string[] {
    return libc.procNames("/proc/self/fd").map((fd) => libc.procLink(`/proc/self/fd/${fd}`) ?? "")
      .filter((path) => path.startsWith(this.root));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.channel.reset();
    await this.end;
    assert.deepEqual(this.openFiles(), []);
    await Deno.remove(this.root, { recursive: true });
  }
}
