import type { AdditionalFormats } from "./api/bundle.ts";
import { jksPassword, pkcs12Password } from "./api/defaults.ts";
import { sha256 } from "./sha256.ts";

/** Hex digits of a layout: a mix-up by chance need not be feared among the few layouts that one target ever has. */
const LAYOUT_DIGITS = 16;

/**
 * Reports which key holds what, and where the hash's input is to be split; undefined if a target holds PEM only.
 *
 * The hash of a target is the Go project's: it joins the PEM text, passwords, the profile, annotations and labels without separators,
 * and leaves out keys and formats. Two targets can so have one hash, and one set of keys, but different bytes: a JKS and a PKCS#12
 * store that exchange their keys, or passwords `changeit1` and `2` in place of `changeit` and `12`. With the same layout, labels and
 * annotations, an equal hash stands for equal content. Of passwords it holds the lengths only.
 *
 * @param pemKey the data key of the PEM bundle.
 */
export function layoutOf(pemKey: string, formats: AdditionalFormats | undefined): string | undefined {
  if (formats?.jks === undefined && formats?.pkcs12 === undefined) return undefined;
  const { jks, pkcs12 } = formats;
  const parts = [
    pemKey,
    jks === undefined ? null : [jks.key, jksPassword(jks).length],
    pkcs12 === undefined ? null : [pkcs12.key, pkcs12Password(pkcs12).length, pkcs12.profile ?? ""],
  ];
  return sha256(JSON.stringify(parts)).slice(0, LAYOUT_DIGITS);
}
