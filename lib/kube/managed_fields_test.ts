import assert from "node:assert/strict";
import { takeOverUpdates } from "./managed_fields.ts";
import type { ManagedFieldsEntry } from "./objects.ts";

function entry(manager: string, operation: string, data: string[], more = {}): ManagedFieldsEntry {
  return {
    manager,
    operation,
    fieldsV1: { "f:data": Object.fromEntries(data.map((key) => [`f:${key}`, {}])) },
    ...more,
  };
}

Deno.test("what a manager updated becomes what it applied, and others keep theirs", async (t) => {
  const other = entry("kubectl", "Update", ["x"]);
  const status = entry("m", "Update", ["s"], { subresource: "status" });
  const table: { name: string; entries: ManagedFieldsEntry[]; taken: ManagedFieldsEntry[] | undefined }[] = [
    { name: "nothing", entries: [], taken: undefined },
    { name: "applies only", entries: [entry("m", "Apply", ["a"]), other], taken: undefined },
    { name: "another manager", entries: [other], taken: undefined },
    { name: "another subresource", entries: [status], taken: undefined },
    {
      name: "an update alone",
      entries: [other, entry("m", "Update", ["a"], { time: "2026-01-01T00:00:00Z" })],
      taken: [other, entry("m", "Apply", ["a"], { time: "2026-01-01T00:00:00Z" })],
    },
    {
      name: "an update beside an apply",
      entries: [entry("m", "Apply", ["a", "b"]), other, status, entry("m", "Update", ["b", "c"])],
      taken: [other, status, entry("m", "Apply", ["a", "b", "c"])],
    },
    {
      name: "two updates",
      entries: [entry("m", "Update", ["a"]), entry("m", "Update", ["b"], { apiVersion: "v2" })],
      taken: [entry("m", "Apply", ["a", "b"])],
    },
  ];
  for (const { name, entries, taken } of table) {
    await t.step(name, () => assert.deepEqual(takeOverUpdates(entries, "m"), taken));
  }
  assert.deepEqual(takeOverUpdates([status], "m", "status"), [{ ...status, operation: "Apply" }]);
});

Deno.test("fields below fields are joined", () => {
  const fields = (fieldsV1: Record<string, unknown>, operation: string) => ({
    manager: "m",
    operation,
    fieldsV1,
  });
  const [taken] = takeOverUpdates([
    fields({ "f:metadata": { "f:labels": { ".": {}, "f:a": {} } } }, "Update"),
    fields(
      { "f:metadata": { "f:labels": { "f:b": {} }, "f:annotations": { "f:c": {} } }, "f:data": {} },
      "Apply",
    ),
  ], "m") ?? [];
  assert.deepEqual(taken?.fieldsV1, {
    "f:metadata": { "f:labels": { ".": {}, "f:a": {}, "f:b": {} }, "f:annotations": { "f:c": {} } },
    "f:data": {},
  });
});
