import { sha256 } from "../sha256.ts";
import type { Certificate } from "./certificate.ts";
import { CertificateError } from "./certificate_error.ts";
import { parseCertificate } from "./parse_certificate.ts";
import { countPemBegins, type PemBlock, pemBlocks } from "./pem_blocks.ts";

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
export function readPem(value: Uint8Array<ArrayBuffer>): PemResult {
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
      certificates.push(parseCertificate(block.content));
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
  return { ok: true, certificates, skipped: { brokenBlocks, certificates: known } };
}

function refusal(what: string): PemRefusal {
  return { ok: false, error: `invalid PEM block in bundle${what}` };
}

/**
 * The block's label. No real one is long; of what stands there instead not more is shown than a label needs, since it may be
 * anything. Decoding makes a string of its own, which keeps nothing of the value alive.
 */
function labelText(block: PemBlock): string {
  const longest = 64;
  const text = new TextDecoder("utf-8", { ignoreBOM: true }).decode(block.label.subarray(0, longest));
  return block.label.length > longest ? `${text}…` : text;
}

function shortened(text: string, length: number): string {
  return text.length > length ? `${text.slice(0, length)}…` : text;
}
