/**
 * Who may log in to this workload. In: what clients show. Out: logins with their rights, and a line in the log for each try.
 *
 * @module
 */
import type { Clock } from "../core/clock.ts";
import { KrunError } from "../core/errors.ts";
import type { LogFields, Logger } from "../core/log.ts";
import { failureDelayMs } from "../core/login_penalties.ts";
import type { SshAuthorities } from "../core/ssh_authorities.ts";
import { judgeLogin, judgeOffer, type LoginIdentity, type LoginQuestion } from "../core/ssh_login.ts";
import { type LoginRights, rightsOfKey } from "../core/ssh_login_rights.ts";
import { NO_KEY_OPTIONS } from "../core/ssh_key_options.ts";
import type { UserauthRequest } from "../core/ssh_userauth.ts";
import { concatBytes, sshString } from "../core/ssh_wire.ts";
import type { LoginJudge, LoginVerdict } from "./login_dialogue.ts";
import type { P521 } from "./p521.ts";
import { judgeToken, sshAudience, type TokenLoginOptions } from "./token_login.ts";

/** Somebody who has logged in. */
export interface SshLogin {
  /** Who, as each line of the log names them. */
  readonly who: LogFields;
  /** The same for all who are the same: a key, a certificate's name by its CA, an account. */
  readonly identity: string;
  readonly rights: LoginRights;
  /** What they have shown; unset for a token, which is not judged again. */
  readonly offer?: { readonly algorithm: string; readonly blob: Uint8Array };
}

/** Options of {@linkcode createLoginJudge}. */
export interface LoginJudgeOptions {
  readonly peerAddress: string;
  /** Who is authorized now. */
  authorities(): SshAuthorities;
  /** Names of which a certificate must have one. */
  readonly principals: readonly string[];
  /** Whom tokens are shown to; unset: none are taken. */
  readonly tokens?: TokenLoginOptions | undefined;
  readonly p521: P521;
  readonly clock: Clock;
  /** Names the connection in each line. */
  readonly log: Logger;
  /** The server is over. */
  readonly over: AbortSignal;
}

/** A judge who also tells of those who leave without a word. */
export interface ConnectionJudge extends LoginJudge<SshLogin> {
  /** The client has gone, and has not logged in: that is told, where it tried to, no refusal was, and the server is not over. */
  gone(): void;
}

/** How one connection's login goes. */
interface LoginCourse {
  /** Under which name it was tried last. */
  user?: string;
  /** Why it is none, were it over now. */
  reason: string;
  /** The log has a line of it. */
  isTold: boolean;
}

/** More of a name that a stranger has chosen is not logged, characters. */
const LONGEST_NAME = 256;

/** So many characters of what a person says does ssh(1) send (readpass.c), and leaves the rest away: a token may be longer. */
const LONGEST_ANSWER = 1023;

/** Nobody goes on beyond so many characters. */
const LONGEST_TOKEN = 16 * LONGEST_ANSWER;

/** A judge of one connection's logins. */
export function createLoginJudge(options: LoginJudgeOptions): ConnectionJudge {
  const { tokens, clock, over, log } = options;
  const course: LoginCourse = { reason: `it offered no key${tokens ? " and no token" : ""}`, isTold: false };
  return {
    methods: tokens ? ["publickey", "keyboard-interactive"] : ["publickey"],
    judge: (request, { sessionId }) => judge(request, { ...options, sessionId, course }),
    delay: (failures) => clock.sleep(failureDelayMs(failures), over),
    gone: () => {
      const { user, reason, isTold } = course;
      if (user !== undefined && !isTold && !over.aborted) log.info("ssh login refused", { user, reason });
    },
  };
}

/** What a login is judged by now, for one who may be in already. */
export function loginQuestion(
  { peerAddress, authorities, principals, p521, clock }: Pick<
    LoginJudgeOptions,
    "peerAddress" | "authorities" | "principals" | "p521" | "clock"
  >,
): LoginQuestion {
  const { authorized, revocations } = authorities();
  return { authorized, revocations, principals, peerAddress, p521: p521.verifier, nowMs: clock.nowMs() };
}

type JudgeOptions = LoginJudgeOptions & { readonly sessionId: Uint8Array; readonly course: LoginCourse };

/** Writes a line of the log; the course of the login has its own then. */
function tell(
  event: "ssh login" | "ssh login refused",
  { fields, options: { log, course } }: { readonly fields: LogFields; readonly options: JudgeOptions },
): void {
  course.isTold = true;
  log.info(event, fields);
}

