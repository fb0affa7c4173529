import assert from "node:assert/strict";
import { median, percentile } from "./statistics.ts";

const hundred = Array.from({ length: 100 }, (_, index) => 100 - index);

Deno.test.each([
  { values: [], fraction: 0.5, expected: NaN },
  { values: [7], fraction: 0.99, expected: 7 },
  { values: [3, 1, 2], fraction: 0, expected: 1 },
  { values: [3, 1, 2], fraction: 0.5, expected: 2 },
  { values: hundred, fraction: 0.5, expected: 50 },
  { values: hundred, fraction: 0.99, expected: 99 },
  { values: hundred, fraction: 1, expected: 100 },
])("percentile $fraction of $values", ({ values, fraction, expected }) => {
  assert.equal(percentile(values, fraction), expected);
});

Deno.test.each([
  { values: [], expected: NaN },
  { values: [3], expected: 3 },
  { values: [10, 2, 3], expected: 3 },
  { values: [10, 2, 4, 3], expected: 3.5 },
])("median of $values", ({ values, expected }) => assert.equal(median(values), expected));
