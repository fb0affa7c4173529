import assert from "node:assert/strict";
import {
  base64,
  configMap,
  LEAF,
  managedFields,
  pemBlock,
  pemText,
  ROOT_1,
  ROOT_2,
  secret,
} from "../../tests/builders.ts";
import { BUNDLE_LABEL, BUNDLE_UID_ANNOTATION } from "../api/bundle.ts";
import type { PemResult } from "../certs/pem.ts";
import type { ObjectMeta } from "../kube/objects.ts";
import { ownerReference } from "../resolve.ts";
import { readConfigMapSource, readSecretSource, sameSource, type SourceRecord } from "./source_record.ts";

/** What each value came to, in short. */
function summary({ values }: SourceRecord): Record<string, string | string[]> {
  const short = (reading: PemResult) =>
    reading.ok ? reading.certificates.map((c) => c.sha256) : reading.error;
  return Object.fromEntries([...values].map(([key, reading]) => [key, short(reading)]));
}

Deno.test("a ConfigMap is read from data, then from binaryData", () => {
  const record = readConfigMapSource(
    configMap("roots", { "a.pem": pemText(ROOT_1), "both": pemText(ROOT_1) }, {
      binaryData: { "b.pem": base64(pemText(ROOT_2, LEAF)), "both": base64(pemText(ROOT_2)) },
      metadata: { labels: { team: "a" }, resourceVersion: "7" },
    }),
  );
  assert.deepEqual(summary(record), {
    "a.pem": [ROOT_1.sha256],
    "both": [ROOT_1.sha256],
    "b.pem": [ROOT_2.sha256, LEAF.sha256],
  });
  const { name, labels, resourceVersion, isTlsSecret } = record;
  assert.deepEqual({ name, labels, resourceVersion, isTlsSecret }, {
    name: "roots",
    labels: { team: "a" },
    resourceVersion: "7",
    isTlsSecret: false,
  });
});

Deno.test("a Secret is read from base64, and its type is looked at", async (t) => {
  for (const [type, isTlsSecret] of [["Opaque", false], ["kubernetes.io/tls", true]] as const) {
    await t.step(type, () => {
      const record = readSecretSource(secret("roots", { "ca.crt": pemText(ROOT_1) }, { type }));
      assert.deepEqual(summary(record), { "ca.crt": [ROOT_1.sha256] });
      assert.equal(record.isTlsSecret, isTlsSecret);
    });
  }
});

Deno.test("objects without data have no values", () => {
  assert.equal(readConfigMapSource(configMap("empty", {})).values.size, 0);
  assert.equal(readSecretSource(secret("empty", {})).values.size, 0);
});

Deno.test("a value that cannot be read is kept as its error", () => {
  const record = readSecretSource(
    secret("tls", { "tls.crt": pemText(ROOT_1), "tls.key": pemBlock("PRIVATE KEY", "x") }),
  );
  assert.deepEqual(summary(record), {
    "tls.crt": [ROOT_1.sha256],
    "tls.key": "invalid PEM block in bundle: only CERTIFICATE blocks are permitted but found 'PRIVATE KEY'",
  });
});

/** All strings and bytes that `value` keeps alive. Of a view, the whole buffer: that is what stays in memory. */
function* everythingIn(value: unknown): Generator<Uint8Array> {
  if (typeof value === "string") {
    yield new TextEncoder().encode(value);
  } else if (ArrayBuffer.isView(value)) {
    yield new Uint8Array(value.buffer);
  } else if (typeof value === "object" && value !== null) {
    const parts = value instanceof Map ? [...value.keys(), ...value.values()] : Object.values(value);
    for (const part of parts) yield* everythingIn(part);
  }
}

