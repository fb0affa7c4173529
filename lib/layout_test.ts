import assert from "node:assert/strict";
import type { AdditionalFormats } from "./api/bundle.ts";
import { layoutOf } from "./layout.ts";

Deno.test("PEM alone has no layout: its hash tells all", () => {
  assert.equal(layoutOf("ca.crt", undefined), undefined);
  assert.equal(layoutOf("ca.crt", {}), undefined);
});

Deno.test("formats that share hash and keys have layouts of their own", () => {
  const jks = (key: string, password: string) => ({ jks: { key, password } });
  const pkcs12 = (key: string, password: string) => ({ pkcs12: { key, password } });
  const different: [pemKey: string, AdditionalFormats][] = [
    ["a", jks("b", "changeit")],
    ["b", jks("a", "changeit")],
    ["a", pkcs12("b", "changeit")],
    ["a", { ...jks("b", "x"), ...pkcs12("c", "x") }],
    ["a", { ...jks("c", "x"), ...pkcs12("b", "x") }],
    ["a", { ...jks("b", "changeit1"), ...pkcs12("c", "2") }],
    ["a", { ...jks("b", "changeit"), ...pkcs12("c", "12") }],
    ["a", { pkcs12: { key: "b", password: "x", profile: "Modern2023" } }],
    ["a", { pkcs12: { key: "b", password: "xModern2023" } }],
  ];
  const layouts = different.map(([pemKey, formats]) => layoutOf(pemKey, formats));
  assert.equal(new Set(layouts).size, different.length);
  for (const layout of layouts) assert.match(layout ?? "", /^[0-9a-f]{16}$/);
});

Deno.test("a layout says nothing of a password but its length", () => {
  const layout = (password: string) => layoutOf("a", { jks: { key: "b", password } });
  assert.equal(layout("changeit"), layout("12345678"));
  assert.equal(layoutOf("a", { jks: { key: "b" } }), layout("changeit"), "the default");
});
