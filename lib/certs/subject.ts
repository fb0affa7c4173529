import type { Certificate } from "./certificate.ts";
import { DerReader, dotted, encodeElement, Tag } from "./der.ts";
import { readName } from "./name.ts";
import { toBeSigned } from "./to_be_signed.ts";

/**
 * The subject of a certificate as Go prints it (`pkix.Name`), which aliases in key stores are made of. Roughly RFC 2253: the known
 * attributes in a fixed order whatever the encoded one, several values of one kind joined by `+` (of common names and serial
 * numbers the last counts), then the other attributes, the last one first, with their value in hexadecimal DER.
 *
 * @throws {CertificateError} if `certificate` was not made by {@linkcode parseCertificate}.
 */
export function subjectOf(certificate: Certificate): string {
  const known = new Map<string, string[]>([...KNOWN_TYPES.keys()].map((type) => [type, []]));
  const others: string[] = [];
  for (const attribute of readName(new DerReader(toBeSigned(certificate).subject))) {
    const type = dotted(attribute.type);
    const values = known.get(type);
    if (values === undefined) others.push(`${type}=#${encodedString(attribute.value).toHex()}`);
    else if (SINGLE_TYPES.has(type)) values.splice(0, 1, attribute.value);
    else values.push(attribute.value);
  }
  const parts: string[] = [];
  for (const [type, name] of KNOWN_TYPES) {
    const values = known.get(type) ?? [];
    if (SINGLE_TYPES.has(type) && values[0] === "") continue;
    if (values.length > 0) parts.push(values.map((value) => `${name}=${escaped(value)}`).join("+"));
  }
  return [...parts, ...others.reverse()].join(",");
}

/** In the order in which they are printed. */
const KNOWN_TYPES: ReadonlyMap<string, string> = new Map([
  ["2.5.4.5", "SERIALNUMBER"],
  ["2.5.4.3", "CN"],
  ["2.5.4.11", "OU"],
  ["2.5.4.10", "O"],
  ["2.5.4.17", "POSTALCODE"],
  ["2.5.4.9", "STREET"],
  ["2.5.4.7", "L"],
  ["2.5.4.8", "ST"],
  ["2.5.4.6", "C"],
]);

/** Of these the last one counts, and an empty one is left out. */
const SINGLE_TYPES: ReadonlySet<string> = new Set(["2.5.4.3", "2.5.4.5"]);

/** RFC 2253, section 2.4. */
function escaped(value: string): string {
  return value.replaceAll(/[,+"\\<>;]|^[ #]| $/g, (character) => `\\${character}`);
}

/** DER of the string type that Go chooses: PrintableString if it fits, else UTF8String. */
function encodedString(value: string): Uint8Array {
  const content = new TextEncoder().encode(value);
  const tag = /^[A-Za-z0-9 '()+,\-./:=?]*$/.test(value) ? Tag.printableString : Tag.utf8String;
  return encodeElement(tag, content);
}
