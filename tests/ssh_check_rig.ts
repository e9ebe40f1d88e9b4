/**
 * What `--check` and a start say of the debug SSH server. In: settings. Out: rows and warnings.
 *
 * @module
 */
import assert from "node:assert/strict";
import type { CheckReport } from "../src/launch/check_report.ts";
import { Workspace } from "./workspace.ts";

/** A public key of type ed25519, without its type. */
export const KEY = "AAAAC3NzaC1lZDI1NTE5AAAAICEkhcWy9dA8bDAMec9JyAKgRk7/q2xTLqGB+em6Y5PU";

/** What there is besides settings. */
export interface CheckWorld {
  /** Values of the Secret `sshdebug`. @default {there is none} */
  readonly secret?: Readonly<Record<string, string>>;
  /** Called before krun runs. */
  prepare?(workspace: Workspace): Promise<void>;
}

/** The rows about it, the warnings, and what keeps somebody from coming in. */
export async function checked(
  settings: Readonly<Record<string, string>>,
  { secret, prepare }: CheckWorld = {},
): Promise<{ rows: string[] } & Pick<CheckReport, "warnings" | "problems">> {
  await using workspace = await Workspace.create();
  if (secret) await workspace.put({ kind: "Secret", name: "sshdebug", stringData: secret });
  await prepare?.(workspace);
  const ofCluster = { KRUN_MANIFESTS: workspace.manifests, WORKLOAD_NAMESPACE: "shop" };
  const env = secret ? { ...settings, ...ofCluster } : settings;
  const { code, stdout, stderr } = await workspace.run({ args: ["--check=json", "--", "/bin/sh"], env });
  const { ok, starts, findings, warnings, problems } = JSON.parse(stdout) as CheckReport;
  assert.equal(starts, true, stdout + stderr);
  assert.equal(ok, problems.length === 0);
  assert.equal(code, ok ? 0 : 1, stderr);
  const rows = findings.filter(({ what }) => what.startsWith("ssh ")).map((f) =>
    `${f.what}: ${f.value} (${f.because})`
  );
  return { rows, warnings, problems };
}

/** The warnings of a start; where none is expected, those until the program has started. */
export async function startWarnings(
  env: Readonly<Record<string, string>>,
  { sees = / warn /, prepare }: Pick<CheckWorld, "prepare"> & { readonly sees?: RegExp } = {},
): Promise<string[]> {
  await using workspace = await Workspace.create();
  await prepare?.(workspace);
  await using krun = workspace.start({ args: ["--", "/bin/sleep", "1000"], env: { KRUN_LOG: "debug", ...env } });
  await krun.sees("stderr", sees);
  krun.kill("SIGTERM");
  const { stderr } = await krun.end;
  return stderr.split("\n").filter((line) => / warn /.test(line)).map((line) => line.replace(/^.* warn /, ""));
}
