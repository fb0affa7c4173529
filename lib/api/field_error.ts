import { goQuote } from "../go_quote.ts";

/** What is wrong with one field. Fields, kinds and print are those of Kubernetes (`k8s.io/apimachinery/pkg/util/validation/field`). */
export interface FieldError {
  /** Path such as `spec.sources[0].configMap`. */
  readonly field: string;
  /** The kind, the value where it is told, and the detail: `Invalid value: "x": must not be x`. */
  readonly problem: string;
}

/** A value that is not acceptable. It is told (of what is very long the beginning), so it must not be a secret. */
export function invalid(field: string, value: string, detail: string): FieldError {
  return { field, problem: `Invalid value: ${goQuote(shortened(value))}: ${detail}` };
}

/** A value of one of Kubernetes' string types, such as an operator: it is printed as JSON, not as Go quotes. */
export function invalidTyped(field: string, value: string, detail: string): FieldError {
  return { field, problem: `Invalid value: ${goJsonString(shortened(value))}: ${detail}` };
}

/** A value that would be acceptable elsewhere. */
export function forbidden(field: string, detail: string): FieldError {
  return { field, problem: `Forbidden: ${detail}` };
}

/** A value that must be given. */
export function required(field: string, detail: string): FieldError {
  return { field, problem: `Required value: ${detail}` };
}

/** A value of more than `limit` bytes. */
export function tooLong(field: string, limit: number): FieldError {
  return { field, problem: `Too long: may not be more than ${limit} bytes` };
}

/** A list of `items` items, of which there may be no more than `limit`. */
export function tooMany(field: string, items: number, limit: number): FieldError {
  return { field, problem: `Too many: ${items}: must have at most ${limit} items` };
}

/** The path of a child. A name may come from the user; an empty one is printed as Kubernetes prints it. */
export function child(path: string, ...names: readonly string[]): string {
  return path + names.map((name) => name === "" ? "[]" : `.${name}`).join("");
}

/**
 * All errors in one line, as Kubernetes prints several: `[first, second]`, equal ones once; one alone without brackets.
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * const error = forbidden("spec.sources", "must define at least one source");
 * assert.equal(printFieldErrors([error, error]), "spec.sources: Forbidden: must define at least one source");
 * ```
 */
export function printFieldErrors(errors: readonly FieldError[]): string {
  const texts = [...new Set(errors.map(({ field, problem }) => `${field}: ${problem}`))];
  return texts.length === 1 ? texts.join() : `[${texts.join(", ")}]`;
}

/** Whatever stands where a name should: no more of it than of the longest annotation key that Kubernetes takes, and some. */
function shortened(value: string): string {
  const longest = 1024;
  return value.length > longest ? `${value.slice(0, longest)}…` : value;
}

/** A JSON string as Go writes it. */
function goJsonString(value: string): string {
  return JSON.stringify(value.toWellFormed()).replaceAll(
    /[<>&\u2028\u2029]/g,
    (character) => `\\u${character.charCodeAt(0).toString(16).padStart(4, "0")}`,
  );
}
