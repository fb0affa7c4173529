import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import type { AdditionalFormats, TargetMetadata } from "./api/bundle.ts";
import { targetHash } from "./hash.ts";

/** What the contract asks for, by another implementation of SHA-256. */
function sha256(text: string): string {
  return createHash("sha256").update(text, "utf8").digest("hex");
}

Deno.test("the hash is over PEM, passwords, profile, annotations and labels, in this order", async (t) => {
  const table: {
    name: string;
    formats?: AdditionalFormats;
    metadata?: TargetMetadata;
    /** What is hashed after the PEM. */
    tail: string;
  }[] = [
    { name: "PEM alone", tail: "" },
    { name: "no formats in it", formats: {}, metadata: {}, tail: "" },
    { name: "JKS with the default password", formats: { jks: { key: "k" } }, tail: "changeit" },
    { name: "JKS with a password", formats: { jks: { key: "k", password: "jp" } }, tail: "jp" },
    { name: "PKCS#12 with the default password", formats: { pkcs12: { key: "k" } }, tail: "" },
    { name: "PKCS#12 with a password", formats: { pkcs12: { key: "k", password: "pp" } }, tail: "pp" },
    {
      name: "PKCS#12 with a profile",
      formats: { pkcs12: { key: "k", profile: "LegacyDES" } },
      tail: "LegacyDES",
    },
    {
      name: "the profile that no profile means counts only if it is written down",
      formats: { pkcs12: { key: "k", password: "pp", profile: "LegacyRC2" } },
      tail: "ppLegacyRC2",
    },
    {
      name: "both key stores",
      formats: {
        pkcs12: { key: "k1", password: "pp", profile: "Modern2023" },
        jks: { key: "k2", password: "jp" },
      },
      tail: "jpppModern2023",
    },
    {
      name: "annotations before labels",
      metadata: { labels: { l: "1" }, annotations: { z: "2" } },
      tail: "z2l1",
    },
    {
      name: "in the order of keys, not of key and value",
      metadata: { labels: { "a-b": "c", "a": "z" }, annotations: { "n/b": "2", "n/a": "3", "Z": "1" } },
      tail: "Z1n/a3n/b2aza-bc",
    },
    {
      name: "keys that look like numbers are ordered as text",
      metadata: { labels: { "2": "b", "10": "a" } },
      tail: "10a2b",
    },
    { name: "values as UTF-8", metadata: { annotations: { a: "grüße 😀" } }, tail: "agrüße 😀" },
    {
      name: "all of it",
      formats: { jks: { key: "k" }, pkcs12: { key: "k", password: "pp", profile: "LegacyRC2" } },
      metadata: { annotations: { b: "2", a: "1" }, labels: { d: "4", c: "3" } },
      tail: "changeitppLegacyRC2a1b2c3d4",
    },
  ];
  for (const { name, formats, metadata, tail } of table) {
    await t.step(
      name,
      () => assert.equal(targetHash("the PEM", formats, metadata), sha256(`the PEM${tail}`)),
    );
  }
});

Deno.test("the hash is 64 lower-case hexadecimal digits", () => {
  // SHA-256 of "abc", of FIPS 180-2.
  assert.equal(
    targetHash("abc", undefined, undefined),
    "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad",
  );
});
