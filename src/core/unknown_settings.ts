/**
 * Variables that look like a setting of krun and are none. In: names. Out: warnings, with the setting that may be meant.
 *
 * @module
 */
import { nearestName } from "./nearest_name.ts";
import { SETTINGS } from "./settings_table.ts";

/** A warning for each name that is none of krun's and looks like one. */
export function unknownSettings(names: readonly string[]): string[] {
  return [...unknownOwn(names), ...SHARED.flatMap((prefix) => misspeltShared(names, prefix))];
}

/** Beginnings of names that programs have for themselves as well. */
const SHARED = ["WORKLOAD_", "MESH_", "GCP_", "SSH_"];

/** Beginnings that every name of krun's alone has. */
const OWN = ["K8S_", "KRUN_"];

/** Every name that begins so is krun's. */
function unknownOwn(names: readonly string[]): string[] {
  const known = SETTINGS.map(({ env }): string => env).filter((env) => OWN.some((prefix) => env.startsWith(prefix)));
  return OWN.flatMap((prefix) =>
    names.filter((name) => name.startsWith(prefix) && !isOneOf(known, name)).map((name) => {
      const nearest = nearestBehind(name, prefix) ?? knownBeginning(name, known) ?? nearestName(name, known);
      return `${name} is not a setting of krun; ${nearest ? `the nearest is ${nearest}` : "krun --help lists them"}`;
    })
  );
}

/** The setting that is meant where the beginning does not count as nearness, also one that has no such beginning. */
function nearestBehind(name: string, prefix: string): string | undefined {
  const rest = (env: string) => env.startsWith(prefix) ? env.slice(prefix.length) : env;
  const all = SETTINGS.map(({ env }): string => env).filter((env) =>
    env.startsWith(prefix) || !OWN.some((own) => env.startsWith(own))
  );
  const nearest = nearestName(rest(name), all.map(rest));
  return nearest === undefined ? undefined : all.find((env) => rest(env) === nearest);
}

/** The longest setting to which the name adds words. */
function knownBeginning(name: string, known: readonly string[]): string | undefined {
  return known.filter((env) => name.startsWith(`${env}_`)).sort((a, b) => b.length - a.length)[0];
}

/** A known name that ends in `<...>` stands for every one with that beginning. */
function isOneOf(known: readonly string[], name: string): boolean {
  return known.some((env) => env.includes("<") ? name.startsWith(env.split("<")[0]!) : name === env);
}

/** Programs have such names for themselves. The beginning, which is alike in all of them, must not count as nearness. */
function misspeltShared(names: readonly string[], prefix: string): string[] {
  const isShared = (name: string) => name.startsWith(prefix);
  const known = SETTINGS.map((setting): string => setting.env).filter(isShared);
  return names.filter((name) => isShared(name) && !isOneOf(known, name)).flatMap((name) => {
    const nearest = nearestName(name.slice(prefix.length), known.map((env) => env.slice(prefix.length)));
    return nearest ? [`${name} is not a setting of krun; the nearest is ${prefix}${nearest}`] : [];
  });
}
