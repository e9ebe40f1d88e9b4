import assert from "node:assert/strict";
import { RecordingLog } from "../../tests/recording_log.ts";
import { waitFor } from "../../tests/wait.ts";
import { ApiClient } from "./api_client.ts";
import type { Credential, Credentials } from "./credentials.ts";
import type { CallAnswer, CallRequest, Transport, WatchAnswer, WatchRequest } from "./transport.ts";

/** What the server does next: an answer's status and text, or a failed connection. */
type Reaction = readonly [status: number, text: string] | Error;

/** A transport that does what the test says, and notes what was sent. */
class ScriptedTransport implements Transport {
  readonly sent: { path: string; authorization: string | undefined }[] = [];
  next: Reaction | ((path: string) => Reaction) = [200, "{}"];

  call(path: string, request: CallRequest): Promise<CallAnswer> {
    return this.#react(path, request).then(([status, text]) => ({ status, text, header: () => undefined }));
  }

  async watch(path: string, request: WatchRequest): Promise<WatchAnswer | CallAnswer> {
    const [status, text] = await this.#react(path, request);
    const head = { status, header: () => undefined };
    return status === 200 ? { ...head, chunks: chunksOf(text), close() {} } : { ...head, text };
  }

  [Symbol.asyncDispose](): Promise<void> {
    return Promise.resolve();
  }

  async #react(path: string, { headers, signal }: CallRequest | WatchRequest): Promise<readonly [number, string]> {
    this.sent.push({ path, authorization: headers.find(([name]) => name === "authorization")?.[1] });
    await Promise.resolve();
    signal?.throwIfAborted();
    const reaction = typeof this.next === "function" ? this.next(path) : this.next;
    if (reaction instanceof Error) throw reaction;
    return reaction;
  }
}

async function* chunksOf(text: string): AsyncGenerator<Uint8Array> {
  const bytes = new TextEncoder().encode(text);
  for (let at = 0; at < bytes.length; at += 7) yield await Promise.resolve(bytes.slice(at, at + 7));
}

/** Tokens t1, t2, ...: one more after each refusal, up to `last`. */
class CountedTokens implements Credentials {
  #number = 1;
  #credential = this.#make();

  constructor(readonly last: number) {}

