/** Lower case as Go makes it, character by character: no final sigma, and İ (U+0130) becomes a plain i. */
export function goLowerCase(text: string): string {
  return Array.from(text, (character) => character === "\u0130" ? "i" : character.toLowerCase()).join("");
}
