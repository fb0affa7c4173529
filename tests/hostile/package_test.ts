import assert from "node:assert/strict";
import fc from "fast-check";
import { DefaultPackageError, parseDefaultPackage } from "../../lib/certs/default_package.ts";
import { pemTexts, SECRET } from "./inputs.ts";
import { forAll } from "./property.ts";

/** Whether it was read. If not, the error must be one line, and tell nothing that is secret. */
function isRead(json: string): boolean {
  try {
    const { certificates, warnings } = parseDefaultPackage(json);
    for (const { der } of certificates) assert.equal(der.buffer.byteLength, der.length);
    assert.ok(!warnings.join().includes(SECRET));
    return true;
  } catch (error) {
    assert.ok(error instanceof DefaultPackageError, `${error}`);
    assert.ok(!error.message.includes(SECRET), error.message);
    assert.ok(error.message.length < 1500);
    return false;
  }
}

Deno.test("whatever a default package holds, it is read or refused without telling what it holds", async () => {
  const field = (good: fc.Arbitrary<string>) =>
    fc.oneof({ weight: 5, arbitrary: good }, { weight: 1, arbitrary: fc.jsonValue({ maxDepth: 2 }) });
  const packages = fc.record({
    name: field(fc.string({ minLength: 1 })),
    version: field(fc.string({ minLength: 1 })),
    bundle: field(pemTexts),
  }, { requiredKeys: [] });
  let read = 0;
  await forAll(packages, 3000, (it) => {
    if (isRead(JSON.stringify(it))) read++;
  });
  assert.ok(read > 100, `only ${read} were read`);
});

Deno.test("text that is no package is refused", async () => {
  await forAll(fc.oneof(fc.string(), fc.json(), fc.constant(`{"bundle": "${SECRET}`)), 1000, (text) => {
    assert.equal(isRead(text), false);
  });
  for (const text of ["[".repeat(1e6), `{"x":${"[".repeat(1e6)}${"]".repeat(1e6)}}`, "", SECRET]) {
    assert.equal(isRead(text), false);
  }
});