  current(): Promise<Credential> {
    return Promise.resolve(this.#credential);
  }

  refused(used: Credential): Promise<boolean> {
    if (this.#number < this.last) this.#number++;
    if (used === this.#credential && this.#number <= this.last) this.#credential = this.#make(used);
    return Promise.resolve(this.#credential !== used);
  }

  #make(before?: Credential): Credential {
    const headers = [["authorization", `Bearer t${this.#number}`]] as const;
    return String(before?.headers) === String(headers) ? before! : { headers, certificate: undefined };
  }
}

function client(tokens = 1) {
  const transport = new ScriptedTransport();
  const log = new RecordingLog();
  const source = { kind: "kubeconfig", where: "/k", context: "prod", user: "ann" } as const;
  const lifetime = new AbortController();
  const options = { server: "https://api", source, transport, log, lifetime: lifetime.signal, retryMs: 1 };
  return { transport, log, lifetime, api: new ApiClient({ ...options, credentials: new CountedTokens(tokens) }) };
}

const call = { what: 'read Secret "a/b"', path: "/x" };
const refused = new TypeError("client error (Connect): tcp connect error: Connection refused (os error 111)");

Deno.test("ApiClient.call() tries again once with renewed credentials after a 401, and not without", async () => {
  const renewable = client(2);
  renewable.transport.next = [401, ""];
  await assert.rejects(renewable.api.call(call), { code: "Unauthorized" });
  assert.deepEqual(renewable.transport.sent.map((s) => s.authorization), ["Bearer t1", "Bearer t2"]);
  const fixed = client(1);
  fixed.transport.next = [401, ""];
  await assert.rejects(fixed.api.call(call), { code: "Unauthorized" });
  assert.equal(fixed.transport.sent.length, 1);
  assert.deepEqual([renewable.api.counts, fixed.api.counts], [{ requests: 2, errors: 1 }, { requests: 1, errors: 1 }]);
});

Deno.test("ApiClient.watch() renews credentials as call() does", async () => {
  const { api, transport } = client(2);
  transport.next = () => transport.sent.length === 1 ? [401, "{}"] : [200, '{"type":"A"}\n{"type":"B"}\n'];
  const opened = await api.watch({ ...call, signal: new AbortController().signal, silenceMs: 1 });
  assert.deepEqual(await Array.fromAsync(opened!.events, (event) => event.type), ["A", "B"]);
});

Deno.test("ApiClient.watch() is undefined when the server refuses the parameters, and throws for another failure", async () => {
  const { api, transport } = client();
  const watch = { ...call, signal: new AbortController().signal, silenceMs: 1 };
  transport.next = [422, "{}"];
  assert.equal(await api.watch(watch), undefined);
  transport.next = [503, '{"message":"not ready"}'];
  await assert.rejects(api.watch(watch), { code: "ApiRequestFailed", transient: true });
});

Deno.test("ApiClient.call() takes a 404 for absence only where that is asked for, and never quotes what it cannot parse", async () => {
  const { api, transport } = client();
  transport.next = [404, '{"message":"secrets \\"b\\" not found"}'];
  assert.equal(await api.call(call, { absent: true }), undefined);
  assert.deepEqual(api.counts, { requests: 1, errors: 0 });
  await assert.rejects(api.call(call), { code: "ApiRequestFailed", transient: false });
  transport.next = [200, "t0ps3cret"];
  await assert.rejects(api.call(call), { code: "ApiRequestFailed", message: /: the answer is not JSON$/ });
});

Deno.test("ApiClient.call() throws the signal's reason, and does not count that as a failure", async () => {
  const { api } = client();
  const reason = new Error("enough");
  await assert.rejects(api.call({ ...call, signal: AbortSignal.abort(reason) }), (error) => error === reason);
  assert.equal(api.counts.errors, 0);
});

Deno.test("ApiClient tells the log of an outage once, and of its end, but not before the first answer", async () => {
  const { api, transport, log } = client();
  transport.next = refused;
  await assert.rejects(api.call(call), { code: "ClusterUnreachable", transient: true });
  assert.deepEqual(log.events, []);
  transport.next = [200, "{}"];
  await api.call(call);
  transport.next = refused;
  for (let i = 0; i < 3; i++) await assert.rejects(api.call(call));
  transport.next = [503, "{}"];
  await assert.rejects(api.call(call));
  assert.deepEqual(log.events, ["warn API server cannot be reached", "info API server is reached again"]);
});

Deno.test("ApiClient leaves it to calls to say that the server is away: a watch may break where they get through", async () => {
  const { api, transport, log } = client();
  await api.call(call);
  const { signal } = new AbortController();
  transport.next = (path) => path === "/watch" ? refused : [200, "{}"];
  for (let i = 0; i < 3; i++) {
    await assert.rejects(api.watch({ ...call, path: "/watch", signal, silenceMs: 1 }), { code: "ClusterUnreachable" });
    await api.reached(signal);
  }
  assert.deepEqual(log.events, []);
  transport.next = refused;
  const back = api.reached(signal);
  await waitFor("an outage", () => log.events.length > 0);
  transport.next = [200, "{}"];
  await back;
  assert.deepEqual(log.events, ["warn API server cannot be reached", "info API server is reached again"]);
});

Deno.test("ApiClient.reached() knocks for all who wait with one request at a time, and takes any answer", async () => {
  const { api, transport } = client();
  transport.next = refused;
  const { signal } = new AbortController();
  const all = Promise.all(Array.from({ length: 100 }, () => api.reached(signal)));
  await waitFor("some knocks", () => transport.sent.length >= 3);
  transport.next = [403, "{}"];
  await all;
  assert.ok(transport.sent.length < 50, `${transport.sent.length} knocks`);
  assert.ok(transport.sent.every((sent) => sent.path === "/version"));
});

Deno.test("ApiClient.reached() can be given up by one, and ends with the cluster", async () => {
  const { api, transport, lifetime } = client();
  transport.next = refused;
  const stop = new AbortController();
  const one = assert.rejects(api.reached(stop.signal), { message: "enough" });
  const other = api.reached(new AbortController().signal);
  stop.abort(new Error("enough"));
  await one;
  lifetime.abort();
  await other;
  await api[Symbol.asyncDispose]();
});
