import assert from "node:assert/strict";
import { encodeJks } from "../../lib/formats/jks.ts";
import { LEAF, parsed, ROOT_1 } from "../builders.ts";
import { readJks } from "./read_jks.ts";

const CERTIFICATES = parsed(ROOT_1, LEAF);

Deno.test("a Java key store is read", () => {
  const store = encodeJks(CERTIFICATES, "pässword");
  const hexOf = (bytes: Uint8Array) => bytes.toHex();
  assert.deepEqual(readJks(store, "pässword").map(hexOf), CERTIFICATES.map(({ der }) => hexOf(der)));
});

Deno.test("a store that is broken, or of another password, is refused", () => {
  const store = encodeJks(CERTIFICATES, "password");
  assert.throws(() => readJks(store, "other"), /digest/);
  for (const broken of [store.slice(0, -1), store.slice(1), new Uint8Array()]) {
    assert.throws(() => readJks(broken, "password"), /digest/);
  }
});
