/**
 * The form that parsed data must have, as a value that is built from smaller ones. In: data of unknown form. Out: nothing, or
 * a fault at a path of fields.
 *
 * @module
 */
import { nearestName } from "./nearest_name.ts";

/** What is wrong, and where. */
export class ShapeFault extends Error {
  /** Class name, as `Error` has it. */
  override readonly name = "ShapeFault";
  /** `state` goes on after the field's path: `is a number, not text`. */
  constructor(readonly path: string, readonly state: string) {
    super(`${path} ${state}`);
  }
}

/** Where a value stands, and who is told of fields that have no effect. */
export interface ShapePlace {
  /** `spec.containers[0].env`; empty: the whole. */
  readonly path: string;
  /** Called with the path of each field that has no effect. */
  onIgnored(path: string): void;
}

/** Checks one value; it is never `undefined` or `null`, which count as absent. @throws {ShapeFault} */
export type Shape = (value: unknown, place: ShapePlace) => void;

/** Any value, with effect or not. */
export const anything: Shape = () => {};

/** A value of some form that has no effect; the place is told when it asks for one. */
export function ignoredWhen(asks: (value: unknown) => boolean, form: Shape): Shape {
  return (value, place) => {
    form(value, place);
    if (asks(value)) place.onIgnored(place.path);
  };
}

/** Text. */
export const text: Shape = (value, { path }) => {
  if (typeof value !== "string") throw new ShapeFault(path, `is ${typeOf(value)}, not text`);
};

/** `true` or `false`. */
export const flag: Shape = (value, { path }) => {
  if (typeof value !== "boolean") throw new ShapeFault(path, `is ${typeOf(value)}, not true or false`);
};

/** Text, or a number: a quantity, or a port by name or number. */
export const textOrNumber: Shape = (value, { path }) => {
  if (typeof value !== "string" && typeof value !== "number") {
    throw new ShapeFault(path, `is ${typeOf(value)}, not text or a number`);
  }
};

/** A whole number between two bounds, which belong to it. */
export function integer(least: number, most: number): Shape {
  return (value, { path }) => {
    if (!Number.isInteger(value) || (value as number) < least || (value as number) > most) {
      const found = typeof value === "number" ? value : typeOf(value);
      throw new ShapeFault(path, `is ${found}, not a whole number from ${least} to ${most}`);
    }
  };
}

/** Text for which a rule holds; `wanted` says what it should be. */
export function textThat(rule: (text: string) => boolean, wanted: string): Shape {
  return (value, place) => {
    text(value, place);
    if (!rule(value as string)) throw new ShapeFault(place.path, `is ${JSON.stringify(value)}, not ${wanted}`);
  };
}

/** One of some words. */
export function oneOf(...words: readonly string[]): Shape {
  return textThat((word) => words.includes(word), `one of ${words.join(", ")}`);
}

/** A value that krun cannot take; `state` says why. */
export function refused(state: string): Shape {
  return (_value, { path }) => {
    throw new ShapeFault(path, state);
  };
}

/** A list whose items have one form. */
export function listOf(item: Shape): Shape {
  return (value, place) => {
    if (!Array.isArray(value)) throw new ShapeFault(place.path, `is ${typeOf(value)}, not a list`);
    for (const [index, element] of value.entries()) {
      const path = `${place.path}[${index}]`;
      if (element === undefined || element === null) throw new ShapeFault(path, "is empty");
      item(element, { ...place, path });
    }
  };
}

/** Names with values of one form. */
export function mapOf(item: Shape): Shape {
  return (value, place) => {
    for (const [name, element] of fieldsOf(value, place)) {
      item(element, { ...place, path: `${place.path}[${JSON.stringify(name)}]` });
    }
  };
}

/** An object with these fields and no others; those in `required` must be there. */
export function objectOf(fields: Readonly<Record<string, Shape>>, required: readonly string[] = []): Shape {
  return (value, place) => {
    const found = fieldsOf(value, place);
    const pathOf = (name: string) => {
      if (!/^[\w-]+$/.test(name)) return `${place.path}[${JSON.stringify(name)}]`;
      return place.path === "" ? name : `${place.path}.${name}`;
    };
    for (const [name, element] of found) {
      if (!Object.hasOwn(fields, name)) {
        const nearest = nearestName(name, Object.keys(fields));
        throw new ShapeFault(pathOf(name), nearest ? `is no field; the nearest is ${nearest}` : "is no field");
      }
      fields[name]!(element, { ...place, path: pathOf(name) });
    }
    const missing = required.find((name) => !found.some(([other]) => other === name));
    if (missing !== undefined) throw new ShapeFault(pathOf(missing), "is missing");
  };
}

/** The same data without the fields that are `undefined` or `null`: the API takes them for absent. */
export function withoutNulls(data: unknown): unknown {
  if (Array.isArray(data)) return data.map(withoutNulls);
  if (typeof data !== "object" || data === null || data instanceof Date) return data;
  const present = Object.entries(data).filter(([, value]) => value !== undefined && value !== null);
  return Object.fromEntries(present.map(([name, value]) => [name, withoutNulls(value)]));
}

function fieldsOf(value: unknown, { path }: ShapePlace): [string, unknown][] {
  if (typeof value !== "object" || value === null || Array.isArray(value)) {
    throw new ShapeFault(path || "the whole", `is ${typeOf(value)}, not an object`);
  }
  return Object.entries(value).filter(([, element]) => element !== undefined && element !== null);
}

function typeOf(value: unknown): string {
  if (value === undefined || value === null) return "empty";
  if (Array.isArray(value)) return "a list";
  switch (typeof value) {
    case "string":
      return "text";
    case "number":
      return "a number";
    case "boolean":
      return "true or false";
    default:
      return "an object";
  }
}
