import assert from "node:assert/strict";
import { makeHostKey, readHostKey } from "./host_key.ts";
import { loadSsh2 } from "./ssh2.ts";

const ssh2 = await loadSsh2();
const { key: hostKey, text: hostKeyText } = makeHostKey(ssh2);

Deno.test("readHostKey() takes private keys alone", () => {
  assert.equal(hostKey.type, "ssh-ed25519");
  assert.match(readHostKey(ssh2, "no key") as string, /no private key/);
  assert.match(
    readHostKey(ssh2, "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJ1cGkHMoq2ZMOCyW9bAPGHrKuxTL7kvZjVSK3B6vXTe") as string,
    /no private key/,
  );
});

Deno.test("makeHostKey() makes another key where ssh2 has made one that it cannot read", () => {
  const unreadable = `-----BEGIN OPENSSH PRIVATE KEY-----
b3BlbnNzaC1rZXktdjEAAAAABG5vbmUAAAAEbm9uZQAAAAAAAAABAAAAMgAAAAtz
c2gtZWQyNTUxOQAAAB8qnuhaJHQV/9OjxcnqwilouxzyO28yzw6f7FlggxxkAAAA
iI+pzgGPqc4BAAAAC3NzaC1lZDI1NTE5AAAAHyqe6FokdBX/06PFyerCKWi7HPI7
bzLPDp/sWWCDHGQAAAA/dcDaEmupmjSpNRZiKhvEMHs7ifCHhGiy+nrKLvBuVCwq
nuhaJHQV/9OjxcnqwilouxzyO28yzw6f7FlggxxkAAAAAAECAwQFBgc=
-----END OPENSSH PRIVATE KEY-----
`;
  const made = [unreadable, hostKeyText];
  const generateKeyPairSync = () => ({ private: made.shift()! });
  assert.equal(typeof readHostKey(ssh2, unreadable), "string", "ssh2 has been mended: makeHostKey() can go");
  assert.equal(makeHostKey({ parseKey: ssh2.parseKey, generateKeyPairSync }).text, hostKeyText);
});
