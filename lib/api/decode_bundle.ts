import { goQuote } from "../go_quote.ts";
import type {
  AdditionalFormats,
  Bundle,
  BundleSource,
  BundleSpec,
  BundleTarget,
  LabelSelectorSpec,
  Pkcs12Profile,
  SourceObjectSelector,
  TargetMetadata,
  TargetTemplate,
} from "./bundle.ts";

/** An object that is no Bundle: some field has the wrong type. The message names the field, as Kubernetes prints field errors. */
export class BundleDecodeError extends Error {
  override readonly name = "BundleDecodeError";
}

/** What is decoded of a Bundle: what the validation and the warnings look at. */
export interface DecodedBundle {
  readonly metadata: { readonly name: string; readonly deletionTimestamp?: string };
  readonly spec: Bundle["spec"];
}

/**
 * Reads a Bundle of JSON that need not have passed the schema, leniently where Go's decoder is: null is absent (in a list or map,
 * the empty value), unknown fields are dropped. Pure.
 *
 * @throws {BundleDecodeError} on a field of the wrong type.
 */
export function decodeBundle(value: unknown): DecodedBundle {
  const bundle = new Field("", value).fields();
  const metadata = bundle("metadata")?.fields();
  const deletionTimestamp = metadata?.("deletionTimestamp")?.string();
  return {
    metadata: {
      name: metadata?.("name")?.string() ?? "",
      ...(deletionTimestamp === undefined ? {} : { deletionTimestamp }),
    },
    spec: spec(bundle("spec")),
  };
}

function spec(field: Field | undefined): BundleSpec {
  const get = field?.fields();
  const target = get?.("target");
  return {
    sources: get?.("sources")?.list((item) => item === undefined ? {} : source(item)) ?? [],
    ...(target === undefined ? {} : { target: bundleTarget(target) }),
  };
}

function source(field: Field): BundleSource {
  const get = field.fields();
  return defined<BundleSource>({
    configMap: whenGiven(get("configMap"), sourceObject),
    secret: whenGiven(get("secret"), sourceObject),
    inLine: get("inLine")?.string(),
    useDefaultCAs: get("useDefaultCAs")?.boolean(),
  });
}

function sourceObject(field: Field): SourceObjectSelector {
  const get = field.fields();
  return defined<SourceObjectSelector>({
    name: get("name")?.string(),
    selector: whenGiven(get("selector"), labelSelector),
    key: get("key")?.string(),
    includeAllKeys: get("includeAllKeys")?.boolean(),
  });
}

function labelSelector(field: Field): LabelSelectorSpec {
  const get = field.fields();
  return defined<LabelSelectorSpec>({
    matchLabels: get("matchLabels")?.strings(),
    matchExpressions: get("matchExpressions")?.list((item) => {
      const get = item?.fields();
      const values = get?.("values")?.list((value) => value?.string() ?? "");
      return {
        key: get?.("key")?.string() ?? "",
        operator: get?.("operator")?.string() ?? "",
        ...(values === undefined ? {} : { values }),
      };
    }),
  });
}

function bundleTarget(field: Field): BundleTarget {
  const get = field.fields();
  return defined<BundleTarget>({
    configMap: whenGiven(get("configMap"), targetTemplate),
    secret: whenGiven(get("secret"), targetTemplate),
    additionalFormats: whenGiven(get("additionalFormats"), additionalFormats),
    namespaceSelector: whenGiven(get("namespaceSelector"), labelSelector),
  });
}

function targetTemplate(field: Field): TargetTemplate {
  const get = field.fields();
  const metadata = whenGiven(get("metadata"), targetMetadata);
  return { key: get("key")?.string() ?? "", ...(metadata === undefined ? {} : { metadata }) };
}

function targetMetadata(field: Field): TargetMetadata {
  const get = field.fields();
  return defined<TargetMetadata>({
    annotations: get("annotations")?.strings(),
    labels: get("labels")?.strings(),
  });
}

function additionalFormats(field: Field): AdditionalFormats {
  const get = field.fields();
  const store = (field: Field) => {
    const get = field.fields();
    const password = get("password")?.string();
    return { get, key: get("key")?.string() ?? "", ...(password === undefined ? {} : { password }) };
  };
  return defined<AdditionalFormats>({
    jks: whenGiven(get("jks"), (field) => {
      const { get: _, ...jks } = store(field);
      return jks;
    }),
    pkcs12: whenGiven(get("pkcs12"), (field) => {
      const { get, ...pkcs12 } = store(field);
      const profile = get("profile")?.string();
      // The schema has the list of profiles; nothing here depends on it.
      return { ...pkcs12, ...(profile === undefined ? {} : { profile: profile as Pkcs12Profile }) };
    }),
  });
}

function whenGiven<T>(field: Field | undefined, decode: (field: Field) => T): T | undefined {
  return field === undefined ? undefined : decode(field);
}

/** Without the members that are undefined. */
function defined<T extends object>(members: { [K in keyof T]: T[K] | undefined }): T {
  return Object.fromEntries(Object.entries(members).filter(([, value]) => value !== undefined)) as T;
}

/** A JSON value, and where it stands; the whole object stands at the empty path. */
class Field {
  readonly #path: string;
  readonly #value: unknown;

  constructor(path: string, value: unknown) {
    this.#path = path;
    this.#value = value;
  }

  /** Looks up members of an object; an absent one, or null, is undefined. */
  fields(): (name: string) => Field | undefined {
    const members = this.#object();
    return (name) => {
      const value = Object.hasOwn(members, name) ? members[name] : undefined;
      return value === undefined || value === null ? undefined : new Field(this.#member(name), value);
    };
  }

  list<T>(item: (field: Field | undefined) => T): T[] {
    if (!Array.isArray(this.#value)) throw this.#error("a list");
    return this.#value.map((value: unknown, i) =>
      item(value === null ? undefined : new Field(`${this.#path}[${i}]`, value))
    );
  }

  string(): string {
    if (typeof this.#value !== "string") throw this.#error("a string");
    return this.#value;
  }

  boolean(): boolean {
    if (typeof this.#value !== "boolean") throw this.#error("a boolean");
    return this.#value;
  }

  /** An object whose members are strings. Own members only: a label may be called `__proto__`. */
  strings(): Record<string, string> {
    const members = this.#object();
    return Object.fromEntries(
      Object.keys(members).map((name) => {
        const value = members[name] ?? "";
        return [name, typeof value === "string" ? value : new Field(this.#member(name), value).string()];
      }),
    );
  }

  #object(): Readonly<Record<string, unknown>> {
    if (!isObject(this.#value)) throw this.#error("an object");
    return this.#value;
  }

  #member(name: string): string {
    return this.#path === "" ? name : `${this.#path}.${name}`;
  }

  /** The value's type is told and not the value, which may be anything. */
  #error(wanted: string): BundleDecodeError {
    const type = Array.isArray(this.#value) ? "array" : this.#value === null ? "null" : typeof this.#value;
    return new BundleDecodeError(
      `${this.#path || "object"}: Invalid value: ${goQuote(type)}: must be ${wanted}`,
    );
  }
}

function isObject(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}
