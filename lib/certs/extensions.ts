import { CertificateError, quoted, required } from "./certificate_error.ts";
import { contextTag, DerReader, dotted, Tag } from "./der.ts";
import { isIpAddress, urlHost } from "./go_url.ts";

/** One extension of a certificate (RFC 5280, section 4.2). */
export interface Extension {
  /** Dotted object identifier. */
  readonly id: string;
  readonly critical: boolean;
  /** What the OCTET STRING holds. A view, not a copy. */
  readonly value: Uint8Array<ArrayBuffer>;
}

/**
 * Reads an `Extensions` SEQUENCE.
 *
 * @throws {CertificateError} if it is malformed, or has two extensions of one kind.
 */
export function readExtensions(reader: DerReader): Extension[] {
  const extensions = new Map<string, Extension>();
  const sequence = required(reader.read(Tag.sequence), "x509: malformed extensions");
  while (!sequence.empty) {
    const extension = readExtension(required(sequence.read(Tag.sequence), "x509: malformed extension"));
    if (extensions.has(extension.id)) {
      throw new CertificateError(
        `x509: certificate contains duplicate extension with OID ${quoted(extension.id)}`,
      );
    }
    extensions.set(extension.id, extension);
  }
  return [...extensions.values()];
}

function readExtension(reader: DerReader): Extension {
  const id = required(reader.readObjectIdentifier(), "x509: malformed extension OID field");
  const critical = reader.nextIs(Tag.boolean)
    ? required(reader.readBoolean(), "x509: malformed extension critical field")
    : false;
  const value = required(reader.read(Tag.octetString), "x509: malformed extension value field");
  return { id: dotted(id), critical, value: value.rest };
}

/**
 * Checks the extensions that Go reads when it parses a certificate, as strictly as Go does. Others may hold anything, critical
 * or not.
 *
 * @returns whether basic constraints are there and say CA.
 * @throws {CertificateError}
 */
export function checkExtensions(extensions: readonly Extension[]): { isCa: boolean } {
  let isCa = false;
  for (const { id, critical, value } of extensions) {
    const reader = new DerReader(value);
    switch (id) {
      case "2.5.29.14":
        if (critical) throw new CertificateError("x509: subject key identifier incorrectly marked critical");
        required(reader.read(Tag.octetString), "x509: invalid subject key identifier");
        break;
      case "2.5.29.15":
        required(reader.readBitString(), "x509: invalid key usage");
        break;
      case "2.5.29.17":
        checkAlternativeNames(reader);
        break;
      case "2.5.29.19":
        isCa = readBasicConstraints(reader);
        break;
      case "2.5.29.30":
        checkNameConstraints(reader);
        break;
      case "2.5.29.31":
        checkDistributionPoints(reader);
        break;
      case "2.5.29.32":
        checkPolicies(reader);
        break;
      case "2.5.29.33":
        checkPolicyMappings(reader);
        break;
      case "2.5.29.35":
        checkAuthorityKeyIdentifier(reader, critical);
        break;
      case "2.5.29.36":
        checkPolicyConstraints(reader);
        break;
      case "2.5.29.37":
        checkExtendedKeyUsages(reader);
        break;
      case "2.5.29.54":
        if (!isInt64(reader.readInteger())) {
          throw new CertificateError("x509: invalid inhibit any policy extension");
        }
        break;
      case "1.3.6.1.5.5.7.1.1":
        checkAuthorityInformationAccess(reader, critical);
    }
  }
  return { isCa };
}

function isInt64(integer: Uint8Array | undefined): boolean {
  return integer !== undefined && integer.length <= 8;
}

/** Section 4.2.1.9. */
function readBasicConstraints(reader: DerReader): boolean {
  const message = "x509: invalid basic constraints";
  const sequence = required(reader.read(Tag.sequence), message);
  const isCa = sequence.nextIs(Tag.boolean) ? required(sequence.readBoolean(), message) : false;
  if (sequence.nextIs(Tag.integer)) {
    const pathLength = required(sequence.readInteger(), message);
    if (!isInt64(pathLength) || (pathLength[0] ?? 0) >= 0x80) throw new CertificateError(message);
  }
  return isCa;
}

const NAME_EMAIL = contextTag(1, false);
const NAME_DNS = contextTag(2, false);
const NAME_URI = contextTag(6, false);
const NAME_IP = contextTag(7, false);

