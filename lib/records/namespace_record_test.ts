import assert from "node:assert/strict";
import type { ObjectMeta } from "../kube/objects.ts";
import { readNamespace, sameNamespace } from "./namespace_record.ts";

function namespace(metadata: Partial<ObjectMeta> = {}) {
  return readNamespace({ metadata: { name: "app", resourceVersion: "1", ...metadata } });
}

Deno.test("a namespace is its name, its labels, and whether it is going away", () => {
  assert.deepEqual(namespace(), { name: "app", labels: {}, terminating: false });
  assert.deepEqual(namespace({ labels: { a: "b" }, deletionTimestamp: "2030-01-01T00:00:00Z" }), {
    name: "app",
    labels: { a: "b" },
    terminating: true,
  });
});

Deno.test("namespaces are the same if neither selectors nor the deletion tell them apart", async (t) => {
  const table: { name: string; after: Partial<ObjectMeta>; same: boolean }[] = [
    { name: "an annotation", after: { annotations: { x: "y" }, resourceVersion: "2" }, same: true },
    { name: "labels in another order", after: { labels: { b: "2", a: "1" } }, same: true },
    { name: "another value", after: { labels: { a: "1", b: "3" } }, same: false },
    { name: "another label", after: { labels: { a: "1", c: "2" } }, same: false },
    { name: "a label less", after: { labels: { a: "1" } }, same: false },
    { name: "a label more", after: { labels: { a: "1", b: "2", c: "3" } }, same: false },
    { name: "deleted", after: { deletionTimestamp: "2030-01-01T00:00:00Z" }, same: false },
  ];
  const labels = { a: "1", b: "2" };
  for (const { name, after, same } of table) {
    await t.step(name, () => {
      assert.equal(sameNamespace(namespace({ labels }), namespace({ labels, ...after })), same);
    });
  }
});
