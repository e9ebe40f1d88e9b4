import fc from "fast-check";
import assert from "node:assert/strict";
import { AcceptedEnv, accountOf, sessionEnv, type SessionEnvOptions, sessionShell } from "./session_env.ts";

const PASSWD = [
  "root:x:0:0:root:/root:/bin/bash",
  "# a comment: of:7:kinds",
  "web:x:1000:1000:Web,,,:/srv/web:/bin/zsh",
  "twin:x:1000:1000::/home/twin:/bin/sh",
  "bare:x:7",
  ":x:8:8::/:/bin/sh",
  "none:x::9::/:/bin/sh",
  "hex:x:0x10:16::/:/bin/sh",
  "crlf:x:10:10::/home/crlf:/bin/sh\r",
].join("\n");

Deno.test("accountOf() is the first entry of a user", () => {
  assert.deepEqual(accountOf(PASSWD, 0), { name: "root", home: "/root", shell: "/bin/bash" });
  assert.deepEqual(accountOf(PASSWD, 1000), { name: "web", home: "/srv/web", shell: "/bin/zsh" });
  assert.deepEqual(accountOf(PASSWD, 7), { name: "bare", home: "", shell: "" });
  assert.deepEqual(accountOf(PASSWD, 10), { name: "crlf", home: "/home/crlf", shell: "/bin/sh" });
  for (const uid of [8, 9, 16, 4242]) assert.equal(accountOf(PASSWD, uid), undefined);
  assert.equal(accountOf("none:x::9::/:/bin/sh", 0), undefined, "an entry without a number is nobody's, nor root's");
});

Deno.test("accountOf() never throws, and finds only whom it was asked for", () => {
  const line = fc.array(fc.oneof(fc.string(), fc.nat(3).map(String)), { maxLength: 9 }).map((all) => all.join(":"));
  fc.assert(fc.property(fc.array(line).map((all) => all.join("\n")), fc.nat(3), (passwd, uid) => {
    const account = accountOf(passwd, uid);
    if (account) assert.ok(passwd.includes(`${account.name}:`));
  }));
});

Deno.test("AcceptedEnv takes language and terminal, and nothing that changes what a program does", () => {
  const env = new AcceptedEnv();
  for (const name of ["LANG", "LC_ALL", "LC_CTYPE", "COLORTERM"]) assert.equal(env.accept(name, "x"), true);
  const others = [
    "PATH",
    "LD_PRELOAD",
    "HOME",
    "SSH_AUTH",
    "LC_",
    "LC_a",
    "lang",
    "LANG ",
    "XLANG",
    "LANGUAGE",
    "BASH_ENV",
  ];
  for (const name of others) assert.equal(env.accept(name, "x"), false, name);
  assert.deepEqual(env.values, { LANG: "x", LC_ALL: "x", LC_CTYPE: "x", COLORTERM: "x" });
});

Deno.test("AcceptedEnv takes no value without an end, and no more than so many", () => {
  const env = new AcceptedEnv();
  assert.equal(env.accept("LANG", "x".repeat(4096)), true);
  assert.equal(env.accept("LANG", "x".repeat(4097)), false);
  assert.equal(env.accept("LANG", "a\0b"), false);
  const names = Array.from(
    { length: 80 },
    (_, index) => `LC_${"ABCDEFGHIJ"[index % 10]}${"ABCDEFGHIJ"[index / 10 | 0]}`,
  );
  assert.equal(names.filter((name) => env.accept(name, "x")).length, 63);
  assert.equal(Object.keys(env.values).length, 64);
});

const ends = { client: { address: "10.0.0.9", port: 40000 }, server: { address: "10.0.0.1", port: 15022 } };
const options: SessionEnvOptions = {
  world: { PATH: "/app/bin", GREETING: "hello" },
  account: { name: "web", home: "/srv/web", shell: "/bin/zsh" },
  accepted: {},
  ends,
  shell: "/bin/sh",
};

Deno.test("sessionEnv() is the program's world, with whose session it is", () => {
  assert.deepEqual(sessionEnv(options), {
    PATH: "/app/bin",
    GREETING: "hello",
    HOME: "/srv/web",
    USER: "web",
    LOGNAME: "web",
    SHELL: "/bin/sh",
    SSH_CLIENT: "10.0.0.9 40000 15022",
    SSH_CONNECTION: "10.0.0.9 40000 10.0.0.1 15022",
  });
});

Deno.test("sessionEnv() keeps what the program has of its own, but for the connection", () => {
  const world = { HOME: "/app", USER: "app", SHELL: "/bin/false", LANG: "C", SSH_CLIENT: "another", TERM: "dumb" };
  const env = sessionEnv({ ...options, world, accepted: { LANG: "de_DE.UTF-8" }, term: "xterm" });
  assert.deepEqual([env.HOME, env.USER, env.SHELL, env.LANG], ["/app", "app", "/bin/false", "de_DE.UTF-8"]);
  assert.deepEqual([env.SSH_CLIENT, env.TERM], ["10.0.0.9 40000 15022", "xterm"]);
});

Deno.test("sessionEnv() tells a forced command what was asked for, an empty text too, and has a HOME without an account", () => {
  assert.equal(sessionEnv({ ...options, originalCommand: "" }).SSH_ORIGINAL_COMMAND, "");
  assert.equal("SSH_ORIGINAL_COMMAND" in sessionEnv(options), false);
  const env = sessionEnv({ ...options, account: undefined, shell: undefined });
  assert.deepEqual([env.HOME, "USER" in env, "SHELL" in env], ["/", false, false]);
  assert.equal(sessionEnv({ ...options, account: { name: "web", home: "", shell: "" } }).HOME, "/");
});

Deno.test("sessionShell() is the account's, unless it is there to keep people out or is no program, else what there is", () => {
  const there = (...paths: string[]) => (path: string) => paths.includes(path);
  const account = (shell: string) => ({ name: "web", home: "/", shell });
  assert.equal(sessionShell(account("/bin/zsh"), there("/bin/zsh", "/bin/sh")), "/bin/zsh");
  assert.equal(sessionShell(account("/bin/zsh"), there("/bin/sh")), "/bin/sh");
  for (const none of ["/usr/sbin/nologin", "/bin/false", "/usr/bin/true", "", "bash"]) {
    assert.equal(sessionShell(account(none), there(none, "/busybox/sh")), "/busybox/sh", none);
  }
  assert.equal(sessionShell(undefined, there("/bin/sh", "/bin/bash")), "/bin/bash");
  assert.equal(sessionShell(account("/bin/zsh"), () => false), undefined);
});
