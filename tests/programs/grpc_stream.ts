/**
 * A gRPC stream in both directions, over HTTP/2 without TLS: asks a server's reflection service twice on one stream, the second
 * time when the first answer has come. In: the server's authority. Out: one line a answer, then `status <n>`.
 *
 * @module
 */
import * as http2 from "node:http2";

const [authority = ""] = Deno.args;

/** `ServerReflectionRequest { list_services = "" }` in a gRPC frame. */
const REQUEST = new Uint8Array([0, 0, 0, 0, 2, 0x3a, 0]);

const session = http2.connect(`http://${authority}`);
const stream = session.request({
  ":method": "POST",
  ":path": "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo",
  "content-type": "application/grpc",
  te: "trailers",
});
let answers = 0;
stream.on("data", (bytes: Uint8Array) => {
  console.log(`answer ${new TextDecoder().decode(bytes).includes("proto.EchoTestService")}`);
  if (++answers === 1) stream.write(REQUEST);
  else stream.end();
});
stream.on("trailers", (trailers) => console.log(`status ${trailers["grpc-status"]}`));
stream.on("close", () => session.close());
for (const source of [session, stream]) {
  source.on("error", (error: Error) => {
    console.log(`failure ${error.message}`);
    Deno.exit(1);
  });
}
stream.write(REQUEST);
