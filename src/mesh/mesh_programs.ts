/**
 * The programs of the mesh on this machine. In: PATH. Out: where they are.
 *
 * @module
 */

/** Where Istio's images and packages have them. */
const USUAL_FOLDER = "/usr/local/bin";

/** Where images and packages have the bootstrap's template. */
export const BOOTSTRAP_TEMPLATE = "/var/lib/istio/envoy/envoy_bootstrap_tmpl.json";

/**
 * Path of a program that can be executed: in the usual folder, else the first of PATH's. Synchronous, since every start asks and
 * it is 0.2 ms so. Needs `--allow-read`.
 */
export function meshProgram(name: string, path: string): string | undefined {
  const folders = [USUAL_FOLDER, ...path.split(":").filter((folder) => folder.startsWith("/"))];
  return folders.map((folder) => `${folder}/${name}`).find(isExecutable);
}

function isExecutable(path: string): boolean {
  try {
    const { isFile, mode } = Deno.statSync(path);
    return isFile && ((mode ?? 0) & 0o111) !== 0;
  } catch {
    return false;
  }
}

/** Whether a path is a file. */
export async function isFile(path: string): Promise<boolean> {
  return await Deno.stat(path).then((info) => info.isFile, () => false);
}
