/**
 * What is said of a failure of `google-auth-library` that no server had a part in. In: what it has thrown. Out: a clause in krun's
 * own words.
 *
 * Its words are never passed on: they quote what an executable printed and what a file holds, which are tokens.
 *
 * @module
 */
import type { CredentialKind } from "./google_credentials_file.ts";

/** Where the subject's token of an external account comes from. */
export type SubjectSource = "file" | "url" | "executable" | "aws";

/** What there is to know besides the error. */
export interface CredentialsContext {
  readonly kind: CredentialKind;
  /** Of an external account. */
  readonly source?: SubjectSource | undefined;
}

/** What the library throws (11.3.4), by a part of its own words. */
const WORDS: readonly (readonly [words: RegExp, clause: string])[] = [
  [
    /^Pluggable Auth executables need to be/,
    "they come from an executable, which runs only with GOOGLE_EXTERNAL_ACCOUNT_ALLOW_EXECUTABLES=1",
  ],
  [/^The executable failed to finish within/, "their executable did not end in time"],
  [/^Timeout must be between/, "the timeout_millis of their executable is out of bounds"],
  [/^Provided command: /, "the command of their executable cannot be read"],
  [/^Version of executable is not/, "the answer of their executable is of a version that is not known"],
  [/^Executable response is expired/, "what their executable gave has ended"],
  [
    /^(?:The executable returned|The output file contained) an invalid|^Executable response must/,
    "their executable gave no answer of the documented form",
  ],
  [/^Unable to parse the subject_token/, "their credential_source holds no token in that field"],
  [/^Missing subject_token_field_name/, "their credential_source has no subject_token_field_name"],
  [/^Invalid credential_source format/, "the format of their credential_source is neither text nor json"],
  [
    /^No valid Identity Pool/,
    "their credential_source names none of file, url, executable and environment_id, or several",
  ],
  [/^Unable to determine AWS region/, "the region of AWS is known neither from AWS_REGION nor from their region_url"],
  [
    /^Unable to determine AWS role/,
    "AWS credentials are known neither from the environment nor from the url of their credential_source",
  ],
  [/^workforcePoolUserProject/, "they have a workforce_pool_user_project, but are of no workforce pool"],
];

/** Whatever else it is. */
const OTHERWISE: Readonly<Record<SubjectSource, string>> = {
  file: "the subject's token cannot be read from the file of their credential_source",
  url: "the subject's token cannot be had from the url of their credential_source",
  executable: "their executable failed",
  aws: "AWS credentials cannot be had",
};

/** A clause without a full stop, after the name of the file; nothing of the error's own is in it. Never throws. */
export function credentialsFailure(error: unknown, { kind, source }: CredentialsContext): string {
  if (source === undefined) {
    return kind === "service_account" ? "their private_key cannot be used" : "they are of no use";
  }
  const message = error instanceof Error ? error.message : "";
  const clause = WORDS.find(([words]) => words.test(message))?.[1];
  if (clause !== undefined) return clause;
  const isNoJson = source === "file" && error instanceof SyntaxError;
  return isNoJson ? "the file of their credential_source is not the JSON that its format says" : OTHERWISE[source];
}
