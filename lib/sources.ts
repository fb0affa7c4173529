import { type LabelSelector, parseLabelSelector } from "./api/label_selector.ts";
import { BUNDLE_LABEL, type TargetKind } from "./api/bundle.ts";
import { APPEARANCES } from "./certs/appearance.ts";
import type { Certificate } from "./certs/certificate.ts";
import type { PemCertificates, PemResult } from "./certs/pem.ts";
import { type DroppedCertificate, poolOf } from "./certs/pool.ts";
import { subjectOf } from "./certs/subject.ts";
import { goQuote } from "./go_quote.ts";
import { isOwnOutput } from "./own_output.ts";
import type { BundleRecord, SourceReference } from "./records/bundle_record.ts";
import type { SourceRecord } from "./records/source_record.ts";
import { brief } from "./source_details.ts";

/** The default CA package, as sources use it. */
export interface DefaultCas {
  /** `<name>-<version>-<hash>`. */
  readonly id: string;
  readonly reading: PemResult;
}

/** Bundles each of which reads the target of the next, and the last that of the first. */
export interface SourceCycle {
  /** All Bundles of which each can be reached from each, by name. */
  readonly members: ReadonlySet<string>;
  /** One shortest way round, from the Bundle that was asked for to itself, without it at the end. */
  readonly path: readonly string[];
}

/** Where sources are looked up. */
export interface SourceView {
  readonly trustNamespace: string;
  /** The object of that kind and name in the trust namespace. */
  get(kind: TargetKind, name: string): SourceRecord | undefined;
  /** All objects of that kind in the trust namespace. */
  list(kind: TargetKind): Iterable<SourceRecord>;
  readonly defaultCas: DefaultCas | undefined;
  /** The Bundle of that name. */
  bundle(name: string): BundleRecord | undefined;
  /** The cycle that a Bundle is in; undefined if it is in none. */
  cycle(bundle: string): SourceCycle | undefined;
}

/** Which certificates are left out of pools. */
export interface PoolFilters {
  readonly expired: boolean;
  readonly nonCa: boolean;
}

/** Something about a source that an administrator may want to know, though it is no error. */
export interface SourceNotice {
  /** For the log: constant. */
  readonly message: string;
  readonly fields: Readonly<Record<string, string | number>>;
  /** The same for conditions and events, in one phrase. Never holds anything of a source but certificates' names. */
  readonly detail: string;
  /** Reason of the event that tells it; undefined if only the log does. */
  readonly event?: NoticeReason;
}

/** Reasons of the events that notices are told by. */
export type NoticeReason = "EmptySource" | "OwnTargetAsSource" | "TargetSelected" | "SourceCycle";

/** What is known of the sources of a Bundle beside the pool. */
export interface SourceFacts {
  readonly notices: readonly SourceNotice[];
  /** How many sources, or keys of them, give no certificate, or less than seems to be in them. */
  readonly emptySources: number;
  /** How many Bundles there are in the cycle that the Bundle is in: 1 if it only reads what it wrote itself, 0 if in none. */
  readonly cycleSize: number;
}

/** What the sources of a Bundle come to: the pool of certificates, or the first error. */
export type Gathered =
  & SourceFacts
  & ({
    readonly ok: true;
    /** In ascending order of SHA-256, without duplicates; never empty. */
    readonly pool: readonly Certificate[];
    /** Id of the default CA package, if the Bundle uses it. */
    readonly defaultCaVersion: string | undefined;
  } | {
    readonly ok: false;
    readonly reason: SourceFailure["reason"];
    /** In the words of the Go project. */
    readonly message: string;
    /** What else there is to say, to be put after the message: bounded, and empty if there is nothing. */
    readonly details: string;
  });

/** A source that cannot be used. */
interface SourceFailure {
  readonly reason: "SourceNotFound" | "SourceBuildError";
  readonly message: string;
}

/** Where a certificate comes from, or something is missing: fields of the log, and in words. */
interface Place {
  readonly fields: Readonly<Record<string, string>>;
  readonly text: string;
}

/** What one pass over sources has found so far. */
interface Findings {
  readonly readings: { readonly place: Place; readonly certificates: readonly Certificate[] }[];
  readonly failures: SourceFailure[];
  readonly notices: SourceNotice[];
  emptySources: number;
  readsOwnTarget: boolean;
  /** Other Bundles of the cycle, by name, whose sources are read in the place of their targets. */
  readonly through: Set<string>;
}

/**
 * Reads the sources of a Bundle, in order, into one pool. Pure.
 *
 * What the operator itself wrote for the Bundle is no source of it, and in the place of the target of another Bundle in the same
 * cycle that Bundle's own sources are read: a certificate that only goes round would never leave (ADR 15).
 *
 * @param now milliseconds since the Unix epoch, against which expiry is judged.
 */
