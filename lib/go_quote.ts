/**
 * Quotes as Go's `%q` does, for messages that must equal those of Kubernetes or of the Go project: double quotes, backslash
 * escapes for control characters and for what is not printable, `\x` for bytes that are no UTF-8. (What is printable is up to the
 * Unicode version, which may be newer than Go's: then a character is shown that Go escapes.)
 *
 * @param text bytes are taken as UTF-8 that may be broken.
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * assert.equal(goQuote('say "hi"\n'), String.raw`"say \"hi\"\n"`);
 * ```
 */
export function goQuote(text: string | Uint8Array): string {
  if (typeof text === "string") return `"${escaped(text)}"`;
  // Each sequence that is valid is escaped as one, with as much as there is of it.
  let quoted = "";
  let valid = 0;
  for (let at = 0; at < text.length;) {
    const length = utf8Length(text, at);
    at += Math.max(length, 1);
    if (length > 0 && at < text.length) continue;
    const end = length > 0 ? at : at - 1;
    if (end > valid) {
      quoted += escaped(new TextDecoder("utf-8", { ignoreBOM: true }).decode(text.subarray(valid, end)));
    }
    if (length === 0) quoted += `\\x${hex(text[end] ?? 0, 2)}`;
    valid = at;
  }
  return `"${quoted}"`;
}

function escaped(text: string): string {
  return text.replaceAll(/["\\]|[^ \p{L}\p{M}\p{N}\p{P}\p{S}]/gu, (character) => {
    const code = character.codePointAt(0) ?? 0;
    if (character === '"' || character === "\\") return `\\${character}`;
    if (code >= 7 && code <= 13) return `\\${"abtnvfr"[code - 7]}`;
    if (code < 0x20 || code === 0x7f) return `\\x${hex(code, 2)}`;
    if (code >= 0xd800 && code <= 0xdfff) return "\ufffd"; // half a surrogate pair: no Go string has it
    return code < 0x10000 ? `\\u${hex(code, 4)}` : `\\U${hex(code, 8)}`;
  });
}

/** How many bytes the UTF-8 sequence at `at` takes (Unicode, table 3-7); 0 if there is no valid one. */
function utf8Length(bytes: Uint8Array, at: number): number {
  const lead = bytes[at] ?? 0;
  if (lead < 0x80) return 1;
  const second = bytes[at + 1] ?? 0;
  const lowest = lead === 0xe0 ? 0xa0 : lead === 0xf0 ? 0x90 : 0x80;
  const highest = lead === 0xed ? 0x9f : lead === 0xf4 ? 0x8f : 0xbf;
  if (lead < 0xc2 || lead > 0xf4 || second < lowest || second > highest) return 0;
  const length = lead < 0xe0 ? 2 : lead < 0xf0 ? 3 : 4;
  for (let i = 2; i < length; i++) {
    if (((bytes[at + i] ?? 0) & 0xc0) !== 0x80) return 0;
  }
  return length;
}

function hex(value: number, digits: number): string {
  return value.toString(16).padStart(digits, "0");
}
