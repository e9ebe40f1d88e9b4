/**
 * What the table of settings says of each variable.
 *
 * @module
 */

/** Headings of the table, in the order in which they are printed. */
export const SETTING_GROUPS = {
  cluster: "Where the cluster is",
  google: "Google Cloud",
  workload: "Who the workload is",
  mounts: "What is mounted",
  references: "References in values",
  program: "How the program runs",
  mesh: "The service mesh",
  ssh: "The debug SSH server",
  krun: "krun itself",
  platform: "Read from the platform",
  reserved: "Names of the original program that krun does not support yet",
} as const;

/** What a reserved setting waits for. */
export type ReservedFor = "a managed mesh";

/** One variable that krun reads. */
export interface Setting {
  /** The variable; `<...>` at its end stands for any text. */
  readonly env: string;
  /** Under which heading it stands. */
  readonly group: keyof typeof SETTING_GROUPS;
  /** What the value is: a path, seconds, one of some words. */
  readonly unit: string;
  /** What its absence means. An empty value is the same as absence. */
  readonly unset: string;
  /** What it does, one sentence without full stop. */
  readonly says: string;
  /** A value that would do. */
  readonly example: string;
  /** `krun`: taken out of the program's environment. `program`: reaches the program unchanged. */
  readonly seenBy: "krun" | "program";
  /** It is known but has no effect yet, because krun lacks this. */
  readonly reserved?: ReservedFor;
}
