import assert from "node:assert/strict";
import fc from "fast-check";
import { parsePermitListen, parsePermitOpen, permitsListen, permitsOpen, permitText } from "./ssh_forward_permit.ts";
import { SshFormatError } from "./ssh_wire.ts";

const mayOpen = (permit: string, host: string, port: number) => permitsOpen([parsePermitOpen(permit)], { host, port });
const mayListen = (permit: string, host: string, port: number) =>
  permitsListen([parsePermitListen(permit)], { host, port });

Deno.test("permitsOpen() takes the host as the same text, and * for any host or port", () => {
  assert.equal(mayOpen("db.shop:5432", "db.shop", 5432), true);
  assert.equal(mayOpen("db.shop:5432", "db.shop", 5433), false);
  assert.equal(mayOpen("db.shop:5432", "db.shop.evil", 5432), false);
  // sshd(8): "No pattern matching or name lookup is performed".
  assert.equal(mayOpen("*.shop:5432", "db.shop", 5432), false);
  assert.equal(mayOpen("db.shop:5432", "DB.shop", 5432), false);
  assert.equal(mayOpen("127.0.0.1:80", "localhost", 80), false);
  assert.equal(mayOpen("*:80", "anywhere", 80), true);
  assert.equal(mayOpen("*:80", "anywhere", 81), false);
  assert.equal(mayOpen("localhost:*", "localhost", 65535), true);
  assert.equal(mayOpen("[::1]:80", "::1", 80), true);
});

Deno.test("permitsListen() takes the host as a pattern, and a port alone for any host", () => {
  assert.equal(mayListen("8080", "localhost", 8080), true);
  assert.equal(mayListen("8080", "", 8080), true);
  assert.equal(mayListen("8080", "localhost", 8081), false);
  assert.equal(mayListen("localhost:8080", "LOCALHOST", 8080), true);
  assert.equal(mayListen("localhost:8080", "", 8080), false);
  assert.equal(mayListen("127.*:8080", "127.0.0.2", 8080), true);
  assert.equal(mayListen("*", "localhost", 1), true);
  assert.equal(mayListen("[::1]:*", "::1", 1), true);
});

Deno.test("permitsOpen(), permitsListen(): any is any, and an empty list is nothing", () => {
  for (const permits of [permitsOpen, permitsListen]) {
    assert.equal(permits("any", { host: "x", port: 1 }), true);
    assert.equal(permits([], { host: "x", port: 1 }), false);
  }
});

Deno.test("parsePermitOpen(), parsePermitListen() refuse what has no host or port, and throw nothing else", () => {
  for (
    const text of [
      "",
      "host",
      "host:",
      "host:0",
      "host:65536",
      "host:http",
      "host:-1",
      "::1:80",
      "[::1]80",
      "[::1:80",
      "a:b:1",
    ]
  ) {
    assert.throws(() => parsePermitOpen(text), SshFormatError, text);
  }
  for (const text of ["", "http", "0", "65536", "localhost:", "a:b:1"]) {
    assert.throws(() => parsePermitListen(text), SshFormatError, text);
  }
  assert.throws(() => parsePermitOpen(`${"a".repeat(1025)}:1`), SshFormatError);
  fc.assert(fc.property(fc.string(), (text) => {
    for (const parse of [parsePermitOpen, parsePermitListen]) {
      try {
        parse(text);
      } catch (error) {
        assert.ok(error instanceof SshFormatError);
      }
    }
  }));
});

Deno.test("permitText() writes what parsePermitOpen() reads", () => {
  for (const text of ["db:5432", "[::1]:*", "*:80"]) assert.equal(permitText(parsePermitOpen(text)), text);
  assert.equal(permitText(parsePermitListen("8080")), "*:8080");
});
