/**
 * What people give in place of a line of authorized_keys. In: a text. Out: what of it can be read as lines, and in words what the rest is.
 *
 * @module
 */

/** What was found in a text. */
export interface SortedKeyText {
  /** Without what is no line of a key; lines keep their numbers. */
  readonly text: string;
  /** What each of those is and what makes a line of it, behind the text's name. None of them holds anything of the text. */
  readonly faults: readonly string[];
}

const PRIVATE = "is a private key, which nobody else should have: make a new one, and give its public half";

/** Also PuTTY's form, and OpenSSH's without its first and last line. */
const PRIVATE_KEY = /PRIVATE KEY-----|^PuTTY-User-Key-File-|^b3BlbnNzaC1rZXktdjE/m;

/** A line of a key, with whatever stands before it. */
const KEY_LINE = /(?:^|\s)(?:ssh-|ecdsa-|sk-)[\w@.-]+[ \t]+AAAA/;

/** A key that stands in a comment, also behind a backslash and an n that were to end the line. */
const SECOND_KEY = /(?:^|\s|\\n)(?:ssh-|ecdsa-|sk-)[\w@.-]+\s+AAAA/;

/** Takes private keys, whole files in other forms, and what was encoded twice out of a text. */
export function sortKeyText(text: string): SortedKeyText {
  if (PRIVATE_KEY.test(text)) return { text: "", faults: [PRIVATE] };
  const decoded = decodedText(text);
  if (PRIVATE_KEY.test(decoded)) return { text: "", faults: [PRIVATE] };
  if (KEY_LINE.test(decoded)) {
    return { text: "", faults: ["is base64 of a key: encode it once less, as with stringData in a Secret"] };
  }
  const faults: string[] = [];
  const blank = (block: string, fault: string) => {
    faults.push(fault);
    return block.replaceAll(/[^\n]/g, "");
  };
  const rest = text
    .replaceAll(
      /^[ \t]*---- BEGIN SSH2 PUBLIC KEY ----[^]*?(?:---- END SSH2 PUBLIC KEY ----.*|(?![^]))/gm,
      (block) => blank(block, "has a key in the form of RFC 4716: ssh-keygen -i -f FILE makes a line of it"),
    )
    .replaceAll(
      /^[ \t]*-----BEGIN ([A-Z0-9 ]{1,32})-----[^]*?(?:-----END \1-----.*|(?![^]))/gm,
      (block, label: string) => blank(block, pemFault(label)),
    );
  return { text: rest, faults };
}

function pemFault(label: string): string {
  const form = { "PUBLIC KEY": "PKCS8", "RSA PUBLIC KEY": "PEM" }[label];
  return form === undefined
    ? `has a PEM block of ${label}, which is no key of SSH`
    : `has a key in PEM form: ssh-keygen -i -m ${form} -f FILE makes a line of it`;
}

/** Empty where it is no base64 of a text. */
function decodedText(text: string): string {
  const base64 = text.replaceAll(/\s/g, "");
  if (base64.length < 40 || !/^[\w+/]+={0,2}$/.test(base64)) return "";
  try {
    return new TextDecoder().decode(Uint8Array.fromBase64(base64));
  } catch {
    return "";
  }
}

/** Options before a key, of which one has a value without quotes; which, where it is not cut off. */
const UNQUOTED_VALUE = /^(?:[\w-]+(?:="(?:[^"\\]|\\.)*")?,)*([a-z-]{1,32})=(?!")/i;

/** What a line is that cannot be read as one of a key; `undefined` where it looks like nothing else. */
export function mistakenLine(line: string): string | undefined {
  if (/^["'`]/.test(line) && SECOND_KEY.test(line.slice(1))) return "the key is in quotes: give it without them";
  if (/^[a-z]+:\/\/\S+$/.test(line)) return "it is a URL: give the keys that are there";
  if (/^(?:(?:~|\.\.?)\/\S*|(?:\/[\w.-]{1,40}){2,8}|[\w./~-]+\.pub)$/.test(line)) {
    return "it is the name of a file: give what is in it";
  }
  if (/^AAAA[\w+/]+=*(?:\s|$)/.test(line)) return "the type before the key is missing, as: ssh-ed25519 AAAA... name";
  const [, option] = SECOND_KEY.test(line) ? UNQUOTED_VALUE.exec(line) ?? [] : [];
  if (option !== undefined) return `the value of its option "${option}" wants double quotes, as ${option}="..."`;
  if (/AAAA[\w+/]+=*\\n/.test(line)) return "it has a backslash and an n where the line is to end";
  return undefined;
}

/** Whether behind the key of a line, as its comment, there is another one. */
export function hasSecondKey(comment: string): boolean {
  return SECOND_KEY.test(comment);
}
