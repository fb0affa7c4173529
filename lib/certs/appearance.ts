import { CertificateError } from "./certificate_error.ts";
import { DerReader, dotted, Tag } from "./der.ts";
import { parseCertificate } from "./parse_certificate.ts";
import { indexOfBytes } from "./pem_blocks.ts";

/** What a value that gives no certificate, or not all that is in it, looks like. A key of {@linkcode APPEARANCES}. */
export type Appearance = keyof typeof APPEARANCES;

/** In words: what the value looks like, and what to do. Nothing of the value itself is ever told. */
export const APPEARANCES = {
  empty: { looksLike: "is empty", advice: "fill it, or remove the source" },
  der: { looksLike: "looks like DER", advice: "convert it with openssl x509 -inform der" },
  pkcs7: {
    looksLike: "looks like PKCS#7",
    advice: "convert it with openssl pkcs7 -inform der -print_certs",
  },
  pkcs12: {
    looksLike: "looks like PKCS#12",
    advice: "take the certificates out with openssl pkcs12 -nokeys",
  },
  jks: {
    looksLike: "looks like a Java key store",
    advice: "take the certificates out with keytool -exportcert -rfc",
  },
  privateKey: {
    looksLike: "looks like a private key in DER",
    advice: "take it away from there, and name a key that holds certificates in PEM",
  },
  otherDer: {
    looksLike: "looks like DER, but not of a certificate",
    advice: "put certificates in PEM there",
  },
  utf16: { looksLike: "looks like UTF-16", advice: "convert it with iconv -f utf-16 -t utf-8" },
  byteOrderMark: {
    looksLike: "begins with a byte order mark",
    advice: "save it as UTF-8 without one",
  },
  base64: { looksLike: "looks like base64 of PEM", advice: "decode it once more with base64 -d" },
  base64Twice: { looksLike: "looks like base64 of base64 of PEM", advice: "decode it twice with base64 -d" },
  base64Der: {
    looksLike: "looks like base64 without BEGIN and END lines",
    advice: "convert it with base64 -d and then openssl x509 -inform der",
  },
  typographicDashes: {
    looksLike: "has typographic dashes",
    advice: "write five hyphens (-----) before and after BEGIN and END",
  },
  otherDashes: {
    looksLike: "has BEGIN lines that do not begin with exactly five hyphens",
    advice: "write five hyphens (-----) before and after BEGIN and END",
  },
  glued: {
    looksLike: "has an END and a BEGIN in one line",
    advice: "put a newline between the certificates",
  },
  escapedNewlines: {
    looksLike: "has backslash and n where newlines belong",
    advice: "write real newlines",
  },
  carriageReturns: {
    looksLike: "has CR alone where newlines belong",
    advice: "convert it with tr '\\r' '\\n'",
  },
  oneLine: {
    looksLike: "has lost its newlines",
    advice: "put BEGIN, base64 and END into lines of their own",
  },
  indented: {
    looksLike: "has BEGIN or END lines that are indented",
    advice: "begin them in the first column",
  },
  withinLine: {
    looksLike: "has a BEGIN that does not begin a line",
    advice: "put it into a line of its own",
  },
  noEnd: { looksLike: "has a BEGIN line without an END line", advice: "complete the copy" },
  damaged: {
    looksLike: "has blocks whose base64 or END line is broken",
    advice: "copy them again",
  },
  archive: { looksLike: "looks like a compressed archive", advice: "unpack it" },
  binary: { looksLike: "is binary, and no PEM", advice: "put certificates in PEM there" },
  text: { looksLike: "is text without PEM", advice: "put certificates in PEM there" },
} as const satisfies Record<string, { readonly looksLike: string; readonly advice: string }>;

/**
 * What a value looks like that was read as PEM and gave no certificate, or less than is in it; undefined if nothing seems to be
 * missing. Pure; takes time in proportion to the value's length, and keeps nothing of it.
 *
 * @param certificates how many certificates it gave.
 * @param brokenBlocks how many BEGIN lines no complete block follows.
 */
export function appearanceOf(
  value: Uint8Array<ArrayBuffer>,
  certificates: number,
  brokenBlocks: number,
): Appearance | undefined {
  if (certificates === 0 && brokenBlocks === 0) {
    const binary = binaryAppearance(value);
    if (binary !== undefined) return binary;
  }
  const lines = beginAppearance(value, brokenBlocks > 0);
  if (lines !== undefined) return lines;
  if (brokenBlocks > 0) {
    const end = indexOfBytes(value, END, 0);
    if (end < 0) return "noEnd";
    return isBlank(value[end - 1]) ? "indented" : "damaged";
  }
  if (certificates > 0) return undefined;
  return base64Appearance(value) ?? (value.some(isControl) ? "binary" : "text");
}

