import {
  type Bundle,
  type BundleSource,
  type BundleTarget,
  type SourceObjectSelector,
  SYNCED,
} from "../api/bundle.ts";
import { printFieldErrors } from "../api/field_error.ts";
import { validateBundle } from "../api/validate.ts";
import { type PemOptions, type PemResult, readPem } from "../certs/pem.ts";
import type { Condition } from "../kube/objects.ts";

/** A source of a Bundle; inline text is kept only as what reading it came to. */
export type SourceReference =
  | { readonly type: "ConfigMap" | "Secret"; readonly object: SourceObjectSelector }
  | { readonly type: "inLine"; readonly reading: PemResult }
  | { readonly type: "defaultCAs" };

/** What is kept of a Bundle. */
export interface BundleRecord {
  readonly name: string;
  readonly uid: string;
  readonly generation: number;
  /** Opaque; compared for equality only. */
  readonly resourceVersion: string;
  /** Whether it is being deleted: then its targets are the garbage collector's. */
  readonly deleting: boolean;
  readonly sources: readonly SourceReference[];
  readonly target: BundleTarget;
  /** Why admission would refuse it, in one line; undefined if it would not. (It may have been written while there was none.) */
  readonly refusal: string | undefined;
  /** The stored `Synced` condition. */
  readonly condition: Condition | undefined;
  /** The stored `status.defaultCAVersion`. */
  readonly defaultCaVersion: string | undefined;
}

/** Reads a Bundle, once per change. */
export function readBundle(bundle: Bundle, pem: PemOptions = {}): BundleRecord {
  const { metadata, spec, status } = bundle;
  const problems = validateBundle(bundle);
  return {
    name: metadata.name,
    uid: metadata.uid ?? "",
    generation: metadata.generation ?? 0,
    resourceVersion: metadata.resourceVersion ?? "",
    deleting: metadata.deletionTimestamp !== undefined,
    sources: spec.sources.flatMap((source) => readSource(source, pem)),
    target: spec.target ?? {},
    refusal: problems.length === 0 ? undefined : printFieldErrors(problems),
    condition: status?.conditions?.find((condition) => condition.type === SYNCED),
    defaultCaVersion: status?.defaultCAVersion,
  };
}

/**
 * `useDefaultCAs: false` counts as absent. Of several fields that are set, which only a CRD without rules lets through, the same one
 * counts as in the Go project, for which an empty `inLine` is none.
 */
function readSource(source: BundleSource, pem: PemOptions): SourceReference[] {
  if (source.configMap !== undefined) return [{ type: "ConfigMap", object: source.configMap }];
  if (source.secret !== undefined) return [{ type: "Secret", object: source.secret }];
  const { inLine, useDefaultCAs } = source;
  if (inLine === undefined || (inLine === "" && useDefaultCAs !== undefined)) {
    return useDefaultCAs === true ? [{ type: "defaultCAs" }] : [];
  }
  return [{ type: "inLine", reading: readPem(new TextEncoder().encode(inLine), pem) }];
}
