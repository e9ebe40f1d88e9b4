/**
 * The login of one connection. In: what the client shows of itself. Out: who has logged in. Rules: RFC 4252, RFC 4256.
 *
 * @module
 */
import { SSH_MESSAGE, sshMessage } from "../core/ssh_messages.ts";
import {
  parseInfoResponse,
  parseUserauthRequest,
  userauthFailure,
  userauthInfoRequest,
  userauthPkOk,
  type UserauthRequest,
} from "../core/ssh_userauth.ts";
import { SshFormatError } from "../core/ssh_wire.ts";

/** What becomes of a try to log in. */
export type LoginVerdict<Login> =
  | { readonly kind: "allowed"; readonly login: Login }
  /** A signature by the key that is asked for would be taken. */
  | { readonly kind: "acceptable" }
  /** The client is asked something, and what it answers is judged. */
  | {
    readonly kind: "asked";
    readonly instruction: string;
    readonly prompt: string;
    answered(answer: string): Promise<LoginVerdict<Login>>;
  }
  /** `free`: it does not count as a failure. */
  | { readonly kind: "refused"; readonly free?: boolean };

/** Who judges. */
export interface LoginJudge<Login> {
  /** Ways to log in, as RFC 4252 names them. */
  readonly methods: readonly string[];
  /** Judges one try; what is signed is preceded by the session's identifier. Rejects only where it is at fault itself. */
  judge(request: UserauthRequest, options: { readonly sessionId: Uint8Array }): Promise<LoginVerdict<Login>>;
  /** Resolves when the answer to a try that failed may go out. */
  delay(failures: number): Promise<void>;
}

/** What the dialogue needs of its connection. */
export interface DialogueConnection<Login> {
  send(payload: Uint8Array): void;
  sessionId(): Uint8Array;
  /** Called before the client knows. */
  onLogin(login: Login): void;
  /** There were too many failures. */
  onTooMany(): void;
  /** The judge is at fault: nobody can log in. */
  onFault(cause: unknown): void;
}

/** As sshd's MaxAuthTries. */
const MAX_FAILURES = 6;

/** So many tries may wait for the one before them: a client that goes ahead waits for none of its answers. */
const MAX_WAITING = 8;

/** One login, tries and all. */
export class LoginDialogue<Login> {
  readonly #judge: LoginJudge<Login>;
  readonly #connection: DialogueConnection<Login>;
  readonly #waiting: Uint8Array[] = [];
  #answering: Promise<void> | undefined;
  #question: ((payload: Uint8Array | undefined) => void) | undefined;
  #failures = 0;
  #hasBegun = false;
  #isOver = false;

  constructor(judge: LoginJudge<Login>, connection: DialogueConnection<Login>) {
    this.#judge = judge;
    this.#connection = connection;
  }

  /** There was a try. */
  get hasBegun(): boolean {
    return this.#hasBegun;
  }

  /** How many tries have failed. */
  get failures(): number {
    return this.#failures;
  }

  /** Takes a message of the client, whose bytes are copied. @throws {SshFormatError} when it breaks the protocol */
  receive(payload: Uint8Array): void {
    // RFC 4252, 5.3: what comes after the login is passed over.
    if (this.#isOver) return;
    const type = payload[0];
    if (type === SSH_MESSAGE.userauthInfoResponse && this.#question) return this.#question(payload.slice());
    if (type !== SSH_MESSAGE.userauthRequest) throw new SshFormatError(`message ${type} is none of a login`);
    if (this.#waiting.length >= MAX_WAITING) throw new SshFormatError("too many logins are tried at once");
    this.#hasBegun = true;
    this.#waiting.push(payload.slice());
    // A new try takes back the question of the one before it (RFC 4256, 3.1).
    this.#question?.(undefined);
    this.#answering ??= this.#answerAll().catch((cause) => {
      this.#isOver = true;
      this.#connection.onFault(cause);
    });
  }

  /** The connection is gone. */
  close(): void {
    this.#isOver = true;
    this.#question?.(undefined);
  }

  async #answerAll(): Promise<void> {
    for (let payload; (payload = this.#waiting.shift()) && !this.#isOver;) await this.#answer(payload);
    this.#answering = undefined;
  }

  async #answer(payload: Uint8Array): Promise<void> {
    const request = readRequest(payload);
    if (!request) {
      this.#failures++;
      return this.#tooMany();
    }
    const verdict = await this.#judge.judge(request, { sessionId: this.#connection.sessionId() });
    await this.#tell(verdict, request);
  }

  async #tell(verdict: LoginVerdict<Login>, request: UserauthRequest): Promise<void> {
    if (this.#isOver) return;
    const { send } = this.#connection;
    switch (verdict.kind) {
      case "allowed":
        this.#isOver = true;
        this.#connection.onLogin(verdict.login);
        return send(sshMessage(SSH_MESSAGE.userauthSuccess));
      case "acceptable":
        if (request.method.kind === "publickey") send(userauthPkOk(request.method.algorithm, request.method.blob));
        return;
      case "asked":
        return await this.#ask(verdict, request);
      case "refused":
        return await this.#refuse(verdict);
    }
  }

  async #ask(verdict: LoginVerdict<Login> & { kind: "asked" }, request: UserauthRequest): Promise<void> {
    const { promise, resolve } = Promise.withResolvers<Uint8Array | undefined>();
    this.#question = resolve;
    this.#connection.send(userauthInfoRequest(verdict.instruction, verdict.prompt));
    const payload = await promise;
    this.#question = undefined;
    const answers = payload && readAnswers(payload);
    if (!answers || answers.length !== 1) return payload && await this.#refuse({});
    await this.#tell(await verdict.answered(answers[0]!), request);
  }

  async #refuse({ free = false }: { free?: boolean }): Promise<void> {
    if (!free && ++this.#failures >= MAX_FAILURES) return this.#tooMany();
    if (!free) await this.#judge.delay(this.#failures);
    if (!this.#isOver) this.#connection.send(userauthFailure(this.#judge.methods));
  }

  #tooMany(): void {
    this.#isOver = true;
    this.#connection.onTooMany();
  }
}

function readRequest(payload: Uint8Array): UserauthRequest | undefined {
  try {
    const request = parseUserauthRequest(payload);
    return request.service === "ssh-connection" ? request : undefined;
  } catch (cause) {
    if (cause instanceof SshFormatError) return undefined;
    throw cause;
  }
}

function readAnswers(payload: Uint8Array): string[] | undefined {
  try {
    return parseInfoResponse(payload);
  } catch (cause) {
    if (cause instanceof SshFormatError) return undefined;
    throw cause;
  }
}
