/**
 * The `users` entries of a kubeconfig. In: one entry's fields. Out: a {@linkcode UserConfig}.
 *
 * @module
 */
import type { AuthProviderConfig, ExecConfig, Impersonation, UserConfig } from "./cluster_config.ts";
import type { Fields, KubeconfigPlace } from "./kubeconfig_place.ts";

/**
 * The user of one context.
 *
 * @param cluster fields of the context's cluster: it may hold an extension for the user's exec plugin
 * @throws {KrunError} `KubeconfigInvalid`
 */
export function userFields(fields: Fields, at: KubeconfigPlace, cluster: Fields): UserConfig {
  const certificate = clientCertificate(fields, at);
  const token = at.optionalText(fields, "token");
  const tokenFile = at.optionalText(fields, "tokenFile");
  const basic = basicAuth(fields, at);
  const exec = fields.exec ? execConfig(at.fields(fields.exec, "exec"), at, cluster) : undefined;
  const authProvider = fields["auth-provider"] ? authProviderConfig(at.fields(fields["auth-provider"]), at) : undefined;
  const impersonate = impersonation(fields, at);
  const ways = { token: token ?? tokenFile, basicAuth: basic, exec, "auth-provider": authProvider };
  const used = Object.entries(ways).filter(([, value]) => value !== undefined).map(([way]) => way);
  if (used.length > 1) throw at.fault(`it has more than one way to prove itself: ${used.join(", ")}`);
  return {
    ...(certificate ? { certificate } : {}),
    ...(token === undefined ? {} : { token }),
    ...(tokenFile === undefined ? {} : { tokenFile: at.path(tokenFile) }),
    ...(basic ? { basic } : {}),
    ...(exec ? { exec } : {}),
    ...(authProvider ? { authProvider } : {}),
    ...(impersonate ? { impersonate } : {}),
  };
}

function clientCertificate(fields: Fields, at: KubeconfigPlace): UserConfig["certificate"] {
  const certificate = at.pem(fields, "client-certificate");
  const key = at.pem(fields, "client-key");
  if (!certificate && !key) return undefined;
  if (!certificate) throw at.fault("it has a client-key and no client-certificate");
  if (!key) throw at.fault("it has a client-certificate and no client-key");
  return { certificate, key };
}

function basicAuth(fields: Fields, at: KubeconfigPlace): UserConfig["basic"] {
  const username = at.optionalText(fields, "username");
  const password = at.optionalText(fields, "password");
  return username === undefined && password === undefined
    ? undefined
    : { username: username ?? "", password: password ?? "" };
}

function execConfig(exec: Fields, at: KubeconfigPlace, cluster: Fields): ExecConfig {
  const apiVersion = at.text(exec, "apiVersion");
  if (!/^client\.authentication\.k8s\.io\/v1(beta1)?$/.test(apiVersion)) {
    throw at.fault(`its exec apiVersion "${apiVersion}" is neither client.authentication.k8s.io/v1 nor v1beta1`);
  }
  // v1 wants the mode to be said, v1beta1 takes IfAvailable.
  const mode = at.optionalText(exec, "interactiveMode") ?? (apiVersion.endsWith("beta1") ? "IfAvailable" : "unset");
  if (mode !== "Never" && mode !== "IfAvailable" && mode !== "Always") {
    throw at.fault(`its exec interactiveMode is ${mode}, not Never, IfAvailable or Always`);
  }
  const command = at.text(exec, "command");
  const installHint = at.optionalText(exec, "installHint");
  const clusterConfig = execExtension(cluster, at);
  return {
    apiVersion,
    // As Go's exec: a name with a slash is a path, and a relative path is taken from the kubeconfig's folder.
    command: command.includes("/") ? at.path(command) : command,
    args: at.texts(exec, "args"),
    env: Object.fromEntries(
      at.list(exec, "env").map((item) => {
        const pair = at.fields(item, "an entry of exec env");
        return [at.text(pair, "name"), at.optionalText(pair, "value") ?? ""];
      }),
    ),
    interactiveMode: mode,
    provideClusterInfo: at.flag(exec, "provideClusterInfo"),
    ...(installHint === undefined ? {} : { installHint }),
    ...(clusterConfig === undefined ? {} : { clusterConfig }),
  };
}

function execExtension(cluster: Fields, at: KubeconfigPlace): unknown {
  const named = at.list(cluster, "extensions").map((item) => at.fields(item, `an entry of "extensions"`));
  return named.find((item) => item.name === "client.authentication.k8s.io/exec")?.extension;
}

function authProviderConfig(provider: Fields, at: KubeconfigPlace): AuthProviderConfig {
  const config = at.fields(provider.config ?? {}, "auth-provider config");
  const entries = Object.keys(config).map((key) => [key, at.optionalText(config, key) ?? ""] as const);
  return { name: at.text(provider, "name"), config: Object.fromEntries(entries) };
}

function impersonation(fields: Fields, at: KubeconfigPlace): Impersonation | undefined {
  const user = at.optionalText(fields, "as");
  const uid = at.optionalText(fields, "as-uid");
  const groups = at.texts(fields, "as-groups");
  const extraFields = at.fields(fields["as-user-extra"] ?? {}, "as-user-extra");
  const extra = Object.fromEntries(Object.keys(extraFields).map((key) => [key, at.texts(extraFields, key)]));
  if (user === undefined) {
    if (uid !== undefined || groups.length > 0 || Object.keys(extra).length > 0) {
      throw at.fault("it has as-uid, as-groups or as-user-extra without as");
    }
    return undefined;
  }
  return { user, ...(uid === undefined ? {} : { uid }), groups, extra };
}
