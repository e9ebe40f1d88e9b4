/**
 * The keys by which clients know the debug SSH server again. In: the Secret's, the state folder. Out: keys, krun's own where the Secret
 * has none of use.
 *
 * @module
 */
import type { SshAuthorities } from "../core/ssh_authorities.ts";
import { SSH_HOST_KEY, SSH_SECRET } from "../core/ssh_secret_names.ts";
import type { HostKey } from "../ssh/host_key.ts";
import type { Ssh2 } from "../ssh/ssh2.ts";
import type { Run } from "./run.ts";
import { keepKeyHint } from "./ssh_faults.ts";

/** Those of one run. */
export class HostKeys {
  readonly #run: Run;
  #own: HostKey | undefined;

  constructor(run: Run) {
    this.#run = run;
  }

  /** Those of the Secret, else krun's own. What of the Secret cannot be used is told. */
  async read(ssh2: Ssh2, { hostKeys }: Pick<SshAuthorities, "hostKeys">): Promise<readonly HostKey[]> {
    const { readHostKey } = await import("../ssh/host_key.ts");
    const read = hostKeys.map(({ name, text }) => ({ name, key: readHostKey(ssh2, text) }));
    const keys = read.flatMap(({ key }) => typeof key === "string" ? [] : [key]);
    const instead = keys.length > 0 ? {} : { instead: "krun's own" };
    for (const { name, key } of read) {
      if (typeof key !== "string") continue;
      this.#run.log.warn("an ssh host key is not used", { secret: SSH_SECRET, key: name, reason: key, ...instead });
    }
    return keys.length > 0 ? keys : [await this.#readOwn(ssh2)];
  }

  /** Where krun has a folder it stays the same one; else clients meet a new one after each start, and that is told. */
  async #readOwn(ssh2: Ssh2): Promise<HostKey> {
    if (this.#own) return this.#own;
    const { base, outer, log, plan } = this.#run;
    const [{ makeHostKey }, { keptHostKey, OTHER_KEY_SEEN }] = await Promise.all([
      import("../ssh/host_key.ts"),
      import("./kept_host_key.ts"),
    ]);
    const kept = base && keptHostKey(ssh2, { stateFolder: base.stateFolder, uid: outer.self.uid });
    if (kept && "key" in kept) return this.#own = kept.key;
    if (kept) {
      log.warn("the kept ssh host key is not used", { path: kept.path, reason: kept.fault, hint: OTHER_KEY_SEEN });
    }
    const { key, text } = makeHostKey(ssh2);
    if (base) base.keepFile(SSH_HOST_KEY, text);
    else log.info("the ssh host key is new at each start", { hint: keepKeyHint(plan) });
    return this.#own = key;
  }
}
