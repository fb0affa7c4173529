import type { Bundle } from "./bundle.ts";
import { type FieldError, tooLong, tooMany } from "./field_error.ts";

/** `spec.sources` has no more items (`maxItems`). */
const MOST_SOURCES = 100;

/** The same of Bundles that were stored under a schema without that limit. No real one has as many. */
const MOST_STORED_SOURCES = 1_000;

/** Names, and keys of data, in characters (`maxLength`). */
const LONGEST_NAME = 253;

/** `inLine`, in characters. */
const LONGEST_IN_LINE = 1_048_576;

/** Passwords of key stores, in characters. */
const LONGEST_PASSWORD = 128;

/**
 * That there are more sources than the schema of the CRD allows. To be asked before a Bundle is decoded: each of a million sources takes
 * as long to decode as one that counts. Pure.
 *
 * @param object decoded JSON that need not be a Bundle.
 * @param stored whether it was stored with too many already, see {@linkcode schemaLimitError}.
 */
export function sourcesLimitError(object: unknown, stored: boolean): FieldError | undefined {
  const sources = member(member(object, "spec"), "sources");
  const most = stored ? MOST_STORED_SOURCES : MOST_SOURCES;
  return Array.isArray(sources) && sources.length > most
    ? tooMany("spec.sources", sources.length, most)
    : undefined;
}

function member(value: unknown, name: string): unknown {
  if (typeof value !== "object" || value === null) return undefined;
  return Object.getOwnPropertyDescriptor(value, name)?.value;
}

/**
 * Where a Bundle exceeds what the schema of the CRD allows, in the length of texts. Only the first is told. Pure.
 *
 * API servers check the schema before they ask a webhook, so that they never send such a Bundle, unless it was stored under an older
 * schema and is updated elsewhere (KEP-4008, "CRD validation ratcheting").
 */
export function schemaLimitError({ spec }: Pick<Bundle, "spec">): FieldError | undefined {
  const texts: [field: string, text: string | undefined, longest: number][] = [];
  for (const [index, { configMap, secret, inLine }] of spec.sources.entries()) {
    const path = `spec.sources[${index}]`;
    for (const [kind, object] of [["configMap", configMap], ["secret", secret]] as const) {
      texts.push([`${path}.${kind}.name`, object?.name, LONGEST_NAME]);
      texts.push([`${path}.${kind}.key`, object?.key, LONGEST_NAME]);
    }
    texts.push([`${path}.inLine`, inLine, LONGEST_IN_LINE]);
  }
  const { configMap, secret, additionalFormats: { jks, pkcs12 } = {} } = spec.target ?? {};
  texts.push(["spec.target.configMap.key", configMap?.key, LONGEST_NAME]);
  texts.push(["spec.target.secret.key", secret?.key, LONGEST_NAME]);
  for (const [format, store] of [["jks", jks], ["pkcs12", pkcs12]] as const) {
    texts.push([`spec.target.additionalFormats.${format}.key`, store?.key, LONGEST_NAME]);
    texts.push([`spec.target.additionalFormats.${format}.password`, store?.password, LONGEST_PASSWORD]);
  }
  for (const [field, text, longest] of texts) {
    if (text !== undefined && isLonger(text, longest)) return tooLong(field, longest);
  }
  return undefined;
}

/** API servers count code points, of which each is one unit of a JavaScript string, or two. */
function isLonger(text: string, longest: number): boolean {
  if (text.length <= longest) return false;
  return text.length > 2 * longest || [...text].length > longest;
}
