import assert from "node:assert/strict";
import fc from "fast-check";
import type { LabelSelectorSpec } from "../../lib/api/bundle.ts";
import { LabelSelectorError, parseLabelSelector } from "../../lib/api/label_selector.ts";
import { askOracle } from "../oracles/oracle.ts";
import { forAll, samples } from "./property.ts";

const character = fc.constantFrom(...'ab09AZ-_./ ,=!()"\\\n\u0130é🙂');
const text = fc.oneof(
  { weight: 6, arbitrary: fc.constantFrom("a", "b", "a.b/c", "x_y", "A-1", "constructor", "__proto__") },
  { weight: 2, arbitrary: fc.string({ unit: character, maxLength: 8 }) },
  {
    weight: 1,
    arbitrary: fc.constantFrom(
      "",
      "a/",
      "/a",
      "a//b",
      "a".repeat(63),
      "a".repeat(64),
      `${"a".repeat(254)}/b`,
    ),
  },
);
const labels = fc.dictionary(text, fc.constantFrom("a", "b", "", "1.2"), {
  maxKeys: 4,
  noNullPrototype: true,
});
const selectors: fc.Arbitrary<LabelSelectorSpec> = fc.record({
  // One label at most: Kubernetes tells any one of several bad ones.
  matchLabels: fc.dictionary(text, text, { maxKeys: 1, noNullPrototype: true }),
  matchExpressions: fc.array(
    fc.record({
      key: text,
      operator: fc.oneof({ weight: 9, arbitrary: fc.constantFrom("In", "NotIn", "Exists", "DoesNotExist") }, {
        weight: 1,
        arbitrary: text,
      }),
      values: fc.array(text, { maxLength: 4 }),
    }, { requiredKeys: ["key", "operator"] }),
    { maxLength: 4 },
  ),
}, { requiredKeys: [] });

Deno.test("whatever selectors match, print and refuse as in Kubernetes", async () => {
  const { values, hint } = samples(fc.tuple(selectors, fc.array(labels, { maxLength: 4 })), 4000);
  // JavaScript's strings may hold half a character, which no JSON can send.
  const answers = await askOracle(
    values.map(([selector, sets]) => ({ selector: { selector, labels: sets } })),
  );
  let parsed = 0;
  values.forEach(([selector, sets], i) => {
    const { error, text = "", matches = [] } = answers[i] ?? {};
    const message = `${hint}: ${JSON.stringify(selector)}`;
    if (error !== undefined) {
      assert.throws(
        () => parseLabelSelector(selector),
        { name: "LabelSelectorError", message: error },
        message,
      );
      return;
    }
    parsed++;
    const ours = parseLabelSelector(selector);
    assert.equal(ours.toString(), text, message);
    assert.deepEqual(sets.map((set) => ours.matches(set)), matches, message);
  });
  assert.ok(
    parsed > values.length / 20 && parsed < values.length,
    `${parsed} of ${values.length} were parsed`,
  );
});

Deno.test("any strings are a selector, or a LabelSelectorError", async () => {
  const any = fc.string({ unit: "binary" });
  const spec = fc.record({
    matchLabels: fc.dictionary(any, any),
    matchExpressions: fc.array(fc.record({ key: any, operator: any, values: fc.array(any) })),
  });
  await forAll(spec, 1000, (selector) => {
    try {
      parseLabelSelector(selector);
    } catch (error) {
      assert.ok(error instanceof LabelSelectorError);
    }
  });
});

Deno.test("a requirement with 100,000 bad values is refused in a short text", () => {
  const values = Array.from({ length: 1e5 }, (_, i) => `!${i}`);
  assert.throws(
    () => parseLabelSelector({ matchExpressions: [{ key: "a", operator: "In", values }] }),
    ({ message }: Error) => message.length < 1e5,
  );
});