async function judge(request: UserauthRequest, options: JudgeOptions): Promise<LoginVerdict<SshLogin>> {
  const { method } = request;
  const user = options.course.user = request.user.slice(0, LONGEST_NAME);
  if (method.kind === "publickey") {
    await options.p521.prepare(method.blob);
    return judgeKey(user, { method, options });
  }
  if (method.kind === "keyboard-interactive" && options.tokens) return askForToken(user, { options });
  const name = method.kind === "other" ? method.name : method.kind;
  // Clients ask so which ways there are (RFC 4252, 5.2).
  const isQuestion = name === "none";
  if (!isQuestion) {
    const reason = `nobody logs in by ${JSON.stringify(name.slice(0, LONGEST_NAME))}`;
    tell("ssh login refused", { fields: { user, reason }, options });
  }
  return await Promise.resolve({ kind: "refused", free: isQuestion });
}

function judgeKey(
  user: string,
  { method, options }: { method: UserauthRequest["method"] & { kind: "publickey" }; options: JudgeOptions },
): LoginVerdict<SshLogin> {
  const { sessionId, course } = options;
  const offer = { algorithm: method.algorithm, blob: method.blob.slice() };
  const question = loginQuestion(options);
  if (method.signature === undefined) {
    const { allowed } = judgeOffer(offer, question);
    if (!allowed) return refused(user, { offer, question, options });
    course.reason = "it did not sign with the key that it offered";
    return { kind: "acceptable" };
  }
  const data = concatBytes(sshString(sessionId), method.signed);
  const verdict = judgeLogin({ ...offer, signature: method.signature, data }, question);
  if (!verdict.allowed) return refused(user, { offer, question, options, reason: verdict.reason });
  const who = { user, ...identityFields(verdict.who) };
  tell("ssh login", { fields: who, options });
  return { kind: "allowed", login: { who, identity: nameOf(verdict.who), rights: verdict.rights, offer } };
}

function refused(
  user: string,
  { offer, question, options, reason }: {
    offer: { algorithm: string; blob: Uint8Array };
    question: LoginQuestion;
    options: JudgeOptions;
    reason?: string;
  },
): LoginVerdict<SshLogin> {
  const verdict = judgeOffer(offer, question);
  const why = reason ?? (verdict.allowed ? "its signature does not fit" : verdict.reason);
  tell("ssh login refused", { fields: { user, ...identityFields(verdict.who), reason: why }, options });
  return { kind: "refused" };
}

function nameOf({ fingerprint, caFingerprint, keyId }: LoginIdentity): string {
  return caFingerprint === undefined || !keyId ? fingerprint : `${caFingerprint} ${keyId}`;
}

/** An identity in the words of the log. */
export function identityFields(who: LoginIdentity): LogFields {
  const { kind, fingerprint, keyId, serial, principal, caFingerprint, comment } = who;
  const isKey = kind === "key";
  return {
    [isKey ? "key" : "certificate"]: fingerprint,
    ...(!isKey && { id: keyId?.slice(0, LONGEST_NAME), serial, principal, ca: caFingerprint }),
    [isKey ? "comment" : "caComment"]: comment || undefined,
  };
}

function askForToken(
  user: string,
  { options, begun = "" }: { options: JudgeOptions; begun?: string },
): LoginVerdict<SshLogin> {
  const { namespace } = options.tokens!;
  const audience = sshAudience(namespace);
  const isFirst = begun === "";
  options.course.reason = "it gave no token";
  return {
    kind: "asked",
    instruction: isFirst
      ? `krun: a token of audience ${audience}, as of kubectl -n ${namespace} create token NAME --audience=${audience}`
      : `krun: only the first ${begun.length} characters have come`,
    prompt: isFirst ? "Token: " : `Token, from character ${begun.length + 1} on: `,
    answered: (answer) => {
      const token = begun + answer;
      const mayBeCut = answer.length === LONGEST_ANSWER && token.length < LONGEST_TOKEN;
      if (mayBeCut) return Promise.resolve(askForToken(user, { options, begun: token }));
      return judgeAnswer(token.trim(), { user, options });
    },
  };
}

async function judgeAnswer(
  token: string,
  { user, options }: { user: string; options: JudgeOptions },
): Promise<LoginVerdict<SshLogin>> {
  const { log, tokens, over, course } = options;
  try {
    const verdict = await judgeToken(token, tokens!);
    if (verdict.allowed) {
      const who = { user, account: verdict.username };
      tell("ssh login", { fields: who, options });
      const { expiresAtMs } = verdict;
      const rights = { ...rightsOfKey(NO_KEY_OPTIONS), ...(expiresAtMs !== undefined && { expiresAtMs }) };
      return { kind: "allowed", login: { who, identity: `account ${verdict.username}`, rights } };
    }
    tell("ssh login refused", { fields: { user, account: verdict.username, reason: verdict.reason }, options });
  } catch (cause) {
    // Whoever ends the server ends what it asks the cluster, with a reason of its own.
    if (!(cause instanceof KrunError) && !over.aborted) throw cause;
    const { message, hint } = cause as Partial<KrunError>;
    course.isTold = true;
    log.warn("ssh login refused: the token cannot be checked", { user, reason: message, hint });
  }
  return { kind: "refused" };
}
