/**
 * Certificates that the real ssh-keygen is to make, and what krun has to think of them. For {@linkcode makeVectors}.
 *
 * @module
 */

/** Names of keys, one of each type that is taken. */
export const TAKEN = ["ed25519", "p256", "p384", "p521", "rsa"] as const;

/** How long the usual certificate is good. */
export const YEAR_2030 = "20300101Z:20310101Z";
/** When it is judged. */
export const JUNE = "2030-06-01T00:00:00Z";

/** How a certificate is made: the names of two keys, and what ssh-keygen is told. */
export interface CertificateCase {
  readonly key?: string;
  readonly ca?: string;
  readonly args?: readonly string[];
}

/** What a case of a certificate is judged by, and what comes out. */
export interface CertificateRow extends CertificateCase {
  readonly id: string;
  readonly why: string;
  readonly question?: Record<string, unknown>;
  readonly expect?: Record<string, unknown>;
  readonly reason?: string;
}

/** What comes out of the usual certificate. */
export const GOOD = { principal: "shop", expiresAt: "2031-01-01T00:00:00.000Z" };
/** What it gives and demands. */
export const ALL = { pty: true, portForwarding: true, touchRequired: true, verifyRequired: false };

/** Every case. */
export function certificateRows(): CertificateRow[] {
  const pairs = [
    ...TAKEN.map((key) => ({ key })),
    ...TAKEN.filter((ca) => ca !== "ed25519").map((ca) => ({ ca })),
    { ca: "rsaca", args: ["-t", "rsa-sha2-256"] },
  ];
  return [
    ...pairs.map((pair: CertificateCase) => ({
      ...pair,
      id: `${pair.key ?? "ed25519"} by ${pair.ca ?? "ca"}${pair.args ? ` ${pair.args[1]}` : ""}`,
      why: "every type of key that is taken, as user and as CA",
    })),
    ...validityRows(),
    ...nameRows(),
    ...optionRows(),
    {
      id: "SHA-1 of the CA",
      why: "ssh-keygen -t ssh-rsa: a signature with SHA-1 can be forged",
      ca: "rsaca",
      args: ["-t", "ssh-rsa"],
      reason:
        'the certificate is forged: its signature is not valid: it is of "ssh-rsa", which a key of ssh-rsa does not make',
    },
  ];
}

function validityRows(): CertificateRow[] {
  const at = (now: string) => ({ now });
  const expired = "the certificate has expired at 2031-01-01T00:00:00.000Z";
  return [
    { id: "first second", why: "valid after is inclusive", question: at("2030-01-01T00:00:00Z") },
    { id: "last second", why: "valid before is exclusive", question: at("2030-12-31T23:59:59.999Z") },
    { id: "expired", why: "valid before is exclusive", question: at("2031-01-01T00:00:00Z"), reason: expired },
    {
      id: "not yet valid",
      why: "valid after is inclusive",
      question: at("2029-12-31T23:59:59.999Z"),
      reason: "the certificate is not valid before 2030-01-01T00:00:00.000Z",
    },
    {
      id: "for ever",
      why: "the largest number means no end",
      args: ["-V", "always:forever"],
      expect: { principal: "shop" },
    },
  ];
}

function nameRows(): CertificateRow[] {
  return [
    {
      id: "second principal",
      why: "one of the accepted is enough",
      question: { principals: ["else", "web"] },
      expect: { ...GOOD, principal: "web" },
    },
    {
      id: "wrong principal",
      why: "a prefix is another name",
      question: { principals: ["sho", "shop ", "SHOP"] },
      reason: 'none of the certificate\'s principals ["shop","web"] is among ["sho","shop ","SHOP"]',
    },
    {
      id: "no principals",
      why: "once meant everybody; OpenSSH refuses it for a user today",
      args: ["--no-principals"],
      reason: "the certificate has no principals",
    },
    {
      id: "host certificate",
      why: "a host must not log in with what shows its name",
      args: ["-h"],
      reason: "the certificate is a host's, and no user's",
    },
    { id: "wrong CA", why: "anybody can make a CA", ca: "p256", question: { ca: "ca" }, reason: "not trusted" },
  ];
}

function optionRows(): CertificateRow[] {
  return [
    {
      id: "unknown critical option",
      why: "critical: who does not know it must refuse",
      args: ["-O", "critical:only@example.com=mondays"],
      reason: 'the certificate\'s critical option "only@example.com" is unknown',
    },
    { id: "unknown extension", why: "passed over", args: ["-O", "extension:zoo@example.com=1"] },
    {
      id: "force-command",
      why: "honoured",
      args: ["-O", 'force-command=echo "a, b"'],
      expect: { ...GOOD, options: { ...ALL, forcedCommand: 'echo "a, b"' } },
    },
    ...["10.1.2.3", "::ffff:10.1.2.3", "fd00::7"].map((peer) => ({
      id: `source-address from ${peer}`,
      why: "one range of the list has it",
      args: ["-O", "source-address=10.0.0.0/8,fd00::/8"],
      question: { peer },
      expect: { ...GOOD, options: { ...ALL, sourceAddress: "10.0.0.0/8,fd00::/8" } },
    })),
    {
      id: "source-address from elsewhere",
      why: "no range of the list has it",
      args: ["-O", "source-address=10.0.0.0/8,fd00::/8"],
      question: { peer: "11.1.2.3" },
      reason: 'the certificate is for "10.0.0.0/8,fd00::/8", not from 11.1.2.3',
    },
    {
      id: "nothing given",
      why: "rights are extensions",
      args: ["-O", "clear"],
      expect: { ...GOOD, options: { ...ALL, pty: false, portForwarding: false } },
    },
    {
      id: "pty only",
      why: "each extension is one right",
      args: ["-O", "clear", "-O", "permit-pty"],
      expect: { ...GOOD, options: { ...ALL, portForwarding: false } },
    },
    {
      id: "authenticator options",
      why: "both are known",
      args: ["-O", "verify-required", "-O", "no-touch-required"],
      expect: { ...GOOD, options: { ...ALL, touchRequired: false, verifyRequired: true } },
    },
  ];
}
