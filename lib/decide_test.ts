import assert from "node:assert/strict";
import { managedFields, owned, target, targetRecord } from "../tests/builders.ts";
import { BUNDLE_LABEL, HASH_ANNOTATION } from "./api/bundle.ts";
import { decide, type Owner, type Shown, type Step } from "./decide.ts";
import type { ObjectMeta } from "./kube/objects.ts";
import { readTarget, type TargetRecord } from "./records/target_record.ts";
import type { TargetContent } from "./resolve.ts";

const owner = { name: "example", uid: "uid-of-example" };

function content(parts: Partial<TargetContent> = {}): TargetContent {
  const usual = {
    kind: "ConfigMap",
    hash: "some-hash",
    keys: ["ca.crt"],
    owned: owned(),
    layout: undefined,
  } as const;
  return { ...usual, body: new Uint8Array(), ...parts };
}

Deno.test("a wanted target is written unless it is ours and holds what is wanted", async (t) => {
  const table: {
    name: string;
    observed: TargetRecord | undefined;
    wanted?: TargetContent;
    owner?: Owner;
    shown?: Shown;
    step: Step;
  }[] = [
    { name: "missing (or without our label, which is not seen)", observed: undefined, step: "apply" },
    { name: "as wanted", observed: targetRecord(), step: "keep" },
    { name: "controlled by nobody", observed: targetRecord({ controllerUid: undefined }), step: "apply" },
    { name: "controlled by another", observed: targetRecord({ controllerUid: "x" }), step: "apply" },
    {
      name: "controlled by a predecessor of the same name",
      observed: targetRecord({ controllerUid: "uid-of-former-example" }),
      step: "apply",
    },
    { name: "label of another Bundle", observed: targetRecord({ bundle: "other" }), step: "apply" },
    { name: "no label", observed: targetRecord({ bundle: undefined }), step: "apply" },
    { name: "another hash", observed: targetRecord({ hash: "other" }), step: "apply" },
    { name: "no hash", observed: targetRecord({ hash: undefined }), step: "apply" },
    {
      name: "our key taken by another manager",
      observed: targetRecord({ owned: owned({ data: [] }) }),
      step: "apply",
    },
    {
      name: "a key of ours too many",
      observed: targetRecord({ owned: owned({ data: ["ca.crt", "x"] }) }),
      step: "apply",
    },
    {
      name: "a key of ours missing",
      wanted: content({ owned: owned({ binaryData: ["ca.jks"] }) }),
      observed: targetRecord(),
      step: "apply",
    },
    {
      name: "all of several keys",
      wanted: content({ owned: owned({ binaryData: ["ca.jks"] }) }),
      observed: targetRecord({ owned: owned({ binaryData: ["ca.jks"] }) }),
      step: "keep",
    },
    {
      name: "keys of data and binaryData exchanged",
      wanted: content({ owned: owned({ data: ["a"], binaryData: ["b"] }) }),
      observed: targetRecord({ owned: owned({ data: ["b"], binaryData: ["a"] }) }),
      step: "apply",
    },
    {
      name: "an annotation that was to become a label",
      wanted: content({ owned: owned({ labels: { team: "blue" } }) }),
      observed: targetRecord({ owned: owned({ annotations: { team: "blue" } }) }),
      step: "apply",
    },
    {
      name: "a label with another value",
      wanted: content({ owned: owned({ labels: { team: "blue" } }) }),
      observed: targetRecord({ owned: owned({ labels: { team: "red" } }) }),
      step: "apply",
    },
    { name: "a key updated under our name", observed: targetRecord({ hasUpdates: true }), step: "apply" },
    {
      name: "the same, and its managedFields are at hand",
      observed: targetRecord({ hasUpdates: true }),
      shown: { managedFields: true },
      step: "take over",
    },
    {
      name: "the same layout",
      wanted: content({ layout: "1" }),
      observed: targetRecord({ layout: "1" }),
      step: "keep",
    },
    {
      name: "another layout",
      wanted: content({ layout: "1" }),
      observed: targetRecord({ layout: "2" }),
      step: "apply",
    },
    { name: "an unknown layout", wanted: content({ layout: "1" }), observed: targetRecord(), step: "apply" },
    {
      name: "a layout that nobody wrote down, but that was in sync",
      wanted: content({ layout: "1" }),
      observed: targetRecord(),
      owner: { ...owner, unmarkedLayouts: { ConfigMap: "1" } },
      step: "keep",
    },
    {
      name: "a layout that was in sync, and has changed",
      wanted: content({ layout: "1" }),
      observed: targetRecord(),
      owner: { ...owner, unmarkedLayouts: { ConfigMap: "2", Secret: "1" } },
      step: "apply",
    },
    {
      name: "a written layout counts, whatever was in sync",
      wanted: content({ layout: "1" }),
      observed: targetRecord({ layout: "2" }),
      owner: { ...owner, unmarkedLayouts: { ConfigMap: "1" } },
      step: "apply",
    },
    {
      name: "data of others, and our owner reference",
      observed: targetRecord({ foreignKeys: ["x"] }),
      step: "share",
    },
    {
      name: "our key edited by another manager, which owns it now",
      observed: targetRecord({ owned: owned({ data: [] }), foreignKeys: ["ca.crt"] }),
      step: "apply",
    },
    {
      name: "data of others, and our annotation",
      observed: targetRecord({
        foreignKeys: ["x"],
        bundleUid: "uid-of-example",
        controllerUid: undefined,
        ownsOwner: false,
      }),
      step: "keep",
    },
    {
      name: "data of others, and another Bundle's annotation",
      observed: targetRecord({
        foreignKeys: ["x"],
        bundleUid: "x",
        controllerUid: undefined,
        ownsOwner: false,
      }),
      step: "share",
    },
    {
      name: "data of others, and an owner reference to us that another manager applied",
      observed: targetRecord({ foreignKeys: ["x"], bundleUid: "uid-of-example", ownsOwner: false }),
      step: "keep",
    },
    {
      name: "no data of others any more",
      observed: targetRecord({ bundleUid: "uid-of-example", controllerUid: undefined, ownsOwner: false }),
      step: "apply",
    },
    { name: "being deleted, as wanted", observed: targetRecord({ deleting: true }), step: "keep" },
  ];
  for (const row of table) {
    const { name, observed, wanted = content(), step, shown } = row;
    await t.step(name, () => assert.equal(decide(wanted, observed, row.owner ?? owner, shown), step));
  }
});

