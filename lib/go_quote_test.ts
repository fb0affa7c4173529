import assert from "node:assert/strict";
import { goQuote } from "./go_quote.ts";

const texts: [string | Uint8Array, string][] = [
  ["", '""'],
  ["a b", '"a b"'],
  ['"\\', String.raw`"\"\\"`],
  ["\x00\x07\b\t\n\v\f\r\x1b\x7f", String.raw`"\x00\a\b\t\n\v\f\r\x1b\x7f"`],
  ["ä日\u{1f600}", '"ä日\u{1f600}"'],
  ["\u00a0\u00ad\u200b\u{e0001}", String.raw`"\u00a0\u00ad\u200b\U000e0001"`],
  [new Uint8Array([0x61, 0xff, 0xc3, 0xa4, 0xc3, 0x28, 0xe2, 0x82]), String.raw`"a\xffä\xc3(\xe2\x82"`],
];

for (const [text, quoted] of texts) {
  Deno.test(`quotes as Go does: ${quoted}`, () => assert.equal(goQuote(text), quoted));
}
