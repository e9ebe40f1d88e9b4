/**
 * What the steps of a run share, from the start to the end.
 *
 * @module
 */
import type { Logger } from "../core/log.ts";
import type { Settings } from "../core/settings.ts";
import type { BaseFolder } from "../pod/base_folder.ts";
import type { MountedPod } from "../pod/mounted_pod.ts";
import type { Control } from "./control.ts";
import type { LazyGoogle } from "./lazy_google.ts";
import type { Phases } from "./phases.ts";
import type { Plan } from "./plan.ts";
import type { Surroundings } from "./surroundings.ts";
import type { Survivors } from "./survivors.ts";

/** Options of a start. */
export interface StartOptions {
  readonly settings: Settings;
  /** The program and its arguments; empty: none was named. */
  readonly argv: readonly string[];
  readonly log: Logger;
}

/** What the steps of a run share. */
export interface Run extends StartOptions {
  readonly outer: Surroundings;
  readonly plan: Plan;
  readonly control: Control;
  readonly phases: Phases;
  readonly base: BaseFolder | undefined;
  /** Of the base. */
  readonly survivors: Survivors | undefined;
  readonly mounted: MountedPod;
  /** For the program's Google tokens; unset: it gets none. */
  readonly google?: LazyGoogle;
}
