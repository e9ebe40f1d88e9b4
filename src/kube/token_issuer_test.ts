import assert from "node:assert/strict";
import { join } from "node:path";
import { calculateJwkThumbprint, decodeProtectedHeader } from "jose";
import { RecordingLog } from "../../tests/recording_log.ts";
import { TokenIssuer } from "./token_issuer.ts";

const REF = { namespace: "shop", serviceAccount: "web", audience: "vault", expirationSeconds: 600 };

class StateFolder implements Disposable {
  readonly path = Deno.makeTempDirSync({ prefix: "krun-test-" });
  readonly log = new RecordingLog();
  readonly keyFile = join(this.path, "issuer", "signing_key.json");

  issuer(now?: () => number): TokenIssuer {
    return new TokenIssuer({ stateFolder: this.path, log: this.log, ...(now === undefined ? {} : { now }) });
  }

  [Symbol.dispose](): void {
    Deno.removeSync(this.path, { recursive: true });
  }
}

function modeOf(file: string): number {
  return Deno.statSync(file).mode! & 0o777;
}

function claimsOf(token: string): Record<string, unknown> {
  return JSON.parse(new TextDecoder().decode(Uint8Array.fromBase64(token.split(".")[1]!, { alphabet: "base64url" })));
}

Deno.test("TokenIssuer signs exactly the claims of an API server", async () => {
  using state = new StateFolder();
  const { token, issuedAtMs, expiresAtMs } = await state.issuer(() => 1_900_000_000_500).issue(REF, "u-1");
  assert.deepEqual([issuedAtMs, expiresAtMs], [1_900_000_000_000, 1_900_000_600_000]);
  const { jti, ...claims } = claimsOf(token);
  assert.match(`${jti}`, /^[0-9a-f-]{36}$/);
  assert.deepEqual(claims, {
    aud: ["vault"],
    exp: 1_900_000_600,
    iat: 1_900_000_000,
    nbf: 1_900_000_000,
    iss: "https://manifests.krun.invalid",
    sub: "system:serviceaccount:shop:web",
    "kubernetes.io": { namespace: "shop", serviceaccount: { name: "web", uid: "u-1" } },
  });
});

Deno.test("TokenIssuer takes itself for the audience when none is asked for", async () => {
  using state = new StateFolder();
  const { token } = await state.issuer().issue({ ...REF, audience: "" });
  assert.deepEqual(claimsOf(token).aud, ["https://manifests.krun.invalid"]);
});

