/**
 * The debug SSH server of a run. In: SSH_AUTH, the Secret `sshdebug`, the program. Out: a server that is there while somebody may log in.
 *
 * What serves is loaded only then (docs/decisions.md): ssh2 costs a start 40 ms.
 *
 * @module
 */
import type { V1Container, V1Secret } from "@kubernetes/client-node";
import { accountNames } from "../core/account_names.ts";
import type { WatchedObject } from "../core/cluster.ts";
import { KrunError } from "../core/errors.ts";
import type { LogFields } from "../core/log.ts";
import type { Env } from "../core/pod_inputs.ts";
import { accountOf } from "../core/session_env.ts";
import type { SshAuthorities } from "../core/ssh_authorities.ts";
import { SSH_SECRET } from "../core/ssh_secret_names.ts";
import { sshAskedBy, sshPrincipals } from "../core/ssh_settings.ts";
import { systemClock } from "../pod/clock.ts";
import { loadLibc } from "../pod/libc.ts";
import { callersShare } from "./callers_share.ts";
import type { Processes } from "../pod/process.ts";
import type { HostKey } from "../ssh/host_key.ts";
import type { Ssh2 } from "../ssh/ssh2.ts";
import type { SshServer } from "../ssh/ssh_server_options.ts";
import { machineFile, machineRunAs } from "./machine_run_as.ts";
import type { Run } from "./run.ts";
import { addressesText, sshAddresses } from "./ssh_addresses.ts";
import type { HostKeys } from "./ssh_host_keys.ts";

/** Options of {@linkcode DebugServer}. */
export interface DebugServerOptions {
  readonly processes: Processes;
  /** The program's. */
  readonly container: V1Container;
  /** The program's environment, as it would be started with now. */
  env(): Env;
}

/**
 * How long a server that needs no Secret waits for it, milliseconds: it may hold the host key, and a client that meets another one believes
 * that somebody is in between.
 */
const FIRST_NEWS_MS = 2_000;

/** Where nobody is authorized. */
const NO_SERVER = "no ssh server: there is nobody who may log in";

/** How long after a server could not be had it is tried again, milliseconds: its port may be free then. */
const AGAIN_MS = 30_000;

/** The server of one run. Disposing it ends every session. */
export class DebugServer implements AsyncDisposable {
  readonly #run: Run;
  readonly #options: DebugServerOptions;
  readonly #over = new AbortController();
  #following: Promise<void> = Promise.resolve();
  #authorities: SshAuthorities | undefined;
  #keys: HostKeys | undefined;
  #hostKeys: readonly HostKey[] = [];
  #ssh2: Promise<Ssh2> | undefined;
  #server: SshServer | undefined;
  /** One change after the other. */
  #changing: Promise<void> = Promise.resolve();
  #told = new Set<string>();
  /** The Secret as it was last heard of. */
  #last: WatchedObject | undefined;
  /** What the Secret says is known, or is not waited for any more. */
  #isInformed = false;

  constructor(run: Run, options: DebugServerOptions) {
    this.#run = run;
    this.#options = options;
  }

