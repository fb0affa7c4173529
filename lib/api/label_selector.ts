import { goQuote } from "../go_quote.ts";
import type { LabelSelectorSpec } from "./bundle.ts";

/** A label selector, ready to match. */
export interface LabelSelector {
  /** Whether it matches everything: no requirement is made. */
  readonly empty: boolean;
  /** Whether an object with these labels is selected. */
  matches(labels: Readonly<Record<string, string>> | undefined): boolean;
  /** As Kubernetes prints it, requirements sorted by key: `a=b,c in (x,y),!d`. Empty if nothing is required. */
  toString(): string;
}

/** A label selector that cannot be parsed. The message is Kubernetes' own. */
export class LabelSelectorError extends Error {
  override readonly name = "LabelSelectorError";
}

/** One requirement; `=` comes of `matchLabels`. */
interface Requirement {
  readonly key: string;
  readonly operator: "=" | "In" | "NotIn" | "Exists" | "DoesNotExist";
  readonly values: readonly string[];
  /** The values, if they are so many that a search through them would take long. */
  readonly valueSet: ReadonlySet<string> | undefined;
}

/** More values than these are looked up in a set. */
const FEW_VALUES = 8;

/**
 * Parses a `metav1.LabelSelector` as `LabelSelectorAsSelector` of Kubernetes (1.37) does: an empty one matches everything, an
 * absent one nothing. Where absent shall mean everything, pass `{}`.
 *
 * @throws {LabelSelectorError} with Kubernetes' text.
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * const selector = parseLabelSelector({ matchLabels: { team: "a" } });
 * assert.equal(selector.matches({ team: "a", tier: "web" }), true);
 * assert.equal(String(selector), "team=a");
 * ```
 */
export function parseLabelSelector(selector: LabelSelectorSpec | undefined): LabelSelector {
  if (selector === undefined) return { empty: false, matches: () => false, toString: () => "" };
  const requirements: Requirement[] = [];
  // Kubernetes takes the labels in no fixed order; which of several errors is told is left open there.
  for (const [key, value] of Object.entries(selector.matchLabels ?? {}).sort(([a], [b]) => compare(a, b))) {
    requirements.push(requirement(key, "=", [value]));
  }
  for (const { key, operator, values } of selector.matchExpressions ?? []) {
    requirements.push(requirement(key, knownOperator(operator), values ?? []));
  }
  requirements.sort((a, b) => compare(a.key, b.key));
  return {
    empty: requirements.length === 0,
    matches: (labels) => requirements.every((requirement) => satisfies(labels ?? {}, requirement)),
    toString: () => requirements.map(printed).join(","),
  };
}

function knownOperator(operator: string): Requirement["operator"] {
  switch (operator) {
    case "In":
    case "NotIn":
    case "Exists":
    case "DoesNotExist":
      return operator;
    default:
      throw new LabelSelectorError(`${goQuote(operator)} is not a valid label selector operator`);
  }
}

/** Most errors that are told of one requirement, which may have 100,000 values. */
const MOST_ERRORS = 100;

function requirement(key: string, operator: Requirement["operator"], values: readonly string[]): Requirement {
  const errors = new Set<string>();
  const keyProblems = labelKeyProblems(key);
  if (keyProblems.length > 0) errors.add(`key: Invalid value: ${goQuote(key)}: ${keyProblems.join("; ")}`);
  if ((operator === "In" || operator === "NotIn") && values.length === 0) {
    errors.add("values: Invalid value: null: for 'in', 'notin' operators, values set can't be empty");
  }
  if ((operator === "Exists" || operator === "DoesNotExist") && values.length > 0) {
    errors.add(
      `values: Invalid value: ${goJson(values)}: values set must be empty for exists and does not exist`,
    );
  }
  for (const [i, value] of values.entries()) {
    if (errors.size > MOST_ERRORS) break;
    const problems = labelValueProblems(value);
    if (problems.length > 0) {
      errors.add(`values[${i}][${key}]: Invalid value: ${goQuote(value)}: ${problems.join("; ")}`);
    }
  }
  if (errors.size > 0) {
    const text = [...errors].join(", ");
    throw new LabelSelectorError(errors.size === 1 ? text : `[${text}]`);
  }
  return {
    key,
    operator,
    values: [...values].sort(compare),
    valueSet: values.length > FEW_VALUES ? new Set(values) : undefined,
  };
}

