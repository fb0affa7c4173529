import assert from "node:assert/strict";
import { type KeyStoreFormat, passwordProblem } from "./password_problem.ts";

const passwords: [KeyStoreFormat, string, RegExp | undefined][] = [
  ["jks", "changeit", undefined],
  ["jks", "pässword", undefined],
  ["jks", "", /must not be empty/],
  ["jks", "x".repeat(128), undefined],
  ["jks", "\u{1f600}".repeat(128), undefined],
  ["jks", "x".repeat(129), /at most 128 characters, but has 129/],
  ["pkcs12", "", undefined],
  ["pkcs12", "!~ \"'\\", undefined],
  ["pkcs12", "x".repeat(129), /at most 128 characters/],
  ["pkcs12", "pässword", /printable ASCII characters, .* at position 2$/],
  ["pkcs12", "\u{1f600}\u{1f600}x", /at position 1$/],
  ["pkcs12", "secret\n", /at position 7$/],
  ["pkcs12", "tab\t", /at position 4$/],
  ["pkcs12", "delete\x7f", /at position 7$/],
];

for (const [format, password, expected] of passwords) {
  Deno.test(`${format} password ${JSON.stringify(password)}`, () => {
    const problem = passwordProblem(format, password);
    if (expected === undefined) assert.equal(problem, undefined);
    else assert.match(problem ?? "", expected);
    assert.ok(password === "" || !problem?.includes(password), "tells the password");
  });
}
