/**
 * Zones and regions of Google Cloud. In: their names. Out: whether one is part of the other.
 *
 * @module
 */

/** Whether a location is the wanted one, or a zone of it. */
export function isWithin(location: string, wanted: string): boolean {
  return location === wanted || /^-[a-z]$/.test(location.slice(wanted.length)) && location.startsWith(wanted);
}