/** Section 4.2.1.6. */
function checkAlternativeNames(reader: DerReader): void {
  const names = required(reader.read(Tag.sequence), "x509: invalid subject alternative names");
  while (!names.empty) {
    const name = required(names.readAny(), "x509: invalid subject alternative name");
    const value = name.content.rest;
    switch (name.tag) {
      case NAME_EMAIL:
        if (!isAscii(value)) throw new CertificateError("x509: SAN rfc822Name is malformed");
        break;
      case NAME_DNS:
        if (!isAscii(value)) throw new CertificateError("x509: SAN dNSName is malformed");
        break;
      case NAME_URI: {
        if (!isAscii(value)) throw new CertificateError("x509: SAN uniformResourceIdentifier is malformed");
        const uri = urlHost(ascii(value));
        const problem = "problem" in uri
          ? uri.problem
          : isDomain(uri.host, false)
          ? undefined
          : "invalid domain";
        if (problem !== undefined) {
          throw new CertificateError(`x509: cannot parse URI ${quoted(value)}: ${problem}`);
        }
        break;
      }
      case NAME_IP:
        if (value.length !== 4 && value.length !== 16) {
          throw new CertificateError(`x509: cannot parse IP address of length ${value.length}`);
        }
    }
  }
}

/** Section 4.2.1.10. */
function checkNameConstraints(reader: DerReader): void {
  const message = "x509: invalid NameConstraints extension";
  const sequence = required(reader.read(Tag.sequence), message);
  if (!reader.empty) throw new CertificateError(message);
  const lists: DerReader[] = [];
  for (const tag of [contextTag(0, true), contextTag(1, true)]) {
    if (sequence.nextIs(tag)) lists.push(required(sequence.read(tag), message));
  }
  if (!sequence.empty) throw new CertificateError(message);
  if (lists.every((list) => list.empty)) {
    throw new CertificateError("x509: empty name constraints extension");
  }
  for (const list of lists) {
    while (!list.empty) {
      const subtree = required(list.read(Tag.sequence), message);
      const base = required(subtree.readAny(), message);
      checkNameConstraint(base.tag, base.content.rest);
    }
  }
}

function checkNameConstraint(tag: number, value: Uint8Array): void {
  if (tag === NAME_IP) {
    if (value.length !== 8 && value.length !== 32) {
      throw new CertificateError(`x509: IP constraint contained value of length ${value.length}`);
    }
    const mask = value.subarray(value.length / 2);
    if (!isIpMask(mask)) {
      throw new CertificateError(`x509: IP constraint contained invalid mask ${mask.toHex()}`);
    }
    return;
  }
  if (tag !== NAME_DNS && tag !== NAME_EMAIL && tag !== NAME_URI) return;
  if (!isAscii(value)) {
    throw new CertificateError(
      `x509: invalid constraint value: x509: ${quoted(value)} cannot be encoded as an IA5String`,
    );
  }
  const domain = ascii(value);
  if (tag === NAME_DNS && !isDomain(domain, true)) {
    throw new CertificateError(`x509: failed to parse dnsName constraint ${quoted(domain)}`);
  }
  if (tag === NAME_EMAIL && !(domain.includes("@") ? isMailbox(domain) : isDomain(domain, true))) {
    throw new CertificateError(`x509: failed to parse rfc822Name constraint ${quoted(domain)}`);
  }
  if (tag === NAME_URI) {
    const problem = `x509: failed to parse URI constraint ${quoted(domain)}`;
    if (isIpAddress(domain)) throw new CertificateError(`${problem}: cannot be IP address`);
    if (!isDomain(domain, true)) throw new CertificateError(problem);
  }
}

/** Section 4.2.1.13. */
function checkDistributionPoints(reader: DerReader): void {
  const message = "x509: invalid CRL distribution point";
  const points = required(reader.read(Tag.sequence), `${message}s`);
  const nameTag = contextTag(0, true);
  while (!points.empty) {
    const point = required(points.read(Tag.sequence), message);
    if (!point.nextIs(nameTag)) continue;
    const name = required(point.read(nameTag), message);
    const fullName = required(name.read(nameTag), message);
    while (fullName.nextIs(NAME_URI)) required(fullName.read(NAME_URI), message);
  }
}

/** Section 4.2.1.4. */
function checkPolicies(reader: DerReader): void {
  const message = "x509: invalid certificate policies";
  const seen = new Set<string>();
  const policies = required(reader.read(Tag.sequence), message);
  while (!policies.empty) {
    const policy = required(policies.read(Tag.sequence), message);
    const id = required(policy.read(Tag.objectIdentifier), message).rest;
    const text = id.toHex();
    if (seen.has(text) || !isObjectIdentifier(id)) throw new CertificateError(message);
    seen.add(text);
  }
}

/** Components of any size, unlike {@linkcode DerReader.readObjectIdentifier}. */
function isObjectIdentifier(value: Uint8Array): boolean {
  let first = true; // octet of a component
  for (const octet of value) {
    if (first && octet === 0x80) return false;
    first = octet < 0x80;
  }
  return first && value.length > 0;
}

