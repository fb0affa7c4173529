import assert from "node:assert/strict";
import { managedFields, owned, target, targetRecord } from "../../tests/builders.ts";
import {
  BUNDLE_LABEL,
  BUNDLE_UID_ANNOTATION,
  HASH_ANNOTATION,
  LAYOUT_ANNOTATION,
  type TargetKind,
} from "../api/bundle.ts";
import type { ManagedFieldsEntry, ObjectMeta } from "../kube/objects.ts";
import {
  bundleNameOf,
  type OwnedFields,
  ownedFields,
  readTarget,
  sharingTexts,
  targetStoreKey,
} from "./target_record.ts";

Deno.test("a target as our own apply leaves it", () => {
  assert.deepEqual(readTarget("ConfigMap", target()), targetRecord());
});

Deno.test("what is ours is what our manager applied; other entries show who else owns data", async (t) => {
  const label = { [BUNDLE_LABEL]: "example" };
  const table: {
    name: string;
    entries: ManagedFieldsEntry[] | undefined;
    kind?: TargetKind;
    owned?: Partial<OwnedFields>;
    shows?: ("updates" | "data" | "owner")[];
    foreign?: string[];
  }[] = [
    { name: "no managedFields", entries: undefined },
    { name: "an empty list", entries: [] },
    {
      name: "one apply",
      entries: [managedFields({ data: ["b", "a"] })],
      owned: { data: ["a", "b"] },
      shows: ["data"],
    },
    {
      name: "data and binaryData",
      entries: [managedFields({ data: ["ca.crt"], binaryData: ["ca.jks"] })],
      owned: { data: ["ca.crt"], binaryData: ["ca.jks"] },
      shows: ["data"],
    },
    {
      name: "labels, annotations and an owner reference",
      entries: [managedFields({ labels: [BUNDLE_LABEL], annotations: [HASH_ANNOTATION], owners: ["u"] })],
      owned: { labels: label, annotations: { [HASH_ANNOTATION]: "" } },
      shows: ["owner"],
    },
    {
      name: "an update under our name, with the map itself",
      entries: [managedFields({ operation: "Update", data: ["ca.crt"] })],
      shows: ["updates", "data"],
    },
    {
      name: "what we apply is booked under nobody's name as well, as after managedFields were cleared",
      entries: [
        managedFields({ data: ["ca.crt"] }),
        managedFields({ manager: "before-first-apply", operation: "Update", data: ["ca.crt"] }),
      ],
      owned: { data: ["ca.crt"] },
      shows: ["updates", "data"],
    },
    {
      name: "apply and update, one key in both",
      entries: [
        managedFields({ data: ["a", "b"] }),
        managedFields({ operation: "Update", data: ["b"], binaryData: ["c"] }),
      ],
      owned: { data: ["a", "b"] },
      shows: ["updates", "data"],
    },
    {
      name: "apply and update, the update with nothing of its own",
      entries: [
        managedFields({ data: ["a", "b"], labels: [BUNDLE_LABEL] }),
        managedFields({ operation: "Update", data: ["b"], labels: [BUNDLE_LABEL] }),
      ],
      owned: { data: ["a", "b"], labels: label },
      shows: ["data"],
    },
    {
      name: "an owner reference of an update under our name",
      entries: [managedFields({ data: ["a"] }), managedFields({ operation: "Update", owners: ["u"] })],
      owned: { data: ["a"] },
      shows: ["updates", "data"],
    },
    {
      name: "another manager",
      entries: [managedFields({ manager: "kubectl", operation: "Update", data: ["x"] })],
      shows: ["data"],
      foreign: ["x"],
    },
    {
      name: "a manager whose name begins as ours",
      entries: [managedFields({ manager: "trust-manager-2", data: ["x"] })],
      shows: ["data"],
      foreign: ["x"],
    },
    {
      name: "others beside us, one key shared",
      entries: [
        managedFields({ manager: "helm", data: ["x", "ca.crt"] }),
        managedFields({ data: ["ca.crt"] }),
        managedFields({ manager: "kubectl", operation: "Update", binaryData: ["y"] }),
      ],
      owned: { data: ["ca.crt"] },
      shows: ["data"],
      foreign: ["x", "y"],
    },
    {
      name: "another manager that owns the same key only, as a restored backup does",
      entries: [
        managedFields({ manager: "velero", operation: "Update", data: ["ca.crt"] }),
        managedFields({ data: ["ca.crt"] }),
      ],
      owned: { data: ["ca.crt"] },
      shows: ["data"],
    },
    { name: "only labels", entries: [managedFields({ labels: [BUNDLE_LABEL] })], owned: { labels: label } },
    { name: "an empty map", entries: [managedFields({ operation: "Update", data: [] })] },
    { name: "an entry without fields", entries: [{ manager: "trust-manager" }] },
    {
      name: "fields of an unknown shape",
      entries: [{
        manager: "trust-manager",
        operation: "Apply",
        fieldsV1: { "f:data": null, "f:binaryData": "x" },
      }],
    },
    {
      name: "a Secret has no binaryData",
      kind: "Secret",
      entries: [managedFields({ data: ["ca.crt"], binaryData: ["x"] })],
      owned: { data: ["ca.crt"] },
      shows: ["data"],
    },
  ];
  for (const { name, entries, kind = "ConfigMap", owned, shows = [], foreign = [] } of table) {
    await t.step(name, () => {
      const { managedFields: _, ...metadata } = target().metadata;
      const record = readTarget(kind, {
        metadata: { ...metadata, ...(entries === undefined ? {} : { managedFields: entries }) },
      });
      const none = { data: [], binaryData: [], labels: {}, annotations: {} };
      assert.equal(record.owned, ownedFields({ ...none, ...owned }));
      assert.deepEqual(record.foreignKeys, foreign);
      assert.deepEqual({
        updates: record.hasUpdates,
        data: record.hasData,
        owner: record.ownsOwner,
      }, {
        updates: shows.includes("updates"),
        data: shows.includes("data"),
        owner: shows.includes("owner"),
      });
    });
  }
});