const BEGIN = bytesOf("BEGIN ");
const END = bytesOf("-----END ");
const CERTIFICATE = bytesOf("CERTIFICATE");
const [HYPHEN, NEWLINE, CARRIAGE_RETURN, BACKSLASH, SMALL_N] = [0x2d, 0x0a, 0x0d, 0x5c, 0x6e];

function bytesOf(text: string): Uint8Array<ArrayBuffer> {
  return new TextEncoder().encode(text);
}

function isBlank(octet: number | undefined): boolean {
  return octet === 0x20 || octet === 0x09;
}

function isControl(octet: number): boolean {
  return octet < 0x20 && (octet < 0x09 || octet > 0x0d);
}

function startsWith(value: Uint8Array, start: readonly number[] | Uint8Array, at = 0): boolean {
  for (let i = 0; i < start.length; i++) if (value[at + i] !== start[i]) return false;
  return true;
}

/** What is no text at all; or nothing. */
function binaryAppearance(value: Uint8Array<ArrayBuffer>): Appearance | undefined {
  if (value.every((octet) => isBlank(octet) || octet === NEWLINE || octet === CARRIAGE_RETURN)) {
    return "empty";
  }
  if (startsWith(value, [0xff, 0xfe]) || startsWith(value, [0xfe, 0xff])) return "utf16";
  // Of ASCII in UTF-16 every second octet is zero.
  if ((value[1] === 0 && value[3] === 0) || (value[0] === 0 && value[2] === 0)) {
    if (value.length > 8 && (value[5] === 0 || value[4] === 0)) return "utf16";
  }
  if ([[0xfe, 0xed, 0xfe, 0xed], [0xce, 0xce, 0xce, 0xce]].some((magic) => startsWith(value, magic))) {
    return "jks";
  }
  // gzip, zip, bzip2, xz, zstd
  const archives = [[0x1f, 0x8b], [0x50, 0x4b, 3, 4], [0x42, 0x5a, 0x68], [0xfd, 0x37, 0x7a], [
    0x28,
    0xb5,
    0x2f,
  ]];
  if (archives.some((magic) => startsWith(value, magic))) return "archive";
  return value[0] === Tag.sequence ? derAppearance(value) : undefined;
}

/** ContentInfo of PKCS#7: signedData (RFC 2315, section 14). */
const SIGNED_DATA = "1.2.840.113549.1.7.2";

/** A SEQUENCE, perhaps of indefinite length, which BER allows and tools write. The digit 0 has the same octet. */
function derAppearance(value: Uint8Array<ArrayBuffer>): Appearance | undefined {
  const indefinite = value[1] === 0x80;
  const outer = new DerReader(value).readAny();
  if (outer === undefined && !indefinite) return undefined;
  const inner = outer?.content ?? new DerReader(value, 2);
  const start = inner.rest;
  switch (start[0]) {
    case Tag.objectIdentifier: {
      const type = new DerReader(start).readObjectIdentifier();
      return type !== undefined && dotted(type) === SIGNED_DATA ? "pkcs7" : "otherDer";
    }
    case Tag.integer: {
      const version = inner.readInteger()?.[0];
      // PFX has version 3 and then a SEQUENCE (RFC 7292, section 4); keys have 0 or 1 (RFC 5208, 5958, 8017, 5915).
      if (version === 3 && inner.nextIs(Tag.sequence)) return "pkcs12";
      return version === 0 || version === 1 ? "privateKey" : "otherDer";
    }
    case Tag.sequence: {
      // ENCRYPTED PRIVATE KEY (RFC 5208, section 6) is an algorithm and an OCTET STRING.
      if (inner.readEncoded() !== undefined && inner.nextIs(Tag.octetString)) return "privateKey";
      const element = new DerReader(value).readEncoded();
      return element !== undefined && isCertificate(element) ? "der" : "otherDer";
    }
    default:
      return undefined;
  }
}

function isCertificate(der: Uint8Array<ArrayBuffer>): boolean {
  try {
    parseCertificate(der, { allowNegativeSerialNumbers: true });
    return true;
  } catch (error) {
    if (error instanceof CertificateError) return false;
    throw error;
  }
}

/**
 * What is wrong with the first BEGIN that something is wrong with; undefined if nothing is, as far as it shows around it.
 *
 * @param isBroken whether there are BEGIN lines with five hyphens that no complete block follows.
 */
