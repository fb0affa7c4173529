/** Longest text of details, in characters: well below what a condition's message may have. */
const MOST_CHARACTERS = 4096;
const MOST_DETAILS = 20;

/**
 * Details in one text, to be put after a message: `lead` and then each once, up to a bound. Empty if there are none.
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * assert.equal(brief(": ", ["a", "b", "a"]), ": a; b");
 * assert.equal(brief(": ", []), "");
 * ```
 */
export function brief(lead: string, details: readonly string[]): string {
  const all = [...new Set(details)];
  if (all.length === 0) return "";
  const shown: string[] = [];
  let length = 0;
  for (const detail of all) {
    length += detail.length + 2;
    if (shown.length === MOST_DETAILS || (shown.length > 0 && length > MOST_CHARACTERS)) break;
    shown.push(detail.length > MOST_CHARACTERS ? `${detail.slice(0, MOST_CHARACTERS - 1)}…` : detail);
  }
  const more = all.length > shown.length ? ` (and ${all.length - shown.length} more)` : "";
  return `${lead}${shown.join("; ")}${more}`;
}
