/**
 * The debug SSH server: listens, lets in whom it may, and ends what must end. In: addresses, who is authorized, the world of the
 * workload's program. Out: sessions and forwards.
 *
 * @module
 */
import { clientNetwork } from "../core/client_network.ts";
import { withFields } from "../core/log.ts";
import { LoginPenalties } from "../core/login_penalties.ts";
import type { ConnectionEnds } from "../core/session_env.ts";
import { CHANNEL_REFUSAL } from "../core/ssh_messages.ts";
import { judgeProven, type LoginGrant, type LoginRefusal } from "../core/ssh_login.ts";
import { sameRights } from "../core/ssh_login_rights.ts";
import { strangerToGo } from "../core/ssh_strangers.ts";
import { acceptAll, type Caller, listenAt } from "./callers.ts";
import { ChannelRefused, type ConnectionServices } from "./channel_table.ts";
import { SshConnection } from "./connection.ts";
import { type Client, dismiss, putOut } from "./farewell.ts";
import { forwardRights } from "./forward_rights.ts";
import { Forwards } from "./forwards.ts";
import { createLoginJudge, loginQuestion, type SshLogin } from "./login_judge.ts";
import { P521 } from "./p521.ts";
import { ServerLimits } from "./server_limits.ts";
import { Session, type SessionOptions } from "./session.ts";
import type { SshServer, SshServerOptions } from "./ssh_server_options.ts";

/** Sessions of one connection. */
const MOST_SESSIONS = 64;

/** Why somebody who has logged in cannot stay. */
const TOO_MANY = "this login has as many connections as are left for all others";

/** How long a login may take, milliseconds: somebody may have to make a token meanwhile. */
const LOGIN_MS = 120_000;

/** How often connections are looked at that were idle too long, or whose key has ended, milliseconds. */
const LOOK_MS = 5_000;

/** Listens. @throws {Error} of Deno's, when one of the addresses cannot be had */
export function serveSsh(options: SshServerOptions): SshServer {
  return new Server(options, listenAt(options.addresses));
}

class Server implements SshServer {
  readonly addresses: readonly { readonly hostname: string; readonly port: number }[];
  readonly #options: SshServerOptions;
  readonly #listeners: readonly Deno.TcpListener[];
  readonly #clients = new Set<Client>();
  readonly #penalties = new LoginPenalties();
  readonly #over = new AbortController();
  readonly #running: Promise<void>[];
  readonly #limits: ServerLimits;
  readonly #p521 = new P521();
  #stopReason: string | undefined;

  constructor(options: SshServerOptions, listeners: readonly Deno.TcpListener[]) {
    this.#options = options;
    this.#listeners = listeners;
    this.#limits = new ServerLimits(options.mostDescriptors, options.mostConnections);
    this.addresses = listeners.map(({ addr: { hostname, port } }) => ({ hostname, port }));
    const accepting = { admit: (caller: Caller) => this.#admit(caller), over: this.#over.signal, ...options };
    this.#running = [...listeners.map((listener) => acceptAll(listener, accepting)), this.#watch()];
  }

  judgeAgain(): void {
    for (const client of this.#clients) {
      const verdict = this.#judgeProven(client);
      if (verdict) this.#abide(client, verdict);
    }
  }

  /** A session goes on with the rights that it has begun with, or not at all; its end may be another one now. */
  #abide(client: Client, verdict: LoginGrant | LoginRefusal): void {
    const login = client.login!;
    if (!verdict.allowed) this.#putOut(client, verdict.reason);
    else if (!sameRights(verdict.rights, login.rights)) this.#putOut(client, "what it may do has changed");
    else client.login = { ...login, rights: verdict.rights };
  }

  /** Of what somebody has logged in with; `undefined` for a token, which is not judged again. */
  #judgeProven({ login, ends }: Client): LoginGrant | LoginRefusal | undefined {
    const question = loginQuestion({ ...this.#options, p521: this.#p521, peerAddress: ends.client.address });
    return login?.offer && judgeProven(login.offer, question);
  }

  get #isStopping(): boolean {
    return this.#stopReason !== undefined;
  }

