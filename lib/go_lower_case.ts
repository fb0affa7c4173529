/** Lower case as Go makes it, character by character: no final sigma, and İ (U+0130) becomes a plain i. */
export function goLowerCase(text: string): string {
  // No character of ASCII is one of those, and the whole takes far less time at once.
  // deno-lint-ignore no-control-regex
  if (/^[\x00-\x7f]*$/.test(text)) return text.toLowerCase();
  return Array.from(text, (character) => character === "\u0130" ? "i" : character.toLowerCase()).join("");
}