Deno.test("a target that is not wanted is cleaned if it is ours and has not been cleaned", async (t) => {
  const cleaned = { owned: owned({ data: [] }), hash: undefined };
  const shared = { bundleUid: "uid-of-example", controllerUid: undefined, ownsOwner: false };
  const table: { name: string; observed: TargetRecord | undefined; shown?: Shown; step: Step }[] = [
    { name: "missing", observed: undefined, step: "keep" },
    { name: "ours", observed: targetRecord(), step: "clean" },
    { name: "ours, with another hash", observed: targetRecord({ hash: "other" }), step: "clean" },
    { name: "label of another Bundle", observed: targetRecord({ bundle: "other" }), step: "keep" },
    { name: "no label", observed: targetRecord({ bundle: undefined }), step: "keep" },
    { name: "controlled by another", observed: targetRecord({ controllerUid: "x" }), step: "keep" },
    { name: "controlled by nobody", observed: targetRecord({ controllerUid: undefined }), step: "keep" },
    { name: "being deleted", observed: targetRecord({ deleting: true }), step: "keep" },
    { name: "ours, with data of others", observed: targetRecord({ foreignKeys: ["x"] }), step: "release" },
    {
      name: "as the Go project leaves it: cleaned, with our label and owner reference on data of others",
      observed: targetRecord({ ...cleaned, foreignKeys: ["x"], hasData: true }),
      step: "release",
    },
    {
      name: "with our annotation, and data of others",
      observed: targetRecord({ ...shared, foreignKeys: ["x"] }),
      step: "release",
    },
    {
      name: "with the annotation of a predecessor",
      observed: targetRecord({ ...shared, bundleUid: "x" }),
      step: "clean",
    },
    {
      name: "with our annotation, and a label that somebody changed",
      observed: targetRecord({ ...shared, bundle: "other", foreignKeys: ["x"] }),
      step: "release",
    },
    {
      name: "of another Bundle by its name and annotation, though its label says that it is ours",
      observed: targetRecord({ ...shared, name: "other", bundleUid: "uid-of-other", foreignKeys: ["x"] }),
      step: "keep",
    },
    {
      name: "of another name, though label and owner say that it is ours",
      observed: targetRecord({ name: "other" }),
      step: "keep",
    },
    {
      name: "released, but others apply our label and hash too",
      observed: targetRecord({ owned: "", ownsOwner: false, foreignKeys: ["x"] }),
      step: "keep",
    },
    {
      name: "cleaned, and nothing is left",
      observed: targetRecord({ ...cleaned, hasData: false }),
      step: "clean",
    },
    {
      name: "the same, as the answer shows",
      observed: targetRecord({ ...cleaned, hasData: false }),
      shown: { managedFields: true, isEmpty: true },
      step: "delete",
    },
    {
      name: "cleaned, and the answer shows data, whoever owns it",
      observed: targetRecord({ ...cleaned, hasData: false }),
      shown: { managedFields: true, isEmpty: false },
      step: "release",
    },
    {
      name: "of nobody, and without data",
      observed: targetRecord({ owned: "", ownsOwner: false, hasData: false }),
      step: "clean",
    },
    { name: "ours, and immutable", observed: targetRecord({ immutable: true }), step: "delete" },
    {
      name: "immutable, and nobody knows whose the data is",
      observed: targetRecord({ immutable: true, owned: "", ownsOwner: false, hasData: false }),
      step: "clean",
    },
    {
      name: "immutable, with data of others: what is in it cannot be taken out, and is not all ours",
      observed: targetRecord({ immutable: true, foreignKeys: ["x"] }),
      step: "release",
    },
    {
      name: "a key that was updated under our name is left",
      observed: targetRecord({ ...cleaned, hasUpdates: true }),
      step: "clean",
    },
    {
      name: "the same, and its managedFields are at hand",
      observed: targetRecord({ ...cleaned, hasUpdates: true }),
      shown: { managedFields: true, isEmpty: false },
      step: "take over",
    },
  ];
  for (const { name, observed, step, shown } of table) {
    await t.step(name, () => assert.equal(decide(undefined, observed, owner, shown), step));
  }
});

