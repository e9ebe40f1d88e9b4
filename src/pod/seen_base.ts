/**
 * A base folder that is only looked at: what a start would meet there. In: a path. Out: the same refusals; nothing is touched.
 *
 * @module
 */
import { type MadeEntry, parseJournal } from "../core/base_journal.ts";
import { basename, dirname } from "../core/posix_path.ts";
import { existingParent, seeBase } from "./base_lock.ts";
import { type ClaimKind, Claims } from "./claims.ts";
import { claimFolderPlace, type ClaimLinkOptions, claimPlaceOfLink } from "./claimed_folder.ts";
import { explained } from "./file_fault.ts";
import type { Folder } from "./folder.ts";
import { JOURNAL_NAME } from "./journal_file.ts";
import { checkWritable } from "./libc_files.ts";
import type { Place, PlaceBase, PlaceOptions } from "./place.ts";
import { sweptPaths } from "./sweep.ts";

/** A base for {@linkcode SeenVolume}: it remembers what a start would have made. */
export class SeenBase implements PlaceBase {
  readonly base: string;
  readonly #claims = new Claims();
  readonly #made = new Set<string>();
  readonly #leftOver: ReadonlySet<string>;
  /** There is no base: whatever lies below it is free. */
  readonly #isAbsent: boolean;

  /** @throws {KrunError} as `openBase`. */
  constructor(path: string) {
    const { base, leftOver } = explained(`use base folder "${path}"`, () => {
      const { base, state } = seeBase(path);
      using _state = state;
      return { base, leftOver: state === undefined ? new Set<string>() : sweptPaths(journalOf(state)) };
    });
    this.base = base ?? path;
    this.#isAbsent = base === undefined;
    this.#leftOver = leftOver;
  }

  /** Nothing is removed; {@linkcode SeenBase.isLeftOver} says what a start would remove. */
  sweep(): void {}

  isLeftOver(path: string): boolean {
    return this.#leftOver.has(path);
  }

  madeHere(path: string): boolean {
    return this.#made.has(path);
  }

  unmadeIn(path: string): string[] {
    return [...this.#made].filter((made) => dirname(made) === path).map(basename);
  }

  claim(path: string, setting: string, kind: ClaimKind): void {
    this.#claims.claim(path, setting, kind);
  }

  checkFree(path: string, setting: string, kind: ClaimKind): void {
    this.#claims.checkFree(path, setting, kind);
  }

  /** Takes the place of a folder, as `claimFolder` does. @throws as it does */
  takeFolder(path: string, options: PlaceOptions): void {
    const { setting } = options;
    if (this.#isAbsent && !options.anywhere) return this.claim(path, setting, "folder");
    const place = claimFolderPlace(this, path, options);
    checkWritable(place.found ? place.path : existingParent(place.path));
    this.#remember(place);
    if (!place.found) this.#made.add(place.path);
  }

  /** Takes the place of a link, as `claimLinkPlace` does. @throws as it does */
  takeLink(path: string, options: ClaimLinkOptions): void {
    const { setting, kind } = options;
    if (this.#isAbsent && !options.anywhere) return this.claim(path, setting, kind);
    const place = claimPlaceOfLink(this, path, options);
    checkWritable(existingParent(place.path));
    this.#remember(place);
  }

  #remember({ missing }: Place): void {
    for (const path of missing) this.#made.add(path);
  }
}

/** What a killed run made. */
function journalOf(state: Folder): MadeEntry[] {
  if (state.stat(JOURNAL_NAME) === undefined) return [];
  return parseJournal(state.read(JOURNAL_NAME), dirname(state.path)).entries.filter((entry) => "made" in entry);
}
