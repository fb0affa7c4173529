import { goLowerCase } from "../go_lower_case.ts";
import type {
  AdditionalFormats,
  Bundle,
  BundleSpec,
  LabelSelectorSpec,
  SourceObjectSelector,
  TargetMetadata,
} from "./bundle.ts";
import { jksPassword, pkcs12Password } from "./defaults.ts";
import {
  child,
  type FieldError,
  forbidden,
  invalid,
  invalidTyped,
  required,
  tooLong,
} from "./field_error.ts";
import { labelKeyProblems, labelValueProblems } from "./label_selector.ts";
import { type KeyStoreFormat, passwordProblem } from "./password_problem.ts";

/** Most bytes that all annotations of an object may have (Kubernetes' `TotalAnnotationSizeLimitB`). */
const ANNOTATIONS_LIMIT = 256 * 1024;

/** Most errors that are told of one Bundle. A Bundle of 1 MB may have 100,000, whose text would take 100 MB. */
const MOST_ERRORS = 100;

/** Domains of label and annotation keys that only this project may set on targets. */
const RESERVED_DOMAINS = ["trust.cert-manager.io/", "trust-manager.io/"] as const;

/**
 * What is wrong with a Bundle, in the order and the words of the Go project, and passwords that the API does not allow; empty if
 * nothing is. Pure. What the schema of
 * the CRD refuses already (lengths, numbers of items, types) is not checked again, except where the Go project does.
 * An empty string counts as absent everywhere. Entries of a map are checked in the order of their keys. Of very many errors only
 * the first are told.
 */
export function validateBundle(bundle: Pick<Bundle, "spec"> & { metadata: { name: string } }): FieldError[] {
  const errors: FieldError[] = [];
  for (const error of allErrors(bundle)) {
    if (errors.length === MOST_ERRORS) {
      return [...errors, forbidden("spec", `has more errors than these ${MOST_ERRORS}`)];
    }
    errors.push(error);
  }
  return errors;
}

// All of the following find the next error only when it is asked for.

function* allErrors(bundle: Pick<Bundle, "spec"> & { metadata: { name: string } }): Generator<FieldError> {
  const { spec } = bundle;
  const target = spec.target ?? {};
  yield* sourceErrors(spec);
  yield* sourceIsTargetErrors(bundle.metadata.name, spec);
  yield* outputKeyErrors(target);
  yield* metadataErrors(target.configMap?.metadata, "spec.target.configMap.metadata");
  yield* metadataErrors(target.secret?.metadata, "spec.target.secret.metadata");
  yield* selectorErrors(target.namespaceSelector, "spec.target.namespaceSelector");
  yield* passwordErrors(target.additionalFormats ?? {});
}

function* sourceErrors({ sources }: BundleSpec): Generator<FieldError> {
  let useful = 0; // a request for default CAs that says false is none
  let defaultCas = 0;
  for (const [index, source] of sources.entries()) {
    const path = `spec.sources[${index}]`;
    let types = 0;
    for (const kind of ["configMap", "secret"] as const) {
      const object = source[kind];
      if (object === undefined) continue;
      types++;
      useful++;
      yield* objectErrors(object, kind, `${path}.${kind}`);
    }
    if (isSet(source.inLine)) {
      types++;
      useful++;
    }
    if (source.useDefaultCAs !== undefined) {
      types++;
      defaultCas++;
      if (source.useDefaultCAs) useful++;
    }
    if (types !== 1) {
      const detail = `must define exactly one source type for each item but found ${types} defined types`;
      yield forbidden(path, detail);
    }
  }
  if (useful === 0) yield forbidden("spec.sources", "must define at least one source");
  if (defaultCas > 1) {
    const detail = `must request default CAs either once or not at all but got ${defaultCas} requests`;
    yield forbidden("spec.sources", detail);
  }
}

function* objectErrors(
  object: SourceObjectSelector,
  kind: "configMap" | "secret",
  path: string,
): Generator<FieldError> {
  const { name, selector, key, includeAllKeys = false } = object;
  const oneOf = "must validate one and only one schema (oneOf): [name, selector]. Found";
  if (!isSet(name) && selector === undefined) {
    yield invalid(path, "name: ' ', selector: nil", `${oneOf} none valid`);
  }
  if (isSet(name) && selector !== undefined) {
    yield invalid(path, `name: ${name}, selector: {}`, `${oneOf} both set`);
  }
  if (!isSet(key) && !includeAllKeys) {
    const detail = `source ${kind} key must be defined when includeAllKeys is false`;
    yield invalid(path, "key: ' ', includeAllKeys: false", detail);
  }
  if (isSet(key) && includeAllKeys) {
    const detail = `source ${kind} key cannot be defined when includeAllKeys is true`;
    yield invalid(path, `key: ${key}, includeAllKeys: true`, detail);
  }
  yield* selectorErrors(selector, `${path}.selector`);
}

