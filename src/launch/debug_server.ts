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
import { callersDescriptors } from "../core/open_files.ts";
import type { Env } from "../core/pod_inputs.ts";
import { join } from "../core/posix_path.ts";
import { accountOf } from "../core/session_env.ts";
import type { SshAuthorities } from "../core/ssh_authorities.ts";
import { SSH_HOST_KEY, SSH_SECRET } from "../core/ssh_secret_names.ts";
import { systemClock } from "../pod/clock.ts";
import { loadLibc } from "../pod/libc.ts";
import type { Processes } from "../pod/process.ts";
import type { HostKey } from "../ssh/host_key.ts";
import type { Ssh2 } from "../ssh/ssh2.ts";
import type { SshServer } from "../ssh/ssh_server.ts";
import { keptText } from "./kept_file.ts";
import { machineFile, machineRunAs } from "./machine_run_as.ts";
import type { Run } from "./run.ts";
import { addressesText, sshAddresses, sshAddressHint } from "./ssh_addresses.ts";

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

/** How long after a server could not be had it is tried again, milliseconds: its port may be free then. */
const AGAIN_MS = 30_000;

/** The server of one run. Disposing it ends every session. */
export class DebugServer implements AsyncDisposable {
  readonly #run: Run;
  readonly #options: DebugServerOptions;
  readonly #over = new AbortController();
  #following: Promise<void> = Promise.resolve();
  #authorities: SshAuthorities | undefined;
  #hostKeys: readonly HostKey[] = [];
  #ownKey: HostKey | undefined;
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
    this.#run.log[level](event, { reason: reason.message });
  }

  /** Whether a setting asks for a server, not the Secret alone. */
  get #isAskedFor(): boolean {
    const { listen, authorizedKeys, rbac } = this.#run.settings.ssh;
    return listen !== undefined || authorizedKeys !== undefined || rbac;
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
    this.#changing = this.#changing.then(() => this.#apply(object as V1Secret | undefined)).catch((cause) => {
      const { listen, authorizedKeys } = this.#run.settings.ssh;
      const at = addressesText(sshAddresses({ listen, authorizedKeys }));
      const told = `the ssh server cannot be had at ${at}`;
      this.#run.log[this.#isNews(told) ? "warn" : "debug"](told, {
        reason: (cause as Error).message,
        hint: hintFor(cause),
      });
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
    const { settings: { ssh }, log } = this.#run;
    const { sshAuthorities } = await import("../core/ssh_authorities.ts");
    this.#authorities = sshAuthorities(ssh.authorizedKeys, secret?.data);
    for (const warning of this.#authorities.warnings) {
      if (this.#isNews(warning)) log.warn("an ssh key is not used", { reason: warning });
    }
    const { cluster, identity: { namespace } } = this.#run.plan;
    // Whoever has to go does not stay for what comes after.
    this.#server?.judgeAgain();
    const takesTokens = ssh.rbac && cluster !== undefined && namespace !== undefined;
    if (this.#authorities.authorized.length === 0 && !takesTokens) {
      this.#tellNobody();
      return await this.#close();
    }
    const before = this.#hostKeys;
    await this.#readHostKeys();
    if (!this.#server) return this.#over.signal.aborted ? undefined : await this.#open();
    const hostKey = await fingerprints(this.#hostKeys);
    if (hostKey !== await fingerprints(before)) log.info("ssh server has other host keys", { hostKey });
  }

  /** Whoever has asked for a server is told why there is none. */
  #tellNobody(): void {
    const { settings: { ssh }, plan: { cluster }, log } = this.#run;
    const event = "no ssh server: there is nobody who may log in";
    if (!this.#isAskedFor || !this.#isNews(event)) return;
    const noCluster = ssh.rbac ? "KRUN_SSH_RBAC needs a cluster and a namespace" : undefined;
    const ofSecret = cluster ? `, or Secret ${SSH_SECRET} one` : "";
    log.warn(event, { reason: noCluster, hint: `give SSH_AUTH a public key${ofSecret}` });
  }

  async #close(): Promise<void> {
    const server = this.#server;
    if (!server) return;
    this.#server = undefined;
    await server.end("nobody may log in any more");
    this.#run.log.info("ssh server closed: nobody may log in any more");
  }

  /** Those of the Secret, else krun's own. */
  async #readHostKeys(): Promise<void> {
    const [{ readHostKey }, ssh2] = await Promise.all([import("../ssh/host_key.ts"), this.#loadSsh2()]);
    const keys: HostKey[] = [];
    for (const { name, text } of this.#authorities!.hostKeys) {
      const key = readHostKey(ssh2, text);
      if (typeof key !== "string") keys.push(key);
      else this.#run.log.warn("an ssh host key is not used", { secret: SSH_SECRET, key: name, reason: key });
    }
    this.#hostKeys = keys.length > 0 ? keys : [await this.#readOwnHostKey()];
  }

  /** Where krun has a folder it stays the same one; else clients meet a new one after each start. */
  async #readOwnHostKey(): Promise<HostKey> {
    if (this.#ownKey) return this.#ownKey;
    const { base, outer } = this.#run;
    const [{ makeHostKey, readHostKey }, ssh2] = await Promise.all([
      import("../ssh/host_key.ts"),
      this.#loadSsh2(),
    ]);
    const kept = base && keptText(join(base.stateFolder, SSH_HOST_KEY), outer.self.uid, { isSecret: true });
    const known = kept === undefined ? undefined : readHostKey(ssh2, kept);
    if (known !== undefined && typeof known !== "string") return this.#ownKey = known;
    const { key, text } = makeHostKey(ssh2);
    base?.keepFile(SSH_HOST_KEY, text);
    return this.#ownKey = key;
  }

  async #loadSsh2(): Promise<Ssh2> {
    return await (this.#ssh2 ??= import("../ssh/ssh2.ts").then(({ loadSsh2 }) => loadSsh2()));
  }

  async #open(): Promise<void> {
    const { plan: { cluster, identity }, settings: { ssh }, log } = this.#run;
    const { serveSsh } = await import("../ssh/ssh_server.ts");
    const { namespace, name } = identity;
    this.#server = serveSsh({
      ssh2: await this.#loadSsh2(),
      addresses: sshAddresses(ssh),
      hostKeys: () => this.#hostKeys,
      authorities: () => this.#authorities!,
      principals: ssh.principals ?? [name.value, ...namespace ? [namespace.value] : []],
      tokens: ssh.rbac && cluster && namespace ? { cluster, namespace: namespace.value } : undefined,
      ...await this.#world(),
      idleTimeoutMs: ssh.idleTimeoutMs,
      mostDescriptors: callersDescriptors(loadLibc().procText("/proc/self/limits")),
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
    const [{ Sessions }, { userFiles }, { ProgramSockets }, { prepareWaiting }] = await Promise.all([
      import("../pod/session.ts"),
      import("../pod/user_files.ts"),
      import("../pod/user_sockets.ts"),
      import("../pod/readable.ts"),
    ]);
    // While descriptors are left: who logs in can use them up.
    prepareWaiting();
    const libc = loadLibc();
    const user = machineRunAs(container, { pod, self: outer.self });
    const cwd = container.workingDir ?? outer.cwd;
    const sockets = new ProgramSockets(libc, user);
    const [passwd, group] = [machineFile("/etc/passwd"), machineFile("/etc/group")];
    const world = {
      ...{ env, cwd, account: accountOf(passwd, user.uid), accounts: accountNames({ passwd, group }) },
      starter: new Sessions({ processes, log, user }),
      files: userFiles(libc, { user, cwd }),
      user,
      // What everybody may read of processes, of whatever user krun is.
      proc: { pids: () => libc.pids(), text: (path: string) => libc.procText(path) },
      isExecutable: (path: string) => sockets.mayExecute(path),
    };
    return { world, sockets };
  }
}

async function fingerprints(keys: readonly HostKey[]): Promise<string> {
  const { hostKeyFingerprint } = await import("../ssh/host_key.ts");
  return keys.map(hostKeyFingerprint).join();
}

function hintFor(cause: unknown): string {
  if (cause instanceof KrunError) return cause.hint;
  return sshAddressHint(cause) ?? "report this as a fault of krun";
}
