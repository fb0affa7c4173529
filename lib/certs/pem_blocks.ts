/** A complete PEM block (RFC 1421, RFC 7468). */
export interface PemBlock {
  /** What stands after `BEGIN`, as bytes: it may be anything. A view, not a copy. */
  readonly label: Uint8Array<ArrayBuffer>;
  /** Whether there are `key: value` lines before the content. */
  readonly hasHeaders: boolean;
  /** What the base64 says. A buffer of its own. */
  readonly content: Uint8Array<ArrayBuffer>;
}

/** How often a BEGIN stands in a text, whether or not a complete block follows it. */
export function countPemBegins(text: Uint8Array<ArrayBuffer>): number {
  let count = 0;
  for (let at = indexOfBytes(text, BEGIN, 0); at >= 0; at = indexOfBytes(text, BEGIN, at + BEGIN.length)) {
    count++;
  }
  return count;
}

/**
 * The complete PEM blocks of a text, in order, exactly those that a loop over Go's `pem.Decode` (1.26) finds. Text around blocks
 * is passed over, and so are blocks that lack their END line or hold broken base64. Takes time in proportion to the text's length,
 * whatever it holds.
 */
export function* pemBlocks(text: Uint8Array<ArrayBuffer>): Generator<PemBlock, void, void> {
  let from = 0;
  while (true) {
    const end = indexOfBytes(text, END, from);
    if (end < 0) return;
    // The last BEGIN before it: that skips BEGIN lines that have no END.
    const begin = lastIndexOf(text, BEGIN, from, end);
    const afterEnd = end + END.length;
    const startsLine = begin === from || text[begin - 1] === NEWLINE;
    const read = begin >= 0 && startsLine ? readBlock(text, begin, end) : undefined;
    if (read === "nothing more") return;
    if (read !== undefined) yield read.block;
    from = read?.next ?? afterEnd;
  }
}

const NEWLINE = 0x0a;
const BEGIN = bytesOf("-----BEGIN ");
const END = bytesOf("\n-----END ");
const DASHES = bytesOf("-----");
const FORM_FEED = 0x0c;

function bytesOf(text: string): Uint8Array<ArrayBuffer> {
  return new TextEncoder().encode(text);
}

/**
 * Reads the block whose BEGIN line starts at `begin` and before whose END line `end` (a newline) stands.
 *
 * @returns undefined if it is broken; "nothing more" where Go's decoder gives up on all that follows.
 */
function readBlock(
  text: Uint8Array<ArrayBuffer>,
  begin: number,
  end: number,
): { block: PemBlock; next: number } | "nothing more" | undefined {
  const afterEnd = end + END.length;
  const labelLine = lineAt(text, begin + BEGIN.length);
  const labelEnd = labelLine.end - DASHES.length;
  if (labelEnd < labelLine.start || !matches(text, DASHES, labelEnd)) return undefined;
  const label = text.subarray(labelLine.start, labelEnd);

  // Header lines have a colon. Go does not mind if they run past the END line.
  let content = labelLine.next;
  let hasHeaders = false;
  while (true) {
    if (content >= text.length) return "nothing more";
    const line = lineAt(text, content);
    const colon = text.subarray(line.start, line.end).indexOf(0x3a);
    if (colon < 0) break;
    hasHeaders = true;
    content = line.next;
  }
  if (hasHeaders && end < content) return content > afterEnd ? "nothing more" : undefined;

  // The END line repeats the label; nothing but blanks follows.
  const trailer = afterEnd + label.length;
  if (!matches(text, label, afterEnd) || !matches(text, DASHES, trailer)) return undefined;
  const rest = lineAt(text, trailer + DASHES.length);
  if (rest.end > rest.start) return undefined;

  const bytes = end > content ? decodeBase64(text, content, end) : new Uint8Array();
  if (bytes === undefined) return undefined;
  return { block: { label, hasHeaders, content: bytes }, next: rest.next };
}

