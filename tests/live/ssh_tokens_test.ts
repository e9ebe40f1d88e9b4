/** Logins with a Kubernetes identity: tokens of a real API server, told to OpenSSH's client as a person would. */
import assert from "node:assert/strict";
import { generateKeyPairSync, type KeyObject, sign } from "node:crypto";
import { join } from "node:path";
import { SSH_MESSAGE } from "../../src/core/ssh_messages.ts";
import { LoginClient } from "../ssh_login_client.ts";
import { waitFor } from "../wait.ts";
import { ApiAudit } from "./api_audit.ts";
import { type ApiServer, startApiServer } from "./api_server.ts";
import { audited, type ClientEnd, SshRig } from "./ssh_rig.ts";

const RBAC = { apiVersion: "rbac.authorization.k8s.io/v1" };
const AUDIENCE = "krun-ssh/shop";
const DELEGATION = {
  ...RBAC,
  kind: "ClusterRoleBinding",
  metadata: { name: "krun-delegator" },
  roleRef: { apiGroup: "rbac.authorization.k8s.io", kind: "ClusterRole", name: "system:auth-delegator" },
  subjects: [{ apiGroup: "rbac.authorization.k8s.io", kind: "User", name: "krun" }],
};

/** Of another than krun's logins in this namespace, or of others too; the first is the API server's own. */
const OTHER_AUDIENCES: readonly (readonly string[])[] = [
  [],
  [AUDIENCE, "https://kubernetes.default.svc.cluster.local"],
  ["krun-ssh/other"],
  ["vault"],
];

/** What follows the method: a language, and ways of asking. */
const NO_LANGUAGE = [new Uint8Array(4), new Uint8Array(4)];

let audit: ApiAudit;
let server: ApiServer;
let signingKey: KeyObject;
let keyFolder: string;
let kubeconfig: string;
const shown: string[] = [];
Deno.test.beforeAll(async () => {
  audit = await ApiAudit.create();
  keyFolder = await Deno.makeTempDir({ prefix: "krun-ssh-issuer-" });
  const file = join(keyFolder, "key");
  // The longest key in use: ssh(1) does not take such a token at once.
  signingKey = generateKeyPairSync("rsa", { modulusLength: 4096 }).privateKey;
  await Deno.writeTextFile(file, `${signingKey.export({ type: "pkcs1", format: "pem" })}`);
  const flags = ["signing-key-file", "key-file"].map((flag) => `--service-account-${flag}=${file}`);
  server = await startApiServer({ args: [...audit.args, ...flags] });
  await server.namespace("shop");
  for (const name of ["ann", "bob", "gone"]) await server.create(account(name));
  const exec = { apiGroups: [""], resources: ["pods/exec"], verbs: ["create"] };
  for (const name of ["ann", "gone"]) await server.grant("shop", `system:serviceaccount:shop:${name}`, [exec]);
  kubeconfig = (await server.user("krun")).kubeconfig;
  await server.grant("shop", "krun", [{ apiGroups: [""], resources: ["serviceaccounts/token"], verbs: ["create"] }]);
  await server.create(DELEGATION);
});
Deno.test.afterAll(async () => {
  await server[Symbol.asyncDispose]();
  await audit[Symbol.asyncDispose]();
  await Deno.remove(keyFolder, { recursive: true });
});

/** A krun that takes tokens, with an askpass(1) for its clients. */
async function startRig(): Promise<SshRig> {
  const env = { KUBECONFIG: kubeconfig, WORKLOAD_NAMESPACE: "shop", KRUN_SSH_RBAC: "true", KRUN_LOG: "debug" };
  const rig = await SshRig.start({ env });
  await Deno.writeTextFile(join(rig.folder, "askpass"), ASKPASS, { mode: 0o700 });
  return rig;
}

/** What the page of the server shows: it gives as much as ssh(1) takes, and then the rest. */
const ASKPASS = `#!/bin/sh
from=$(expr "$1" : '.*character \\([0-9]*\\) on')
tail -c +"\${from:-1}" "$TOKEN_FILE"
`;

