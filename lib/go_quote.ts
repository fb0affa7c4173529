/**
 * Quotes as Go's `%q` does, for messages that must equal those of Kubernetes or of the Go project: double quotes, backslash
 * escapes for control characters and for what is not printable, `\x` for bytes that are no UTF-8.
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
  let quoted = "";
  for (let at = 0; at < text.length;) {
    const length = utf8Length(text, at);
    if (length === 0) {
      quoted += `\\x${hex(text[at] ?? 0, 2)}`;
      at++;
    } else {
      quoted += escaped(new TextDecoder("utf-8", { ignoreBOM: true }).decode(text.subarray(at, at + length)));
      at += length;
    }
  }
  return `"${quoted}"`;
}

function escaped(text: string): string {
  let result = "";
  for (const character of text) {
    const code = character.codePointAt(0) ?? 0;
    if (character === '"' || character === "\\") result += `\\${character}`;
    else if (character === " " || /^[\p{L}\p{M}\p{N}\p{P}\p{S}]$/u.test(character)) result += character;
    else if (code >= 7 && code <= 13) result += `\\${"abtnvfr"[code - 7]}`;
    else if (code < 0x20 || code === 0x7f) result += `\\x${hex(code, 2)}`;
    else if (code >= 0xd800 && code <= 0xdfff) result += "\ufffd"; // half a surrogate pair: no Go string has it
    else if (code < 0x10000) result += `\\u${hex(code, 4)}`;
    else result += `\\U${hex(code, 8)}`;
  }
  return result;
}

/** How many bytes the UTF-8 sequence at `at` takes; 0 if there is no valid one. */
function utf8Length(bytes: Uint8Array, at: number): number {
  const lead = bytes[at] ?? 0;
  const length = lead < 0x80 ? 1 : lead < 0xc2 ? 0 : lead < 0xe0 ? 2 : lead < 0xf0 ? 3 : lead < 0xf5 ? 4 : 0;
  if (length < 2) return length;
  try {
    new TextDecoder("utf-8", { fatal: true }).decode(bytes.subarray(at, at + length));
    return length;
  } catch {
    return 0;
  }
}

function hex(value: number, digits: number): string {
  return value.toString(16).padStart(digits, "0");
}
