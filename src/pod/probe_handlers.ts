/**
 * One try of a probe: exec, httpGet, tcpSocket or grpc. In: the probe and where its container can be reached. Out: success,
 * failure, or an error that is no verdict. Rules: Kubernetes v1.34 pkg/kubelet/prober and pkg/probe.
 *
 * @module
 */
import type { V1Container, V1GRPCAction, V1HTTPGetAction, V1Probe, V1TCPSocketAction } from "@kubernetes/client-node";
import { AnySignal } from "../core/any_signal.ts";
import type { Clock } from "../core/clock.ts";
import { probeCommand } from "../core/container_env.ts";
import type { ChildEnd } from "../core/exit_status.ts";
import { probePort, type ProbeResult } from "../core/probe.ts";
import { systemFailure } from "../core/system_failure.ts";

/** What a try showed. `error`: the try itself went wrong; the kubelet throws such a result away. */
export interface ProbeTry {
  readonly result: ProbeResult;
  readonly message: string;
}

/** What a try needs to know of its container. */
export interface ProbeTarget {
  readonly container: V1Container;
  /** Address used where the probe names no host. krun's Pod shares the machine's network, so this is loopback. */
  readonly host: string;
  readonly clock: Clock;
  /** Runs a command in the container's environment, as its user, without input or output, until it ends or `signal` aborts. */
  run(argv: readonly [string, ...string[]], signal: AbortSignal): Promise<ChildEnd>;
}

const USER_AGENT = "kube-probe/1.34";
/** The kubelet gives up at the redirect that answers its tenth request (Go's net/http default). */
const MAX_REQUESTS = 10;

const success = (message: string): ProbeTry => ({ result: "success", message });
const failure = (message: string): ProbeTry => ({ result: "failure", message });
const error = (message: string): ProbeTry => ({ result: "error", message });

/**
 * Tries a probe once, within its `timeoutSeconds`, and no longer than `over` is not aborted: what it then gives is no verdict.
 * Never throws.
 */
export async function tryProbe(probe: V1Probe, target: ProbeTarget, over?: AbortSignal): Promise<ProbeTry> {
  const timeoutMs = (probe.timeoutSeconds || 1) * 1000;
  const abort = new AbortController();
  const timer = setTimeout(() => abort.abort(new Error(`no answer within ${timeoutMs / 1000} s`)), timeoutMs);
  using until = new AnySignal([...over ? [over] : [], abort.signal]);
  const { signal } = until;
  try {
    if (probe.exec) return await tryExec(probeCommand(probe.exec.command ?? [], target.container), target, signal);
    if (probe.httpGet) return await tryHttpGet(probe.httpGet, target, signal);
    if (probe.tcpSocket) return await tryTcpSocket(probe.tcpSocket, target, signal);
    if (probe.grpc) return await tryGrpc(probe.grpc, target, signal);
    return error("the probe has no handler");
  } catch (cause) {
    return failure(cause instanceof Error ? systemFailure(cause) : String(cause));
  } finally {
    clearTimeout(timer);
  }
}

async function tryExec(argv: readonly string[], target: ProbeTarget, signal: AbortSignal): Promise<ProbeTry> {
  const [program, ...args] = argv;
  if (program === undefined) return error("the exec probe has no command");
  const end = await target.run([program, ...args], signal);
  if (signal.aborted) return failure(`command ${program}: ${signal.reason.message}`);
  if (end.kind === "exited") {
    return end.code === 0 ? success("exit 0") : failure(`command ${program} ended with ${end.code}`);
  }
  if (end.kind === "signaled") return failure(`command ${program} was ended by signal ${end.signal}`);
  return failure(`command ${program}: ${end.kind}`);
}

async function tryTcpSocket(action: V1TCPSocketAction, target: ProbeTarget, signal: AbortSignal): Promise<ProbeTry> {
  const port = probePort(action.port, target.container);
  if (port === undefined) return error(`no port "${action.port}" in container "${target.container.name}"`);
  const connecting = Deno.connect({ hostname: action.host || target.host, port });
  // A connection that comes after the deadline is closed, not leaked.
  const onAbort = () => void connecting.then((late) => late.close(), () => {});
  signal.addEventListener("abort", onAbort, { once: true });
  const connection = await Promise.race([connecting, rejectOnAbort(signal)]);
  signal.removeEventListener("abort", onAbort);
  connection.close();
  return success(`port ${port} is open`);
}

