import type { BundleTarget, TargetKind } from "./api/bundle.ts";
import type { SourceRecord } from "./records/source_record.ts";

/**
 * Whether a key of an object in the trust namespace is what the operator itself wrote for a Bundle, or is to write: then it is no
 * source of that Bundle, or a CA that was removed from all others would come back for ever (ADR 15). Keys that others own in the
 * same object are the user's, and sources like any other. Pure.
 */
export function isOwnOutput(
  bundle: { readonly name: string; readonly target: BundleTarget },
  kind: TargetKind,
  { output }: SourceRecord,
  key: string,
): boolean {
  if (output?.bundle !== bundle.name) return false;
  if (output.keys.includes(key)) return true;
  // Somebody else may own the key just now, because they edited it; that is about to be repaired.
  const { configMap, secret, additionalFormats } = bundle.target;
  const template = kind === "ConfigMap" ? configMap : secret;
  if (template === undefined) return false;
  return [template.key, additionalFormats?.jks?.key, additionalFormats?.pkcs12?.key].includes(key);
}
