import type { Condition, KubeObject } from "../kube/objects.ts";

/** API group and version of {@linkcode Bundle}. */
export const BUNDLE_API_VERSION = "trust.cert-manager.io/v1alpha1";

/** Path of all Bundles; they are cluster scoped. */
export const BUNDLES_PATH = `/apis/${BUNDLE_API_VERSION}/bundles`;

/** Label of every target: the name of its Bundle. */
export const BUNDLE_LABEL = "trust.cert-manager.io/bundle";

/** Annotation of every target: the hash of what it holds. */
export const HASH_ANNOTATION = "trust.cert-manager.io/hash";

/** Annotation of targets with key stores: what their hash does not tell (`layoutOf`). */
export const LAYOUT_ANNOTATION = "trust.cert-manager.io/layout";

/** Annotation that names the Bundle's UID in place of an owner reference, on targets in which others own data too. */
export const BUNDLE_UID_ANNOTATION = "trust.cert-manager.io/bundle-uid";

/** Field manager of all server-side applies. */
export const FIELD_MANAGER = "trust-manager";

/** Type of the one condition of a Bundle. */
export const SYNCED = "Synced";

/** What a target is. */
export type TargetKind = "ConfigMap" | "Secret";

/** `metav1.LabelSelector`. */
export interface LabelSelectorSpec {
  readonly matchLabels?: Readonly<Record<string, string>>;
  readonly matchExpressions?: readonly {
    readonly key: string;
    readonly operator: string;
    readonly values?: readonly string[];
  }[];
}

/** A ConfigMap or Secret in the trust namespace, by `name` or `selector`, and which of its keys. */
export interface SourceObjectSelector {
  readonly name?: string;
  readonly selector?: LabelSelectorSpec;
  readonly key?: string;
  readonly includeAllKeys?: boolean;
}

/** One item of `spec.sources`; exactly one field is set. */
export interface BundleSource {
  readonly configMap?: SourceObjectSelector;
  readonly secret?: SourceObjectSelector;
  /** PEM. */
  readonly inLine?: string;
  readonly useDefaultCAs?: boolean;
}

/** Labels and annotations that every target shall carry. */
export interface TargetMetadata {
  readonly annotations?: Readonly<Record<string, string>>;
  readonly labels?: Readonly<Record<string, string>>;
}

/** Where a target holds the PEM bundle. */
export interface TargetTemplate {
  readonly key: string;
  readonly metadata?: TargetMetadata;
}

/** Names of the encryption profiles of PKCS#12 stores. */
export type Pkcs12Profile = "LegacyRC2" | "LegacyDES" | "Modern2023";

/** Key stores beside the PEM bundle. The API server fills in default passwords. */
export interface AdditionalFormats {
  readonly jks?: { readonly key: string; readonly password?: string };
  readonly pkcs12?: { readonly key: string; readonly password?: string; readonly profile?: Pkcs12Profile };
}

/** `spec.target`. */
export interface BundleTarget {
  readonly configMap?: TargetTemplate;
  readonly secret?: TargetTemplate;
  readonly additionalFormats?: AdditionalFormats;
  /** Absent or empty means every namespace. */
  readonly namespaceSelector?: LabelSelectorSpec;
}

/** `spec`. */
export interface BundleSpec {
  readonly sources: readonly BundleSource[];
  readonly target?: BundleTarget;
}

/** `status`. */
export interface BundleStatus {
  readonly conditions?: readonly Condition[];
  readonly defaultCAVersion?: string;
}

/** A cluster-scoped trust bundle, as the API server returns it. */
export interface Bundle extends KubeObject {
  readonly spec: BundleSpec;
  readonly status?: BundleStatus;
}