Deno.test("layout and UID of the Bundle count only if we applied them", () => {
  const annotations = {
    [HASH_ANNOTATION]: "some-hash",
    [LAYOUT_ANNOTATION]: "l",
    [BUNDLE_UID_ANNOTATION]: "u",
  };
  const applied = managedFields({ data: ["ca.crt"], annotations: Object.keys(annotations) });
  const theirs = managedFields({
    manager: "kubectl",
    operation: "Update",
    annotations: Object.keys(annotations),
  });
  const read = (entry: ManagedFieldsEntry) => {
    const { layout, bundleUid } = readTarget(
      "ConfigMap",
      target({ metadata: { annotations, managedFields: [entry] } }),
    );
    return [layout, bundleUid];
  };
  assert.deepEqual(read(applied), ["l", "u"]);
  assert.deepEqual(read(theirs), [undefined, undefined]);
});

Deno.test("label, annotation, controlling owner and deletion are read", async (t) => {
  const owner = { apiVersion: "v1", kind: "ConfigMap", name: "o" };
  const table: {
    name: string;
    metadata: Partial<ObjectMeta>;
    differs: Parameters<typeof targetRecord>[0];
  }[] = [
    {
      name: "no labels",
      metadata: { labels: {} },
      differs: { bundle: undefined, owned: owned({ labels: { [BUNDLE_LABEL]: "" } }) },
    },
    {
      name: "another Bundle",
      metadata: { labels: { [BUNDLE_LABEL]: "b" } },
      differs: { bundle: "b", owned: owned({ labels: { [BUNDLE_LABEL]: "b" } }) },
    },
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
      differs: {
        owned: ownedFields({ data: ["ca.crt"], binaryData: [], labels: {}, annotations: {} }),
        ownsOwner: false,
      },
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
      name: "made immutable by somebody",
      metadata: {
        managedFields: [
          ...target().metadata.managedFields ?? [],
          { manager: "kubectl", operation: "Update", fieldsV1: { "f:immutable": {} } },
        ],
      },
      differs: { immutable: true },
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
    layout: undefined,
    controllerUid: undefined,
    bundleUid: undefined,
    owned: "",
    ownsOwner: false,
    hasUpdates: false,
    foreignKeys: [],
    hasData: false,
    immutable: false,
    deleting: false,
  });
});

Deno.test("two sets of applied fields are one text only if they are equal", () => {
  const none = { data: [], binaryData: [], labels: {}, annotations: {} };
  const different: OwnedFields[] = [
    none,
    { ...none, data: ["a", "b"] },
    { ...none, data: ["ab"] },
    { ...none, data: ["a"], binaryData: ["b"] },
    { ...none, binaryData: ["a", "b"] },
    { ...none, labels: { a: "bc" } },
    { ...none, labels: { ab: "c" } },
    { ...none, annotations: { a: "bc" } },
    { ...none, labels: { a: "xb", b: "y" } },
    { ...none, labels: { a: "x", b: "by" } },
  ];
  assert.equal(new Set(different.map(ownedFields)).size, different.length);
  assert.equal(ownedFields({ ...none, data: ["b", "a"] }), ownedFields({ ...none, data: ["a", "b"] }));
  assert.equal(
    ownedFields({ ...none, labels: { a: "1", b: "2" } }),
    ownedFields({ ...none, labels: { b: "2", a: "1" } }),
  );
  assert.equal(ownedFields(none), "");
});

Deno.test("a record shares the texts of its sibling, and stays what it is", () => {
  const record = targetRecord({ namespace: "b", uid: "2", hash: "another" });
  assert.deepEqual(sharingTexts(record, targetRecord()), record);
  assert.equal(sharingTexts(record, undefined), record);
});

Deno.test("a target belongs to the Bundle that its label names, but one with our annotation to that of its own name", () => {
  const parts = { name: "a", bundle: "b", bundleUid: undefined };
  assert.equal(bundleNameOf(parts), "b");
  assert.equal(bundleNameOf({ ...parts, bundle: undefined }), undefined);
  assert.equal(bundleNameOf({ ...parts, bundleUid: "uid" }), "a");
});

Deno.test("targets of one name in two namespaces have two keys", () => {
  assert.notEqual(targetStoreKey("a", "b"), targetStoreKey("a", "c"));
  assert.notEqual(targetStoreKey("a", "c"), targetStoreKey("b", "c"));
});
