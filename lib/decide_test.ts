import assert from "node:assert/strict";
import { managedFields, target, targetRecord } from "../tests/builders.ts";
import { BUNDLE_LABEL, HASH_ANNOTATION } from "./api/bundle.ts";
import { decide, type Step } from "./decide.ts";
import type { ObjectMeta } from "./kube/objects.ts";
import { keySet, readTarget, type TargetRecord } from "./records/target_record.ts";
import type { TargetContent } from "./resolve.ts";

const owner = { name: "example", uid: "uid-of-example" };

function content(keys: readonly string[] = ["ca.crt"]): TargetContent {
  return { kind: "ConfigMap", hash: "some-hash", keys: keySet(keys), body: new Uint8Array() };
}

Deno.test("a wanted target is written unless it is ours and holds what is wanted", async (t) => {
  const table: { name: string; observed: TargetRecord | undefined; wanted?: TargetContent; step: Step }[] = [
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
    { name: "our key taken by another manager", observed: targetRecord({ ownedKeys: "" }), step: "apply" },
    { name: "a key of ours too many", observed: targetRecord({ ownedKeys: "ca.crt/x" }), step: "apply" },
    {
      name: "a key of ours missing",
      wanted: content(["ca.jks", "ca.crt"]),
      observed: targetRecord(),
      step: "apply",
    },
    {
      name: "all of several keys",
      wanted: content(["ca.jks", "ca.crt"]),
      observed: targetRecord({ ownedKeys: "ca.crt/ca.jks" }),
      step: "keep",
    },
    { name: "being deleted, as wanted", observed: targetRecord({ deleting: true }), step: "keep" },
  ];
  for (const { name, observed, wanted = content(), step } of table) {
    await t.step(name, () => assert.equal(decide(wanted, observed, owner), step));
  }
});

Deno.test("a target that is not wanted is cleaned if it is ours and has not been cleaned", async (t) => {
  const table: { name: string; observed: TargetRecord | undefined; step: Step }[] = [
    { name: "missing", observed: undefined, step: "keep" },
    { name: "ours", observed: targetRecord(), step: "clean" },
    { name: "ours, with another hash", observed: targetRecord({ hash: "other" }), step: "clean" },
    { name: "label of another Bundle", observed: targetRecord({ bundle: "other" }), step: "keep" },
    { name: "no label", observed: targetRecord({ bundle: undefined }), step: "keep" },
    { name: "controlled by another", observed: targetRecord({ controllerUid: "x" }), step: "keep" },
    { name: "controlled by nobody", observed: targetRecord({ controllerUid: undefined }), step: "keep" },
    { name: "being deleted", observed: targetRecord({ deleting: true }), step: "keep" },
    {
      name: "cleaned, with data of others",
      observed: targetRecord({ ownedKeys: "", hash: undefined, ownsHash: false, hasData: true }),
      step: "keep",
    },
    {
      name: "cleaned, and its last data taken out since",
      observed: targetRecord({ ownedKeys: "", hash: undefined, ownsHash: false, hasData: false }),
      step: "clean",
    },
    {
      name: "half cleaned: a key is left",
      observed: targetRecord({ ownedKeys: "ca.crt", hash: undefined, ownsHash: false }),
      step: "clean",
    },
    {
      name: "half cleaned: the hash is left",
      observed: targetRecord({ ownedKeys: "", hash: "h", ownsHash: true }),
      step: "clean",
    },
    {
      name: "cleaned, and somebody else applies the hash too",
      observed: targetRecord({ ownedKeys: "", hash: "h", ownsHash: false }),
      step: "keep",
    },
  ];
  for (const { name, observed, step } of table) {
    await t.step(name, () => assert.equal(decide(undefined, observed, owner), step));
  }
});

Deno.test("changes by others, as the API server shows them", async (t) => {
  const ours = managedFields({ data: ["ca.crt"], labels: [BUNDLE_LABEL] });
  const edit = { manager: "kubectl-edit", operation: "Update" } as const;
  const table: { name: string; metadata: Partial<ObjectMeta>; step: Step }[] = [
    { name: "untouched", metadata: {}, step: "keep" },
    {
      name: "our key edited: whoever changes a value takes it over",
      metadata: {
        managedFields: [
          managedFields({ labels: [BUNDLE_LABEL] }),
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
      step: "keep",
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
    { name: "owner removed", metadata: { ownerReferences: [] }, step: "apply" },
  ];
  for (const { name, metadata, step } of table) {
    await t.step(
      name,
      () => assert.equal(decide(content(), readTarget("ConfigMap", target({ metadata })), owner), step),
    );
  }
});
