import { connect, type Socket } from "node:net";
import assert from "node:assert/strict";
import { loadLibc } from "./libc.ts";
import { stopHandshakes, waitingToBeAccepted } from "./listening_socket.ts";

for (const hostname of ["127.0.0.1", "::"]) {
  Deno.test(`stopHandshakes() keeps what waits at ${hostname} to be accepted, and lets nobody else come`, async () => {
    using listener = Deno.listen({ hostname, port: 0 });
    using other = Deno.listen({ hostname, port: 0 });
    const sockets: Socket[] = [];
    const call = ({ addr }: Deno.TcpListener) => {
      const socket = connect(addr.port, "127.0.0.1");
      sockets.push(socket);
      const called = { isConnected: false, connected: new Promise((resolve) => socket.once("connect", resolve)) };
      void called.connected.then(() => called.isConnected = true);
      return called;
    };
    await call(listener).connected;
    stopHandshakes(loadLibc(), listener.addr.port);
    const late = call(listener);
    await call(other).connected;
    assert.equal(waitingToBeAccepted(loadLibc(), listener.addr.port), 1);
    assert.equal(late.isConnected, false, "what was called after it is connected, by another listener");
    using accepted = await listener.accept();
    assert.equal((accepted.remoteAddr as Deno.NetAddr).port, sockets[0]!.localPort);
    assert.equal(waitingToBeAccepted(loadLibc(), listener.addr.port), 0);
    // What was sent on it comes.
    sockets[0]!.write("hello");
    const bytes = new Uint8Array(5);
    assert.deepEqual([await accepted.read(bytes), new TextDecoder().decode(bytes)], [5, "hello"]);
    for (const socket of sockets) socket.destroy();
  });
}
