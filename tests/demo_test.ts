/** The README's first command, and what it promises to show. */
import assert from "node:assert/strict";

const DEMO = new URL("../scripts/demo.ts", import.meta.url).pathname;

async function runDemo(env: Record<string, string> = {}): Promise<{ code: number; shown: string }> {
  const command = new Deno.Command(Deno.execPath(), { args: ["run", "-q", "-A", DEMO], env });
  const { code, stdout, stderr } = await command.output();
  return { code, shown: new TextDecoder().decode(stdout) + new TextDecoder().decode(stderr) };
}

Deno.test("demo shows files, token claims, environment and a change of the Secret, and ends with status 0", async () => {
  const { code, shown } = await runDemo();
  assert.equal(code, 0, shown);
  const expected = [
    /^hello \| {3}config\/greeting: Good morning$/m,
    /^hello \| {3}secrets\/db\/username: alice$/m,
    /^hello \| {3}var\/run\/secrets\/kubernetes\.io\/serviceaccount\/namespace: hello$/m,
    /^hello \| {3}var\/run\/secrets\/kubernetes\.io\/serviceaccount\/token: a token$/m,
    /^hello \| {3}aud: \["vault"\]$/m,
    /^hello \| {3}sub: "system:serviceaccount:hello:greeter"$/m,
    /^hello \| {3}WORKLOAD_NAMESPACE=hello$/m,
    /^hello \| the password is spring$[^]*^hello \| the password is summer$[^]*^hello \| goodbye$/m,
    /^krun ended with the program's status, 0, and took away every file that it had made\.$/m,
  ];
  for (const pattern of expected) assert.match(shown, pattern);
  assert.doesNotMatch(shown, /^hello \| {3}(K8S|KRUN)_/m, "the program sees krun's own settings");
  assert.doesNotMatch(shown, /^krun {2}\| .*(spring|summer)/m, "a Secret's content in the log");
});

Deno.test("demo is not led astray by settings of the shell it is started from", async () => {
  const { code, shown } = await runDemo({
    KUBECONFIG: "/nowhere",
    K8S_SECRET_other: "/tmp/x",
    WORKLOAD_NAMESPACE: "x",
  });
  assert.equal(code, 0, shown);
});

Deno.test("demo says so and ends with status 1 when krun cannot be started", async () => {
  // The negative control: the same script where there is no main.ts.
  const broken = await Deno.makeTempDir({ prefix: "krun-test-" });
  try {
    await Deno.mkdir(`${broken}/scripts`);
    await Deno.copyFile(DEMO, `${broken}/scripts/demo.ts`);
    await Deno.mkdir(`${broken}/examples/hello/k8s`, { recursive: true });
    await Deno.writeTextFile(`${broken}/examples/hello/hello.ts`, "");
    const command = new Deno.Command(Deno.execPath(), { args: ["run", "-q", "-A", `${broken}/scripts/demo.ts`] });
    const { code, stdout } = await command.output();
    const shown = new TextDecoder().decode(stdout);
    assert.equal(code, 1, shown);
    assert.match(shown, /^The demo failed: the program ended without "the password is spring"$/m);
  } finally {
    await Deno.remove(broken, { recursive: true });
  }
});