Deno.test("a record keeps nothing of a private key, wherever it stands", async (t) => {
  const key = "the bytes of a private key, which must not stay in memory";
  const block = pemBlock("PRIVATE KEY", key);
  const table: { name: string; value: string }[] = [
    { name: "alone", value: block },
    { name: "after a certificate", value: pemText(ROOT_1) + block },
    { name: "before a certificate", value: block + pemText(ROOT_1) },
    { name: "as text around a certificate", value: `${key}\n${pemText(ROOT_1)}${key}` },
    { name: "in a block without its END line", value: pemText(ROOT_1) + block.replace(/-----END.*\n/, "") },
    { name: "in a block that says CERTIFICATE", value: pemBlock("CERTIFICATE", key) },
    { name: "in a header of a certificate", value: pemBlock("CERTIFICATE", "x", `Key: ${key}\n\n`) },
  ];
  // As it is, and as it stands in the block and in the Secret.
  const traces = [key, btoa(key), base64(block).slice(0, 40)];
  for (const { name, value } of table) {
    await t.step(name, () => {
      const record = readSecretSource(secret("keys", { value }));
      // Latin-1 makes one character of every byte, so that a search for ASCII text finds it anywhere.
      const kept = [...everythingIn(record)].map((bytes) => new TextDecoder("latin1").decode(bytes)).join(
        "\n",
      );
      for (const trace of traces) assert.ok(!kept.includes(trace));
      assert.ok(kept.includes("keys")); // the search does see the record
    });
  }
});

Deno.test("a certificate is no view into the value it was read from", () => {
  const record = readConfigMapSource(
    configMap("roots", { long: "filler\n".repeat(10_000) + pemText(ROOT_1, ROOT_2) }),
  );
  const reading = record.values.get("long");
  assert.ok(reading?.ok);
  assert.equal(reading.certificates.length, 2);
  for (const { der } of reading.certificates) {
    assert.equal(der.buffer.byteLength, der.byteLength);
    assert.ok(der.byteLength < 1_000);
  }
});

Deno.test("sources are the same if no Bundle can tell them apart", async (t) => {
  const data = { a: pemText(ROOT_1, LEAF), bad: pemBlock("PRIVATE KEY", "x") };
  const before = readSecretSource(secret("s", data, { metadata: { labels: { l: "1" } } }));
  const table: { name: string; after: Parameters<typeof secret>; same: boolean }[] = [
    { name: "nothing", after: ["s", data, { metadata: { resourceVersion: "1" } }], same: true },
    { name: "only the resourceVersion", after: ["s", data], same: true },
    { name: "keys in another order", after: ["s", { bad: data.bad, a: data.a }], same: true },
    {
      name: "another text around the certificate",
      after: ["s", { ...data, a: `# x\n${data.a}` }],
      same: true,
    },
    { name: "an annotation", after: ["s", data, { metadata: { annotations: { x: "y" } } }], same: true },
    {
      name: "another key of the same kind",
      after: ["s", { ...data, bad: pemBlock("PRIVATE KEY", "y") }],
      same: true,
    },
    { name: "the first certificate", after: ["s", { ...data, a: pemText(ROOT_2, LEAF) }], same: false },
    { name: "the last certificate", after: ["s", { ...data, a: pemText(ROOT_1, ROOT_2) }], same: false },
    { name: "a certificate more", after: ["s", { ...data, a: pemText(ROOT_1, LEAF, ROOT_2) }], same: false },
    { name: "a certificate less", after: ["s", { ...data, a: pemText(ROOT_1) }], same: false },
    { name: "another error", after: ["s", { ...data, bad: pemBlock("OTHER", "x") }], same: false },
    { name: "an error instead of certificates", after: ["s", { ...data, a: data.bad }], same: false },
    { name: "certificates instead of an error", after: ["s", { ...data, bad: data.a }], same: false },
    { name: "a key less", after: ["s", { a: data.a }], same: false },
    { name: "a key more", after: ["s", { ...data, b: data.a }], same: false },
    { name: "a key renamed", after: ["s", { a: data.a, b: data.bad }], same: false },
    { name: "another type", after: ["s", data, { type: "kubernetes.io/tls" }], same: false },
    { name: "another label", after: ["s", data, { metadata: { labels: { l: "2" } } }], same: false },
    { name: "a label renamed", after: ["s", data, { metadata: { labels: { m: "1" } } }], same: false },
    { name: "no label", after: ["s", data, { metadata: { labels: {} } }], same: false },
  ];
  for (const { name, after: [object, values, more], same } of table) {
    await t.step(name, () => {
      const metadata = { labels: { l: "1" }, resourceVersion: "2", ...more?.metadata };
      const after = readSecretSource(secret(object, values, { ...more, metadata }));
      assert.equal(sameSource(before, after), same);
      assert.equal(sameSource(after, before), same);
    });
  }
});

