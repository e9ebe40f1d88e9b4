/**
 * The state of everything that is mounted, in the words that the summary line, `--check`, the status page and the metrics
 * share.
 *
 * @module
 */
import type { FollowState, ObjectKind } from "./cluster.ts";

/** One mounted volume. */
export interface VolumeStatus {
  /** Its name in the Pod. */
  readonly volume: string;
  /** Kind of source as the Pod spells it: `secret`, `configMap`, `projected`, `downwardAPI`, `emptyDir`. */
  readonly source: string;
  /** Final paths on this machine. */
  readonly paths: readonly string[];
  /** Secrets and ConfigMaps that it is made from. */
  readonly objects: readonly { readonly kind: ObjectKind; readonly name: string }[];
  /** Tokens in it; an empty audience is the API server's own. */
  readonly tokens: readonly { readonly serviceAccount: string; readonly audience: string }[];
  /** Number of files. */
  readonly keys: number;
  /** When the files last became new, milliseconds since the epoch. */
  readonly lastChangeMs: number;
  /** Why the files are older than what they are made from. */
  readonly error?: string;
}

/** One object that a mounted volume or an environment is made from. */
export interface ObjectStatus {
  /** `Secret` or `ConfigMap`. */
  readonly kind: ObjectKind;
  /** In the Pod's namespace. */
  readonly name: string;
  /** It exists. */
  readonly found: boolean;
  /** Made by krun itself, not read from the cluster. */
  readonly local: boolean;
  /** Absent before the object is followed. */
  readonly state?: FollowState;
  /** Versions that came in since the start. */
  readonly changes: number;
}

/** One token. */
export interface TokenStatus {
  /** Of the service account. */
  readonly namespace: string;
  /** Whose token it is. */
  readonly serviceAccount: string;
  /** Empty: the API server's own audience. */
  readonly audience: string;
  /** The life that was asked for; what the server granted decides. */
  readonly expirationSeconds: number;
  /** Milliseconds since the epoch, by this machine's clock. */
  readonly expiresAtMs: number;
  /** Renewals that succeeded since the start. */
  readonly renewals: number;
  /** Renewals that failed since the start. */
  readonly failures: number;
  /** Why the last renewal failed; absent after one that succeeded. */
  readonly error?: string;
}

/** Everything. */
export interface MountStatus {
  /** In Pod order. */
  readonly volumes: readonly VolumeStatus[];
  /** Each once, whoever uses it. */
  readonly objects: readonly ObjectStatus[];
  /** Each once, whoever uses it. */
  readonly tokens: readonly TokenStatus[];
}