Deno.test("TokenIssuer makes one uid for one service account, whatever the key", async () => {
  using state = new StateFolder();
  using other = new StateFolder();
  const uid = async (folder: StateFolder, serviceAccount: string) => {
    const { token } = await folder.issuer().issue({ ...REF, serviceAccount });
    return (claimsOf(token)["kubernetes.io"] as { serviceaccount: { uid: string } }).serviceaccount.uid;
  };
  assert.equal(await uid(state, "web"), await uid(other, "web"));
  assert.notEqual(await uid(state, "web"), await uid(state, "db"));
  assert.match(await uid(state, "web"), /^[0-9a-f]{8}-[0-9a-f]{4}-8[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/);
});

Deno.test("TokenIssuer refuses a life that an API server refuses", async () => {
  using state = new StateFolder();
  for (const expirationSeconds of [599, 0, -1, 600.5, NaN, 2 ** 32 + 1]) {
    await assert.rejects(state.issuer().issue({ ...REF, expirationSeconds }), { code: "ApiRequestFailed" });
  }
  for (const expirationSeconds of [600, 2 ** 32]) await state.issuer().issue({ ...REF, expirationSeconds });
});

Deno.test("TokenIssuer names its key by the thumbprint of RFC 7638, in token and key set", async () => {
  using state = new StateFolder();
  const issuer = state.issuer();
  const { token } = await issuer.issue(REF);
  const { keys: [key, ...more] } = JSON.parse(Deno.readTextFileSync(issuer.jwksFile));
  assert.deepEqual(more, []);
  assert.equal(key.kid, await calculateJwkThumbprint(key));
  assert.equal(decodeProtectedHeader(token).kid, key.kid);
});

Deno.test("TokenIssuer keeps the private key to its user and gives the public one to all", async () => {
  using state = new StateFolder();
  const before = Deno.umask(0o077);
  try {
    await state.issuer().issue(REF);
  } finally {
    Deno.umask(before);
  }
  assert.equal(modeOf(state.keyFile), 0o600);
  assert.equal(modeOf(state.issuer().jwksFile), 0o644);
  for (const folder of [state.path, join(state.path, "issuer")]) {
    assert.equal(modeOf(folder), 0o711, "others pass through to the public key, and list nothing");
  }
  assert.equal("d" in JSON.parse(Deno.readTextFileSync(state.issuer().jwksFile)).keys[0], false);
});

Deno.test("TokenIssuer makes one key when many tokens are asked for at once", async () => {
  using state = new StateFolder();
  const issuer = state.issuer();
  const tokens = await Promise.all(Array.from({ length: 10 }, () => issuer.issue(REF)));
  const kids = tokens.map(({ token }) => decodeProtectedHeader(token).kid);
  assert.equal(new Set(kids).size, 1);
  assert.deepEqual(state.log.lines, []);
});

Deno.test("TokenIssuer has one key and makes no file when the key is not to be kept", async () => {
  using state = new StateFolder();
  await state.issuer().issue(REF);
  const kept = Deno.readTextFileSync(state.keyFile);
  const stateFolder = join(state.path, "absent");
  const issuer = new TokenIssuer({ stateFolder, keepKey: false, log: state.log });
  const tokens = await Promise.all([issuer.issue(REF), issuer.issue(REF)]);
  const kids = tokens.map(({ token }) => decodeProtectedHeader(token).kid);
  assert.equal(kids[0], kids[1]);
  assert.notEqual(kids[0], await calculateJwkThumbprint(JSON.parse(kept)));
  assert.throws(() => Deno.statSync(stateFolder), Deno.errors.NotFound);
});

Deno.test("TokenIssuer keeps its key, but not one that others could read, that is a link or that is no key", async () => {
  using state = new StateFolder();
  const kid = async () => decodeProtectedHeader((await state.issuer().issue(REF)).token).kid;
  const first = await kid();
  assert.equal(await kid(), first);
  const spoil: Record<string, () => void> = {
    "readable by others": () => Deno.chmodSync(state.keyFile, 0o640),
    "a link": () => {
      Deno.renameSync(state.keyFile, `${state.keyFile}.elsewhere`);
      Deno.symlinkSync(`${state.keyFile}.elsewhere`, state.keyFile);
    },
    "half a file": () => Deno.writeTextFileSync(state.keyFile, '{"kty":"EC","crv"'),
    "another thing": () =>
      Deno.writeTextFileSync(state.keyFile, '{"kty":"EC","crv":"P-256","x":"AA","y":"AA","d":"AA"}'),
    nothing: () => Deno.writeTextFileSync(state.keyFile, "null"),
  };
  let last = first;
  for (const [what, spoilIt] of Object.entries(spoil)) {
    state.log.lines.length = 0;
    spoilIt();
    const replaced = await kid();
    assert.notEqual(replaced, last, what);
    assert.equal(state.log.lines.length, 1, what);
    assert.match(state.log.events[0]!, /^warn signing key replaced/, what);
    assert.equal(modeOf(state.keyFile), 0o600, what);
    last = replaced;
  }
});

Deno.test("TokenIssuer says where the key cannot be kept, and tries again the next time", async () => {
  using state = new StateFolder();
  const inTheWay = join(state.path, "issuer");
  Deno.writeTextFileSync(inTheWay, "");
  const issuer = state.issuer();
  await assert.rejects(issuer.issue(REF), { code: "TargetUnwritable", message: /^Cannot keep signing key ".*": / });
  Deno.removeSync(inTheWay);
  await issuer.issue(REF);
});