/** Section 4.2.1.5. */
function checkPolicyMappings(reader: DerReader): void {
  const message = "x509: invalid policy mappings extension";
  const mappings = required(reader.read(Tag.sequence), message);
  while (!mappings.empty) {
    const mapping = required(mappings.read(Tag.sequence), message);
    required(mapping.read(Tag.objectIdentifier), message);
    required(mapping.read(Tag.objectIdentifier), message);
  }
}

/** Section 4.2.1.1. */
function checkAuthorityKeyIdentifier(reader: DerReader, critical: boolean): void {
  const message = "x509: invalid authority key identifier";
  if (critical) throw new CertificateError("x509: authority key identifier incorrectly marked critical");
  const sequence = required(reader.read(Tag.sequence), message);
  const tag = contextTag(0, false);
  if (sequence.nextIs(tag)) required(sequence.read(tag), message);
}

/** Section 4.2.1.11. */
function checkPolicyConstraints(reader: DerReader): void {
  const message = "x509: invalid policy constraints extension";
  const sequence = required(reader.read(Tag.sequence), message);
  for (const tag of [contextTag(0, false), contextTag(1, false)]) {
    if (sequence.nextIs(tag) && !isInt64(sequence.readInteger(tag))) throw new CertificateError(message);
  }
}

/** Section 4.2.1.12. */
function checkExtendedKeyUsages(reader: DerReader): void {
  const message = "x509: invalid extended key usages";
  const usages = required(reader.read(Tag.sequence), message);
  while (!usages.empty) required(usages.readObjectIdentifier(), message);
}

/** Section 4.2.2.1. */
function checkAuthorityInformationAccess(reader: DerReader, critical: boolean): void {
  const message = "x509: invalid authority info access";
  if (critical) throw new CertificateError("x509: authority info access incorrectly marked critical");
  const descriptions = required(reader.read(Tag.sequence), message);
  while (!descriptions.empty) {
    const description = required(descriptions.read(Tag.sequence), message);
    required(description.readObjectIdentifier(), message);
    if (description.nextIs(NAME_URI)) required(description.read(NAME_URI), message);
  }
}

function isAscii(bytes: Uint8Array): boolean {
  return bytes.every((byte) => byte < 0x80);
}

/** @param bytes all of them ASCII. */
function ascii(bytes: Uint8Array): string {
  return new TextDecoder().decode(bytes);
}

/** One bits, then zero bits. */
function isIpMask(mask: Uint8Array): boolean {
  const firstZero = mask.findIndex((octet) => octet !== 0xff);
  if (firstZero < 0) return true;
  const inverted = ~(mask[firstZero] ?? 0) & 0xff;
  return (inverted & (inverted + 1)) === 0 && mask.subarray(firstZero + 1).every((octet) => octet === 0);
}

/**
 * Whether Go takes `text` for a domain: printable, no empty label, no dot at its end.
 *
 * @param constraint of a name constraint, which may begin with a dot.
 */
function isDomain(text: string, constraint: boolean): boolean {
  if (text === "") return true;
  const domain = constraint && text.startsWith(".") ? text.slice(1) : text;
  return /^[!-~]+$/.test(domain) && !/^\.|\.\.|\.$/.test(domain);
}

/** A mailbox of RFC 5321 as Go takes it: a dot-atom or a quoted string, `@`, and a domain. */
function isMailbox(text: string): boolean {
  const local = text.startsWith('"') ? quotedString(text) : dotAtom(text);
  return local !== undefined && text[local] === "@" && isDomain(text.slice(local + 1), false);
}

// Both say where the local part ends. Not one expression for the whole: it would need memory of its own for each character.

function quotedString(text: string): number | undefined {
  // deno-lint-ignore no-control-regex
  const piece = /[\x01-\x08\x0b\x0c\x0e-!#-[\]-\x7f]+|\\[\x01-\x09\x0b\x0c\x0e-\x7f]/y;
  const end = endOf(piece, text, 1);
  return text[end] === '"' ? end + 1 : undefined;
}

function dotAtom(text: string): number | undefined {
  const end = endOf(/[A-Za-z0-9!#$%&'*+\-/=?^_`{|}~.]+|\\./sy, text, 0);
  const plain = text.slice(0, end).replaceAll(/\\(.)/gs, "$1");
  return plain === "" || /^\.|\.\.|\.$/.test(plain) ? undefined : end;
}

/** Where the pieces that follow each other from `start` on end. */
function endOf(piece: RegExp, text: string, start: number): number {
  let end = start;
  for (piece.lastIndex = start; piece.test(text);) end = piece.lastIndex;
  return end;
}
