/**
 * A WebSocket on its way to the program. In: a request of HTTP/1.1 that asks for one. Out: the program's own answer, and after its
 * 101 the bytes of both sides.
 *
 * Only a program's 101 opens the way for bytes that nobody looks at, and only for WebSockets: what else would follow on the
 * connection is requests past the rules for requests.
 *
 * @module
 */
import * as http from "node:http";
import type { Socket } from "node:net";
import { answerHead, endToEndFields, type Field, programFields, wantsWebSocket } from "../core/proxy_fields.ts";
import { carry, relay } from "../net/channel.ts";
import { nothingAnswers, type Refusal, TEXT } from "./local_stream.ts";
import { fieldsOfRaw, headersOf } from "./message_fields.ts";
import { ReadableSource } from "../net/node_stream.ts";
import { connectToProgram, type Program } from "./program_request.ts";
import { tcpChannel } from "../net/tcp_channel.ts";

/** The fields that make an upgrade, which are of one connection and so not passed on by themselves. */
const UPGRADE: readonly Field[] = [["connection", "Upgrade"], ["upgrade", "websocket"]];

/** A connection that asks for an upgrade. */
export interface UpgradeRequest {
  readonly message: http.IncomingMessage;
  readonly socket: Socket;
  /** What came behind the request's head. */
  readonly first: Uint8Array;
}

/** Passes the request on, and then the bytes. Never rejects; the connection is over when it resolves. */
export async function passUpgrade({ message, socket, first }: UpgradeRequest, program: Program): Promise<void> {
  const fields = fieldsOfRaw(message.rawHeaders);
  if (!wantsWebSocket(fields) || program.protocol === "h2c") {
    return endWith(socket, { status: 501, reason: "only WebSockets of HTTP/1.1 are passed on" });
  }
  socket.unshift(first);
  const asked = await ask(message, programFields(fields), program).catch(() => undefined);
  if (asked === undefined) return endWith(socket, { status: 502, reason: nothingAnswers(program.port) });
  const { answer, upgraded } = asked;
  const passed = endToEndFields(fieldsOfRaw(answer.rawHeaders));
  const ends = upgraded === undefined ? [["connection", "close"] as const] : UPGRADE;
  socket.write(answerHead(answer.statusCode ?? 0, [...passed, ...ends]), "latin1");
  const near = tcpChannel(socket);
  if (upgraded) return void await relay(near, tcpChannel(upgraded));
  if (await carry(new ReadableSource(answer, { endedInOrder: () => answer.complete }), near)) linger(socket);
  else near.reset();
}

/** Milliseconds for the far side to read its answer and to end, before what it has still sent would reset the connection under it. */
const LINGER_MS = 1_000;

/** Ends a connection whose half has ended: nobody reads any more what its caller sends, so that nobody would hear it leave. */
function linger(socket: Socket): void {
  const patience = setTimeout(() => socket.destroy(), LINGER_MS);
  socket.once("close", () => clearTimeout(patience));
  socket.once("end", () => socket.destroySoon());
  socket.resume();
}

/** The program's answer, and the connection when it has agreed. */
interface Asked {
  readonly answer: http.IncomingMessage;
  readonly upgraded: Socket | undefined;
}

function ask(message: http.IncomingMessage, fields: readonly Field[], { port }: Program): Promise<Asked> {
  return new Promise((resolve, reject) => {
    const connection = connectToProgram(port);
    const request = http.request({
      createConnection: () => connection,
      method: message.method ?? "GET",
      path: message.url ?? "/",
      headers: headersOf([...fields, ...UPGRADE]),
    });
    request.on("error", reject);
    request.on("response", (answer) => resolve({ answer, upgraded: undefined }));
    request.on("upgrade", (answer, upgraded: Socket, first) => {
      upgraded.unshift(first);
      resolve({ answer, upgraded });
    });
    const { socket } = message;
    const leave = () => {
      request.destroy(new Error("the caller has left"));
      connection.destroy();
    };
    // Only who reads hears of an end; what a caller sends before the answer stays where it is.
    const look = () => void (socket.readableLength === 0 && socket.read());
    const asking: readonly (readonly [event: string, hear: () => void])[] = [
      ["close", leave],
      ["end", leave],
      ["readable", look],
    ];
    for (const [event, hear] of asking) socket.on(event, hear);
    const answered = () => asking.forEach(([event, hear]) => socket.off(event, hear));
    for (const event of ["response", "upgrade", "error"]) request.on(event, answered);
    request.end();
  });
}

/** Answers with one line, and ends the connection. */
export function endWith(socket: Socket, { status, reason }: Refusal): void {
  const head = answerHead(status, [["content-type", TEXT], ...CLOSING, ["content-length", `${reason.length + 1}`]]);
  socket.end(`${head}${reason}\n`);
  linger(socket);
}

const CLOSING: readonly Field[] = [["connection", "close"]];
