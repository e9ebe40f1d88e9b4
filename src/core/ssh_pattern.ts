/**
 * The patterns of OpenSSH's files: `*` stands for any characters, `?` for one. Rule: ssh_config(5), PATTERNS.
 *
 * @module
 */

/** Whether a text is one that the pattern means. As for OpenSSH, there is no escape. Takes time of length times length at most. */
export function matchesPattern(text: string, pattern: string): boolean {
  let at = 0, place = 0;
  // Where the last star was, and what it has swallowed: only that one ever has to take more.
  let star = -1, swallowed = 0;
  while (at < text.length) {
    if (pattern[place] === "*") {
      star = place++;
      swallowed = at;
    } else if (place < pattern.length && (pattern[place] === "?" || pattern[place] === text[at])) {
      at++;
      place++;
    } else if (star >= 0) {
      place = star + 1;
      at = ++swallowed;
    } else return false;
  }
  while (pattern[place] === "*") place++;
  return place === pattern.length;
}
