/**
 * Looks into nested data by a path, so that a vector can name the one field that it is about.
 *
 * @module
 */

/** The value at `spec.containers.0.name`; `null` when there is none, as JSON has no `undefined`. */
export function fieldAt(data: unknown, path: string): unknown {
  let value = data;
  for (const step of path.split(".")) value = (value as Record<string, unknown> | undefined)?.[step];
  return value ?? null;
}
