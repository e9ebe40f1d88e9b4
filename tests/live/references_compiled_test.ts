/** References with the compiled krun, which has an older runtime. */
import assert from "node:assert/strict";
import { FakeSecrets, SECRET_REGION } from "../fakes/google_secrets.ts";
import { useBinary } from "../krun_process.ts";
import { compiledKrun } from "./compiled.ts";
import { CLOUD_RUN, GoogleRig, REGION, RigFolder } from "./google_rig.ts";
import { sh } from "./shop.ts";

Deno.test("the compiled krun resolves references of every kind", async (t) => {
  useBinary(await compiledKrun());
  let made: FakeSecrets | undefined;
  await using rig = await GoogleRig.create({ addHosts: (google) => void (made = new FakeSecrets(google)) });
  const secrets = made!;
  secrets.grantAll(rig.google.account!);
  rig.google.grant(rig.google.account!, "run.revisions.get");
  secrets.put("doc", '{"n":12345678901234567890,"f":1.50}');
  secrets.put(`${SECRET_REGION}/near`, "regional");
  await secrets.putBerglas("bkt/pass", "of-berglas", { key: secrets.makeKey() });
  const cluster = `projects/acme-shop-prod/locations/${REGION}/clusters/prod/namespaces/shop`;
  const references = {
    N: "sm://acme-shop-prod/doc?json=.n",
    F: "sm://acme-shop-prod/doc?json=.f",
    NEAR: `sm://acme-shop-prod/near?location=${SECRET_REGION}`,
    B: "berglas://bkt/pass?destination=tempfile",
    K: `$SecretKeyRef:/${cluster}/secrets/db/keys/username`,
  };
  const script = sh('echo "$N $F $NEAR $(cat $B) $K"; stat -Lc %a "$B"');
  const start = async (env: Record<string, string>) => {
    await using folder = await RigFolder.create();
    return await rig.run(folder.path, { ...CLOUD_RUN, CLUSTER_NAME: "-", TMPDIR: folder.path, ...env }, script);
  };
  const whole = "12345678901234567890 1.50 regional of-berglas alice\n600\n";
  await t.step("from its own environment", async () => {
    const { code, stdout, stderr } = await start(references);
    assert.deepEqual([code, stdout], [0, whole], stderr);
  });
  await t.step("from the running revision's", async () => {
    const env = Object.entries(references).map(([name, value]) => ({ name, value }));
    secrets.runs.set(`${REGION}/namespaces/acme-shop-prod/revisions/${CLOUD_RUN.K_REVISION}`, {
      spec: { containers: [{ env }] },
    });
    const { code, stdout, stderr } = await start({ KRUN_ENV_SOURCE: "cloudrun" });
    assert.deepEqual([code, stdout], [0, whole], stderr);
  });
  await t.step("and refuses with all that fails", async () => {
    const { code, stderr } = await start({ A: "sm://acme-shop-prod/gone", C: "berglas://bkt" });
    assert.equal(code, 125);
    assert.ok(stderr.includes("Cannot resolve A: ") && stderr.includes("Cannot resolve C as a reference"), stderr);
  });
});