function rejectOnAbort(signal: AbortSignal): Promise<never> {
  return new Promise((_, reject) => signal.addEventListener("abort", () => reject(signal.reason), { once: true }));
}

/** More of an answer is not waited for: maxRespBodyLength of pkg/probe/http. */
const MAX_BODY_BYTES = 10 * 1024;

/** How a server answered. */
export interface Answer {
  readonly status: number;
  /** Why its first 10 KiB did not all come. */
  readonly bodyFault?: string;
}

/** Options of {@linkcode httpGet}. */
export interface HttpGetOptions {
  /** Used where the action names no host. */
  readonly host: string;
  readonly port: number;
  readonly userAgent: string;
  readonly signal: AbortSignal;
}

/** Request headers: `User-Agent` and `Accept` unless the action sets them; an empty value removes one; repeats are all sent. */
function actionHeaders(action: V1HTTPGetAction, userAgent: string): Map<string, string[]> {
  const headers = new Map<string, string[]>();
  for (const { name, value } of action.httpHeaders ?? []) {
    headers.set(name.toLowerCase(), [...(headers.get(name.toLowerCase()) ?? []), value]);
  }
  for (const [name, value] of [["user-agent", userAgent], ["accept", "*/*"]] as const) {
    const given = headers.get(name);
    if (given === undefined) headers.set(name, [value]);
    else if (given.every((v) => v === "")) headers.delete(name);
  }
  return headers;
}

async function tryHttpGet(action: V1HTTPGetAction, target: ProbeTarget, signal: AbortSignal): Promise<ProbeTry> {
  const port = probePort(action.port, target.container);
  if (port === undefined) return error(`no port "${action.port}" in container "${target.container.name}"`);
  const answer = await httpGet(action, { host: target.host, port, userAgent: USER_AGENT, signal });
  if (answer === undefined) return failure(`stopped after ${MAX_REQUESTS} redirects`);
  const { status, bodyFault } = answer;
  if (bodyFault !== undefined) return error(`HTTP ${status}, ${bodyFault}`);
  return status >= 200 && status < 400
    ? success(`HTTP ${status}`)
    : failure(`HTTP probe failed with statuscode: ${status}`);
}

/**
 * The answer at the end of an httpGet action. A redirect to the same host name is followed (port and scheme may differ); one to
 * another name, without Location, or 304 is an end. `undefined`: too many redirects.
 */
export async function httpGet(action: V1HTTPGetAction, options: HttpGetOptions): Promise<Answer | undefined> {
  const scheme = (action.scheme ?? "HTTP").toLowerCase();
  const host = action.host || options.host;
  const authority = host.includes(":") ? `[${host}]` : host;
  const path = action.path || "/";
  let url = new URL(`${scheme}://${authority}:${options.port}${path.startsWith("/") ? "" : "/"}${path}`);
  const headers = actionHeaders(action, options.userAgent);
  for (let requests = 1; requests <= MAX_REQUESTS; requests++) {
    const answer = await get(url, headers, options.signal);
    const { status, location } = answer;
    if (status < 300 || status >= 400 || status === 304 || location === undefined) return answer;
    const next = new URL(location, url);
    if (next.hostname !== url.hostname) return answer;
    url = next;
    headers.delete("host");
  }
  return undefined;
}

/**
 * One GET without proxy, keep-alive, compression or redirects, the server's certificate unverified (as the kubelet's): what
 * `fetch` cannot do, so node's client, loaded at the first httpGet probe (33 ms).
 */
