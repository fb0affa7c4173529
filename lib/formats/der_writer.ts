import { encodeElement, Tag } from "../certs/der.ts";

/** The DER (X.690) that key stores are written in. Each function returns one encoded element. */
export const der = {
  sequence: (...elements: readonly Uint8Array[]) => encodeElement(Tag.sequence, ...elements),
  /** SET OF; DER wants the elements in ascending order, which is left to the caller. */
  set: (...elements: readonly Uint8Array[]) => encodeElement(Tag.set, ...elements),
  octetString: (content: Uint8Array) => encodeElement(Tag.octetString, content),
  /** @param value not negative. */
  integer: (value: number) => encodeElement(Tag.integer, integerOctets(value)),
  /** UTF-16, so that characters beyond the BMP, which the type lacks, are written as readers take them. */
  bmpString: (text: string) => encodeElement(Tag.bmpString, utf16(text)),
  /** @param dotted such as `1.2.840.113549.1.7.1`. */
  objectIdentifier: (dotted: string) => encodeElement(Tag.objectIdentifier, objectIdentifierOctets(dotted)),
  /** `[number]` with a whole element inside. */
  explicit: (number: number, element: Uint8Array) => encodeElement(0xa0 | number, element),
  /** `[number]` in place of a primitive type's own tag. */
  implicit: (number: number, content: Uint8Array) => encodeElement(0x80 | number, content),
};

/** UTF-16, big-endian. */
export function utf16(text: string): Uint8Array<ArrayBuffer> {
  const octets = new Uint8Array(2 * text.length);
  const view = new DataView(octets.buffer);
  for (let i = 0; i < text.length; i++) view.setUint16(2 * i, text.charCodeAt(i));
  return octets;
}

function integerOctets(value: number): Uint8Array {
  const octets = [value % 256];
  for (let rest = Math.floor(value / 256); rest > 0; rest = Math.floor(rest / 256)) {
    octets.unshift(rest % 256);
  }
  if ((octets[0] ?? 0) >= 0x80) octets.unshift(0); // else it would read as negative
  return new Uint8Array(octets);
}

function objectIdentifierOctets(dotted: string): Uint8Array {
  const [first = 0, second = 0, ...rest] = dotted.split(".").map(Number);
  const octets: number[] = [];
  for (const component of [first * 40 + second, ...rest]) {
    const digits = [component % 128];
    for (let more = Math.floor(component / 128); more > 0; more = Math.floor(more / 128)) {
      digits.unshift(0x80 | (more % 128));
    }
    octets.push(...digits);
  }
  return new Uint8Array(octets);
}
