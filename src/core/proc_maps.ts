/**
 * What a process has mapped. In: the text of /proc/<pid>/maps (proc(5)). Out: ranges of addresses.
 *
 * @module
 */

/** A range of addresses. */
export interface AddressRange {
  readonly start: bigint;
  readonly bytes: bigint;
}

/** Where the code of a file is mapped: readable, executable, never written. None when the file was replaced or removed. */
export function mappedCode(maps: string, path: string): AddressRange[] {
  return maps.split("\n").flatMap((line) => {
    const [, from = "", to = "", file] = /^([0-9a-f]+)-([0-9a-f]+) r-xp [0-9a-f]+ \S+ \d+ +(.*)$/.exec(line) ?? [];
    const start = BigInt(`0x${from || 0}`);
    return file === path ? [{ start, bytes: BigInt(`0x${to}`) - start }] : [];
  });
}
