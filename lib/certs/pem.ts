import { sha256 } from "../sha256.ts";
import { type Appearance, appearanceOf } from "./appearance.ts";
import type { Certificate } from "./certificate.ts";
import { CertificateError } from "./certificate_error.ts";
import { parseCertificate } from "./parse_certificate.ts";
import { countPemBegins, type PemBlock, pemBlocks } from "./pem_blocks.ts";

/** How strictly certificates are read. */
export interface PemOptions {
  /** Whether a certificate may have a negative serial number, which Go refuses unless `GODEBUG=x509negativeserial=1` is set. */
  readonly allowNegativeSerialNumbers?: boolean;
}

/** What a source's value came to. Holds nothing else of the value: no text, no private key. */
export type PemResult = PemCertificates | PemRefusal;

/** The certificates of a value. */
export interface PemCertificates {
  readonly ok: true;
  /** In the order of the value; may be empty, may hold one certificate twice. */
  readonly certificates: readonly Certificate[];
  /** What was passed over without refusing the value, and is worth a warning. */
  readonly skipped: {
    /** How many BEGIN lines no complete block follows: END line missing or different, base64 broken, or indented. */
    readonly brokenBlocks: number;
    /** SHA-256 (hex) of certificates that are known and left out on purpose. */
    readonly certificates: readonly string[];
    /** What the value looks like, if it gave no certificate, or not all that seems to be in it. */
    readonly appearance?: Appearance;
  };
}

/** The first reason why a value is refused as a whole. */
export interface PemRefusal {
  readonly ok: false;
  /** One line for conditions. Says what is wrong, never what the value holds. */
  readonly error: string;
}

/**
 * EC-ACC, a former Debian root, in the first default CA packages: its serial number is negative, which is refused otherwise.
 */
const EC_ACC = "88497f01602f3154246ae28c4d5aef10f1d87ebb76626f4ae0b7f95ba7968799";

/**
 * Reads the certificates of a value, strictly: a block that is no CERTIFICATE refuses the whole value, because a private key
 * must never be distributed; so do headers in a block, and what is no certificate. Text outside blocks is dropped.
 */
export function readPem(value: Uint8Array<ArrayBuffer>, options: PemOptions = {}): PemResult {
  const certificates: Certificate[] = [];
  const known: string[] = [];
  let blocks = 0;
  for (const block of pemBlocks(value)) {
    blocks++;
    const label = labelText(block);
    if (label !== "CERTIFICATE") {
      return refusal(`: only CERTIFICATE blocks are permitted but found '${label}'`);
    }
    if (block.hasHeaders) return refusal("; blocks are not permitted to have PEM headers");
    try {
      certificates.push(parseCertificate(block.content, options));
    } catch (error) {
      if (!(error instanceof CertificateError)) throw error;
      const fingerprint = sha256(block.content);
      if (fingerprint !== EC_ACC) {
        return refusal(`; invalid PEM certificate: ${shortened(error.message, 1024)}`);
      }
      known.push(fingerprint);
    }
  }
  const brokenBlocks = countPemBegins(value) - blocks;
  const appearance = appearanceOf(value, certificates.length + known.length, brokenBlocks);
  return {
    ok: true,
    certificates,
    skipped: { brokenBlocks, certificates: known, ...(appearance === undefined ? {} : { appearance }) },
  };
}

function refusal(what: string): PemRefusal {
  return { ok: false, error: `invalid PEM block in bundle${what}` };
}

/** One word of a label, such as `CERTIFICATE`, `Key`, `PKCS7`, `#7`, `X9.42`; base64, which may be of a key, is none. */
const LABEL_WORD =
  "(?:[A-Z]{1,16}|[A-Z]?[a-z]{1,15}|[A-Z]{1,8}[0-9]{1,3}|#?[0-9]{1,3}|[A-Z][0-9]\\.[0-9]{1,3}|OpenVPN)";
const LABEL_START = new RegExp(`^${LABEL_WORD}(?=[ -]|$)(?:[ -]${LABEL_WORD}(?=[ -]|$))*`);

/**
 * The block's label: the whole, if it looks like one (RFC 7468, section 3, in words), else what of its beginning does. Where the
 * newlines of a value were lost, base64 of a private key stands there. Decoding makes a string of its own, which keeps nothing of
 * the value alive.
 */
function labelText(block: PemBlock): string {
  const longest = 64;
  const isLong = block.label.length > longest;
  const text = new TextDecoder("utf-8", { ignoreBOM: true }).decode(block.label.subarray(0, longest));
  // The last word of what was cut may be half of one.
  const words = isLong ? text.slice(0, Math.max(0, text.search(/[ -][^ -]*$/))) : text;
  const start = LABEL_START.exec(words)?.[0] ?? "";
  return start.length === text.length && !isLong ? text : `${start}…`;
}

function shortened(text: string, length: number): string {
  return text.length > length ? `${text.slice(0, length)}…` : text;
}
