/** Identifier octets of DER (X.690, section 8.1.2) that certificates use. */
export const Tag = {
  boolean: 0x01,
  integer: 0x02,
  bitString: 0x03,
  octetString: 0x04,
  objectIdentifier: 0x06,
  utf8String: 0x0c,
  numericString: 0x12,
  printableString: 0x13,
  t61String: 0x14,
  ia5String: 0x16,
  utcTime: 0x17,
  generalizedTime: 0x18,
  bmpString: 0x1e,
  sequence: 0x30,
  set: 0x31,
} as const;

/** Identifier octet of a context-specific element, such as `[0]`. */
export function contextTag(number: number, constructed: boolean): number {
  return 0x80 | (constructed ? 0x20 : 0) | number;
}

/** An element that was read. */
export interface DerElement {
  readonly tag: number;
  /** Reads what the element holds. */
  readonly content: DerReader;
}

/**
 * Reads DER elements one after the other, strictly: definite lengths in their shortest form, one-octet identifiers, nothing
 * beyond the bytes that are there. It never recurses and never copies; a reader of an element's content looks at the same bytes.
 * What is not there or not valid reads as undefined, so that each caller says in its own words what is wrong; the reader must
 * not be used after that.
 */
export class DerReader {
  readonly #bytes: Uint8Array<ArrayBuffer>;
  readonly #end: number;
  #at: number;

  constructor(bytes: Uint8Array<ArrayBuffer>, start = 0, end = bytes.length) {
    this.#bytes = bytes;
    this.#at = start;
    this.#end = end;
  }

  /** Whether all has been read. */
  get empty(): boolean {
    return this.#at >= this.#end;
  }

  /** What has not been read yet. A view, not a copy. */
  get rest(): Uint8Array<ArrayBuffer> {
    return this.#bytes.subarray(this.#at, this.#end);
  }

  /** Whether the next element has this tag. */
  nextIs(tag: number): boolean {
    return !this.empty && this.#bytes[this.#at] === tag;
  }

  /** The next element, whatever it is. */
  readAny(): DerElement | undefined {
    const start = this.#at;
    const header = this.#header();
    if (header === undefined) return undefined;
    this.#at = header.end;
    return {
      tag: this.#bytes[start] ?? 0,
      content: new DerReader(this.#bytes, header.content, header.end),
    };
  }

  /** The content of the next element, which must have this tag. */
  read(tag: number): DerReader | undefined {
    const element = this.readAny();
    return element?.tag === tag ? element.content : undefined;
  }

  /** The next element as it is encoded, identifier and length included. A view, not a copy. */
  readEncoded(): Uint8Array<ArrayBuffer> | undefined {
    const start = this.#at;
    const header = this.#header();
    if (header === undefined) return undefined;
    this.#at = header.end;
    return this.#bytes.subarray(start, header.end);
  }

  /** A BOOLEAN: DER allows 00 and FF only. */
  readBoolean(): boolean | undefined {
    const value = this.read(Tag.boolean)?.rest;
    if (value?.length !== 1) return undefined;
    return value[0] === 0xff ? true : value[0] === 0 ? false : undefined;
  }

  /** The two's complement bytes of an INTEGER (or of what `tag` implicitly tags as one), in the shortest form. */
  readInteger(tag: number = Tag.integer): Uint8Array<ArrayBuffer> | undefined {
    const value = this.read(tag)?.rest;
    if (value === undefined) return undefined;
    const [first, second] = value;
    if (first === undefined) return undefined;
    const padded = second !== undefined &&
      ((first === 0 && second < 0x80) || (first === 0xff && second >= 0x80));
    return padded ? undefined : value;
  }

  /** The components of an OBJECT IDENTIFIER, each below 2^31 as Go's limit is. */
  readObjectIdentifier(): number[] | undefined {
    const value = this.read(Tag.objectIdentifier)?.rest;
    if (value === undefined || value.length === 0) return undefined;
    const components: number[] = [];
    let component = 0;
    let octets = 0;
    for (const octet of value) {
      if (octets === 5 || component >= 2 ** 24 || (octets === 0 && octet === 0x80)) return undefined;
      component = component * 128 + (octet & 0x7f);
      octets++;
      if (octet & 0x80) continue;
      if (components.length > 0) components.push(component);
      else if (component < 80) components.push(Math.floor(component / 40), component % 40);
      else components.push(2, component - 80);
      component = 0;
      octets = 0;
    }
    return octets === 0 ? components : undefined;
  }

  /** The bytes of a BIT STRING, and how many bits at its end are unused (all zero). */
  readBitString(): { bytes: Uint8Array<ArrayBuffer>; unusedBits: number } | undefined {
    const value = this.read(Tag.bitString)?.rest;
    const unusedBits = value?.[0];
    if (value === undefined || unusedBits === undefined || unusedBits > 7) return undefined;
    const bytes = value.subarray(1);
    const last = bytes[bytes.length - 1];
    if (last === undefined ? unusedBits !== 0 : (last & ((1 << unusedBits) - 1)) !== 0) return undefined;
    return { bytes, unusedBits };
  }

  /** Where the content of the element at the current position begins and ends. */
  #header(): { content: number; end: number } | undefined {
    const bytes = this.#bytes;
    const start = this.#at;
    const identifier = bytes[start];
    const first = bytes[start + 1];
    if (start + 2 > this.#end || identifier === undefined || first === undefined) return undefined;
    if ((identifier & 0x1f) === 0x1f) return undefined; // more than one octet
    let content = start + 2;
    let length = first;
    if (first & 0x80) {
      const octets = first & 0x7f;
      if (octets === 0 || octets > 4 || content + octets > this.#end) return undefined;
      length = 0;
      for (let i = 0; i < octets; i++) length = length * 256 + (bytes[content + i] ?? 0);
      if (length < 128 || length < 256 ** (octets - 1)) return undefined; // not the shortest form
      content += octets;
    }
    return content + length > this.#end ? undefined : { content, end: content + length };
  }
}

/** Dotted form, such as `2.5.4.3`. */
export function dotted(objectIdentifier: readonly number[]): string {
  return objectIdentifier.join(".");
}

/** Encodes one element: identifier, length, content (the parts one after the other). */
export function encodeElement(tag: number, ...parts: readonly Uint8Array[]): Uint8Array<ArrayBuffer> {
  const length = parts.reduce((sum, part) => sum + part.length, 0);
  const header = [tag, ...encodeLength(length)];
  const element = new Uint8Array(header.length + length);
  element.set(header);
  let at = header.length;
  for (const part of parts) {
    element.set(part, at);
    at += part.length;
  }
  return element;
}

function encodeLength(length: number): number[] {
  if (length < 0x80) return [length];
  const octets: number[] = [];
  for (let rest = length; rest > 0; rest = Math.floor(rest / 256)) octets.unshift(rest % 256);
  return [0x80 | octets.length, ...octets];
}
