import type { AdditionalFormats } from "./bundle.ts";

/** The password of a JKS. The API server fills in the default; it is here for Bundles that were stored before it did. */
export function jksPassword(jks: NonNullable<AdditionalFormats["jks"]>): string {
  return jks.password ?? "changeit";
}

/** The password of a PKCS#12 store; empty means a store that is neither encrypted nor protected. */
export function pkcs12Password(pkcs12: NonNullable<AdditionalFormats["pkcs12"]>): string {
  return pkcs12.password ?? "";
}
