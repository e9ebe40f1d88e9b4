import assert from "node:assert/strict";
import fc from "fast-check";
import { parseIp } from "./ip_address.ts";
import { findConnection, parseSocketTable, waitingConnections } from "./socket_table.ts";

const TCP = `  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 0100007F:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000  1000        0 34567 1 0000000000000000 100 0 0 10 0
   1: 0200090A:C350 0100090A:0016 01 00000000:00000000 02:00096C5A 00000000     0        0 34568 2 0000000000000000 20 4 30 10 -1
`;
const TCP6 =
  `  sl  local_address                         remote_address                        st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 00000000000000000000000000000000:0016 00000000000000000000000000000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 23456 1 0000000000000000 100 0 0 10 0
   1: 0000000000000000FFFF00000100007F:1F91 00000000000000000000000000000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 23457 1 0000000000000000 100 0 0 10 0
`;
const UDP =
  `   sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode ref pointer drops
  217: 3500007F:0035 00000000:0000 07 00000000:00000000 00:00000000 00000000   101        0 11111 2 0000000000000000 0
  299: 0200090A:9C40 0100090A:0035 01 00000000:00000000 00:00000000 00000000     0        0 11112 2 0000000000000000 0
`;

Deno.test("parseSocketTable() gives listening TCP sockets, and not connections", () => {
  assert.deepEqual(parseSocketTable(TCP, "tcp"), [
    { protocol: "tcp", address: "127.0.0.1", port: 8080, uid: 1000, inode: 34567 },
  ]);
});

Deno.test("parseSocketTable() gives IPv6 sockets, and the IPv4 address of one that is bound to it", () => {
  assert.deepEqual(parseSocketTable(TCP6, "tcp"), [
    { protocol: "tcp", address: "::", port: 22, uid: 0, inode: 23456 },
    { protocol: "tcp", address: "127.0.0.1", port: 8081, uid: 0, inode: 23457 },
  ]);
});

Deno.test("parseSocketTable() gives bound UDP sockets, and not connected ones", () => {
  assert.deepEqual(parseSocketTable(UDP, "udp"), [
    { protocol: "udp", address: "127.0.0.53", port: 53, uid: 101, inode: 11111 },
  ]);
});

Deno.test("waitingConnections() counts what a port has not accepted yet, and nothing of a connection's bytes", () => {
  const queued = TCP.replace("0A 00000000:00000000", "0A 00000000:0000001F").replace(
    "01 00000000:00000000",
    "01 00000000:00000005",
  );
  assert.deepEqual([8080, 50000, 22].map((port) => waitingConnections(queued, port)), [31, 0, 0]);
  assert.equal(waitingConnections(TCP6.replaceAll("00000000:00000000 00:", "00000000:00000002 00:"), 8081), 2);
  assert.equal(waitingConnections(TCP, 8080), 0);
});

const word = fc.array(fc.integer({ min: 0, max: 255 }), { minLength: 4, maxLength: 4 });
const hex = (value: number, digits: number) => value.toString(16).toUpperCase().padStart(digits, "0");
const asPrinted = (bytes: readonly number[]) => bytes.toReversed().map((byte) => hex(byte, 2)).join("");

Deno.test("parseSocketTable() gives back any socket that the kernel prints", () => {
  const number = fc.integer({ min: 0, max: 2 ** 31 });
  const row = fc.tuple(
    fc.oneof(fc.tuple(word), fc.tuple(word, word, word, word)),
    fc.integer({ min: 0, max: 65535 }),
    number,
    number,
  );
  fc.assert(fc.property(fc.array(row), (rows) => {
    const lines = rows.map(([words, port, uid, inode], index) =>
      `${index}: `.padStart(6) +
      `${words.map(asPrinted).join("")}:${hex(port, 4)} ${"0".repeat(8 * words.length)}:0000 0A ` +
      `00000000:00000000 00:00000000 00000000 ${
        String(uid).padStart(5)
      }        0 ${inode} 1 0000000000000000 100 0 0 10 0`
    );
    const expected = rows.map(([words, port, uid, inode]) => {
      const bytes = words.flat();
      const hextets = bytes.flatMap((byte, at) => at % 2 === 0 ? `${hex(byte, 2)}${hex(bytes[at + 1]!, 2)}` : []);
      const address = bytes.length === 4 ? bytes.join(".") : parseIp(hextets.join(":"))!.text;
      return { protocol: "tcp", address, port, uid, inode };
    });
    assert.deepEqual(parseSocketTable(["heading", ...lines, ""].join("\n"), "tcp"), expected);
  }));
});

Deno.test("parseSocketTable() never throws", () => {
  fc.assert(fc.property(fc.string(), (text) => assert.deepEqual(parseSocketTable(text, "udp"), [])));
  assert.deepEqual(parseSocketTable(TCP.slice(0, 150), "tcp"), []);
});

Deno.test("findConnection() finds the client's end of a connection, also one of an IPv6 socket, and nobody else's", () => {
  const heading = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n";
  const row = (local: string, remote: string, state: string, inode: number) =>
    `   0: ${local} ${remote} ${state} 00000000:00000000 00:00000000 00000000  1000        0 ${inode} 1 0000000000000000 20 4 30 10 -1\n`;
  // 127.0.0.1:40000 to 127.0.0.1:15988.
  const [client, server] = ["0100007F:9C40", "0100007F:3E74"];
  const mapped = "0000000000000000FFFF0000";
  const ends = { address: "127.0.0.1", port: 40000, remoteAddress: "127.0.0.1", remotePort: 15988 };
  assert.deepEqual(findConnection(heading + row(client, server, "01", 7), ends), { uid: 1000, inode: 7 });
  assert.deepEqual(findConnection(row(`${mapped}${client}`, `${mapped}${server}`, "05", 8), ends), {
    uid: 1000,
    inode: 8,
  });
  for (
    const other of [
      row(server, client, "01", 9),
      row(client, server, "0A", 9),
      row("0100007F:9C41", server, "01", 9),
      "",
    ]
  ) {
    assert.equal(findConnection(heading + other, ends), undefined);
  }
});
