/**
 * Runs a program of OpenSSH to its end. For tests only.
 *
 * @module
 */

/** Runs it and gives its standard output. @throws {Error} with what it said, when it fails */
export async function runProgram(
  [program, ...args]: readonly [string, ...string[]],
  { cwd, input = "" }: { readonly cwd: string; readonly input?: string },
): Promise<string> {
  const streams = { stdin: "piped", stdout: "piped", stderr: "piped" } as const;
  await using child = new Deno.Command(program, { args, cwd, env: { TZ: "UTC" }, ...streams }).spawn();
  const writer = child.stdin.getWriter();
  await writer.write(new TextEncoder().encode(input));
  await writer.close();
  const { success, stdout, stderr } = await child.output();
  const said = new TextDecoder();
  if (!success) throw new Error(`${program} ${args.join(" ")}:\n${said.decode(stderr)}${said.decode(stdout)}`);
  return said.decode(stdout);
}
