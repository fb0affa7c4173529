import assert from "node:assert/strict";
import { ADMISSION_CASES } from "../../tests/admission_cases.ts";
import { printFieldErrors } from "./field_error.ts";
import { validateBundle } from "./validate.ts";

for (const { name, bundleName = "example", spec, refusal } of ADMISSION_CASES) {
  Deno.test(`validation: ${name}`, () => {
    const errors = validateBundle({ metadata: { name: bundleName }, spec });
    assert.equal(errors.length === 0 ? undefined : printFieldErrors(errors), refusal);
  });
}

Deno.test("a path with an empty name is printed as Kubernetes prints it", () => {
  const spec = { sources: [{ configMap: { includeAllKeys: true } }], target: { configMap: { key: "" } } };
  const errors = validateBundle({ metadata: { name: "" }, spec });
  assert.deepEqual(errors.at(-1), {
    field: "spec.sources[0].configMap[][]",
    problem: "Forbidden: cannot define the same source as target",
  });
});
