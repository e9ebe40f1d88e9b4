/**
 * A caller of HTTP/1.1 that does what none should: heads that are none, or huge, or half; bodies with two lengths; pipelines and upgrades
 * at random, in pieces at random, and an end in the middle. In: a connection. Out: when the connection is over.
 *
 * @module
 */
import type { Socket } from "node:net";
import { type Chance, unrulyEnd } from "./hostile_http2.ts";

/** Misbehaves on a connection that is open, until that is over. Never rejects. */
export async function misbehaveByHttp1(socket: Socket, chance: Chance): Promise<void> {
  const end = unrulyEnd(socket, chance);
  const bytes = Array.from({ length: 1 + chance.below(6) }, () => chance.of(MAKERS)(chance)).join("");
  for (let at = 0; at < bytes.length && !socket.destroyed;) {
    const length = 1 + chance.below(chance.of([40, 4_000, 200_000]));
    socket.write(bytes.slice(at, at += length), "latin1");
    if (chance.below(3) === 0) await new Promise((resolve) => setTimeout(resolve, chance.below(8)));
  }
  await end();
}

type Maker = (chance: Chance) => string;

const request = (line: string, fields: readonly string[], body = "") =>
  `${[line, "host: web", ...fields].join("\r\n")}\r\n\r\n${body}`;

const noise: Maker = (chance) =>
  Array.from({ length: chance.below(300) }, () => String.fromCharCode(chance.below(256))).join("");

const UPGRADE = [
  "connection: upgrade",
  "upgrade: websocket",
  "sec-websocket-key: AAAAAAAAAAAAAAAAAAAAAA==",
  "sec-websocket-version: 13",
];

const MAKERS: readonly Maker[] = [
  (chance) => request(`${chance.of(["GET", "HEAD", "DELETE", "POST"])} /${chance.below(9)} HTTP/1.1`, []),
  (chance) =>
    request("GET / HTTP/1.1", [chance.of(["connection: close", "connection: keep-alive, x", "expect: 100-continue"])]),
  (chance) =>
    request(
      "POST / HTTP/1.1",
      [`content-length: ${chance.of([0, 5, 5_000, 2 ** 53])}`],
      "x".repeat(chance.below(6_000)),
    ),
  (chance) =>
    request(
      "POST / HTTP/1.1",
      ["transfer-encoding: chunked"],
      `${chance.of(["5\r\nhello\r\n0\r\n\r\n", "5\r\nhel", "zz\r\n", "FFFFFFFFFF\r\nx", "0\r\nx-after: 1\r\n\r\n"])}`,
    ),
  () =>
    request(
      "POST / HTTP/1.1",
      ["content-length: 5", "transfer-encoding: chunked"],
      "0\r\n\r\nGET /smuggled HTTP/1.1\r\n\r\n",
    ),
  () => request("POST / HTTP/1.1", ["content-length: 1", "content-length: 9"], "123456789"),
  // Half a head, and a huge one.
  (chance) => "GET / HTTP/1.1\r\nhost: web\r\nx-half: ".slice(0, 1 + chance.below(34)),
  (chance) => request("GET / HTTP/1.1", [`x-huge: ${"a".repeat(chance.of([7_000, 20_000, 300_000]))}`]),
  (chance) => request("GET / HTTP/1.1", Array.from({ length: chance.of([50, 3_000]) }, (_, at) => `x-${at}: ${at}`)),
  (chance) => request(`GET /${"a".repeat(chance.of([5_000, 100_000]))} HTTP/1.1`, []),
  // What is no request at all.
  noise,
  (chance) => `${noise(chance)}\r\n\r\n`,
  (chance) =>
    chance.of([
      "\r\n\r\n",
      "GET\r\n\r\n",
      "GET / HTTP/9.9\r\n\r\n",
      "PRI * HTTP/2.0\r\n\r\nXX",
      "\x16\x03\x01\x02\x00\x01",
    ]),
  () => "GET / HTTP/1.1\r\nhost: a\r\nhost: b\r\n\r\n",
  () => "GET http://other/ HTTP/1.1\r\nbad name: x\r\n\r\n",
  () => "CONNECT web:443 HTTP/1.1\r\nhost: web:443\r\n\r\n",
  // Upgrades, right, wrong, and with more behind them.
  (chance) => request("GET /ws HTTP/1.1", UPGRADE, noise(chance)),
  (chance) => request("GET /ws HTTP/1.1", [...UPGRADE, `upgrade: ${chance.of(["h2c", "TLS/1.0", ""])}`]),
  () => request("GET / HTTP/1.1", ["connection: upgrade, http2-settings", "upgrade: h2c", "http2-settings: AAMAAABk"]),
  () => request("POST /ws HTTP/1.1", [...UPGRADE, "content-length: 5"], "hello"),
  (chance) => request(`POST /_hbone/${chance.of(["22", "23", "..", ""])} HTTP/1.1`, []),
];