  stop(reason: string): void {
    if (this.#isStopping) return;
    this.#stopReason = reason;
    for (const { sessions } of this.#clients) {
      for (const session of sessions) session.tell(reason);
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.end("the program has ended");
  }

  async end(why: string): Promise<void> {
    const reason = this.#stopReason ??= why;
    this.#over.abort();
    for (const listener of this.#listeners) listener.close();
    const { clock } = this.#options;
    await Promise.all([...this.#clients].map((client) => dismiss(client, { reason, clock })));
    await Promise.all(this.#running);
  }

  #admit({ socket, ends }: Caller): void {
    const { log, clock } = this.#options;
    const isPenalized = this.#penalties.isRefused(ends.client.address, clock.elapsedMs());
    if (isPenalized || this.#isStopping || this.#clients.size >= this.#limits.connections) {
      log.debug("ssh connection refused", { from: ends.client.address, penalized: isPenalized });
      return socket.close();
    }
    this.#makeRoom();
    socket.setNoDelay(true);
    void this.#serve(socket, ends);
  }

  /** Whoever holds connections open without logging in keeps nobody out, and takes no place of somebody at a prompt. */
  #makeRoom(): void {
    const strangers = [...this.#clients].filter(({ login, connection }) => !login && !connection.over.aborted);
    if (strangers.length < this.#limits.strangers) return;
    const goes = strangerToGo(strangers.map(({ ends, connection: { stage } }) => {
      return { network: clientNetwork(ends.client.address), stage };
    }));
    strangers[goes]!.connection.cut();
  }

  async #serve(socket: Deno.TcpConn, ends: ConnectionEnds): Promise<void> {
    const { ssh2, clock } = this.#options;
    const from = `${ends.client.address} ${ends.client.port}`;
    const log = withFields(this.#options.log, { from });
    const { signal: over } = this.#over;
    const judge = createLoginJudge({
      ...this.#options,
      peerAddress: ends.client.address,
      tokens: this.#options.tokens && { ...this.#options.tokens, signal: over, turns: this.#limits.reviews, clock },
      ...{ log, over, p521: this.#p521 },
    });
    const connection: SshConnection<SshLogin> = new SshConnection(socket, {
      ...{ ssh2, clock },
      hostKeys: this.#options.hostKeys(),
      judge: {
        ...judge,
        judge: async (request, options) =>
          this.#isStopping ? { kind: "refused", free: true } : await judge.judge(request, options),
      },
      welcome: (login) => this.#welcome(client, login),
      output: this.#limits.output,
      log,
    });
    const client: Client = { connection, ends, sessions: new Set(), shares: new DisposableStack() };
    this.#clients.add(client);
    void this.#endLate(client);
    await connection.run();
    client.forwards?.close();
    client.shares.dispose();
    this.#clients.delete(client);
    if (client.login) log.info("ssh logout", client.login.who);
    else {
      judge.gone();
      this.#penalize(client);
    }
  }

  /** Nobody takes for ever to log in. */
  async #endLate(client: Client): Promise<void> {
    const { connection } = client;
    await this.#options.clock.sleep(LOGIN_MS, connection.over);
    if (connection.isLoggedIn || connection.over.aborted) return;
    client.isLate = true;
    connection.cut();
  }

  #penalize({ isLate, connection: { failures }, ends: { client: { address } } }: Client): void {
    const { clock, log } = this.#options;
    const how = isLate ? "late" : failures > 0 ? "failed" : "untried";
    const refusedMs = this.#penalties.ended(address, { how, nowMs: clock.elapsedMs() });
    if (refusedMs === undefined) return;
    const forSeconds = Math.ceil(refusedMs / 1000);
    log.info("ssh connections are refused, too many have ended without a login", { from: address, forSeconds });
  }

  #welcome(client: Client, login: SshLogin): ConnectionServices {
    client.login = login;
    const { world, sockets, clock } = this.#options;
    const log = withFields(this.#options.log, login.who);
    const own = this.#limits.of(login.identity);
    const { takeDescriptor, takeLookUp } = own;
    const shares = [takeDescriptor(), own.takeConnection()];
    for (const share of shares) client.shares.use(share);
    const isBeyond = shares.includes(undefined);
    // When it has heard that it is in: else it would ask for another key.
    if (isBeyond) void clock.turn().then(() => this.#putOut(client, TOO_MANY));
    const forwards = new Forwards({
      rights: forwardRights(login.rights),
      sockets,
      log,
      takeDescriptor,
      takeLookUp,
      channels: () => client.connection.channels,
    });
    client.forwards = forwards;
    return {
      windows: this.#limits.windows,
      session: (channel) => {
        // Nor would there be a descriptor for its program.
        if (isBeyond) throw new ChannelRefused(CHANNEL_REFUSAL.shortage, TOO_MANY);
        return this.#openSession(client, { channel, login, world, log, takeDescriptor });
      },
      forward: (target) => forwards.forward(target),
      request: (request) => forwards.request(request),
    };
  }

  #openSession(
    client: Client,
    { channel, login, ...given }: Pick<SessionOptions, "channel" | "world" | "log" | "takeDescriptor"> & {
      login: SshLogin;
    },
  ): Session {
    if (this.#stopReason !== undefined) throw new ChannelRefused(CHANNEL_REFUSAL.prohibited, this.#stopReason);
    const share = client.sessions.size < MOST_SESSIONS ? this.#limits.of(login.identity).takeSession() : undefined;
    if (!share) {
      throw new ChannelRefused(CHANNEL_REFUSAL.shortage, "there are too many sessions");
    }
    const { rights } = login;
    const onOver = () => {
      client.sessions.delete(session);
      share[Symbol.dispose]();
      client.lastSessionMs = this.#options.clock.elapsedMs();
    };
    const session: Session = new Session({
      ...given,
      ...{ channel, rights, ends: client.ends, clock: this.#options.clock, onOver },
    });
    client.sessions.add(session);
    return session;
  }

  async #watch(): Promise<void> {
    const { clock, idleTimeoutMs } = this.#options;
    for (const { signal } = this.#over; !signal.aborted;) {
      await clock.sleep(LOOK_MS, signal);
      for (const client of this.#clients) {
        const { login, connection: { lastUsedMs } } = client;
        if (!login) continue;
        const { expiresAtMs = Infinity } = login.rights;
        if (clock.nowMs() > expiresAtMs) this.#expired(client);
        const idleMs = performance.now() - lastUsedMs;
        if (idleTimeoutMs > 0 && idleMs > idleTimeoutMs) this.#putOut(client, "it was idle too long");
      }
    }
  }

  #expired(client: Client): void {
    const verdict = this.#judgeProven(client);
    // The key may stand on another line too.
    if (verdict) this.#abide(client, verdict);
    else this.#putOut(client, "the token has expired");
  }

  #putOut(client: Client, reason: string): void {
    const { clock, log } = this.#options;
    putOut(client, { reason, clock, log });
  }
}
