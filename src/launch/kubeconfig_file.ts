/**
 * Puts a context into a kubeconfig file, as kubectl itself would: under its lock, whole or not at all.
 *
 * @module
 */
import { KrunError } from "../core/errors.ts";
import { wholeKubeconfig } from "../core/google_kubeconfig.ts";
import { type KubeconfigEntry, mergeKubeconfigText } from "../core/kubeconfig_merge.ts";
import { basename, dirname, join } from "../core/posix_path.ts";
import { systemFailure } from "../core/system_failure.ts";
import { yamlText } from "../core/yaml_text.ts";
import { loadYamlParser } from "../kube/yaml_documents.ts";

/**
 * Adds the entry to a file, or replaces the one of its name; all other bytes stay. A file that is new, or empty, becomes a kubeconfig
 * with that context as its current one. The file's mode is 0600 afterwards; a link to it stays a link.
 *
 * @throws {KrunError} `KubeconfigUnwritable`
 */
export async function writeKubeconfig(path: string, entry: KubeconfigEntry): Promise<void> {
  const file = await Deno.realPath(path).catch(() => path);
  const parse = await loadYamlParser();
  await using _lock = await locked(file);
  const { text, owner } = await existing(file);
  const isNew = text === undefined || text.trim() === "";
  const merged = isNew
    ? { text: yamlText(wholeKubeconfig(entry)) }
    : mergeKubeconfigText(text, entry, (part) => parse(part)[0]?.value);
  if (typeof merged === "string") throw unwritable(path, merged);
  await replace(file, { text: merged.text, owner });
}

/** kubectl's own lock (client-go tools/clientcmd/config.go, lockFile). */
async function locked(file: string): Promise<AsyncDisposable> {
  const lock = `${file}.lock`;
  try {
    (await Deno.open(lock, { write: true, createNew: true, mode: 0o600 })).close();
  } catch (cause) {
    const isHeld = cause instanceof Deno.errors.AlreadyExists;
    throw unwritable(
      file,
      isHeld ? `another program changes it, or has left "${lock}" behind` : systemFailure(cause as Error),
      cause,
    );
  }
  return { [Symbol.asyncDispose]: () => Deno.remove(lock) };
}

type Owner = Pick<Deno.FileInfo, "uid" | "gid">;

async function existing(file: string): Promise<{ text: string | undefined; owner: Owner | undefined }> {
  try {
    const [text, { uid, gid }] = await Promise.all([Deno.readTextFile(file), Deno.stat(file)]);
    return { text, owner: { uid, gid } };
  } catch (cause) {
    if (cause instanceof Deno.errors.NotFound) return { text: undefined, owner: undefined };
    throw unwritable(file, systemFailure(cause as Error), cause);
  }
}

async function replace(file: string, { text, owner }: { text: string; owner: Owner | undefined }): Promise<void> {
  const temporary = join(dirname(file), `.${basename(file)}.${crypto.randomUUID().slice(0, 8)}.krun`);
  try {
    await Deno.writeTextFile(temporary, text, { createNew: true, mode: 0o600 });
    // Root changes the file of somebody who is to read it afterwards.
    if (owner && Deno.uid() === 0) await Deno.chown(temporary, owner.uid, owner.gid);
    await Deno.rename(temporary, file);
  } catch (cause) {
    await Deno.remove(temporary).catch(() => {});
    throw unwritable(file, systemFailure(cause as Error), cause);
  }
}

function unwritable(file: string, state: string, cause?: unknown): KrunError {
  const hint = "name another file, or print the kubeconfig with krun --kubeconfig";
  return new KrunError("KubeconfigUnwritable", `Cannot change kubeconfig "${file}": ${state}`, hint, { cause });
}