/** The line that starts at `start`: where it ends without blanks at its end, and where the next one starts. */
function lineAt(text: Uint8Array, start: number): { start: number; end: number; next: number } {
  const newline = text.indexOf(NEWLINE, start);
  let end = newline < 0 ? text.length : newline;
  const next = newline < 0 ? text.length : newline + 1;
  if (newline > start && text[newline - 1] === 0x0d) end--;
  while (end > start && (text[end - 1] === 0x20 || text[end - 1] === 0x09)) end--;
  return { start, end, next };
}

function matches(text: Uint8Array, pattern: Uint8Array, at: number): boolean {
  if (at + pattern.length > text.length) return false;
  for (let i = 0; i < pattern.length; i++) {
    if (text[at + i] !== pattern[i]) return false;
  }
  return true;
}

// Both look for the first byte with the platform's search, which is faster by far than a loop that no compiler has optimized.

/** The first place from `from` on where `pattern` stands; -1 if there is none. */
export function indexOfBytes(text: Uint8Array, pattern: Uint8Array, from: number): number {
  const first = pattern[0] ?? 0;
  for (let at = text.indexOf(first, from); at >= 0; at = text.indexOf(first, at + 1)) {
    if (matches(text, pattern, at)) return at;
  }
  return -1;
}

/** The last place in `from` to `end` (not included) where `pattern` stands whole. */
function lastIndexOf(text: Uint8Array, pattern: Uint8Array, from: number, end: number): number {
  const first = pattern[0] ?? 0;
  for (let at = end - pattern.length; at >= from; at--) {
    at = text.lastIndexOf(first, at);
    if (at >= from && matches(text, pattern, at)) return at;
  }
  return -1;
}

/**
 * Decodes base64 (RFC 4648, section 4) as Go does inside PEM: blanks and newlines anywhere, padding needed, bits left over at the
 * end ignored. What the platform's decoder takes in its strict way is taken here too, but for form feeds; of the rest, it refuses
 * more than Go.
 *
 * @returns undefined if it is not valid.
 */
function decodeBase64(text: Uint8Array, start: number, end: number): Uint8Array<ArrayBuffer> | undefined {
  const digits = text.subarray(start, end);
  if (!digits.includes(FORM_FEED)) {
    try {
      return Uint8Array.fromBase64(new TextDecoder("latin1").decode(digits), { lastChunkHandling: "strict" });
    } catch {
      // Not valid, or only for Go.
    }
  }
  return decodeBase64AsGo(text, start, end);
}

function decodeBase64AsGo(text: Uint8Array, start: number, end: number): Uint8Array<ArrayBuffer> | undefined {
  const decoded = new Uint8Array(Math.ceil((end - start) / 4) * 3);
  let length = 0;
  let bits = 0;
  let digits = 0; // of the group of four
  let padding = 0;
  for (let at = start; at < end; at++) {
    const character = text[at] ?? 0;
    if (character === 0x0a || character === 0x0d || character === 0x20 || character === 0x09) continue;
    if (character === 0x3d) {
      padding++;
      if (digits < 2 || digits + padding > 4) return undefined;
      continue;
    }
    const value = base64Value(character);
    if (value < 0 || padding > 0) return undefined;
    bits = (bits << 6) | value;
    digits++;
    if (digits === 4) {
      decoded[length++] = bits >> 16;
      decoded[length++] = bits >> 8;
      decoded[length++] = bits;
      bits = digits = 0;
    }
  }
  if (digits + padding !== 0 && digits + padding !== 4) return undefined;
  if (digits === 2) decoded[length++] = bits >> 4;
  if (digits === 3) {
    decoded[length++] = bits >> 10;
    decoded[length++] = bits >> 2;
  }
  return decoded.slice(0, length);
}

function base64Value(character: number): number {
  if (character >= 0x41 && character <= 0x5a) return character - 0x41;
  if (character >= 0x61 && character <= 0x7a) return character - 0x61 + 26;
  if (character >= 0x30 && character <= 0x39) return character - 0x30 + 52;
  return character === 0x2b ? 62 : character === 0x2f ? 63 : -1;
}
