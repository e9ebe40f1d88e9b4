/**
 * Credentials of the auth-provider users that kubectl itself has dropped (`gcp`, `azure`), by @kubernetes/client-node, which
 * still knows them. Loaded for such a user alone: 400 ms and 86 MB.
 *
 * @module
 */
import type { KubeConfig } from "@kubernetes/client-node";
import type { AuthProviderConfig, ClusterConfig } from "../core/cluster_config.ts";
import { KrunError } from "../core/errors.ts";
import { credentialsOf } from "./api_error.ts";
import type { Credential, Credentials } from "./credentials.ts";
import { loadPackage } from "./package.ts";
import { requireRuntime } from "./runtime.ts";
import { headerFault } from "./transport.ts";

/** Options of {@linkcode AuthProviderCredentials}. */
export interface AuthProviderCredentialsOptions {
  readonly provider: AuthProviderConfig;
  /** What the user has besides. */
  readonly own: Credentials;
}

const KNOWN = ["gcp", "azure"];

/** A provider of client-node; it renews its token by the `cmd-path` of its configuration when that has expired. */
export class AuthProviderCredentials implements Credentials {
  readonly #config: ClusterConfig;
  readonly #own: Credentials;
  readonly #name: string;
  /** The provider keeps token and expiry in its configuration, so it gets a copy of it. */
  readonly #state: Record<string, string>;
  #kubeConfig: Promise<KubeConfig> | undefined;
  #last: Credential | undefined;

  /** @throws {KrunError} `KubeconfigInvalid` for another provider. */
  constructor(config: ClusterConfig, { provider, own }: AuthProviderCredentialsOptions) {
    this.#config = config;
    this.#own = own;
    this.#name = provider.name;
    this.#state = { ...provider.config };
    if (!KNOWN.includes(provider.name)) {
      const message = `Cannot use ${credentialsOf(config.source)}: krun has no auth-provider "${provider.name}"`;
      throw new KrunError("KubeconfigInvalid", message, "use an exec plugin in the kubeconfig");
    }
  }

  async current(signal?: AbortSignal): Promise<Credential> {
    const own = await this.#own.current(signal);
    const authorization = await this.#authorization();
    const headers = [...own.headers, ["authorization", authorization] as const];
    if (String(this.#last?.headers) !== String(headers)) this.#last = { headers, certificate: own.certificate };
    return this.#last!;
  }

  async refused(used: Credential, signal?: AbortSignal): Promise<boolean> {
    if (this.#state["cmd-path"]) this.#state["expiry"] = new Date(0).toISOString();
    return await this.current(signal) !== used;
  }

  async #authorization(): Promise<string> {
    const headers: Record<string, unknown> = {};
    try {
      await (await this.#load()).applyToHTTPSOptions({ headers } as Parameters<KubeConfig["applyToHTTPSOptions"]>[0]);
    } catch (cause) {
      if (cause instanceof KrunError) throw cause;
      throw this.#fault("the provider failed", cause);
    }
    const { Authorization: authorization } = headers;
    if (typeof authorization !== "string") throw this.#fault("the provider gave no token");
    const state = headerFault(authorization);
    if (state !== undefined) throw this.#fault(`the token it gave cannot be sent: ${state}`);
    return authorization;
  }

  #load(): Promise<KubeConfig> {
    const { source, server } = this.#config;
    requireRuntime("2.9.0", `auth-provider "${this.#name}" of ${credentialsOf(source)}`);
    const load = () => import("@kubernetes/client-node");
    return this.#kubeConfig ??= loadPackage("@kubernetes/client-node", load).then(({ KubeConfig }) => {
      const kubeConfig = new KubeConfig();
      const user = { name: source.user ?? "", authProvider: { name: this.#name, config: this.#state } };
      kubeConfig.loadFromClusterAndUser({ name: source.cluster ?? "", server, skipTLSVerify: false }, user);
      return kubeConfig;
    });
  }

  #fault(state: string, cause?: unknown): KrunError {
    const message = `Cannot get a token from auth-provider "${this.#name}" for ${
      credentialsOf(this.#config.source)
    }: ${state}`;
    return new KrunError("CredentialsUnavailable", message, "make the cmd-path of this user work by hand", { cause });
  }
}
