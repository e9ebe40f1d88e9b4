/**
 * Kubernetes quantities: `1500m`, `1Gi`, `2e3`. In: the text. Out: an exact number, and back.
 *
 * @module
 */
import { KrunError } from "./errors.ts";

/** How a quantity was written, which decides how it is printed. */
export type QuantityFormat = "DecimalSI" | "BinarySI" | "DecimalExponent";

/** An exact quantity. */
export interface Quantity {
  /** The value in billionths: Kubernetes has nothing finer. */
  readonly nanos: bigint;
  /** How it is printed. */
  readonly format: QuantityFormat;
}

/** Billionths in one. */
const ONE = 1_000_000_000n;

/** Kubernetes caps binary quantities here: 2^63 - 1. */
const BINARY_MAX = (2n ** 63n - 1n) * ONE;

const QUANTITY = /^([+-]?)(\d*)(?:\.(\d*))?(?:([numkMGTPE]?)|([KMGTPE])i|[eE]([+-]?\d{1,3}))$/;

/** Decimal suffixes from 10^-9 in steps of a thousand. */
const DECIMAL_SUFFIXES = ["n", "u", "m", "", "k", "M", "G", "T", "P", "E"];

/** Binary suffixes from 1 in steps of 1024. */
const BINARY_SUFFIXES = ["", "Ki", "Mi", "Gi", "Ti", "Pi", "Ei"];

/**
 * Reads a quantity. What is finer than a billionth is rounded away from zero; a binary one is at most 2^63 - 1.
 *
 * A manifest may hold a bare number where the API has a text, so numbers are taken too. Refused, although Kubernetes takes
 * them: a text without a digit (`-`, `.`) and exponents of more than three digits.
 *
 * Rule: k8s.io/apimachinery/pkg/api/resource/quantity.go `ParseQuantity` of v0.34.
 *
 * @throws {KrunError} `PodInvalid` when it is none.
 */
export function parseQuantity(text: string | number): Quantity {
  const [match, sign, whole = "", fraction = "", decimal, binary, exponent] = QUANTITY.exec(`${text}`) ?? [];
  if (match === undefined || whole + fraction === "") {
    throw new KrunError(
      "PodInvalid",
      `Cannot read quantity "${text}": it is not a number with a suffix of Kubernetes`,
      "write a number such as 500m, 2, 128Mi or 1.5Gi",
    );
  }
  const digits = BigInt(whole + fraction) * (sign === "-" ? -1n : 1n);
  if (binary !== undefined) {
    return binaryQuantity(digits * 1024n ** BigInt(BINARY_SUFFIXES.indexOf(`${binary}i`)), fraction.length);
  }
  const power = exponent === undefined ? DECIMAL_SUFFIXES.indexOf(decimal ?? "") * 3 - 9 : Number(exponent);
  const nanos = timesPowerOfTen(digits, power + 9 - fraction.length);
  return { nanos, format: exponent === undefined ? "DecimalSI" : "DecimalExponent" };
}

/**
 * The canonical text of a quantity: no fraction, no sign but minus, the largest suffix that loses nothing.
 *
 * Rule: `CanonicalizeBytes` of the same file.
 */
export function formatQuantity({ nanos, format }: Quantity): string {
  if (nanos === 0n) return "0";
  if (format === "BinarySI" && nanos % ONE === 0n && abs(nanos) >= 1024n * ONE) {
    const { rest, steps } = reduced(nanos / ONE, 1024n, BINARY_SUFFIXES.length - 1);
    return `${rest}${BINARY_SUFFIXES[steps]}`;
  }
  if (format === "DecimalExponent") {
    const { rest, steps } = reduced(nanos, 1000n, Infinity);
    return steps === 3 ? `${rest}` : `${rest}e${steps * 3 - 9}`;
  }
  const { rest, steps } = reduced(nanos, 1000n, DECIMAL_SUFFIXES.length - 1);
  return `${rest}${DECIMAL_SUFFIXES[steps]}`;
}

/** `numerator / denominator`, both of zero or more, rounded up to a whole number. */
export function divideUp(numerator: bigint, denominator: bigint): bigint {
  return (numerator + denominator - 1n) / denominator;
}

function binaryQuantity(digits: bigint, fractionDigits: number): Quantity {
  const nanos = timesPowerOfTen(digits, 9 - fractionDigits);
  const capped = nanos > BINARY_MAX ? BINARY_MAX : nanos < -BINARY_MAX ? -BINARY_MAX : nanos;
  // A binary fraction of one would be printed rounded; Kubernetes turns it into a decimal one.
  const fraction = capped !== 0n && abs(capped) < ONE;
  return { nanos: capped, format: fraction ? "DecimalSI" : "BinarySI" };
}

/** Rounded away from zero: whoever asks for some of a resource gets some of it. */
function timesPowerOfTen(digits: bigint, power: number): bigint {
  if (power >= 0) return digits * 10n ** BigInt(power);
  const up = divideUp(abs(digits), 10n ** BigInt(-power));
  return digits < 0n ? -up : up;
}

/** Divides by `step` as often as that leaves a whole number, at most `most` times. */
function reduced(value: bigint, step: bigint, most: number): { rest: bigint; steps: number } {
  let rest = value;
  let steps = 0;
  while (rest % step === 0n && steps < most) {
    rest /= step;
    steps += 1;
  }
  return { rest, steps };
}

function abs(value: bigint): bigint {
  return value < 0n ? -value : value;
}
