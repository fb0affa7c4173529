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

/** Domains of label and annotation keys that only this project may set on targets. */
const RESERVED_DOMAINS = ["trust.cert-manager.io/", "trust-manager.io/"] as const;

/**
 * What is wrong with a Bundle, in the order and the words of the Go project, and passwords that key stores cannot have; empty if
 * nothing is. Pure. What the schema of
 * the CRD refuses already (lengths, numbers of items, types) is not checked again, except where the Go project does.
 * An empty string counts as absent everywhere. Entries of a map are checked in the order of their keys.
 */
export function validateBundle(bundle: Pick<Bundle, "spec"> & { metadata: { name: string } }): FieldError[] {
  const { spec } = bundle;
  const target = spec.target ?? {};
  return [
    ...sourceErrors(spec),
    ...sourceIsTargetErrors(bundle.metadata.name, spec),
    ...outputKeyErrors(target),
    ...metadataErrors(target.configMap?.metadata, "spec.target.configMap.metadata"),
    ...metadataErrors(target.secret?.metadata, "spec.target.secret.metadata"),
    ...selectorErrors(target.namespaceSelector, "spec.target.namespaceSelector"),
    ...passwordErrors(target.additionalFormats ?? {}),
  ];
}

function sourceErrors({ sources }: BundleSpec): FieldError[] {
  const errors: FieldError[] = [];
  let useful = 0; // a request for default CAs that says false is none
  let defaultCas = 0;
  sources.forEach((source, index) => {
    const path = `spec.sources[${index}]`;
    let types = 0;
    for (const kind of ["configMap", "secret"] as const) {
      const object = source[kind];
      if (object === undefined) continue;
      types++;
      useful++;
      errors.push(...objectErrors(object, kind, `${path}.${kind}`));
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
      errors.push(forbidden(path, detail));
    }
  });
  if (useful === 0) errors.push(forbidden("spec.sources", "must define at least one source"));
  if (defaultCas > 1) {
    const detail = `must request default CAs either once or not at all but got ${defaultCas} requests`;
    errors.push(forbidden("spec.sources", detail));
  }
  return errors;
}

function objectErrors(
  object: SourceObjectSelector,
  kind: "configMap" | "secret",
  path: string,
): FieldError[] {
  const { name, selector, key, includeAllKeys = false } = object;
  const errors: FieldError[] = [];
  const oneOf = "must validate one and only one schema (oneOf): [name, selector]. Found";
  if (!isSet(name) && selector === undefined) {
    errors.push(invalid(path, "name: ' ', selector: nil", `${oneOf} none valid`));
  }
  if (isSet(name) && selector !== undefined) {
    errors.push(invalid(path, `name: ${name}, selector: {}`, `${oneOf} both set`));
  }
  if (!isSet(key) && !includeAllKeys) {
    const detail = `source ${kind} key must be defined when includeAllKeys is false`;
    errors.push(invalid(path, "key: ' ', includeAllKeys: false", detail));
  }
  if (isSet(key) && includeAllKeys) {
    const detail = `source ${kind} key cannot be defined when includeAllKeys is true`;
    errors.push(invalid(path, `key: ${key}, includeAllKeys: true`, detail));
  }
  errors.push(...selectorErrors(selector, `${path}.selector`));
  return errors;
}

function sourceIsTargetErrors(bundleName: string, { sources, target }: BundleSpec): FieldError[] {
  const errors: FieldError[] = [];
  for (const kind of ["configMap", "secret"] as const) {
    const template = target?.[kind];
    if (template === undefined) continue;
    sources.forEach((source, index) => {
      const object = source[kind];
      if (object === undefined) return;
      const { name = "", key = "" } = object;
      if (name !== bundleName || key !== template.key) return;
      const path = child(`spec.sources[${index}]`, kind, name, key);
      errors.push(forbidden(path, "cannot define the same source as target"));
    });
  }
  return errors;
}

function outputKeyErrors(target: NonNullable<BundleSpec["target"]>): FieldError[] {
  const errors: FieldError[] = [];
  const taken = new Set([target.configMap?.key, target.secret?.key]);
  for (const format of ["jks", "pkcs12"] as const) {
    const key = target.additionalFormats?.[format]?.key;
    if (key === undefined) continue;
    if (taken.has(key)) {
      const path = `spec.target.additionalFormats.${format}.key`;
      errors.push(invalid(path, key, "key must be unique across all target output keys"));
    }
    taken.add(key);
  }
  return errors;
}