export function gather(bundle: BundleRecord, view: SourceView, filters: PoolFilters, now: number): Gathered {
  const cycle = view.cycle(bundle.name);
  const found = newFindings();
  for (const source of bundle.sources) readSource(source, bundle, view, cycle, found);
  if (cycle !== undefined) readRound(bundle, view, cycle, found);
  const { failures, readings, notices } = found;
  const { certificates: pool, dropped } = poolOf(readings.map(({ certificates }) => certificates), {
    filterNonCa: filters.nonCa,
    ...(filters.expired ? { filterExpiredAt: now } : {}),
  });
  if (dropped.length > 0) notices.push(...dropNotices(dropped, readings));
  if (cycle !== undefined) notices.push(cycleNotice(cycle));
  const facts: SourceFacts = {
    notices,
    emptySources: found.emptySources,
    cycleSize: cycle?.members.size ?? (found.readsOwnTarget ? 1 : 0),
  };
  const [first, ...others] = failures;
  if (first !== undefined) {
    const messages = new Set(others.map(({ message }) => message));
    messages.delete(first.message);
    const details = brief("; also ", [...messages]);
    return { ok: false, ...first, details, ...facts };
  }
  if (pool.length === 0) {
    return {
      ok: false,
      reason: "SourceNotFound",
      message: "couldn't find any valid certificates in bundle",
      details: brief(": ", notices.map(({ detail }) => detail)),
      ...facts,
    };
  }
  const usesDefaultCas = bundle.sources.some((source) => source.type === "defaultCAs");
  return { ok: true, pool, defaultCaVersion: usesDefaultCas ? view.defaultCas?.id : undefined, ...facts };
}

function newFindings(): Findings {
  return {
    readings: [],
    failures: [],
    notices: [],
    emptySources: 0,
    readsOwnTarget: false,
    through: new Set(),
  };
}

/** Reads the sources of the other Bundles of the cycle that a Bundle reads, each once. Notices about them are told of themselves. */
function readRound(bundle: BundleRecord, view: SourceView, cycle: SourceCycle, into: Findings): void {
  const names = new Set(into.through);
  // Of the same source, each of them comes to the same but for targets of the cycle. Very many may have the same selector.
  const done = new Set(bundle.sources.flatMap((source) => "object" in source ? [identityOf(source)] : []));
  // What is added to a set while it is gone through is gone through, too.
  for (const name of names) {
    const other = name === bundle.name ? undefined : view.bundle(name);
    if (other === undefined) continue;
    const found = newFindings();
    for (const source of other.sources) {
      if (source.type === "ConfigMap" || source.type === "Secret") {
        const same = identityOf(source);
        if (done.has(same)) continue;
        done.add(same);
      }
      readSource(source, other, view, cycle, found);
    }
    into.readings.push(...found.readings);
    into.failures.push(...found.failures.map(({ reason, message }) => ({
      reason,
      message: `${message} (a source of Bundle ${goQuote(name)}, whose target is read in a cycle)`,
    })));
    found.through.forEach((next) => names.add(next));
  }
}

function identityOf({ type, object }: ObjectSource): string {
  return JSON.stringify([type, object]);
}

function readSource(
  source: SourceReference,
  bundle: BundleRecord,
  view: SourceView,
  cycle: SourceCycle | undefined,
  into: Findings,
): void {
  switch (source.type) {
    case "inLine":
      return take(source.reading, "inline source contains invalid PEM data", INLINE, into);
    case "defaultCAs":
      if (view.defaultCas === undefined) {
        into.failures.push({
          reason: "SourceNotFound",
          message:
            "no default package was specified when trust-manager was started; default CAs not available",
        });
        return;
      }
      return take(
        view.defaultCas.reading,
        "default package contains invalid PEM data",
        { fields: { source: "default CAs" }, text: "default CAs" },
        into,
      );
    default:
      for (const object of selectObjects(source, view, into)) {
        readObject(source, object, bundle, view, cycle, into);
      }
  }
}

const INLINE: Place = { fields: { source: "inLine" }, text: "inline source" };

type ObjectSource = Extract<SourceReference, { object: unknown }>;

