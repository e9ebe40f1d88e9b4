/**
 * A program with every kind of health endpoint: HTTP on the first port, gRPC health on the second. It answers well from the
 * moment the file that it is given exists, and badly before.
 */
import { serveHealth } from "./grpc_health.ts";

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
void serveHealth(Number(grpcPort), () => healthy() ? 1 : 2);
console.log("listening");