/** The Go project has no such check: its users are told nothing, and Java cannot open the store. */
function passwordErrors({ jks, pkcs12 }: AdditionalFormats): FieldError[] {
  const error = (format: KeyStoreFormat, password: string) => {
    const problem = passwordProblem(format, password);
    // Forbidden, because of values that are invalid the value is told.
    return problem === undefined
      ? []
      : [forbidden(`spec.target.additionalFormats.${format}.password`, problem)];
  };
  return [
    ...(jks === undefined ? [] : error("jks", jksPassword(jks))),
    ...(pkcs12 === undefined ? [] : error("pkcs12", pkcs12Password(pkcs12))),
  ];
}

function metadataErrors(metadata: TargetMetadata | undefined, path: string): FieldError[] {
  const { annotations = {}, labels = {} } = metadata ?? {};
  const errors: FieldError[] = [];

  const annotationsPath = `${path}.annotations`;
  errors.push(...reservedKeyErrors(annotations, annotationsPath, "annotations"));
  let bytes = 0;
  for (const [key, value] of sortedEntries(annotations)) {
    bytes += byteLength(key) + byteLength(value);
    // An annotation's key is a label's key of any case.
    errors.push(
      ...labelKeyProblems(goLowerCase(key)).map((problem) => invalid(annotationsPath, key, problem)),
    );
  }
  if (bytes > ANNOTATIONS_LIMIT) errors.push(tooLong(annotationsPath, ANNOTATIONS_LIMIT));

  const labelsPath = `${path}.labels`;
  errors.push(...reservedKeyErrors(labels, labelsPath, "labels"), ...labelErrors(labels, labelsPath));
  return errors;
}

function reservedKeyErrors(map: Readonly<Record<string, string>>, path: string, what: string): FieldError[] {
  return sortedEntries(map).flatMap(([key]) =>
    RESERVED_DOMAINS.filter((domain) => key.startsWith(domain))
      .map((domain) => invalid(path, key, `${domain}* ${what} are not allowed`))
  );
}

function labelErrors(labels: Readonly<Record<string, string>>, path: string): FieldError[] {
  return sortedEntries(labels).flatMap(([key, value]) => [
    ...labelKeyProblems(key).map((problem) => invalid(path, key, problem)),
    ...labelValueProblems(value).map((problem) => invalid(path, value, problem)),
  ]);
}

/** As Kubernetes' `ValidateLabelSelector`. */
function selectorErrors(selector: LabelSelectorSpec | undefined, path: string): FieldError[] {
  if (selector === undefined) return [];
  const errors = labelErrors(selector.matchLabels ?? {}, `${path}.matchLabels`);
  selector.matchExpressions?.forEach(({ key, operator, values = [] }, index) => {
    const at = `${path}.matchExpressions[${index}]`;
    if (operator === "In" || operator === "NotIn") {
      if (values.length === 0) {
        errors.push(required(`${at}.values`, "must be specified when `operator` is 'In' or 'NotIn'"));
      }
    } else if (operator === "Exists" || operator === "DoesNotExist") {
      if (values.length > 0) {
        const detail = "may not be specified when `operator` is 'Exists' or 'DoesNotExist'";
        errors.push(forbidden(`${at}.values`, detail));
      }
    } else {
      errors.push(invalidTyped(`${at}.operator`, operator, "not a valid selector operator"));
    }
    errors.push(...labelKeyProblems(key).map((problem) => invalid(`${at}.key`, key, problem)));
    values.forEach((value, i) => {
      errors.push(
        ...labelValueProblems(value).map((problem) => invalid(`${at}.values[${i}]`, value, problem)),
      );
    });
  });
  return errors;
}

function isSet(text: string | undefined): text is string {
  return text !== undefined && text !== "";
}

function sortedEntries(map: Readonly<Record<string, string>>): [string, string][] {
  return Object.entries(map).sort(([a], [b]) => a < b ? -1 : 1);
}

function byteLength(text: string): number {
  return new TextEncoder().encode(text).length;
}