function readObject(
  source: ObjectSource,
  object: SourceRecord,
  bundle: BundleRecord,
  view: SourceView,
  cycle: SourceCycle | undefined,
  into: Findings,
): void {
  const where = `${source.type} ${view.trustNamespace}/${object.name}`;
  const own: string[] = [];
  for (const key of wantedKeys(source, object, view, into)) {
    const reading = object.values.get(key);
    if (reading === undefined) {
      const message = `no data found in ${where} at key ${goQuote(key)}`;
      into.failures.push({ reason: "SourceNotFound", message });
      continue;
    }
    if (isOwnOutput(bundle, source.type, object, key)) {
      own.push(key);
      continue;
    }
    const writer = outputOf(object, key);
    if (writer !== undefined) {
      if (cycle?.members.has(writer) && givesCertificates(reading)) {
        into.through.add(writer);
        continue;
      }
      // Of all keys, key stores are no PEM; nobody asked for them by name.
      if (!isSet(source.object.key) && reading.ok && !givesCertificates(reading)) continue;
    }
    const place = { fields: { source: where, key }, text: `${where}, key ${goQuote(key)}` };
    take(reading, `invalid PEM data in ${where} at key ${goQuote(key)}`, place, into);
  }
  if (own.length > 0) {
    into.readsOwnTarget = true;
    into.notices.push({
      message: "A source is the Bundle's own target, which is not read",
      fields: { source: where, keys: own.join(",") },
      detail: `${where}, ${own.length === 1 ? "key" : "keys"} ${own.map(goQuote).join(", ")}: ` +
        "is the Bundle's own target, which is not read",
      event: "OwnTargetAsSource",
    });
  }
}

/** Whose output a key of an object is; undefined if it is a user's. */
function outputOf({ output }: SourceRecord, key: string): string | undefined {
  return output?.keys.includes(key) ? output.bundle : undefined;
}

function givesCertificates(reading: PemResult): boolean {
  return reading.ok && reading.certificates.length > 0;
}

/**
 * Tells of objects whether a Bundle reads certificates there that the operator wrote for another Bundle. To be asked about many objects:
 * selectors are parsed once. A bad one selects nothing.
 */
export function outputReader(bundle: BundleRecord): (kind: TargetKind, object: SourceRecord) => boolean {
  const sources = bundle.sources.flatMap((source) => {
    if (source.type === "inLine" || source.type === "defaultCAs") return [];
    const { type, object: { name, selector, key, includeAllKeys } } = source;
    const wanted = isSet(key) ? [key] : undefined;
    if (wanted === undefined && includeAllKeys !== true) return [];
    if (isSet(name)) return [{ type, wanted, selects: (object: SourceRecord) => object.name === name }];
    try {
      const { matches } = parseLabelSelector(selector);
      return [{ type, wanted, selects: ({ labels }: SourceRecord) => matches(labels) }];
    } catch {
      return [];
    }
  });
  return (kind, object) => {
    const { output, values, isTlsSecret } = object;
    if (output === undefined || output.bundle === bundle.name) return false;
    return sources.some(({ type, wanted, selects }) => {
      if (type !== kind || !selects(object)) return false;
      const keys = wanted ?? (isTlsSecret ? [] : output.keys);
      return keys.some((key) => {
        const reading = output.keys.includes(key) ? values.get(key) : undefined;
        return reading !== undefined && givesCertificates(reading);
      });
    });
  };
}

function isSet(text: string | undefined): text is string {
  return text !== undefined && text !== "";
}

function take(reading: PemResult, problem: string, place: Place, into: Findings): void {
  if (!reading.ok) {
    into.failures.push({ reason: "SourceBuildError", message: `${problem}: ${reading.error}` });
    return;
  }
  const { certificates, skipped } = reading;
  into.readings.push({ place, certificates });
  const givesNothing = certificates.length === 0 && skipped.certificates.length === 0;
  if (skipped.appearance !== undefined || skipped.brokenBlocks > 0 || givesNothing) {
    into.emptySources++;
    into.notices.push(emptyNotice(reading, place));
  }
  for (const sha256 of skipped.certificates) {
    into.notices.push({
      message: "Skipped a certificate that is known to be malformed",
      fields: { ...place.fields, sha256 },
      detail: `${place.text}: skipped a certificate with a negative serial number (SHA-256 ${sha256})`,
    });
  }
}

function emptyNotice({ certificates, skipped }: PemCertificates, { fields, text }: Place): SourceNotice {
  const { brokenBlocks, appearance } = skipped;
  const { looksLike, advice } = APPEARANCES[appearance ?? (brokenBlocks > 0 ? "damaged" : "empty")];
  const lost = brokenBlocks > 0
    ? `${brokenBlocks} PEM ${brokenBlocks === 1 ? "block is" : "blocks are"} skipped`
    : "";
  const what = certificates.length === 0
    ? "gives no certificate"
    : lost === ""
    ? "gives not all that is in it"
    : lost;
  return {
    message: brokenBlocks > 0
      ? "Skipped incomplete or undecodable PEM blocks"
      : certificates.length === 0
      ? "A source gives no certificate"
      : "A source gives not all that is in it",
    fields: { ...fields, ...(brokenBlocks > 0 ? { blocks: brokenBlocks } : {}), looksLike, advice },
    detail: `${text}: ${what}; it ${looksLike}: ${advice}`,
    event: "EmptySource",
  };
}

