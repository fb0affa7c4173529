import assert from "node:assert/strict";
import { ADMISSION_CASES } from "../../tests/admission_cases.ts";
import type { AdditionalFormats } from "./bundle.ts";
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

const passwords: [string, AdditionalFormats, string | undefined][] = [
  ["usual ones", { jks: { key: "j" }, pkcs12: { key: "p" } }, undefined],
  ["a JKS may have any", { jks: { key: "j", password: "pässword" } }, undefined],
  ["and a PKCS#12 store, as in the Go project", { pkcs12: { key: "p", password: "pässword" } }, undefined],
  [
    "a long one",
    { jks: { key: "j" }, pkcs12: { key: "p", password: "p".repeat(129) } },
    "spec.target.additionalFormats.pkcs12.password: Forbidden: password must have at most 128 characters, but has 129",
  ],
  [
    "no password for a JKS",
    { jks: { key: "j", password: "" } },
    "spec.target.additionalFormats.jks.password: Forbidden: password must not be empty",
  ],
];

for (const [name, additionalFormats, refusal] of passwords) {
  Deno.test(`validation of passwords, which the Go project has not: ${name}`, () => {
    const target = { configMap: { key: "k" }, additionalFormats };
    const errors = validateBundle({
      metadata: { name: "example" },
      spec: { sources: [{ inLine: "x" }], target },
    });
    assert.equal(errors.length === 0 ? undefined : printFieldErrors(errors), refusal);
  });
}
