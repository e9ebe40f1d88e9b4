/**
 * Programs that do what one may, and what none should, one connection after the other. In: nothing. Out: their ports.
 *
 * @module
 */
import { TcpProgram } from "./tcp_program.ts";

/** Echoes, floods, ends early or resets. */
export function oddTcpProgram(): Promise<TcpProgram> {
  let count = 0;
  return TcpProgram.start((socket) => {
    const kind = count++ % 6;
    if (kind < 2) socket.pipe(socket);
    else if (kind === 2) socket.resetAndDestroy();
    else if (kind === 3) socket.end("bye");
    else if (kind === 4) socket.resume().end(new Uint8Array(300_000));
    else socket.resume().once("data", () => socket.resetAndDestroy());
  });
}

const OK = "HTTP/1.1 200 OK\r\n";
const SWITCHED = "HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n";

/** What a program of HTTP/1.1 may answer, and what none should. */
const ANSWERS: readonly string[] = [
  ...[`${OK}content-length: 2\r\n\r\nhi`, `${OK}content-length: 2\r\n\r\nhi`, `${SWITCHED}bytes`],
  ...[`${OK}transfer-encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n`, `${OK}content-length: 9\r\n\r\nhi`],
  ...[`${OK}\r\n${"x".repeat(200_000)}`, "nonsense\r\n\r\n", `HTTP/1.1 100 Continue\r\n\r\n${OK}\r\n`, ""],
];

/** Answers in order, too little, too much, nonsense, or nothing. */
export function oddHttp1Program(): Promise<TcpProgram> {
  let count = 0;
  return TcpProgram.start((socket) =>
    socket.resume().once("end", () => socket.end()).once("data", () => {
      const answer = ANSWERS[count++ % ANSWERS.length]!;
      if (answer === "" && count % 2 === 0) socket.resetAndDestroy();
      else socket.end(answer);
    })
  );
}
