import assert from "node:assert/strict";
import { javaPasswordProblem, type KeyStoreFormat, passwordProblem } from "./password_problem.ts";

const passwords: [KeyStoreFormat, string, refused?: RegExp | undefined, notForJava?: RegExp][] = [
  ["jks", "changeit"],
  ["jks", "tab\t\x7f"],
  ["jks", "pässword", undefined, /other than ASCII at position 2$/],
  ["jks", "", /must not be empty/],
  ["jks", "x".repeat(128)],
  ["jks", "\u{1f600}".repeat(128), undefined, /other than ASCII at position 1$/],
  ["jks", "x".repeat(129), /at most 128 characters, but has 129/],
  ["pkcs12", ""],
  ["pkcs12", "!~ \"'\\"],
  ["pkcs12", "x".repeat(129), /at most 128 characters/],
  ["pkcs12", "pässword", undefined, /other than printable ASCII at position 2$/],
  ["pkcs12", "日本", undefined, /at position 1$/],
  ["pkcs12", "\u{1f600}\u{1f600}x", undefined, /at position 1$/],
  ["pkcs12", "secret\n", undefined, /at position 7$/],
  ["pkcs12", "tab\t", undefined, /at position 4$/],
  ["pkcs12", "delete\x7f", undefined, /at position 7$/],
];

for (const [format, password, refused, notForJava] of passwords) {
  Deno.test(`${format} password ${JSON.stringify(password)}`, () => {
    for (
      const [problem, expected] of [
        [passwordProblem(format, password), refused],
        [javaPasswordProblem(format, password), notForJava],
      ] as const
    ) {
      if (expected === undefined) assert.equal(problem, undefined);
      else assert.match(problem ?? "", expected);
      assert.ok(password === "" || !problem?.includes(password), "tells the password");
    }
  });
}