/** The objects that a source names or selects, in name order. */
function selectObjects({ type, object }: ObjectSource, view: SourceView, into: Findings): SourceRecord[] {
  const namespace = view.trustNamespace;
  if (isSet(object.name)) {
    const found = view.get(type, object.name);
    if (found !== undefined) return [found];
    const cause = `${type} ${goQuote(object.name)} not found`;
    const message = `failed to get ${type} ${namespace}/${object.name}: ${cause}`;
    into.failures.push({ reason: "SourceNotFound", message });
    return [];
  }
  const selector = sourceSelector(type, object.selector, namespace, into);
  if (selector === undefined) return [];
  const selected = [...view.list(type)].filter(({ labels }) => selector.matches(labels));
  if (selected.length === 0) {
    into.emptySources++;
    into.notices.push({
      message: "Label selector of a source matches nothing",
      fields: { kind: type, namespace, selector: String(selector) },
      detail: `selector ${goQuote(shortened(String(selector)))} of ${type}s: matches nothing`,
    });
  }
  const targets = selected.filter(({ labels, output }) =>
    output !== undefined || Object.hasOwn(labels, BUNDLE_LABEL)
  );
  if (targets.length > 0) into.notices.push(selectedTargets(targets, type, String(selector), namespace));
  return selected.sort((a, b) => a.name < b.name ? -1 : 1);
}

/** How many names a message has at most. */
const MOST_NAMES = 10;

function selectedTargets(
  targets: readonly SourceRecord[],
  kind: TargetKind,
  selector: string,
  namespace: string,
): SourceNotice {
  const names = targets.map(({ name }) => name).sort();
  const shown = names.slice(0, MOST_NAMES).join(", ");
  const more = names.length > MOST_NAMES ? ` and ${names.length - MOST_NAMES} more` : "";
  return {
    message: "Label selector of a source matches targets of Bundles",
    fields: { kind, namespace, selector, targets: `${shown}${more}` },
    detail: `selector ${
      goQuote(shortened(selector))
    } of ${kind}s matches targets of Bundles: ${shown}${more}`,
    event: "TargetSelected",
  };
}

function sourceSelector(
  type: TargetKind,
  selector: ObjectSource["object"]["selector"],
  namespace: string,
  into: Findings,
): LabelSelector | undefined {
  try {
    return parseLabelSelector(selector);
  } catch (error) {
    const cause = error instanceof Error ? error.message : String(error);
    const message =
      `failed to parse label selector as Selector for ${type} in namespace ${namespace}: ${cause}`;
    into.failures.push({ reason: "SourceBuildError", message });
    return undefined;
  }
}

/** The keys of one object that a source asks for. */
function wantedKeys(
  { object }: ObjectSource,
  found: SourceRecord,
  view: SourceView,
  into: Findings,
): readonly string[] {
  if (isSet(object.key)) return [object.key];
  if (object.includeAllKeys !== true) return [];
  if (found.isTlsSecret) {
    // All keys of such a Secret include its private key.
    const message =
      `includeAllKeys is not supported for TLS Secrets such as ${view.trustNamespace}/${found.name}`;
    into.failures.push({ reason: "SourceBuildError", message });
    return [];
  }
  return [...found.values.keys()].sort();
}

function dropNotices(
  dropped: readonly DroppedCertificate[],
  readings: Findings["readings"],
): SourceNotice[] {
  const places = new Map<string, Place>();
  for (const { place, certificates } of readings) {
    for (const { sha256 } of certificates) if (!places.has(sha256)) places.set(sha256, place);
  }
  return dropped.map(({ certificate, reason }) => {
    const { sha256, notAfter } = certificate;
    const subject = subjectOf(certificate);
    const { fields = {}, text = "" } = places.get(sha256) ?? {};
    const why = reason === "expired"
      ? `expired on ${new Date(notAfter).toISOString().slice(0, 10)} and is filtered`
      : "is not of a CA and is filtered";
    return {
      message: reason === "expired" ? "Ignoring expired certificate" : "Ignoring non-CA certificate",
      fields: { subject, sha256, ...fields },
      detail: `${text}: ${shortened(subject)} (SHA-256 ${sha256}) ${why}`,
    };
  });
}

function cycleNotice({ members, path }: SourceCycle): SourceNotice {
  const names = path.length > MOST_NAMES ? [...path.slice(0, MOST_NAMES), "…"] : path;
  const way = [...names, path[0] ?? ""].join(" → ");
  return {
    message: "Bundles read each other's targets in a cycle",
    fields: { cycle: way, bundles: members.size },
    detail: `Bundles read each other's targets in a cycle (${way})`,
    event: "SourceCycle",
  };
}

function shortened(text: string): string {
  return text.length > 100 ? `${text.slice(0, 99)}…` : text;
}
