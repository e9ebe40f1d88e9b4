/**
 * A program with every kind of health endpoint: HTTP on the first port, gRPC health on the second. It answers well from the
 * moment the file that it is given exists, and badly before.
 */
import { createServer, type ServerHttp2Stream } from "node:http2";

const [httpPort, grpcPort, file] = Deno.args;
const healthy = () => {
  try {
    return Deno.statSync(file!).isFile;
  } catch {
    return false;
  }
};

Deno.serve(
  { hostname: "127.0.0.1", port: Number(httpPort), onListen() {} },
  () => new Response("", { status: healthy() ? 200 : 503 }),
);
const server = createServer();
server.on("stream", (stream: ServerHttp2Stream) => {
  stream.on("data", () => {});
  stream.on("end", () => {
    stream.respond({ "content-type": "application/grpc" }, { waitForTrailers: true });
    stream.on("wantTrailers", () => stream.sendTrailers({ "grpc-status": "0" }));
    stream.end(new Uint8Array([0, 0, 0, 0, 2, 8, healthy() ? 1 : 2]));
  });
});
server.listen(Number(grpcPort), "127.0.0.1", () => console.log("listening"));