function account(name: string) {
  return { apiVersion: "v1", kind: "ServiceAccount", metadata: { namespace: "shop", name } };
}

async function tokenOf(name: string, audiences: readonly string[]): Promise<string> {
  const body = { apiVersion: "authentication.k8s.io/v1", kind: "TokenRequest", spec: { audiences } };
  const path = `/api/v1/namespaces/shop/serviceaccounts/${name}/token`;
  const init = { method: "POST", headers: { "content-type": "application/json" }, body: JSON.stringify(body) };
  const { status } = await (await server.request(path, init)).json();
  return status.token;
}

/** A token with other claims, signed as the API server's are, or by another key. */
async function changed(claims: Record<string, unknown>, key = signingKey): Promise<string> {
  const [header, payload] = (await tokenOf("ann", [AUDIENCE])).split(".");
  const real = JSON.parse(new TextDecoder().decode(Uint8Array.fromBase64(payload!, { alphabet: "base64url" })));
  const text = new TextEncoder().encode(JSON.stringify({ ...real, ...claims }));
  const base64url = (bytes: Uint8Array) => bytes.toBase64({ alphabet: "base64url", omitPadding: true });
  const signed = `${header}.${base64url(text)}`;
  return `${signed}.${base64url(sign("sha256", new TextEncoder().encode(signed), key))}`;
}

/** Runs a command as somebody with a token. */
async function login(rig: SshRig, { user, token }: { user: string; token: string }): Promise<ClientEnd> {
  shown.push(token);
  const file = join(rig.folder, "token");
  await Deno.writeTextFile(file, token);
  const env = { SSH_ASKPASS: join(rig.folder, "askpass"), SSH_ASKPASS_REQUIRE: "force", TOKEN_FILE: file };
  const options = ["BatchMode=no", "PreferredAuthentications=keyboard-interactive", "NumberOfPasswordPrompts=1"];
  return await rig.ssh(["echo in"], { user, env, options });
}

/** Nobody comes in, and krun says why, the client not. */
async function isRefused(rig: SshRig, { user, token }: { user: string; token: string }, reason: RegExp): Promise<void> {
  const { code, stdout, stderr } = await login(rig, { user, token });
  assert.deepEqual([code, stdout], [255, ""], stderr);
  assert.match(stderr, /Permission denied \(publickey,keyboard-interactive\)\.\s*$/);
  assert.doesNotMatch(stderr, reason);
  await audited(rig, new RegExp(`ssh login refused.* user=${user} .*${reason.source}`));
}

async function reviews(): Promise<[tokens: number, accesses: number]> {
  const [tokens, accesses] = await Promise.all(
    ["tokenreviews", "subjectaccessreviews"].map((resource) => audit.of({ user: "krun", resource })),
  );
  return [tokens!.length, accesses!.length];
}

