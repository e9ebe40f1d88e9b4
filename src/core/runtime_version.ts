/**
 * Whether a runtime is new enough.
 *
 * @module
 */

/** True when `version` (`2.9.6`, `2.10.0-rc.1`) is `needed` (`2.9.0`) or later. */
export function isAtLeast(version: string, needed: string): boolean {
  const [have, want] = [version, needed].map((text) => text.split(/[.+-]/).slice(0, 3).map(Number));
  for (let i = 0; i < 3; i++) {
    const difference = (have![i] ?? 0) - (want![i] ?? 0);
    if (difference !== 0) return difference > 0;
  }
  return true;
}
