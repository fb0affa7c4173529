import { CertificateError, required } from "./certificate_error.ts";
import { type DerReader, Tag } from "./der.ts";

/** One attribute of a distinguished name, such as `CN`. */
export interface NameAttribute {
  /** Components of the attribute type's object identifier. */
  readonly type: readonly number[];
  readonly value: string;
}

/**
 * Reads a distinguished name (RFC 5280, section 4.1.2.4): its attributes in the encoded order, whichever relative
 * distinguished name they are in.
 *
 * @throws {CertificateError} if it is malformed, or a value has a string type that Go does not read.
 */
export function readName(reader: DerReader): NameAttribute[] {
  const attributes: NameAttribute[] = [];
  const sequence = required(reader.read(Tag.sequence), "x509: invalid RDNSequence");
  while (!sequence.empty) {
    const set = required(sequence.read(Tag.set), "x509: invalid RDNSequence");
    while (!set.empty) {
      const pair = required(set.read(Tag.sequence), "x509: invalid RDNSequence: invalid attribute");
      const type = required(
        pair.readObjectIdentifier(),
        "x509: invalid RDNSequence: invalid attribute type",
      );
      const value = required(pair.readAny(), "x509: invalid RDNSequence: invalid attribute value");
      attributes.push({ type, value: text(value.tag, value.content.rest) });
    }
  }
  return attributes;
}

function text(tag: number, bytes: Uint8Array<ArrayBuffer>): string {
  switch (tag) {
    case Tag.printableString: // "*" and "&" are not in the set, but certificates have them
      return checked("PrintableString", /^[A-Za-z0-9 '()+,\-./:=?*&]*$/, latin1(bytes));
    case Tag.numericString:
      return checked("NumericString", /^[0-9 ]*$/, latin1(bytes));
    case Tag.ia5String:
      return checked("IA5String", /^[\0-\x7f]*$/, latin1(bytes));
    case Tag.t61String: // taken as Latin-1 by everyone
      return latin1(bytes);
    case Tag.utf8String:
      try {
        return new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(bytes);
      } catch {
        throw invalid("UTF-8 string");
      }
    case Tag.bmpString:
      return bmp(bytes);
    default:
      throw new CertificateError(
        `x509: invalid RDNSequence: invalid attribute value: unsupported string type: ${tag}`,
      );
  }
}

function invalid(what: string): CertificateError {
  return new CertificateError(`x509: invalid RDNSequence: invalid attribute value: invalid ${what}`);
}

function checked(type: string, allowed: RegExp, value: string): string {
  if (!allowed.test(value)) throw invalid(type);
  return value;
}

function latin1(bytes: Uint8Array): string {
  return ofUnits(bytes);
}

/** In pieces: a call takes only so many arguments, and a string that grows by one unit at a time takes 20 times its size. */
function ofUnits(units: Uint8Array | Uint16Array): string {
  let value = "";
  for (let at = 0; at < units.length; at += 4096) {
    value += String.fromCharCode(...units.subarray(at, at + 4096));
  }
  return value;
}

/** UCS-2, big-endian. A terminator is dropped; surrogates and non-characters are no text. */
function bmp(bytes: Uint8Array): string {
  if (bytes.length % 2 !== 0) throw invalid("BMPString");
  const units = new Uint16Array(bytes.length / 2);
  for (let i = 0; i < units.length; i++) {
    const unit = ((bytes[2 * i] ?? 0) << 8) | (bytes[2 * i + 1] ?? 0);
    if (unit === 0 && i === units.length - 1) return ofUnits(units.subarray(0, i));
    const reserved = (unit >= 0xd800 && unit <= 0xdfff) || (unit >= 0xfdd0 && unit <= 0xfdef) ||
      unit >= 0xfffe;
    if (reserved) throw invalid("BMPString");
    units[i] = unit;
  }
  return ofUnits(units);
}