Deno.test("of a Bundle's target is kept whose it is, and which keys the operator wrote", async (t) => {
  const label = { [BUNDLE_LABEL]: "b" };
  const owner = { ...ownerReference({ name: "b", uid: "u" }) };
  const ours = managedFields({ data: ["ca.crt"], binaryData: ["a.jks"] });
  const table: {
    name: string;
    object?: string;
    metadata: Partial<ObjectMeta>;
    output: SourceRecord["output"];
  }[] = [
    { name: "neither label nor owner", metadata: { managedFields: [ours] }, output: undefined },
    {
      name: "label",
      metadata: { labels: label, managedFields: [ours] },
      output: { bundle: "b", keys: ["a.jks", "ca.crt"] },
    },
    {
      name: "owner alone",
      metadata: { ownerReferences: [owner], managedFields: [ours] },
      output: { bundle: "b", keys: ["a.jks", "ca.crt"] },
    },
    {
      name: "the annotation that takes the place of the owner",
      metadata: { annotations: { [BUNDLE_UID_ANNOTATION]: "u" }, managedFields: [ours] },
      output: { bundle: "b", keys: ["a.jks", "ca.crt"] },
    },
    { name: "nothing of ours in it", metadata: { labels: label }, output: { bundle: "b", keys: [] } },
    {
      name: "keys of others",
      metadata: { labels: label, managedFields: [managedFields({ manager: "kubectl", data: ["x"] }), ours] },
      output: { bundle: "b", keys: ["a.jks", "ca.crt"] },
    },
    {
      name: "apply and update under our name",
      metadata: {
        labels: label,
        managedFields: [ours, managedFields({ operation: "Update", data: ["old", "ca.crt"] })],
      },
      output: { bundle: "b", keys: ["a.jks", "ca.crt", "old"] },
    },
    {
      name: "fields of an unknown shape",
      metadata: {
        labels: label,
        managedFields: [{ manager: "trust-manager", fieldsV1: { "f:data": "odd" } }],
      },
      output: { bundle: "b", keys: [] },
    },
    {
      name: "another name than the label's",
      object: "c",
      metadata: { labels: label, managedFields: [ours] },
      output: undefined,
    },
    {
      name: "an owner that does not control",
      metadata: { ownerReferences: [{ ...owner, controller: false }] },
      output: undefined,
    },
    {
      name: "an owner of another kind",
      metadata: { ownerReferences: [{ ...owner, kind: "Pod" }] },
      output: undefined,
    },
  ];
  for (const { name, object = "b", metadata, output } of table) {
    await t.step(name, () => {
      assert.deepEqual(readConfigMapSource(configMap(object, {}, { metadata })).output, output);
      assert.deepEqual(readSecretSource(secret(object, {}, { metadata })).output, output);
    });
  }
});

Deno.test("sources differ if what they look like does, or whose their keys are", async (t) => {
  const one = (data: Record<string, string>, keys: string[] = ["k"], version = "1") =>
    readConfigMapSource(configMap("b", data, {
      metadata: {
        resourceVersion: version,
        labels: { [BUNDLE_LABEL]: "b" },
        managedFields: [managedFields({ data: keys })],
      },
    }));
  const before = one({ k: "text" });
  const table: [name: string, after: SourceRecord, same: boolean][] = [
    ["another text", one({ k: "other text" }, ["k"], "2"), true],
    ["empty now", one({ k: "" }, ["k"], "2"), false],
    ["an incomplete block", one({ k: "-----BEGIN CERTIFICATE-----" }, ["k"], "2"), false],
    ["the key is another's now", one({ k: "text" }, [], "2"), false],
  ];
  for (const [name, after, same] of table) {
    await t.step(name, () => assert.equal(sameSource(before, after), same));
  }
});
