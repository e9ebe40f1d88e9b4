import fc from "fast-check";
import assert from "node:assert/strict";
import { loadVectors } from "../../tests/vectors.ts";
import { divideUp, formatQuantity, parseQuantity, type QuantityFormat } from "./quantity.ts";

type Expect = { nanos: string; format: QuantityFormat; text: string } | { error: string };

for (const { id, why, input, expect } of loadVectors<string | number, Expect>("quantity")) {
  Deno.test(`parseQuantity() ${id}: ${why}`, () => {
    if ("error" in expect) {
      assert.throws(() => parseQuantity(input), { code: expect.error });
      return;
    }
    const quantity = parseQuantity(input);
    assert.deepEqual(quantity, { nanos: BigInt(expect.nanos), format: expect.format });
    assert.equal(formatQuantity(quantity), expect.text);
  });
}

Deno.test("parseQuantity() reads what formatQuantity() writes", () => {
  const formats = fc.constantFrom<QuantityFormat>("DecimalSI", "BinarySI", "DecimalExponent");
  const max = (2n ** 63n - 1n) * 1_000_000_000n;
  fc.assert(fc.property(fc.bigInt({ min: -max, max }), formats, (nanos, format) => {
    assert.equal(parseQuantity(formatQuantity({ nanos, format })).nanos, nanos);
  }));
});

Deno.test("formatQuantity() of a text that is read is canonical: reading it again changes nothing", () => {
  const parts = fc.tuple(
    fc.constantFrom("", "-", "+"),
    fc.bigInt({ min: 0n, max: 10n ** 20n }),
    fc.constantFrom("", ".5", ".0009765625"),
    fc.constantFrom("", "n", "u", "m", "k", "M", "G", "Ki", "Mi", "Gi", "Ti", "e3", "E-2"),
  );
  fc.assert(fc.property(parts, (part) => {
    const text = formatQuantity(parseQuantity(part.join("")));
    assert.equal(formatQuantity(parseQuantity(text)), text);
  }));
});

Deno.test("parseQuantity() throws nothing but PodInvalid", () => {
  const unit = fc.constantFrom(..."+-.0123456789eEinumkKMGTP ");
  fc.assert(fc.property(fc.oneof(fc.string({ unit, maxLength: 12 }), fc.string()), (text) => {
    try {
      parseQuantity(text);
    } catch (error) {
      assert.equal((error as { code?: string }).code, "PodInvalid");
    }
  }));
});

Deno.test("divideUp() gives the smallest whole number that is enough", () => {
  fc.assert(fc.property(fc.bigInt({ min: 0n }), fc.bigInt({ min: 1n }), (numerator, denominator) => {
    const quotient = divideUp(numerator, denominator);
    assert.ok(quotient * denominator >= numerator && (quotient - 1n) * denominator < numerator);
  }));
});
