import assert from "node:assert/strict";
import { leafPaths, readChartValues, valueAt } from "./chart_values.ts";

const YAML = `# About the file.

## First

# What a is for,
# in two lines.
a: 1

b:
  # A list.
  c:
    - x: 1
  # Empty.
  d: {}

  ## Second

  e:
    # Deep.
    f: ""
`;

Deno.test("values are read with section, text and default", () => {
  assert.deepEqual(readChartValues(YAML), [
    { path: "a", section: "First", text: "What a is for, in two lines.", default: 1 },
    { path: "b.c", section: "First", text: "A list.", default: [{ x: 1 }] },
    { path: "b.d", section: "First", text: "Empty.", default: {} },
    { path: "b.e.f", section: "Second", text: "Deep.", default: "" },
  ]);
});

Deno.test("a line that is no value is told", () => {
  assert.throws(() => readChartValues("- a"), /neither a comment nor a key: - a/);
});

Deno.test("what lies at a path is found", () => {
  assert.equal(valueAt({ a: { b: 1 } }, ["a", "b"]), 1);
  assert.equal(valueAt({ a: { b: 1 } }, ["a", "c", "d"]), undefined);
});

Deno.test("paths end where there is no map, or an empty one", () => {
  assert.deepEqual(leafPaths({ a: 1, b: { c: [1], d: {} } }), ["a", "b.c", "b.d"]);
});
