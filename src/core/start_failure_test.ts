import assert from "node:assert/strict";
import { accessRole } from "./access_role.ts";
import { KrunError, type KrunErrorOptions } from "./errors.ts";
import { failureTexts, singleFailures, type StartFailure, startFailure } from "./start_failure.ts";

function forbidden(name: string, options: KrunErrorOptions = {}): KrunError {
  return new KrunError("Forbidden", `Cannot read Secret "shop/${name}": 403`, "grant it", options);
}

const away = new KrunError("ClusterUnreachable", "Cannot reach x: refused", "start it", { transient: true });

Deno.test("startFailure() keeps a single failure and adds who asked for it", () => {
  const cause = forbidden("db", { details: "kind: Role" });
  const error = startFailure([{ error: cause, askedBy: "K8S_SECRET_db" }]);
  assert.equal(error.code, "Forbidden");
  assert.equal(error.message, 'Cannot read Secret "shop/db": 403 (asked for by K8S_SECRET_db)');
  assert.equal(error.hint, "grant it");
  assert.equal(error.details, "kind: Role");
  assert.equal(error.cause, cause);
});

Deno.test("startFailure() tells one error that several settings met once", () => {
  const error = forbidden("db");
  const all = startFailure([{ error, askedBy: "A" }, { error, askedBy: "B" }, { error, askedBy: "A" }]);
  assert.equal(all.message, 'Cannot read Secret "shop/db": 403 (asked for by A, B)');
  assert.equal(all.details, undefined);
});

/** What several requests met at one server. */
function refused(what: string): KrunError {
  const sharedEnd = " at https://x: 401, no";
  return new KrunError("Unauthorized", `Cannot ${what}${sharedEnd}`, "renew them", { sharedEnd });
}

Deno.test("startFailure() tells failures of one cause as one, with all that they met", () => {
  const all = startFailure([
    { error: refused('read Secret "shop/db"'), askedBy: "K_A" },
    { error: refused('read ConfigMap "shop/app"'), askedBy: "K_B" },
    { error: refused("request token"), askedBy: "K_C" },
  ]);
  assert.equal(
    all.message,
    'Cannot read Secret "shop/db", read ConfigMap "shop/app", request token at https://x: 401, no (asked for by K_A, K_B, K_C)',
  );
  assert.equal(all.hint, "renew them");
  assert.equal(all.details, undefined);
  assert.ok(all.cause instanceof AggregateError);
});

Deno.test("startFailure() names no more than a person would read of one cause", () => {
  const failures = Array.from({ length: 30 }, (_, i) => ({ error: refused(`read <${i}>`), askedBy: `K_${i}.` }));
  const { message } = startFailure(failures);
  assert.match(
    message,
    /read <19> and 10 more at https:\/\/x: 401, no \(asked for by K_0\., .*, K_19\. and 10 more\)$/,
  );
});

Deno.test("startFailure() does not name a setting twice", () => {
  const error = new KrunError("TargetInUse", 'Cannot mount at "/x" for K8S_SECRET_db: a file stands there', "move it");
  assert.equal(startFailure([{ error, askedBy: "K8S_SECRET_db" }]).message, error.message);
});

Deno.test("startFailure() lists every failure and each Role once when there are several", () => {
  const role = { details: "kind: Role" };
  const all = startFailure([
    { error: away, askedBy: "K_A" },
    { error: forbidden("db", role), askedBy: "K_B" },
    { error: forbidden("tls", role), askedBy: "K_C" },
  ]);
  assert.equal(all.code, "Forbidden", "the first that will not pass by itself");
  assert.equal(all.message, 'Cannot read Secret "shop/db": 403 (asked for by K_B), and 2 more failures');
  assert.equal(
    all.details,
    [
      "- Cannot reach x: refused (asked for by K_A); start it",
      '- Cannot read Secret "shop/db": 403 (asked for by K_B); grant it',
      '- Cannot read Secret "shop/tls": 403 (asked for by K_C); grant it',
      "kind: Role",
    ].join("\n"),
  );
  assert.ok(all.cause instanceof AggregateError);
});

/** What a 403 lacks, with the Role for it. */
function lacking(name: string, resource = "secrets"): KrunErrorOptions {
  const missing = { identity: "ann", namespace: "shop", verbs: ["get"], apiGroup: "", resource, name };
  return { details: accessRole(missing), missing };
}

Deno.test("startFailure() puts the rights that lack last, as one Role", () => {
  const failures = [
    { error: forbidden("db", lacking("db")), askedBy: "K_A" },
    { error: forbidden("tls", { details: "words" }), askedBy: "K_B" },
    { error: forbidden("ca", lacking("ca")), askedBy: "K_C" },
    { error: forbidden("app", lacking("app", "configmaps")), askedBy: "K_D" },
  ];
  for (const details of [startFailure(failures).details ?? "", failureTexts(failures).details.join("\n")]) {
    assert.equal(details.match(/^kind: Role$/gm)?.length, 1, details);
    assert.match(details, /words\napiVersion: /);
    assert.match(details, /resourceNames: \["ca", "db"\]/);
    assert.match(details, /resources: \["configmaps"\]/);
  }
  const one = startFailure(failures.slice(0, 1));
  assert.equal(one.details, lacking("db").details, "one right is one Role of its own name");
  assert.deepEqual(singleFailures(startFailure(failures)), failures.map(({ error }) => error));
  assert.deepEqual(singleFailures(one), [one]);
});

Deno.test("startFailure() counts what a person would not read", () => {
  const failures = Array.from({ length: 500 }, (_, i) => ({ error: forbidden(`s${i}`), askedBy: "A" }));
  const lines = startFailure(failures).details?.split("\n");
  assert.equal(lines?.length, 21);
  assert.equal(lines.at(-1), "- and 480 more");
});

Deno.test("startFailure() is transient when every failure is", () => {
  assert.equal(startFailure([{ error: away, askedBy: "A" }]).transient, true);
});

Deno.test("startFailure() throws RangeError when nothing failed", () => {
  assert.throws(() => startFailure([]), RangeError);
});

Deno.test("startFailure() lists every failure that is to be listed, however many there are", () => {
  const failure = (name: string, isListed: boolean): StartFailure => ({
    error: new KrunError("ObjectNotFound", `Cannot resolve ${name}: it does not exist`, "create it"),
    askedBy: name,
    isListed,
  });
  const listed = Array.from({ length: 60 }, (_, i) => failure(`V${i}`, true));
  const lines = (failures: readonly StartFailure[]) => startFailure(failures).details!.split("\n");
  assert.equal(lines(listed).length, 60);
  const others = Array.from({ length: 30 }, (_, i) => failure(`W${i}`, false));
  assert.equal(lines(others).at(-1), "- and 10 more", "the control");
  const away = (name: string): StartFailure => {
    const sharedEnd = ": no answer within 60 s";
    const error = new KrunError("ClusterUnreachable", `Cannot resolve ${name}${sharedEnd}`, "wait", { sharedEnd });
    return { error, askedBy: name, isListed: true };
  };
  assert.equal(lines(Array.from({ length: 60 }, (_, i) => away(`V${i}`))).length, 60, "of one cause too");
  assert.equal(lines([...others, ...listed]).length, 20 + 60 + 1);
});