async function get(
  url: URL,
  headers: ReadonlyMap<string, string[]>,
  signal: AbortSignal,
): Promise<Answer & { readonly location: string | undefined }> {
  const { request } = url.protocol === "https:" ? await import("node:https") : await import("node:http");
  signal.throwIfAborted();
  return await new Promise((resolve, reject) => {
    // Deno 2.6.10 does not always tell of an abort: of a connection that is reset while it begins, and once the body comes.
    let onAbort = () => reject(signal.reason);
    signal.addEventListener("abort", () => onAbort(), { once: true });
    const outgoing = request(url, {
      agent: false,
      rejectUnauthorized: false,
      // Where the process trusts no CA, Deno 2.9 verifies nevertheless unless there is a list.
      ca: [],
      signal,
      headers: Object.fromEntries(
        [...headers].map(([name, values]) => [name, values.length === 1 ? values[0] : values]),
      ),
      setHost: !headers.has("host"),
    });
    outgoing.on("response", (response) => {
      let bytes = 0;
      const end = (bodyFault?: string) => {
        const { statusCode: status = 0, headers: { location } } = response;
        resolve({ status, location, ...(bodyFault !== undefined && { bodyFault }) });
        outgoing.destroy();
      };
      response.on("data", (chunk: Uint8Array) => (bytes += chunk.length) > MAX_BODY_BYTES && end());
      response.on("end", () => end());
      for (const event of ["error", "close"]) response.on(event, () => end("the answer was cut off"));
      onAbort = () => end(signal.reason.message);
    });
    outgoing.on("error", (cause) => reject(signal.aborted ? signal.reason : cause));
    outgoing.end();
  });
}

/** `grpc.health.v1.HealthCheckRequest { string service = 1 }` in a gRPC frame: no compression, 4-byte length, message. */
export function healthCheckFrame(service: string): Uint8Array {
  const name = new TextEncoder().encode(service);
  const message = name.length === 0 ? [] : [0x0a, ...varint(name.length), ...name];
  const frame = new Uint8Array(5 + message.length);
  new DataView(frame.buffer).setUint32(1, message.length);
  frame.set(message, 5);
  return frame;
}

function varint(value: number): number[] {
  const bytes: number[] = [];
  for (let rest = value;; rest >>>= 7) {
    if (rest < 0x80) return [...bytes, rest];
    bytes.push((rest & 0x7f) | 0x80);
  }
}

/** Whether a framed `HealthCheckResponse { ServingStatus status = 1 }` says SERVING (1). Anything malformed does not. */
export function isServing(frame: Uint8Array): boolean {
  return frame.length === 7 && frame.slice(0, 4).every((byte) => byte === 0) && frame[4] === 2 && frame[5] === 0x08 &&
    frame[6] === 1;
}

/** gRPC needs trailers, which `fetch` does not show: node:http2, loaded at the first grpc probe. */
async function tryGrpc(action: V1GRPCAction, target: ProbeTarget, signal: AbortSignal): Promise<ProbeTry> {
  const http2 = await import("node:http2");
  signal.throwIfAborted();
  const authority = target.host.includes(":") ? `[${target.host}]` : target.host;
  const session = http2.connect(`http://${authority}:${action.port}`);
  try {
    return await new Promise<ProbeTry>((resolve, reject) => {
      signal.addEventListener("abort", () => reject(signal.reason), { once: true });
      session.on("error", reject);
      const stream = session.request({
        ":method": "POST",
        ":path": "/grpc.health.v1.Health/Check",
        "content-type": "application/grpc",
        "te": "trailers",
        "user-agent": USER_AGENT,
      });
      const chunks: Uint8Array[] = [];
      let status: string | undefined;
      stream.on("response", (headers) => status = headers["grpc-status"]?.toString());
      stream.on("trailers", (trailers) => status = trailers["grpc-status"]?.toString());
      stream.on("data", (chunk: Uint8Array) => chunks.push(chunk));
      // That the connection failed is told of the stream first, as its cause.
      stream.on("error", (error) => reject(error.cause ?? error));
      stream.on("end", () => {
        if (status !== "0") return resolve(failure(`gRPC health check ended with status ${status ?? "unknown"}`));
        resolve(isServing(concat(chunks)) ? success("SERVING") : failure("the service is not SERVING"));
      });
      stream.end(healthCheckFrame(action.service ?? ""));
    });
  } finally {
    session.destroy();
  }
}

function concat(chunks: readonly Uint8Array[]): Uint8Array {
  const joined = new Uint8Array(chunks.reduce((sum, c) => sum + c.length, 0));
  let offset = 0;
  for (const chunk of chunks) {
    joined.set(chunk, offset);
    offset += chunk.length;
  }
  return joined;
}
