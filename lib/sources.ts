import { type LabelSelector, parseLabelSelector } from "./api/label_selector.ts";
import type { TargetKind } from "./api/bundle.ts";
import type { Certificate } from "./certs/certificate.ts";
import type { PemResult } from "./certs/pem.ts";
import { type DroppedCertificate, poolOf } from "./certs/pool.ts";
import { subjectOf } from "./certs/subject.ts";
import { goQuote } from "./go_quote.ts";
import type { BundleRecord, SourceReference } from "./records/bundle_record.ts";
import type { SourceRecord } from "./records/source_record.ts";

/** The default CA package, as sources use it. */
export interface DefaultCas {
  /** `<name>-<version>-<hash>`. */
  readonly id: string;
  readonly reading: PemResult;
}

/** Where sources are looked up. */
export interface SourceView {
  readonly trustNamespace: string;
  /** The object of that kind and name in the trust namespace. */
  get(kind: TargetKind, name: string): SourceRecord | undefined;
  /** All objects of that kind in the trust namespace. */
  list(kind: TargetKind): Iterable<SourceRecord>;
  readonly defaultCas: DefaultCas | undefined;
}

/** Which certificates are left out of pools. */
export interface PoolFilters {
  readonly expired: boolean;
  readonly nonCa: boolean;
}

/** Something about a source that an administrator may want to know, though it is no error. */
export interface SourceNotice {
  readonly message: string;
  readonly fields: Readonly<Record<string, string | number>>;
}

/** What the sources of a Bundle come to: the pool of certificates, or the first error. */
export type Gathered =
  | {
    readonly ok: true;
    /** In ascending order of SHA-256, without duplicates; never empty. */
    readonly pool: readonly Certificate[];
    /** Id of the default CA package, if the Bundle uses it. */
    readonly defaultCaVersion: string | undefined;
    readonly notices: readonly SourceNotice[];
  }
  | {
    readonly ok: false;
    readonly reason: "SourceNotFound" | "SourceBuildError";
    readonly message: string;
  };

/** A source that cannot be used. Stays in this file: {@linkcode gather} returns it as a result. */
class SourceError extends Error {
  readonly reason: "SourceNotFound" | "SourceBuildError";

  constructor(reason: "SourceNotFound" | "SourceBuildError", message: string) {
    super(message);
    this.reason = reason;
  }
}

/**
 * Reads the sources of a Bundle, in order, into one pool. Pure.
 *
 * @param now milliseconds since the Unix epoch, against which expiry is judged.
 */
export function gather(bundle: BundleRecord, view: SourceView, filters: PoolFilters, now: number): Gathered {
  const readings: (readonly Certificate[])[] = [];
  const notices: SourceNotice[] = [];
  try {
    for (const source of bundle.sources) readSource(source, view, readings, notices);
  } catch (error) {
    if (error instanceof SourceError) return { ok: false, reason: error.reason, message: error.message };
    throw error;
  }
  const { certificates: pool, dropped } = poolOf(readings, {
    filterNonCa: filters.nonCa,
    ...(filters.expired ? { filterExpiredAt: now } : {}),
  });
  notices.push(...dropped.map(dropNotice));
  if (pool.length === 0) {
    return { ok: false, reason: "SourceNotFound", message: "couldn't find any valid certificates in bundle" };
  }
  const usesDefaultCas = bundle.sources.some((source) => source.type === "defaultCAs");
  return { ok: true, pool, defaultCaVersion: usesDefaultCas ? view.defaultCas?.id : undefined, notices };
}