function* sourceIsTargetErrors(bundleName: string, { sources, target }: BundleSpec): Generator<FieldError> {
  for (const kind of ["configMap", "secret"] as const) {
    const template = target?.[kind];
    if (template === undefined) continue;
    for (const [index, source] of sources.entries()) {
      const object = source[kind];
      if (object === undefined) continue;
      const { name = "", key = "" } = object;
      if (name !== bundleName || key !== template.key) continue;
      const path = child(`spec.sources[${index}]`, kind, name, key);
      yield forbidden(path, "cannot define the same source as target");
    }
  }
}

function* outputKeyErrors(target: NonNullable<BundleSpec["target"]>): Generator<FieldError> {
  const taken = new Set([target.configMap?.key, target.secret?.key]);
  for (const format of ["jks", "pkcs12"] as const) {
    const key = target.additionalFormats?.[format]?.key;
    if (key === undefined) continue;
    if (taken.has(key)) {
      const path = `spec.target.additionalFormats.${format}.key`;
      yield invalid(path, key, "key must be unique across all target output keys");
    }
    taken.add(key);
  }
}

/** The Go project leaves these to the schema. */
function* passwordErrors({ jks, pkcs12 }: AdditionalFormats): Generator<FieldError> {
  const error = (format: KeyStoreFormat, password: string) => {
    const problem = passwordProblem(format, password);
    // Forbidden, because of values that are invalid the value is told.
    return problem === undefined
      ? []
      : [forbidden(`spec.target.additionalFormats.${format}.password`, problem)];
  };
  if (jks !== undefined) yield* error("jks", jksPassword(jks));
  if (pkcs12 !== undefined) yield* error("pkcs12", pkcs12Password(pkcs12));
}

function* metadataErrors(metadata: TargetMetadata | undefined, path: string): Generator<FieldError> {
  const { annotations = {}, labels = {} } = metadata ?? {};

  const annotationsPath = `${path}.annotations`;
  yield* reservedKeyErrors(annotations, annotationsPath, "annotations");
  let bytes = 0;
  for (const [key, value] of sortedEntries(annotations)) {
    bytes += byteLength(key) + byteLength(value);
    // An annotation's key is a label's key of any case.
    for (const problem of labelKeyProblems(goLowerCase(key))) yield invalid(annotationsPath, key, problem);
  }
  if (bytes > ANNOTATIONS_LIMIT) yield tooLong(annotationsPath, ANNOTATIONS_LIMIT);

  const labelsPath = `${path}.labels`;
  yield* reservedKeyErrors(labels, labelsPath, "labels");
  yield* labelErrors(labels, labelsPath);
}

function* reservedKeyErrors(
  map: Readonly<Record<string, string>>,
  path: string,
  what: string,
): Generator<FieldError> {
  for (const [key] of sortedEntries(map)) {
    for (const domain of RESERVED_DOMAINS) {
      if (key.startsWith(domain)) yield invalid(path, key, `${domain}* ${what} are not allowed`);
    }
  }
}

function* labelErrors(labels: Readonly<Record<string, string>>, path: string): Generator<FieldError> {
  for (const [key, value] of sortedEntries(labels)) {
    for (const problem of labelKeyProblems(key)) yield invalid(path, key, problem);
    for (const problem of labelValueProblems(value)) yield invalid(path, value, problem);
  }
}

/** As Kubernetes' `ValidateLabelSelector`. */
function* selectorErrors(selector: LabelSelectorSpec | undefined, path: string): Generator<FieldError> {
  const { matchLabels = {}, matchExpressions = [] } = selector ?? {};
  yield* labelErrors(matchLabels, `${path}.matchLabels`);
  for (const [index, { key, operator, values = [] }] of matchExpressions.entries()) {
    const at = `${path}.matchExpressions[${index}]`;
    if (operator === "In" || operator === "NotIn") {
      if (values.length === 0) {
        yield required(`${at}.values`, "must be specified when `operator` is 'In' or 'NotIn'");
      }
    } else if (operator === "Exists" || operator === "DoesNotExist") {
      if (values.length > 0) {
        const detail = "may not be specified when `operator` is 'Exists' or 'DoesNotExist'";
        yield forbidden(`${at}.values`, detail);
      }
    } else {
      yield invalidTyped(`${at}.operator`, operator, "not a valid selector operator");
    }
    for (const problem of labelKeyProblems(key)) yield invalid(`${at}.key`, key, problem);
    for (const [i, value] of values.entries()) {
      for (const problem of labelValueProblems(value)) yield invalid(`${at}.values[${i}]`, value, problem);
    }
  }
}

function isSet(text: string | undefined): text is string {
  return text !== undefined && text !== "";
}

/** In the order of their keys. (A comparison of our own would take most of the time that a validation takes.) */
function* sortedEntries(map: Readonly<Record<string, string>>): Generator<[string, string]> {
  for (const key of Object.keys(map).sort()) yield [key, map[key] ?? ""];
}

function byteLength(text: string): number {
  // deno-lint-ignore no-control-regex
  if (/^[\x00-\x7f]*$/.test(text)) return text.length;
  return new TextEncoder().encode(text).length;
}
