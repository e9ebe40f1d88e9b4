/**
 * One API server and how krun proves who it is to it, from whatever source: a kubeconfig, the files of a Pod. Data only; files
 * are named, not read.
 *
 * @module
 */
import type { ClusterSource } from "./cluster.ts";

/** PEM text, or the absolute path of the file that holds it. */
export type PemSource = { readonly pem: string } | { readonly file: string };

/** An `exec` user: a program that prints an ExecCredential (`client.authentication.k8s.io`). */
export interface ExecConfig {
  readonly apiVersion: string;
  /** Absolute when the kubeconfig gives a path; a bare name is looked up in PATH. */
  readonly command: string;
  readonly args: readonly string[];
  readonly env: Readonly<Record<string, string>>;
  readonly interactiveMode: "Never" | "IfAvailable" | "Always";
  readonly provideClusterInfo: boolean;
  readonly installHint?: string;
  /** The cluster's extension `client.authentication.k8s.io/exec`, handed to the program with the cluster. */
  readonly clusterConfig?: unknown;
}

/** An `auth-provider` user. */
export interface AuthProviderConfig {
  readonly name: string;
  readonly config: Readonly<Record<string, string>>;
}

/** Whom the API server is to treat us as (`as`, `as-uid`, `as-groups`, `as-user-extra`). */
export interface Impersonation {
  readonly user: string;
  readonly uid?: string;
  readonly groups: readonly string[];
  readonly extra: Readonly<Record<string, readonly string[]>>;
}

/** How krun proves who it is. Nothing set: anonymous. */
export interface UserConfig {
  readonly certificate?: { readonly certificate: PemSource; readonly key: PemSource };
  readonly token?: string;
  /** Wins over `token`, and is read again when it changes. */
  readonly tokenFile?: string;
  readonly basic?: { readonly username: string; readonly password: string };
  readonly exec?: ExecConfig;
  readonly authProvider?: AuthProviderConfig;
  readonly impersonate?: Impersonation;
}

/** One API server and one user of it, from whatever source. */
export interface ClusterConfig {
  readonly source: ClusterSource;
  /** URL without a slash at its end; may have a path prefix. */
  readonly server: string;
  /** `undefined`: the system's roots. */
  readonly ca: PemSource | undefined;
  readonly tlsServerName?: string;
  readonly proxyUrl?: string;
  readonly insecureSkipTlsVerify?: boolean;
  /** As in `ApiEndpoint`. */
  readonly refusesServiceAccounts?: string;
  readonly user: UserConfig;
}