function satisfies(labels: Readonly<Record<string, string>>, requirement: Requirement): boolean {
  const { key, operator } = requirement;
  const value = Object.hasOwn(labels, key) ? labels[key] : undefined;
  switch (operator) {
    case "=":
    case "In":
      return value !== undefined && includes(requirement, value);
    case "NotIn":
      return value === undefined || !includes(requirement, value);
    case "Exists":
      return value !== undefined;
    case "DoesNotExist":
      return value === undefined;
  }
}

function includes({ values, valueSet }: Requirement, value: string): boolean {
  return valueSet?.has(value) ?? values.includes(value);
}

function printed({ key, operator, values }: Requirement): string {
  switch (operator) {
    case "=":
      return `${key}=${values.join(",")}`;
    case "In":
      return `${key} in (${values.join(",")})`;
    case "NotIn":
      return `${key} notin (${values.join(",")})`;
    case "Exists":
      return key;
    case "DoesNotExist":
      return `!${key}`;
  }
}

const NAME = "(" + "[A-Za-z0-9]" + "[-A-Za-z0-9_.]" + "*)?" + "[A-Za-z0-9]";
const SUBDOMAIN = "[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*";
const NAME_RULE = "must consist of alphanumeric characters, '-', '_' or '.', " +
  "and must start and end with an alphanumeric character";

const NAME_EXAMPLE = `(e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is '${NAME}')`;

/** What is wrong with a label's key (also an annotation's, but for its case), in Kubernetes' words; empty if nothing is. */
export function labelKeyProblems(key: string): string[] {
  const parts = key.split("/");
  const [first = "", second] = parts;
  if (parts.length > 2) {
    return [
      `a valid label key ${NAME_RULE} ${NAME_EXAMPLE} with an optional DNS subdomain prefix and '/' (e.g. 'example.com/MyName')`,
    ];
  }
  const problems: string[] = [];
  if (second !== undefined) problems.push(...prefixProblems(first));
  const name = second ?? first;
  if (name === "") problems.push("name part must be non-empty");
  else if (isLonger(name, 63)) problems.push("name part must be no more than 63 bytes");
  if (!WHOLE_NAME.test(name)) problems.push(`name part ${NAME_RULE} ${NAME_EXAMPLE}`);
  return problems;
}

function prefixProblems(prefix: string): string[] {
  if (prefix === "") return ["prefix part must be non-empty"];
  const problems: string[] = [];
  if (isLonger(prefix, 253)) problems.push("prefix part must be no more than 253 bytes");
  if (!WHOLE_SUBDOMAIN.test(prefix)) {
    problems.push(
      "prefix part a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', " +
        "and must start and end with an alphanumeric character " +
        `(e.g. 'example.com', regex used for validation is '${SUBDOMAIN}')`,
    );
  }
  return problems;
}

/** What is wrong with a label's value, in Kubernetes' words; empty if nothing is. */
export function labelValueProblems(value: string): string[] {
  const problems: string[] = [];
  if (isLonger(value, 63)) problems.push("must be no more than 63 bytes");
  if (value !== "" && !WHOLE_NAME.test(value)) {
    problems.push(
      "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', " +
        "and must start and end with an alphanumeric character " +
        `(e.g. 'MyValue',  or 'my_value',  or '12345', regex used for validation is '(${NAME})?')`,
    );
  }
  return problems;
}

const WHOLE_NAME = new RegExp(`^(?:${NAME})$`);
const WHOLE_SUBDOMAIN = new RegExp(`^(?:${SUBDOMAIN})$`);

/** Whether a text has more bytes in UTF-8. A unit of it has one to three. */
function isLonger(text: string, bytes: number): boolean {
  return text.length > bytes || (text.length * 3 > bytes && new TextEncoder().encode(text).length > bytes);
}

/** JSON as Go writes it. */
function goJson(values: readonly string[]): string {
  return JSON.stringify(values).replaceAll(
    /[<>&\u2028\u2029]/g,
    (character) => `\\u${character.charCodeAt(0).toString(16).padStart(4, "0")}`,
  );
}

/** Keys and values that pass the checks are ASCII, so that this is Go's order too. */
function compare(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0;
}
