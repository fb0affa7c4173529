import assert from "node:assert/strict";
import { assertNoSecrets } from "./no_secrets.ts";

Deno.test("private keys and tokens are found, and what only speaks of them is not", async (t) => {
  const body = "MIIEvQIBADANBgkqhkiG9w0BAQEFAASC";
  const token = `eyJ${"a".repeat(40)}.eyJ${"b".repeat(40)}.c`;
  const table: [name: string, text: string, what: RegExp | undefined][] = [
    ["a key", `x\n-----BEGIN PRIVATE KEY-----\n${body}\n`, /a private key in the log/],
    ["a key in JSON", JSON.stringify(`-----BEGIN RSA PRIVATE KEY-----\n${body}`), /a private key/],
    ["a token", `Authorization: Bearer ${token}`, /a token in the log/],
    ["a message about a key", "only CERTIFICATE blocks are permitted but found 'PRIVATE KEY'", undefined],
    ["a certificate", `-----BEGIN CERTIFICATE-----\n${body}\n`, undefined],
  ];
  for (const [name, text, what] of table) {
    await t.step(name, () => {
      if (what === undefined) assertNoSecrets("the log", text);
      else {
        assert.throws(
          () => assertNoSecrets("the log", text),
          (error: Error) => what.test(error.message) && !error.message.includes(body),
        );
      }
    });
  }
});
