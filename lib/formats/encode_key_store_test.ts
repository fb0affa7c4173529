import assert from "node:assert/strict";
import { sha256 } from "../sha256.ts";
import type { Certificate } from "../certs/certificate.ts";
import { readPem } from "../certs/pem.ts";
import { poolOf } from "../certs/pool.ts";
import { encodeKeyStore, type KeyStoreOptions } from "./encode_key_store.ts";

function pool(...names: string[]): readonly Certificate[] {
  const lists = names.map((name) => {
    const result = readPem(Deno.readFileSync(new URL(`../certs/testdata/${name}.pem`, import.meta.url)));
    assert.ok(result.ok);
    return result.certificates;
  });
  return poolOf(lists, {}).certificates;
}

const certificates = pool("plain", "latin1", "multi_valued", "unknown_attributes", "ed25519", "p521", "v1");

const jks: KeyStoreOptions = { format: "jks", password: "changeit" };
const rc2: KeyStoreOptions = { format: "pkcs12", password: "changeit", profile: "LegacyRC2" };
const des: KeyStoreOptions = { format: "pkcs12", password: "changeit", profile: "LegacyDES" };
const modern: KeyStoreOptions = { format: "pkcs12", password: "changeit", profile: "Modern2023" };
const open: KeyStoreOptions = { format: "pkcs12", password: "" };

// The hash of targets does not see these bytes: if they changed, targets that are written later would differ from those that are
// there. That they are right is what Java and Go say in tests/oracles.
const stores: [string, KeyStoreOptions, string][] = [
  ["JKS", jks, "b933fab1a7d92c3053ac0cf48540d001e7a2425cc369df91681084e4c55f49ec"],
  ["LegacyRC2", rc2, "ce3aab15055298b8d97d65285ed7bb1e107262a10ee6798fca2a4a8a8f8bf310"],
  ["LegacyDES", des, "782d42d00d4a34f3686ce69e804188fa53f2cab0c5d8a495f543635ca1b54c46"],
  ["Modern2023", modern, "5c3fb3783f7fb9a8e44aefdc81c7f2fe873988d28a142338fc8794b781d885d4"],
  ["no password", open, "5da32fdfe77ec9ca23a8d066c35aa8a25cb5c21f2a9c7b0095019247199526aa"],
];

for (const [name, options, hash] of stores) {
  Deno.test(`the same input gives the same bytes, in later versions too: ${name}`, () => {
    assert.equal(sha256(encodeKeyStore(certificates, options)), hash);
  });
}

const hex = (options: KeyStoreOptions, pool = certificates) => encodeKeyStore(pool, options).toHex();

Deno.test("another password, profile or pool gives other bytes", () => {
  const variants = [jks, rc2, des, modern, open, { ...jks, password: "other" }, {
    ...rc2,
    password: "other",
  }];
  const all = [
    ...variants.map((options) => hex(options)),
    ...variants.map((options) => hex(options, pool("plain"))),
  ];
  assert.equal(new Set(all).size, all.length);
});

Deno.test("no profile means LegacyRC2, and without a password the profile does not matter", () => {
  assert.equal(hex({ format: "pkcs12", password: "changeit" }), hex(rc2));
  assert.equal(hex({ ...modern, password: "" }), hex(open));
});

Deno.test("a PKCS#12 store keeps the order of certificates; a JKS sorts by alias", () => {
  const reversed = certificates.toReversed();
  assert.notEqual(hex(open, reversed), hex(open));
  assert.equal(hex(jks, reversed), hex(jks));
});

Deno.test("a store can be made with any password", () => {
  for (const password of ["pässword", "日本", "😀", "tab\t", "nul\0", "x".repeat(129), ""]) {
    for (const options of [jks, rc2, des, modern]) {
      assert.ok(encodeKeyStore(certificates, { ...options, password }).length > 1000);
    }
  }
});
