import assert from "node:assert/strict";
import { managedFields, target, targetRecord } from "../../tests/builders.ts";
import { BUNDLE_LABEL, HASH_ANNOTATION, type TargetKind } from "../api/bundle.ts";
import type { ManagedFieldsEntry, ObjectMeta } from "../kube/objects.ts";
import { keySet, readTarget, targetStoreKey } from "./target_record.ts";

Deno.test("a target as our own apply leaves it", () => {
  assert.deepEqual(readTarget("ConfigMap", target()), targetRecord());
});

Deno.test("owned keys are those of our manager, in every entry", async (t) => {
  const table: {
    name: string;
    entries: ManagedFieldsEntry[] | undefined;
    kind?: TargetKind;
    owned: string;
    hasData: boolean;
  }[] = [
    { name: "no managedFields", entries: undefined, owned: "", hasData: false },
    { name: "an empty list", entries: [], owned: "", hasData: false },
    { name: "one apply", entries: [managedFields({ data: ["b", "a"] })], owned: "a/b", hasData: true },
    {
      name: "data and binaryData",
      entries: [managedFields({ data: ["ca.crt"], binaryData: ["ca.jks"] })],
      owned: "ca.crt/ca.jks",
      hasData: true,
    },
    {
      name: "an update of ours, with the map itself",
      entries: [managedFields({ operation: "Update", data: ["ca.crt"] })],
      owned: "ca.crt",
      hasData: true,
    },
    {
      name: "apply and update, one key in both",
      entries: [
        managedFields({ data: ["a", "b"] }),
        managedFields({ operation: "Update", data: ["b"], binaryData: ["c"] }),
      ],
      owned: "a/b/c",
      hasData: true,
    },
    {
      name: "an entry for a subresource",
      entries: [{ ...managedFields({ data: ["a"] }), subresource: "scale" }],
      owned: "a",
      hasData: true,
    },
    {
      name: "another manager",
      entries: [managedFields({ manager: "kubectl", operation: "Update", data: ["x"] })],
      owned: "",
      hasData: true,
    },
    {
      name: "a manager whose name begins as ours",
      entries: [managedFields({ manager: "trust-manager-2", data: ["x"] })],
      owned: "",
      hasData: true,
    },
    {
      name: "others beside us, one key shared",
      entries: [
        managedFields({ manager: "helm", data: ["x", "ca.crt"] }),
        managedFields({ data: ["ca.crt"] }),
        managedFields({ manager: "kubectl", operation: "Update", binaryData: ["y"] }),
      ],
      owned: "ca.crt",
      hasData: true,
    },
    {
      name: "only labels",
      entries: [managedFields({ labels: [BUNDLE_LABEL] })],
      owned: "",
      hasData: false,
    },
    {
      name: "an empty map",
      entries: [managedFields({ operation: "Update", data: [] })],
      owned: "",
      hasData: false,
    },
    { name: "an entry without fields", entries: [{ manager: "trust-manager" }], owned: "", hasData: false },
    {
      name: "fields of an unknown shape",
      entries: [{ manager: "trust-manager", fieldsV1: { "f:data": null, "f:binaryData": "x" } }],
      owned: "",
      hasData: false,
    },
    {
      name: "a Secret has no binaryData",
      kind: "Secret",
      entries: [managedFields({ data: ["ca.crt"], binaryData: ["x"] })],
      owned: "ca.crt",
      hasData: true,
    },
  ];
  for (const { name, entries, kind = "ConfigMap", owned, hasData } of table) {
    await t.step(name, () => {
      const { managedFields: _, ...metadata } = target().metadata;
      const record = readTarget(kind, {
        metadata: { ...metadata, ...(entries === undefined ? {} : { managedFields: entries }) },
      });
      assert.deepEqual([record.ownedKeys, record.hasData], [owned, hasData]);
    });
  }
});

Deno.test("label, annotation, controlling owner and deletion are read", async (t) => {
  const owner = { apiVersion: "v1", kind: "ConfigMap", name: "o" };
  const table: {
    name: string;
    metadata: Partial<ObjectMeta>;
    differs: Parameters<typeof targetRecord>[0];
  }[] = [
    { name: "no labels", metadata: { labels: {} }, differs: { bundle: undefined } },
    { name: "another Bundle", metadata: { labels: { [BUNDLE_LABEL]: "b" } }, differs: { bundle: "b" } },
    { name: "no hash", metadata: { annotations: {} }, differs: { hash: undefined } },
    { name: "a hash", metadata: { annotations: { [HASH_ANNOTATION]: "h" } }, differs: { hash: "h" } },
    {
      name: "a hash that is another's",
      metadata: {
        managedFields: [
          managedFields({ data: ["ca.crt"] }),
          managedFields({ manager: "kubectl", annotations: [HASH_ANNOTATION] }),
        ],
      },
      differs: { ownsHash: false },
    },
    { name: "no owner", metadata: { ownerReferences: [] }, differs: { controllerUid: undefined } },
    {
      name: "owners that do not control",
      metadata: { ownerReferences: [{ ...owner, uid: "1" }, { ...owner, uid: "2", controller: false }] },
      differs: { controllerUid: undefined },
    },
    {
      name: "the controlling one of several owners",
      metadata: { ownerReferences: [{ ...owner, uid: "1" }, { ...owner, uid: "2", controller: true }] },
      differs: { controllerUid: "2" },
    },
    {
      name: "deletion",
      metadata: { deletionTimestamp: "2030-01-01T00:00:00Z" },
      differs: { deleting: true },
    },
  ];
  for (const { name, metadata, differs } of table) {
    await t.step(name, () => {
      assert.deepEqual(readTarget("ConfigMap", target({ metadata })), targetRecord(differs));
    });
  }
});

Deno.test("a bare object can be read", () => {
  const record = readTarget("Secret", { metadata: { name: "n" } });
  assert.deepEqual(record, {
    kind: "Secret",
    namespace: "",
    name: "n",
    uid: "",
    resourceVersion: "",
    bundle: undefined,
    hash: undefined,
    ownsHash: false,
    controllerUid: undefined,
    ownedKeys: "",
    hasData: false,
    deleting: false,
  });
});

Deno.test("sets of keys compare whatever their order", () => {
  assert.equal(keySet(["b", "a"]), keySet(new Set(["a", "b"])));
  assert.notEqual(keySet(["a", "b"]), keySet(["ab"]));
  assert.equal(keySet([]), "");
});

Deno.test("targets of one name in two namespaces have two keys", () => {
  assert.notEqual(targetStoreKey("a", "b"), targetStoreKey("a", "c"));
  assert.notEqual(targetStoreKey("a", "c"), targetStoreKey("b", "c"));
});
