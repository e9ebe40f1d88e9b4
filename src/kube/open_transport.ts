/**
 * The one choice of a transport, made once per cluster. In: where the server is. Out: a {@linkcode Transport}, and the endpoint
 * as the program may be told of it.
 *
 * @module
 */
import type { ApiEndpoint } from "../core/cluster.ts";
import type { ClusterConfig } from "../core/cluster_config.ts";
import { KrunError } from "../core/errors.ts";
import type { FileReader } from "../core/file_reader.ts";
import { proxyFor, type ProxySettings } from "../core/proxy_choice.ts";
import { isAtLeast } from "../core/runtime_version.ts";
import { credentialsOf } from "./api_error.ts";
import { isBlockedPort } from "./blocked_ports.ts";
import { pemOf } from "./credentials.ts";
import { denoFiles, readFailure } from "./deno_files.ts";
import { NativeTransport } from "./native_transport.ts";
import { requireRuntime } from "./runtime.ts";
import type { Transport } from "./transport.ts";

/** In node:https, 2.6.10 takes a certificate for any name, and cannot go without a check; tested from 2.9.0 on. */
const NODE_TRANSPORT_NEEDS = "2.9.0";

/** Options of {@linkcode openTransport}. */
export interface OpenTransportOptions {
  /** Proxies of krun's environment. */
  readonly proxy?: ProxySettings | undefined;
  /** CAs for a server whose CA nobody gives. @default {Deno's own} */
  readonly roots?: (() => Promise<readonly string[]>) | undefined;
  /** Reads the CA's file. @default {Deno's} */
  readonly files?: FileReader | undefined;
}

/**
 * Reads the CA and makes the transport that the cluster needs; connects to nothing.
 *
 * @throws {KrunError} `CredentialsUnavailable` when the CA's file cannot be read; `RuntimeTooOld` when this runtime would verify
 * less than it is asked to; `KubeconfigInvalid` for a combination that no transport has.
 */
export async function openTransport(
  config: ClusterConfig,
  { proxy = {}, roots, files = denoFiles }: OpenTransportOptions = {},
): Promise<{ transport: Transport; endpoint: ApiEndpoint }> {
  const { server, tlsServerName, insecureSkipTlsVerify = false, refusesServiceAccounts } = config;
  const proxyUrl = config.proxyUrl ?? proxyFor(new URL(server), proxy);
  const caPem = readCa(config, files);
  const endpoint: ApiEndpoint = {
    server,
    caPem,
    ...(tlsServerName === undefined ? {} : { tlsServerName }),
    ...(insecureSkipTlsVerify ? { insecureSkipTlsVerify } : {}),
    ...(proxyUrl === undefined ? {} : { proxyUrl }),
    ...(refusesServiceAccounts === undefined ? {} : { refusesServiceAccounts }),
  };
  const isHttp = server.startsWith("http:");
  const needsRoots = caPem === undefined && !isHttp && !insecureSkipTlsVerify;
  const trusted = needsRoots ? (await roots?.())?.join("\n") || undefined : caPem;
  const name = specialOf(config);
  if (isHttp || name === undefined) {
    return { transport: new NativeTransport({ server, caPem: trusted, proxyUrl }), endpoint };
  }
  requireRuntime(NODE_TRANSPORT_NEEDS, `${name} of ${credentialsOf(config.source)}`);
  if (proxyUrl?.startsWith("socks")) {
    const message = `Cannot use ${name} of ${credentialsOf(config.source)}: krun has it not through a socks proxy`;
    throw new KrunError("KubeconfigInvalid", message, "use an http proxy, or a server name that is in the certificate");
  }
  const { NodeTransport } = await import("./node_transport.ts");
  const options = { server, caPem: trusted, tlsServerName, insecureSkipTlsVerify, proxyUrl };
  return { transport: new NodeTransport(options), endpoint };
}

/** What Deno's `fetch` cannot do for this cluster, in a person's words; `undefined` when it does all. */
function specialOf({ server, tlsServerName, insecureSkipTlsVerify }: ClusterConfig): string | undefined {
  if (insecureSkipTlsVerify) return "insecure-skip-tls-verify";
  if (tlsServerName !== undefined) return "tls-server-name";
  // Empty where it is that of https.
  const { port } = new URL(server);
  // 2.6.10 connects to every port.
  const isRefused = port !== "" && isBlockedPort(Number(port)) && isAtLeast(Deno.version.deno, NODE_TRANSPORT_NEEDS);
  return isRefused ? `port ${port}` : undefined;
}

function readCa({ ca, source }: ClusterConfig, files: FileReader): string | undefined {
  if (!ca) return undefined;
  const file = "file" in ca ? ca.file : "";
  const place = source.kind === "in-cluster" ? "" : ` of context "${source.context}" in kubeconfig "${source.where}"`;
  const invalid = (state: string, cause?: unknown) => {
    const message = `Cannot read certificate-authority "${file}"${place}: ${state}`;
    return new KrunError("CredentialsUnavailable", message, "give the CA of this cluster, as PEM", { cause });
  };
  let pem: string;
  try {
    pem = pemOf(ca, files);
  } catch (cause) {
    throw invalid(readFailure(cause), cause);
  }
  // Deno takes any text for a CA, and then trusts nobody without saying why.
  if (!pem.includes("-----BEGIN CERTIFICATE-----")) throw invalid("it holds no PEM certificate");
  return pem;
}
