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
    {
      name: "what was there before the first apply, and is applied",
      entries: [entry("m", "Apply", ["a"]), entry("before-first-apply", "Update", ["a", "x"])],
      taken: [entry("before-first-apply", "Update", ["x"]), entry("m", "Apply", ["a"])],
    },
    {
      name: "the same, and nothing else",
      entries: [entry("m", "Apply", ["a", "b"]), entry("before-first-apply", "Update", ["a"]), other],
      taken: [other, entry("m", "Apply", ["a", "b"])],
    },
    {
      name: "what was there before the first apply, and is not applied",
      entries: [entry("m", "Apply", ["a"]), entry("before-first-apply", "Update", ["x"])],
      taken: undefined,
    },
    {
      name: "what was there before the first apply of somebody else",
      entries: [entry("before-first-apply", "Update", ["a"]), entry("other", "Apply", ["a"])],
      taken: undefined,
    },
  ];
  for (const { name, entries, taken } of table) {
    await t.step(name, () => assert.deepEqual(takeOverUpdates(entries, "m"), taken));
  }
  assert.deepEqual(takeOverUpdates([status], "m", "status"), [{ ...status, operation: "Apply" }]);
});

Deno.test("of what was there before the first apply, labels and owners that are applied are taken, and no others", () => {
  const owner = (uid: string) => ({ [`k:{"uid":"${uid}"}`]: { ".": {}, "f:name": {} } });
  const before = {
    manager: "before-first-apply",
    operation: "Update",
    fieldsV1: {
      "f:data": { ".": {}, "f:x": {} },
      "f:metadata": {
        "f:annotations": { ".": {}, "f:c": {} },
        "f:labels": { ".": {}, "f:a": {}, "f:b": {} },
        "f:ownerReferences": { ".": {}, ...owner("1"), ...owner("2") },
      },
    },
  };
  const applied = {
    manager: "m",
    operation: "Apply",
    fieldsV1: {
      "f:data": { "f:y": {} },
      "f:metadata": {
        "f:annotations": { "f:c": {} },
        "f:labels": { "f:a": {} },
        "f:ownerReferences": { 'k:{"uid":"1"}': {} },
      },
    },
  };
  const left = {
    "f:data": { ".": {}, "f:x": {} },
    "f:metadata": {
      "f:labels": { ".": {}, "f:b": {} },
      "f:ownerReferences": { ".": {}, ...owner("2") },
    },
  };
  assert.deepEqual(takeOverUpdates([before, applied], "m"), [{ ...before, fieldsV1: left }, applied]);
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