function readSource(
  source: SourceReference,
  view: SourceView,
  into: (readonly Certificate[])[],
  notices: SourceNotice[],
): void {
  const take = (reading: PemResult, problem: string, where: Record<string, string>) => {
    if (!reading.ok) throw new SourceError("SourceBuildError", `${problem}: ${reading.error}`);
    into.push(reading.certificates);
    notices.push(...readingNotices(reading, where));
  };
  switch (source.type) {
    case "inLine":
      return take(source.reading, "inline source contains invalid PEM data", { source: "inLine" });
    case "defaultCAs":
      if (view.defaultCas === undefined) {
        throw new SourceError(
          "SourceNotFound",
          "no default package was specified when trust-manager was started; default CAs not available",
        );
      }
      return take(view.defaultCas.reading, "default package contains invalid PEM data", {
        source: "default CAs",
      });
    default:
      for (const object of selectObjects(source, view, notices)) {
        for (const key of wantedKeys(source, object, view)) {
          const place = `${source.type} ${view.trustNamespace}/${object.name}`;
          const reading = object.values.get(key);
          if (reading === undefined) {
            throw new SourceError(
              "SourceNotFound",
              `no data found in ${place} at key ${goQuote(key)}`,
            );
          }
          take(reading, `invalid PEM data in ${place} at key ${goQuote(key)}`, { source: place, key });
        }
      }
  }
}

type ObjectSource = Extract<SourceReference, { object: unknown }>;

/** The objects that a source names or selects, in name order. */
function selectObjects(
  { type, object }: ObjectSource,
  view: SourceView,
  notices: SourceNotice[],
): SourceRecord[] {
  const namespace = view.trustNamespace;
  if (object.name !== undefined && object.name !== "") {
    const found = view.get(type, object.name);
    if (found !== undefined) return [found];
    const cause = `${type} ${goQuote(object.name)} not found`;
    throw new SourceError("SourceNotFound", `failed to get ${type} ${namespace}/${object.name}: ${cause}`);
  }
  const selector = sourceSelector(type, object.selector, namespace);
  const selected = [...view.list(type)].filter(({ labels }) => selector.matches(labels));
  if (selected.length === 0) {
    notices.push({
      message: "Label selector of a source matches nothing",
      fields: { kind: type, namespace, selector: String(selector) },
    });
  }
  return selected.sort((a, b) => a.name < b.name ? -1 : 1);
}

function sourceSelector(
  type: TargetKind,
  selector: ObjectSource["object"]["selector"],
  namespace: string,
): LabelSelector {
  try {
    return parseLabelSelector(selector);
  } catch (error) {
    const cause = error instanceof Error ? error.message : String(error);
    throw new SourceError(
      "SourceBuildError",
      `failed to parse label selector as Selector for ${type} in namespace ${namespace}: ${cause}`,
    );
  }
}

/** The keys of one object that a source asks for. */
function wantedKeys({ object }: ObjectSource, found: SourceRecord, view: SourceView): readonly string[] {
  if (object.key !== undefined && object.key !== "") return [object.key];
  if (object.includeAllKeys !== true) return [];
  if (found.isTlsSecret) {
    // All keys of such a Secret include its private key.
    throw new SourceError(
      "SourceBuildError",
      `includeAllKeys is not supported for TLS Secrets such as ${view.trustNamespace}/${found.name}`,
    );
  }
  return [...found.values.keys()].sort();
}

function readingNotices(reading: PemResult & { ok: true }, where: Record<string, string>): SourceNotice[] {
  const notices: SourceNotice[] = [];
  if (reading.skipped.brokenBlocks > 0) {
    notices.push({
      message: "Skipped incomplete or undecodable PEM blocks",
      fields: { ...where, blocks: reading.skipped.brokenBlocks },
    });
  }
  for (const sha256 of reading.skipped.certificates) {
    notices.push({
      message: "Skipped a certificate that is known to be malformed",
      fields: { ...where, sha256 },
    });
  }
  return notices;
}

function dropNotice({ certificate, reason }: DroppedCertificate): SourceNotice {
  return {
    message: reason === "expired" ? "Ignoring expired certificate" : "Ignoring non-CA certificate",
    fields: { subject: subjectOf(certificate), sha256: certificate.sha256 },
  };
}
