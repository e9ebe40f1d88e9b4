/**
 * How files are read that a setting or a kubeconfig names.
 *
 * @module
 */

/** Reads whole files as text. Failures are those of `Deno.readTextFile`. */
export interface FileReader {
  /** Reads a file; waits as long as it takes, where that is a pipe. */
  text(path: string): Promise<string>;
  /** Reads a file at once. */
  textSync(path: string): string;
}
