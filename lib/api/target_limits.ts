import { goLowerCase } from "../go_lower_case.ts";
import {
  type AdditionalFormats,
  BUNDLE_LABEL,
  HASH_ANNOTATION,
  LAYOUT_ANNOTATION,
  type TargetKind,
  type TargetMetadata,
  type TargetTemplate,
} from "./bundle.ts";
import { invalid, printFieldErrors } from "./field_error.ts";
import { labelKeyProblems, labelValueProblems } from "./label_selector.ts";
import type { KeyStoreFormat } from "./password_problem.ts";

/** What the API server would take in no target of a Bundle, whatever its namespace and its certificates. */
export interface TargetLimits {
  /** Why nothing at all can be written, each beginning with the path of a field; empty if something can. */
  readonly whole: readonly string[];
  /** Why a key store cannot be in the target, likewise. */
  readonly stores: Readonly<Partial<Record<KeyStoreFormat, string>>>;
}

/** Longest value of a label, in characters. */
const MAX_LABEL_VALUE = 63;

/** Longest data key of a ConfigMap or Secret, in characters. */
const MAX_DATA_KEY = 253;

/** Most bytes that the keys and values of all annotations of an object may have (Kubernetes' `TotalAnnotationSizeLimitB`). */
export const MAX_ANNOTATION_BYTES = 256 * 1024;

/** Size of the hash annotation: SHA-256 in hexadecimal digits, and its key. */
const HASH_ANNOTATION_BYTES = HASH_ANNOTATION.length + 64;

/** Size of the layout annotation, which targets with key stores have. */
const LAYOUT_ANNOTATION_BYTES = LAYOUT_ANNOTATION.length + 16;

/**
 * Looks at all that goes into the targets of one kind with the eyes of the API server (`ValidateConfigMap`, `ValidateSecret` and
 * `ValidateObjectMeta` of Kubernetes 1.37), but for sizes that depend on the certificates. Pure.
 *
 * @param bundleName becomes the name of the target, and the value of a label.
 */
export function targetLimits(
  bundleName: string,
  kind: TargetKind,
  template: TargetTemplate,
  formats: AdditionalFormats = {},
): TargetLimits {
  const path = `spec.target.${kind === "ConfigMap" ? "configMap" : "secret"}`;
  const whole: string[] = [];
  // A Bundle's name is a DNS subdomain, so that nothing but its length can be wrong.
  if (bundleName.length > MAX_LABEL_VALUE) {
    whole.push(
      `metadata.name: has ${bundleName.length} characters, but is the value of the label ${BUNDLE_LABEL} on each target, which ` +
        `takes ${MAX_LABEL_VALUE}; create the Bundle under a shorter name`,
    );
  }
  const keyProblem = dataKeyProblem(template.key);
  if (keyProblem !== undefined) whole.push(`${path}.key: ${keyProblem}`);
  const hasStores = formats.jks !== undefined || formats.pkcs12 !== undefined;
  const ownBytes = HASH_ANNOTATION_BYTES + (hasStores ? LAYOUT_ANNOTATION_BYTES : 0);
  whole.push(...metadataProblems(template.metadata ?? {}, `${path}.metadata`, ownBytes));

  const stores: Partial<Record<KeyStoreFormat, string>> = {};
  const taken = new Set([template.key]);
  for (const format of ["jks", "pkcs12"] as const) {
    const key = formats[format]?.key;
    if (key === undefined) continue;
    const problem = dataKeyProblem(key) ?? (taken.has(key) ? "is the key of another output" : undefined);
    if (problem !== undefined) stores[format] = `spec.target.additionalFormats.${format}.key: ${problem}`;
    taken.add(key);
  }
  return { whole, stores };
}

/** What is wrong with a data key (Kubernetes' `IsConfigMapKey`, of Secrets too). It is not quoted: its field is named. */
function dataKeyProblem(key: string): string | undefined {
  if (key.length > MAX_DATA_KEY) return `has more than ${MAX_DATA_KEY} characters`;
  if (!/^[-._a-zA-Z0-9]+$/.test(key)) {
    return "is no key that ConfigMaps and Secrets can have: use only letters, digits, '-', '_' and '.'";
  }
  if (key === "." || key.startsWith("..")) {
    return "is no key that ConfigMaps and Secrets can have: it must not be '.' or start with '..'";
  }
  return undefined;
}

/**
 * One problem of labels and one of annotations at most: a Bundle of 1 MB may have 100,000.
 *
 * @param ownBytes size of the annotations that the operator adds.
 */
function metadataProblems(
  { annotations = {}, labels = {} }: TargetMetadata,
  path: string,
  ownBytes: number,
): string[] {
  const problems: string[] = [];
  const add = (field: string, value: string, [problem]: readonly string[]) => {
    if (problem === undefined) return false;
    problems.push(printFieldErrors([invalid(field, value, problem)]));
    return true;
  };
  // What the user sets of these is overruled.
  const { [HASH_ANNOTATION]: _hash, [LAYOUT_ANNOTATION]: _layout, ...asked } = annotations;
  const { [BUNDLE_LABEL]: _bundle, ...askedLabels } = labels;
  Object.keys(asked).sort().some((key) =>
    add(`${path}.annotations`, key, labelKeyProblems(goLowerCase(key)))
  );
  Object.entries(askedLabels).sort(([a], [b]) => a < b ? -1 : 1).some(([key, value]) =>
    add(`${path}.labels`, key, labelKeyProblems(key)) ||
    add(`${path}.labels`, value, labelValueProblems(value))
  );
  let bytes = ownBytes;
  for (const [key, value] of Object.entries(asked)) bytes += byteLength(key) + byteLength(value);
  if (bytes > MAX_ANNOTATION_BYTES) {
    problems.push(
      `${path}.annotations: have ${bytes} bytes together with the operator's own, more than the ${MAX_ANNOTATION_BYTES} that ` +
        "an object may have",
    );
  }
  return problems;
}

function byteLength(text: string): number {
  return new TextEncoder().encode(text).length;
}