function beginAppearance(value: Uint8Array<ArrayBuffer>, isBroken: boolean): Appearance | undefined {
  for (let at = indexOfBytes(value, BEGIN, 0); at >= 0; at = indexOfBytes(value, BEGIN, at + BEGIN.length)) {
    let hyphens = 0;
    while (hyphens < 10 && value[at - hyphens - 1] === HYPHEN) hyphens++;
    if (hyphens < 5) {
      if (!startsWith(value, CERTIFICATE, at + BEGIN.length)) continue;
      if (isDashBefore(value, at - hyphens)) return "typographicDashes";
      if (hyphens > 0) return "otherDashes";
      continue;
    }
    if (!isBroken) continue;
    if (hyphens === 10) return "glued";
    if (hyphens > 5) return "otherDashes";
    const start = at - hyphens;
    const before = value[start - 1];
    if (start === 0 || before === NEWLINE) {
      const after = afterLabel(value, at + BEGIN.length);
      if (after !== undefined) return after;
    } else if (start === 3 && startsWith(value, [0xef, 0xbb, 0xbf])) return "byteOrderMark";
    else if (before === CARRIAGE_RETURN) return "carriageReturns";
    else if (before === SMALL_N && value[start - 2] === BACKSLASH) return "escapedNewlines";
    else return beforeBlanks(value, start);
  }
  return undefined;
}

/** What is wrong with a BEGIN line before which, at `start`, something else stands in the same line. */
function beforeBlanks(value: Uint8Array, start: number): Appearance {
  let first = start;
  while (isBlank(value[first - 1])) first--;
  const before = value[first - 1];
  if (first < start && (before === undefined || before === NEWLINE)) return "indented";
  return before === HYPHEN ? "glued" : "withinLine";
}

/** Whether a dash of Unicode stands before `at`, in UTF-8: U+2010 to U+2015, U+2212, U+FE58, U+FE63, U+FF0D, or a soft hyphen. */
function isDashBefore(value: Uint8Array, at: number): boolean {
  const [a, b, c] = [value[at - 3], value[at - 2], value[at - 1]];
  if (a === 0xe2) {
    return (b === 0x80 && c !== undefined && c >= 0x90 && c <= 0x95) || (b === 0x88 && c === 0x92);
  }
  if (a === 0xef) return (b === 0xb9 && (c === 0x98 || c === 0xa3)) || (b === 0xbc && c === 0x8d);
  return b === 0xc2 && c === 0xad;
}

/** Longest label that is looked for the end of. */
const LONGEST_LABEL = 64;

/** What is wrong with what follows the hyphens after the label that starts at `at`; undefined if a newline does. */
function afterLabel(value: Uint8Array, at: number): Appearance | undefined {
  let end = at;
  while (end < at + LONGEST_LABEL && value[end] !== HYPHEN && value[end] !== NEWLINE) end++;
  let hyphens = 0;
  while (hyphens < 6 && value[end + hyphens] === HYPHEN) hyphens++;
  if (hyphens !== 5) return undefined;
  let next = end + hyphens;
  while (isBlank(value[next]) && next < end + LONGEST_LABEL) next++;
  const octet = value[next];
  if (octet === undefined || octet === NEWLINE) return undefined;
  if (octet === CARRIAGE_RETURN) return value[next + 1] === NEWLINE ? undefined : "carriageReturns";
  if (octet === BACKSLASH && value[next + 1] === SMALL_N) return "escapedNewlines";
  return "oneLine";
}

/** Enough base64 to see what it is of. */
const HEAD_LENGTH = 128;
/** How PEM begins, in base64. */
const PEM_IN_BASE64 = "LS0tLS1CRUdJTi";

function base64Appearance(value: Uint8Array): Appearance | undefined {
  let head = "";
  let length = 0;
  for (const octet of value) {
    if (octet === NEWLINE || octet === CARRIAGE_RETURN || isBlank(octet)) continue;
    const isDigit = (octet >= 0x30 && octet <= 0x39) || (octet >= 0x41 && octet <= 0x5a) ||
      (octet >= 0x61 && octet <= 0x7a) || octet === 0x2b || octet === 0x2f || octet === 0x3d;
    if (!isDigit) return undefined;
    if (length < HEAD_LENGTH) head += String.fromCharCode(octet);
    length++;
  }
  if (head.startsWith(PEM_IN_BASE64)) return "base64";
  const start = decoded(head);
  if (start === undefined) return undefined;
  if (String.fromCharCode(...start.subarray(0, PEM_IN_BASE64.length)) === PEM_IN_BASE64) return "base64Twice";
  // A SEQUENCE of 256 bytes or more, as long as all of it comes to.
  const declared = ((start[2] ?? 0) << 8) + (start[3] ?? 0) + 4;
  return start[0] === Tag.sequence && start[1] === 0x82 && Math.abs(declared - (length * 3) / 4) <= 3
    ? "base64Der"
    : undefined;
}

function decoded(head: string): Uint8Array | undefined {
  try {
    return Uint8Array.fromBase64(head.slice(0, head.length - head.length % 4));
  } catch {
    return undefined;
  }
}