  /** Opens the server if somebody may log in, and follows the Secret. */
  begin(): void {
    const { plan: { cluster, identity: { namespace } } } = this.#run;
    if (!cluster || !namespace) return this.#openWithoutSecret();
    const ref = { kind: "Secret", namespace: namespace.value, name: SSH_SECRET } as const;
    const { signal } = this.#over;
    this.#following = cluster.follow(ref, {
      signal,
      deliver: (object) => {
        this.#isInformed = true;
        return this.#change(object);
      },
      onState: (_state, reason) => {
        if (!reason) return;
        this.#tellUnreadable(reason);
        this.#openWithoutSecret();
      },
    });
    void systemClock.sleep(FIRST_NEWS_MS, signal).then(() => this.#openWithoutSecret());
  }

  /** Most who run a program in that namespace have no such Secret in mind, and no right to read it. */
  #tellUnreadable(reason: Error): void {
    const event = "ssh: what Secret sshdebug says is not known";
    const level = this.#isAskedFor && this.#isNews(event) ? "warn" : "debug";
    const hint = isForbidden(reason) ? "krun --check prints the Role that lets krun read it" : undefined;
    this.#run.log[level](event, { reason: reason.message, hint });
  }

  /** Whether a setting asks for a server, not the Secret alone. */
  get #isAskedFor(): boolean {
    return sshAskedBy(this.#run.settings.ssh) !== undefined;
  }

  /** Whether it is asked for the first time about a text. */
  #isNews(text: string): boolean {
    const isNews = !this.#told.has(text);
    this.#told.add(text);
    return isNews;
  }

  #openWithoutSecret(): void {
    if (this.#isAskedFor && !this.#isInformed && !this.#over.signal.aborted) this.#change(undefined);
    this.#isInformed = true;
  }

  /** Nobody new is let in, and whoever is in is told. */
  stop(): void {
    const isAsked = this.#run.control.stop.aborted;
    this.#server?.stop(isAsked ? "the program is being stopped" : "the program has ended");
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#over.abort();
    await this.#following;
    await this.#changing;
    await this.#server?.[Symbol.asyncDispose]();
  }

  #change(object: WatchedObject | undefined): Promise<void> {
    this.#last = object;
    this.#changing = this.#changing.then(() => this.#apply(object as V1Secret | undefined)).catch(async (cause) => {
      const { ssh } = this.#run.settings;
      const told = `the ssh server cannot be had at ${addressesText(sshAddresses(ssh))}`;
      const { openingFault } = await import("./ssh_faults.ts");
      const again = `it is tried again every ${AGAIN_MS / 1000} s`;
      this.#run.log[this.#isNews(told) ? "warn" : "debug"](told, { ...await openingFault(cause, ssh), again });
      void this.#again(object);
    });
    return this.#changing;
  }

  async #again(object: WatchedObject | undefined): Promise<void> {
    const { signal } = this.#over;
    await systemClock.sleep(AGAIN_MS, signal);
    if (!signal.aborted && this.#last === object && !this.#server) await this.#change(object);
  }

  async #apply(secret: V1Secret | undefined): Promise<void> {
    const { settings: { ssh }, plan, log } = this.#run;
    const [{ sshAuthorities }, { sshProspects }, { giveKeyHint, tokenFault }] = await Promise.all([
      import("../core/ssh_authorities.ts"),
      import("../core/ssh_prospects.ts"),
      import("./ssh_faults.ts"),
    ]);
    this.#authorities = sshAuthorities(ssh.authorizedKeys, secret?.data);
    const { logins, warnings } = sshProspects(this.#authorities, systemClock.nowMs());
    for (const warning of [...this.#authorities.warnings, ...warnings]) {
      if (this.#isNews(warning)) log.warn("an ssh key is not used", { reason: warning });
    }
    // Whoever has to go does not stay for what comes after.
    this.#server?.judgeAgain();
    const noTokens = tokenFault(ssh, plan);
    if (noTokens) this.#warnOnce("no tokens are taken by ssh", { reason: noTokens.message, hint: noTokens.hint });
    const takesTokens = ssh.rbac && !noTokens;
    const letsIn = logins.length > 0 || takesTokens;
    // One that listens stays while a key is there: whoever comes is refused, with the reason in the log.
    const mayListen = letsIn || (this.#server !== undefined && this.#authorities.authorized.length > 0);
    if (!letsIn && this.#isAskedFor) {
      this.#warnOnce(mayListen ? "nobody may log in to the ssh server" : NO_SERVER, { hint: giveKeyHint(plan) });
    }
    if (!mayListen) return await this.#close();
    const before = this.#hostKeys;
    this.#hostKeys = await this.#readHostKeys(this.#authorities);
    if (!this.#server) return this.#over.signal.aborted ? undefined : await this.#open();
    const hostKey = await fingerprints(this.#hostKeys);
    if (hostKey !== await fingerprints(before)) log.info("ssh server has other host keys", { hostKey });
  }

  #warnOnce(event: string, fields: LogFields): void {
    if (this.#isNews(event)) this.#run.log.warn(event, fields);
  }

  async #readHostKeys(authorities: SshAuthorities): Promise<readonly HostKey[]> {
    const [{ HostKeys }, ssh2] = await Promise.all([import("./ssh_host_keys.ts"), this.#loadSsh2()]);
    this.#keys ??= new HostKeys(this.#run);
    return await this.#keys.read(ssh2, authorities);
  }

  async #close(): Promise<void> {
    const server = this.#server;
    if (!server) return;
    this.#server = undefined;
    await server.end("nobody may log in any more");
    this.#run.log.info("ssh server closed: nobody may log in any more");
  }

  async #loadSsh2(): Promise<Ssh2> {
    return await (this.#ssh2 ??= import("../ssh/ssh2.ts").then(({ loadSsh2 }) => loadSsh2()));
  }

  async #open(): Promise<void> {
    const { plan: { cluster, identity }, settings: { ssh }, log } = this.#run;
    const { serveSsh } = await import("../ssh/ssh_server.ts");
    const { namespace } = identity;
    this.#server = serveSsh({
      ssh2: await this.#loadSsh2(),
      addresses: sshAddresses(ssh),
      hostKeys: () => this.#hostKeys,
      authorities: () => this.#authorities!,
      principals: sshPrincipals(ssh, identity),
      tokens: ssh.rbac && cluster?.endpoint && namespace ? { cluster, namespace: namespace.value } : undefined,
      ...await this.#world(),
      idleTimeoutMs: ssh.idleTimeoutMs,
      mostDescriptors: callersShare(this.#run),
      clock: systemClock,
      log,
    });
    log.info("ssh server listens", {
      addresses: addressesText(this.#server.addresses),
      hostKey: await fingerprints(this.#hostKeys),
    });
  }

  async #world() {
    const { outer, mounted: { pod }, log } = this.#run;
    const { processes, container, env } = this.#options;
    const [{ Sessions }, { userFiles }, { userProc }, { ProgramSockets }, { prepareWaiting }] = await Promise.all([
      import("../pod/session.ts"),
      import("../pod/user_files.ts"),
      import("../pod/user_proc.ts"),
      import("../pod/user_sockets.ts"),
      import("../pod/readable.ts"),
    ]);
    // While descriptors are left: who logs in can use them up.
    prepareWaiting();
    const libc = loadLibc();
    const user = machineRunAs(container, { pod, self: outer.self });
    const cwd = container.workingDir ?? outer.cwd;
    const sockets = new ProgramSockets(libc, { user, cwd });
    const [passwd, group] = [machineFile("/etc/passwd"), machineFile("/etc/group")];
    const world = {
      ...{ env, cwd, account: accountOf(passwd, user.uid), accounts: accountNames({ passwd, group }) },
      starter: new Sessions({ processes, log, user }),
      files: userFiles(libc, { user, cwd }),
      user,
      proc: userProc(libc, user),
      isExecutable: (path: string) => sockets.mayExecute(path),
    };
    return { world, sockets };
  }
}

function isForbidden(reason: Error): boolean {
  return reason instanceof KrunError && reason.code === "Forbidden";
}

async function fingerprints(keys: readonly HostKey[]): Promise<string> {
  const { hostKeyFingerprint } = await import("../ssh/host_key.ts");
  return keys.map(hostKeyFingerprint).join();
}
