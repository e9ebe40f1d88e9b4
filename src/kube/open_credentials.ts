/**
 * Which kind of credentials a user has. In: the user of a {@linkcode ClusterConfig}. Out: open {@linkcode Credentials}.
 *
 * @module
 */
import type { ClusterConfig } from "../core/cluster_config.ts";
import { type Credentials, type CredentialsOptions, FileCredentials } from "./credentials.ts";

/** The credentials of a cluster's user. What is not needed by this user is not loaded. */
export async function openCredentials(config: ClusterConfig, options: CredentialsOptions): Promise<Credentials> {
  const own = new FileCredentials(config, options);
  if (config.user.exec) {
    const { ExecCredentials } = await import("./exec_credentials.ts");
    return new ExecCredentials(config, { ...options, exec: config.user.exec, own });
  }
  if (config.user.authProvider?.name === "oidc") {
    const { OidcCredentials } = await import("./oidc_credentials.ts");
    return new OidcCredentials(config, { ...options, provider: config.user.authProvider, own });
  }
  if (config.user.authProvider) {
    const { AuthProviderCredentials } = await import("./auth_provider_credentials.ts");
    return new AuthProviderCredentials(config, { provider: config.user.authProvider, own });
  }
  return own;
}