Deno.test("changes by others, as the API server shows them", async (t) => {
  const ours = managedFields({
    data: ["ca.crt"],
    labels: [BUNDLE_LABEL],
    annotations: [HASH_ANNOTATION],
    owners: ["uid-of-example"],
  });
  const edit = { manager: "kubectl-edit", operation: "Update" } as const;
  const table: { name: string; metadata: Partial<ObjectMeta>; wanted?: TargetContent; step: Step }[] = [
    { name: "untouched", metadata: {}, step: "keep" },
    {
      name: "our key edited: whoever changes a value takes it over",
      metadata: {
        managedFields: [
          managedFields({
            labels: [BUNDLE_LABEL],
            annotations: [HASH_ANNOTATION],
            owners: ["uid-of-example"],
          }),
          managedFields({ ...edit, data: ["ca.crt"] }),
        ],
      },
      step: "apply",
    },
    {
      name: "our key applied with the same value: then both own it",
      metadata: { managedFields: [ours, managedFields({ manager: "helm", data: ["ca.crt"] })] },
      step: "keep",
    },
    {
      name: "a key of another manager beside ours",
      metadata: { managedFields: [ours, managedFields({ ...edit, data: ["x"], binaryData: ["y"] })] },
      step: "share",
    },
    { name: "hash edited", metadata: { annotations: { [HASH_ANNOTATION]: "edited" } }, step: "apply" },
    {
      name: "an annotation and a label added",
      metadata: {
        annotations: { [HASH_ANNOTATION]: "some-hash", note: "x" },
        labels: { [BUNDLE_LABEL]: "example", team: "x" },
      },
      step: "keep",
    },
    {
      name: "our key edited under our name: an update is not our apply",
      metadata: {
        managedFields: [
          managedFields({
            labels: [BUNDLE_LABEL],
            annotations: [HASH_ANNOTATION],
            owners: ["uid-of-example"],
          }),
          managedFields({ operation: "Update", data: ["ca.crt"] }),
        ],
      },
      step: "apply",
    },
    {
      name: "a key added under our name",
      metadata: { managedFields: [ours, managedFields({ operation: "Update", data: ["x"] })] },
      step: "apply",
    },
    {
      name: "our label edited: whoever changes a value takes it over",
      metadata: { labels: { [BUNDLE_LABEL]: "example", team: "red" }, managedFields: [ours] },
      wanted: content({ owned: owned({ labels: { team: "blue" } }) }),
      step: "apply",
    },
    { name: "owner removed", metadata: { ownerReferences: [] }, step: "apply" },
  ];
  for (const { name, metadata, wanted = content(), step } of table) {
    await t.step(
      name,
      () => assert.equal(decide(wanted, readTarget("ConfigMap", target({ metadata })), owner), step),
    );
  }
});
