import assert from "node:assert/strict";
import { compareVersions, GoToolchainError, goVersionOf } from "./go_toolchain.ts";

for (
  const [a, b, expected] of [
    ["1.26.0", "1.26.0", 0],
    ["1.26.8", "1.26.0", 1],
    ["1.26", "1.26.0", 0],
    ["1.9", "1.26.0", -1],
    ["1.19.8", "1.26.0", -1],
    ["2.0", "1.26.0", 1],
    ["1.26.1-custom", "1.26.1", 0],
    ["1.27rc1", "1.26.9", 1],
    ["devel", "1.26.0", -1],
  ] as const
) {
  Deno.test(`Go ${a} compared with ${b} is ${expected}`, () => {
    assert.equal(Math.sign(compareVersions(a, b)), expected);
    assert.equal(Math.sign(compareVersions(b, a)) + expected, 0);
  });
}

Deno.test("the wanted Go is that of the go line", () => {
  assert.equal(goVersionOf("module x\n\ngo 1.26.0\n\ntoolchain go1.27.1\n"), "1.26.0");
  assert.throws(() => goVersionOf("module x\n"), GoToolchainError);
});
