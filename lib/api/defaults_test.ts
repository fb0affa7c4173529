import assert from "node:assert/strict";
import { jksPassword, pkcs12Password } from "./defaults.ts";

Deno.test("a password that is not given is the API's default; an empty one is taken as it is", () => {
  assert.equal(jksPassword({ key: "k" }), "changeit");
  assert.equal(jksPassword({ key: "k", password: "p" }), "p");
  assert.equal(jksPassword({ key: "k", password: "" }), "");
  assert.equal(pkcs12Password({ key: "k" }), "");
  assert.equal(pkcs12Password({ key: "k", password: "p" }), "p");
});