Deno.test("logins with a Kubernetes identity", async (t) => {
  await using rig = await startRig();
  const refused = (user: string, token: string, reason: RegExp) => isRefused(rig, { user, token }, reason);

  await t.step("who may create pods/exec comes in with a token that is good for nothing else", async () => {
    const token = await tokenOf("ann", [AUDIENCE]);
    assert.ok(token.length > 1023, "ssh(1) does not take it at once");
    const { stdout, stderr } = await login(rig, { user: "ann", token });
    assert.equal(stdout, "in\n", stderr);
    const who = "user=ann account=system:serviceaccount:shop:ann";
    await audited(rig, new RegExp(`info ssh login from="127.0.0.1 \\d+" ${who}$`, "m"));
    await audited(rig, new RegExp(`info ssh session over ${who} ran="echo in" status=0$`, "m"));
    await audited(rig, new RegExp(`info ssh logout from="127.0.0.1 \\d+" ${who}$`, "m"));
    assert.deepEqual(await reviews(), [1, 1]);
  });

  await t.step("a client that sends all of a long token at once is let in too, and told whose it must be", async () => {
    await using client = await LoginClient.connect(rig.port);
    client.request("keyboard-interactive", { rest: NO_LANGUAGE });
    const asked = /kubectl -n shop create token NAME --audience=krun-ssh\/shop/;
    assert.match(new TextDecoder().decode(await client.next()), asked);
    client.answer(await tokenOf("ann", [AUDIENCE]));
    assert.equal((await client.next())[0], SSH_MESSAGE.userauthSuccess);
  });

  await t.step("a token that anybody else takes is refused, and never leaves krun", async () => {
    const before = await reviews();
    const alone = /reason=".*and must have krun-ssh\/shop alone"/;
    for (const [index, audiences] of OTHER_AUDIENCES.entries()) {
      await refused(`other-${index}`, await tokenOf("ann", audiences), alone);
    }
    await refused("none", "a password", /it has no audience/);
    assert.deepEqual(await reviews(), before);
  });

  await t.step("an expired token is refused", async () => {
    const now = Math.floor(Date.now() / 1000);
    const past = { iat: now - 7200, nbf: now - 7200, exp: now - 3600 };
    await refused("expired", await changed(past), /reason=".*expired/);
  });
  await t.step("a forged token is refused", async () => {
    const { privateKey } = generateKeyPairSync("rsa", { modulusLength: 2048 });
    await refused("forged", await changed({}, privateKey), /reason=".*invalid bearer token/);
  });
  await t.step("the token of a service account that is deleted is refused", async () => {
    const [before, after] = [await tokenOf("gone", [AUDIENCE]), await tokenOf("gone", [AUDIENCE])];
    assert.equal((await login(rig, { user: "still-there", token: before })).code, 0);
    await server.delete(account("gone"));
    // The API server remembers for ten seconds which tokens were good.
    await refused("gone", after, /reason=".*not found/);
  });
  await t.step("who may not create pods/exec is refused, and named", async () => {
    const reason = /account=system:serviceaccount:shop:bob reason="may not create pods\/exec in namespace \\"shop\\"/;
    await refused("bob", await tokenOf("bob", [AUDIENCE]), reason);
  });

  await t.step("a krun that may not ask the API server lets nobody in, and says which right it needs", async () => {
    await server.delete(DELEGATION);
    const early = await tokenOf("ann", [AUDIENCE]);
    await waitFor("the right to be gone", async () => (await login(rig, { user: "early", token: early })).code !== 0);
    const said = /reason="Cannot review a token .* 403, .*" hint="bind ClusterRole system:auth-delegator to/;
    await refused("powerless", await tokenOf("ann", [AUDIENCE]), said);
    await server.create(DELEGATION);
    const late = await tokenOf("ann", [AUDIENCE]);
    await waitFor("the right to be there", async () => (await login(rig, { user: "late", token: late })).code === 0);
  });

  await t.step("an API server that does not answer lets nobody in, soon, and whoever has a key", async () => {
    const [token, own] = [await tokenOf("ann", [AUDIENCE]), { options: ["PreferredAuthentications=publickey"] }];
    server.freeze();
    try {
      const waiting = refused(
        "ann",
        token,
        /reason="Cannot review a token: the API server has not answered within 5 s"/,
      );
      assert.equal((await rig.ssh(["echo in"], own)).stdout, "in\n");
      await waiting;
    } finally {
      server.thaw();
    }
    assert.equal((await login(rig, { user: "ann", token })).code, 0);
  });

  await t.step("no token stands in the log, whatever became of it", () => {
    assert.ok(shown.length > 10);
    for (const token of shown) {
      // The claims, and the signature.
      for (const part of token.split(".").slice(1)) {
        for (const piece of [part.slice(0, 40), part.slice(40, 80), part.slice(-40)]) {
          assert.ok(!rig.krun.stderr.includes(piece), "a part of a token is in krun's log");
        }
      }
    }
  });
});
