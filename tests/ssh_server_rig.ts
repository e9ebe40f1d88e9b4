/**
 * The debug SSH server without sessions, on a clock that the test moves. In: who is authorized. Out: a port, and clients of it. For tests
 * only.
 *
 * @module
 */
import assert from "node:assert/strict";
import { sshAuthorities } from "../src/core/ssh_authorities.ts";
import { SSH_MESSAGE } from "../src/core/ssh_messages.ts";
import { makeHostKey } from "../src/ssh/host_key.ts";
import { loadSsh2 } from "../src/ssh/ssh2.ts";
import { serveSsh } from "../src/ssh/ssh_server.ts";
import type { SshServer, SshServerOptions } from "../src/ssh/ssh_server_options.ts";
import { FakeClock } from "./fake_clock.ts";
import { RecordingLog } from "./recording_log.ts";
import { softwareKey } from "./ssh_keys.ts";
import { LoginClient } from "./ssh_login_client.ts";

/** A key that is authorized. */
export const ann = softwareKey("ssh-ed25519", "ann");

/** Its line. */
export const ANNS_LINE = `${ann.publicKey.type} ${ann.publicKey.base64} ann`;

/** A server. */
export interface ServerRig extends AsyncDisposable {
  readonly server: SshServer;
  readonly clock: FakeClock;
  readonly log: RecordingLog;
  readonly port: number;
  /** From now on these lines say who is authorized. */
  authorize(lines: string): void;
}

/** Options of {@linkcode openServer}. */
export interface ServerRigOptions extends Pick<SshServerOptions, "tokens" | "mostConnections"> {
  /** Who is authorized. @default {ann} */
  readonly lines?: string;
}

/** Opens one. */
export async function openServer(
  { lines = ANNS_LINE, tokens, ...more }: ServerRigOptions = {},
): Promise<ServerRig> {
  const ssh2 = await loadSsh2();
  const { key: hostKey } = makeHostKey(ssh2);
  const [clock, log] = [new FakeClock(), new RecordingLog()];
  let authorities = sshAuthorities(lines, undefined);
  const server = serveSsh({
    ...{ ssh2, clock, log, principals: [], mostDescriptors: 1000, idleTimeoutMs: 0 },
    addresses: [{ hostname: "127.0.0.1", port: 0 }],
    ...{ tokens, ...more },
    hostKeys: () => [hostKey],
    authorities: () => authorities,
    // Nobody opens a session here.
    world: {} as SshServerOptions["world"],
    sockets: {} as SshServerOptions["sockets"],
  });
  return {
    ...{ server, clock, log, port: server.addresses[0]!.port },
    authorize: (lines) => {
      authorities = sshAuthorities(lines, undefined);
      server.judgeAgain();
    },
    [Symbol.asyncDispose]: () => server[Symbol.asyncDispose](),
  };
}

/** Logs in with the key. */
export async function login(port: number): Promise<LoginClient> {
  const client = await LoginClient.connect(port);
  client.offer({ algorithm: "ssh-ed25519", blob: ann.publicKey.blob, sign: (data) => ann.sign(data) });
  assert.equal((await client.next())[0], SSH_MESSAGE.userauthSuccess);
  return client;
}

/** A connection that says nothing; whether the server has ended it. */
export async function lurk(port: number): Promise<AsyncDisposable & { readonly isOver: boolean }> {
  const conn = await Deno.connect({ hostname: "127.0.0.1", port });
  let isOver = false;
  const reading = (async () => {
    while (await conn.read(new Uint8Array(1024)) !== null);
  })().catch(() => {}).finally(() => isOver = true);
  return {
    get isOver() {
      return isOver;
    },
    async [Symbol.asyncDispose]() {
      conn.close();
      await reading;
    },
  };
}
