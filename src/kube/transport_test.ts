import assert from "node:assert/strict";
import fc from "fast-check";
import { TestAuthority } from "../../tests/certificates.ts";
import { KrunError } from "../core/errors.ts";
import { connectionError } from "./api_error.ts";
import { NativeTransport } from "./native_transport.ts";
import { NodeTransport } from "./node_transport.ts";
import {
  HeaderError,
  headerFault,
  type HeaderLines,
  requireSendable,
  type Transport,
  type WatchAnswer,
} from "./transport.ts";

Deno.test("headerFault() allows visible ASCII, space and tab, and names what else there is", () => {
  assert.equal(headerFault("Bearer a.b-c_~+/=\t!"), undefined);
  assert.equal(headerFault("a\nb"), "it holds a line break, which no HTTP header can carry");
  assert.equal(headerFault("a\0b"), "it holds a control character, which no HTTP header can carry");
  assert.equal(headerFault("aéb"), "it holds a letter outside ASCII, which no HTTP header can carry");
});

/** All that an error says, with what caused it. */
function wordsOf(error: unknown): string {
  return error instanceof Error
    ? `${error.name} ${error.message} ${error.stack} ${wordsOf(error.cause)}`
    : String(error);
}

/** One call with these headers: the words of its failure. */
async function failureOf(transport: Transport, headers: HeaderLines): Promise<unknown> {
  const request = { headers, certificate: undefined, method: "GET", timeoutMs: 20_000 } as const;
  return await transport.call("/", request).then(() => undefined, (error) => error);
}

const transports: readonly [string, (port: number) => Transport][] = [
  ["NativeTransport", (port) => new NativeTransport({ server: `http://127.0.0.1:${port}`, caPem: undefined })],
  [
    "NodeTransport",
    (port) => new NodeTransport({ server: `https://127.0.0.1:${port}`, caPem: undefined, insecureSkipTlsVerify: true }),
  ],
];
for (const [name, open] of transports) {
  Deno.test(`${name} puts no header's value into an error, whatever its characters`, async () => {
    // Nobody listens there any more, so that every call fails.
    const listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
    const { port } = listener.addr;
    listener.close();
    await using transport = open(port);
    const text = fc.oneof(fc.string(), fc.string({ unit: "binary" }), fc.constantFrom("\n", "\r", "\0", "\x7f", "😀"));
    await fc.assert(fc.asyncProperty(text, text, async (middle, key) => {
      const token = `Bearer t0ps3${middle}cret`;
      for (const headers of [[["authorization", token]], [[`a${key}`, token]]] as const) {
        const error = await failureOf(transport, headers);
        assert(error instanceof Error);
        assert.doesNotMatch(wordsOf(error), /t0ps3/);
        assert.equal(error instanceof HeaderError, !isSendable(headers), wordsOf(error));
      }
    }));
  });
}

for (
  const { name, open } of [
    {
      name: "NativeTransport",
      open: (port: number, caPem: string) => new NativeTransport({ server: `https://localhost:${port}`, caPem }),
    },
    {
      name: "NodeTransport",
      open: (port: number, caPem: string) =>
        new NodeTransport({ server: `https://localhost:${port}`, caPem, insecureSkipTlsVerify: false }),
    },
  ]
) {
  Deno.test(`${name}.watch() ends with its signal on a connection that was used before, wherever it is`, async () => {
    const authority = new TestAuthority();
    const { certPem: cert, keyPem: key } = authority.issue({ dnsNames: ["localhost"] });
    const asked = Promise.withResolvers<void>();
    const held = Promise.withResolvers<void>();
    const endless = () => new Response(new ReadableStream({ start: (out) => out.enqueue(new Uint8Array(10)) }));
    const answers: Readonly<Record<string, () => Response | Promise<Response>>> = {
      "/whole": () => new Response("whole"),
      "/within": endless,
      "/before": () => (asked.resolve(), held.promise.then(endless)),
    };
    const options = { hostname: "127.0.0.1", port: 0, cert, key, onListen() {} };
    await using server = Deno.serve(options, (request) => answers[new URL(request.url).pathname]!());
    await using transport = open(server.addr.port, authority.pem);
    const request = { headers: [], certificate: undefined, silenceMs: 60_000 };
    const used = async () => {
      const { chunks, close } = await transport.watch("/whole", request) as WatchAnswer;
      await Array.fromAsync(chunks);
      close();
    };
    const reason = new Error("enough");

    await used();
    const before = new AbortController();
    const unanswered = transport.watch("/before", { ...request, signal: before.signal });
    await asked.promise;
    before.abort(reason);
    await assert.rejects(unanswered, reason);
    held.resolve();

    await used();
    const within = new AbortController();
    const { chunks } = await transport.watch("/within", { ...request, signal: within.signal }) as WatchAnswer;
    const source = chunks[Symbol.asyncIterator]();
    await source.next();
    const next = source.next();
    within.abort(reason);
    await assert.rejects(next, reason);
  });
}

function isSendable(headers: HeaderLines): boolean {
  try {
    requireSendable(headers);
    return true;
  } catch {
    return false;
  }
}

Deno.test("connectionError() tells a header that cannot be sent as the credentials' fault, and not as one that passes", () => {
  const source = { kind: "kubeconfig", where: "/k", context: "prod", cluster: "c", user: "ann" } as const;
  assert.throws(() => requireSendable([["authorization", "Bearer a\nb"]]), (cause) => {
    const error = connectionError({ what: "read it" }, cause, { server: "https://api", source });
    assert(error instanceof KrunError);
    assert.deepEqual([error.code, error.transient, error.message], [
      "CredentialsUnavailable",
      false,
      'Cannot use the credentials of user "ann" of context "prod" in kubeconfig "/k": header "authorization" cannot be ' +
      "sent: it holds a line break, which no HTTP header can carry",
    ]);
    return true;
  });
});
