/**
 * Puts a context into a kubeconfig file, as kubectl itself would: under its lock, whole or not at all.
 *
 * @module
 */
import { KrunError } from "../core/errors.ts";
import { wholeKubeconfig } from "../core/google_kubeconfig.ts";
import { type KubeconfigEntry, mergeKubeconfigText } from "../core/kubeconfig_merge.ts";
import { basename, dirname, join, resolve } from "../core/posix_path.ts";
import { systemFailure } from "../core/system_failure.ts";
import { yamlText } from "../core/yaml_text.ts";
import { loadYamlParser } from "../kube/yaml_documents.ts";

/**
 * Adds the entry to a file, or replaces the one of its name; all other bytes stay. A file that is new, empty or of comments alone
 * becomes a kubeconfig with that context as its current one. The file's mode is 0600 afterwards, that of a folder that is made for it
 * 0700; a link to it stays a link, also where it leads to nothing yet.
 *
 * @throws {KrunError} `KubeconfigUnwritable`
 */
export async function writeKubeconfig(path: string, entry: KubeconfigEntry): Promise<void> {
  const file = await targetOf(path);
  const parse = await loadYamlParser();
  await makeFolder(dirname(file));
  await using _lock = await locked(file);
  const { text = "", owner } = await existing(file);
  const isNew = text.split("\n").every((line) => /^\s*(#.*)?$/.test(line));
  const merged = isNew
    ? { text: `${text}${text === "" || text.endsWith("\n") ? "" : "\n"}${yamlText(wholeKubeconfig(entry))}` }
    : mergeKubeconfigText(text, entry, (part) => parse(part)[0]?.value);
  if (typeof merged === "string") throw unwritable(path, merged);
  await replace(file, { text: merged.text, owner });
}

/** Linux follows no more of them. */
const MAX_LINKS = 40;

/** Where a path leads, through links, to a file that need not be there. */
async function targetOf(path: string): Promise<string> {
  let target = path;
  for (let links = 0; links < MAX_LINKS; links++) {
    const real = await Deno.realPath(target).catch(() => undefined);
    if (real !== undefined) return real;
    const next = await Deno.readLink(target).catch(() => undefined);
    if (next === undefined) return target;
    target = resolve(dirname(target), next);
  }
  throw unwritable(path, "it is a link that leads nowhere");
}

/** As for a person's first kubeconfig: what is in it is theirs alone. */
async function makeFolder(folder: string): Promise<void> {
  try {
    await Deno.mkdir(folder, { recursive: true, mode: 0o700 });
  } catch (cause) {
    throw unwritable(folder, systemFailure(cause as Error), cause);
  }
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
    const [bytes, { uid, gid }] = await Promise.all([Deno.readFile(file), Deno.stat(file)]);
    // Every byte of it is written again, a byte order mark too.
    const text = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(bytes);
    return { text, owner: { uid, gid } };
  } catch (cause) {
    if (cause instanceof TypeError) throw unwritable(file, "it is not UTF-8");
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
