import assert from "node:assert/strict";
import { packageOfThisMachine } from "./machine_package.ts";
import { encodePackage } from "./package_file.ts";

Deno.test("the package of this machine is one that the operator takes", async () => {
  const { certificates } = encodePackage(await packageOfThisMachine()).read;
  assert.ok(certificates.length > 50, `only ${certificates.length} certificates`);
});
