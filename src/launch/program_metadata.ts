/**
 * The metadata server that the program sees. In: a run. Out: a server for the processes of its Pod, and how they find it.
 *
 * @module
 */
import type { MetadataFacts } from "../core/metadata_answer.ts";
import { KrunError } from "../core/errors.ts";
import { CLOUD_PLATFORM } from "../core/google_token.ts";
import { parseClusterName } from "../core/google_resource.ts";
import { descendants } from "../core/proc_stat.ts";
import { findConnection } from "../core/socket_table.ts";
import type { Env } from "../core/pod_inputs.ts";
import type { ListenAddress } from "../core/settings.ts";
import { serveMetadata } from "../gcp/metadata_emulator.ts";
import { socketInodes } from "../mesh/network_namespace.ts";
import { type Libc, loadLibc } from "../pod/libc.ts";
import { readProcesses } from "../pod/process_table.ts";
import type { LazyGoogle } from "./lazy_google.ts";
import type { Run } from "./run.ts";

/** Options of {@linkcode serveProgramMetadata}. */
export interface ProgramMetadataOptions {
  /** KRUN_METADATA. */
  readonly address: ListenAddress;
  readonly google: LazyGoogle;
}

/** Serves it until it is disposed. @throws {KrunError} `AddressInUse` */
export async function serveProgramMetadata(
  run: Run,
  { address, google }: ProgramMetadataOptions,
): Promise<AsyncDisposable & { readonly env: Env }> {
  const libc = loadLibc();
  let listening: Pick<Deno.NetAddr, "hostname" | "port"> = address;
  const server = await serveMetadata({
    ...address,
    facts: () => facts(run, google),
    tokens: google.tokens(run.plan),
    mayAsk: (caller) => isOfPod(libc, { pid: run.outer.pid, caller, server: listening }),
    log: run.log,
  });
  listening = { ...address, port: server.port };
  run.log.info("metadata server for the program", { address: server.address });
  const end = new AbortController();
  void warmUp(run, { google, signal: end.signal });
  return {
    // Python's library looks for the server by the second name, all others by the first.
    env: { GCE_METADATA_HOST: server.address, GCE_METADATA_IP: server.address },
    [Symbol.asyncDispose]: async () => {
      end.abort();
      await server[Symbol.asyncDispose]();
    },
  };
}

/** What the program would learn by its first request is told beside its start; and that request then finds a token. */
async function warmUp(
  { plan, log }: Run,
  { google, signal }: { google: LazyGoogle; signal: AbortSignal },
): Promise<void> {
  try {
    await google.tokens(plan).grant({ kind: "access", scopes: [CLOUD_PLATFORM] }, { signal });
  } catch (error) {
    if (signal.aborted || !(error instanceof KrunError)) return;
    log.warn("there are no Google tokens for the program yet", { reason: error.message, hint: error.hint });
  }
}

async function facts({ plan, settings }: Run, google: LazyGoogle): Promise<MetadataFacts> {
  const cloud = await google.cloud();
  const { cluster, planned: { pod } } = plan;
  const name = parseClusterName(`//container.googleapis.com/${cluster?.source.where ?? ""}`);
  const ofMachine = async (path: string) => cloud.sign === undefined ? undefined : await cloud.metadata.get(path);
  const provider = settings.google.workloadProvider ?? cluster?.source.workloadProvider;
  const [account, ownProject, ownNumber, region, fileProject] = await Promise.all([
    cloud.programAccount(plan).email(),
    ofMachine("project/project-id"),
    ofMachine("project/numeric-project-id"),
    cloud.sign === undefined ? undefined : cloud.metadata.region(),
    cloud.credentialsProject(),
  ]);
  // PROJECT_ID may be a number, which is no id.
  const { projectId: project, projectNumber: number } = settings.google;
  const named = [name?.project, project, ownProject, fileProject].filter((one) => one !== undefined);
  const projectId = named.find((one) => !isNumber(one));
  return {
    projectId,
    projectNumber: number ?? named.find(isNumber) ?? (projectId === ownProject ? ownNumber : undefined),
    region: region ?? (name?.location ?? settings.google.location)?.replace(/-[a-z]$/, ""),
    instanceId: pod.metadata?.uid,
    name: pod.metadata?.name,
    // As GKE's metadata server has it for an identity without an e-mail address: the name of the pool.
    account: account ?? provider?.tokenAudience.split("/").at(-1) ?? "default",
    scopes: [CLOUD_PLATFORM, "https://www.googleapis.com/auth/userinfo.email"],
    clusterName: name?.cluster,
    clusterLocation: name?.location,
  };
}

function isNumber(project: string): boolean {
  return /^\d+$/.test(project);
}

/** Whether the process at the other end of a connection is krun's child, or a child of one. */
function isOfPod(
  libc: Libc,
  { pid, caller, server }: { pid: number; caller: ListenAddress; server: ListenAddress },
): boolean {
  const ends = {
    ...{ address: caller.hostname, port: caller.port },
    ...{ remoteAddress: server.hostname, remotePort: server.port },
  };
  // A socket of IPv6 that is connected to an address of IPv4 stands in the second table, with that address.
  const socket = findConnection(libc.procText("/proc/self/net/tcp") ?? "", ends) ??
    findConnection(libc.procText("/proc/self/net/tcp6") ?? "", ends);
  if (socket === undefined) return false;
  const proc = {
    list: (folder: string) => libc.procNames(folder),
    readLink: (path: string) => libc.procLink(path),
    readText: (path: string) => libc.procText(path),
  };
  return descendants(readProcesses(libc), pid).some((process) => socketInodes(proc, process.pid).has(socket.inode));
}
