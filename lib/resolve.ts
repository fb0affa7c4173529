import {
  BUNDLE_API_VERSION,
  BUNDLE_LABEL,
  BUNDLE_UID_ANNOTATION,
  HASH_ANNOTATION,
  LAYOUT_ANNOTATION,
  type TargetKind,
  type TargetTemplate,
} from "./api/bundle.ts";
import { type LabelSelector, parseLabelSelector } from "./api/label_selector.ts";
import { targetLimits } from "./api/target_limits.ts";
import type { Certificate } from "./certs/certificate.ts";
import { pemOf } from "./certs/pem_of.ts";
import { earliestNotAfter } from "./certs/pool.ts";
import { targetHash } from "./hash.ts";
import type { OwnerReference } from "./kube/objects.ts";
import {
  type EncodedKeyStores,
  encodeKeyStores,
  type KeyStore,
  type KeyStoreEncoder,
  keyStoreNotices,
} from "./key_stores.ts";
import { layoutOf } from "./layout.ts";
import type { BundleRecord } from "./records/bundle_record.ts";
import { ownedFields } from "./records/target_record.ts";
import { gather, type PoolFilters, type SourceFacts, type SourceView } from "./sources.ts";

/** What the targets of one kind must hold. */
export interface TargetContent {
  readonly kind: TargetKind;
  /** Value of the hash annotation. */
  readonly hash: string;
  /** The data keys. */
  readonly keys: readonly string[];
  /** The fields that are applied, as `ownedFields` writes them. */
  readonly owned: string;
  /** Value of the layout annotation; undefined without key stores: then there is no such annotation. */
  readonly layout: string | undefined;
  /** Body of the server-side apply, without a namespace: encoded once, the same bytes for every namespace. */
  readonly body: Uint8Array<ArrayBuffer>;
  /** Why targets cannot hold all that the Bundle asks for, whatever their namespace; absent if they can. */
  readonly shortfall?: string;
  /** Whether the API server would take nothing at all: then targets stay as they are, and the body is empty. */
  readonly frozen?: true;
}

/** What all targets of a Bundle must hold, until a source or the Bundle changes. */
export interface Version {
  readonly pool: readonly Certificate[];
  readonly contents: readonly TargetContent[];
  readonly keyStores: readonly KeyStore[];
  /** The earliest `notAfter` of the pool, in milliseconds since the Unix epoch. */
  readonly earliestExpiry: number;
}

/** What stops a Bundle from being synced. Its targets stay as they are. */
export interface Problem {
  /** Reason of the condition and of the event. */
  readonly reason: string;
  /** Message of the condition and of the event. */
  readonly message: string;
  /** Whether to try again without waiting for an event. */
  readonly retry: boolean;
}

/** What a pass over a Bundle found. */
export type Resolution =
  & SourceFacts
  & (
    | { readonly ok: false; readonly problem: Problem }
    | {
      readonly ok: true;
      readonly version: Version;
      readonly selector: LabelSelector;
      readonly defaultCaVersion: string | undefined;
    }
  );

/** What {@linkcode resolve} is told beside the Bundle. */
export interface ResolveOptions {
  readonly view: SourceView;
  readonly filters: PoolFilters;
  readonly secretTargetsEnabled: boolean;
  /** Milliseconds since the Unix epoch. */
  readonly now: number;
  /** Needed if the Bundle asks for key stores. */
  readonly encodeKeyStore?: KeyStoreEncoder;
  /** What the last pass over this same Bundle found; its version is kept if nothing in it has changed. */
  readonly previous?: { readonly bundle: BundleRecord; readonly resolution: Resolution };
}

/** Data of a ConfigMap or Secret may sum up to this many bytes (`MaxSecretSize` of the Kubernetes API). */
const MAX_DATA_BYTES = 1024 * 1024;

/** What the targets of `bundle` must hold, and where. Pure; writes nothing. */
export function resolve(bundle: BundleRecord, options: ResolveOptions): Resolution {
  const gathered = gather(bundle, options.view, options.filters, options.now);
  const { notices, emptySources, cycleSize } = gathered;
  const problem = (reason: string, message: string, retry: boolean): Resolution => ({
    ok: false,
    problem: { reason, message, retry },
    notices,
    emptySources,
    cycleSize,
  });
  if (!gathered.ok) {
    const notFound = gathered.reason === "SourceNotFound";
    const prefix = notFound ? "Bundle source was not found" : "Failed to build bundle sources";
    return problem(gathered.reason, `${prefix}: ${gathered.message}${gathered.details}`, !notFound);
  }
  if (bundle.target.secret !== undefined && !options.secretTargetsEnabled) {
    return problem("SecretTargetsDisabled", "Bundle has Secret targets but the feature is disabled", false);
  }
  let selector: LabelSelector;
  try {
    // Absent means every namespace, as empty does.
    selector = parseLabelSelector(bundle.target.namespaceSelector ?? {});
  } catch (error) {
    return problem(
      "NamespaceSelectorError",
      `Failed to build namespace match labels selector: ${messageOf(error)}`,
      false,
    );
  }
  const former = sameVersionPool(gathered.pool, options.previous);
  const version = former !== undefined && isSameBundle(bundle, options.previous?.bundle)
    ? former
    : encodeVersion(bundle, gathered.pool, options.encodeKeyStore, former?.keyStores ?? []);
  const { defaultCaVersion } = gathered;
  const unreadable = version === former || version.keyStores.length === 0
    ? []
    : keyStoreNotices(version.pool).map((notice) => ({ ...notice, detail: notice.message }));
  return {
    ok: true,
    version,
    selector,
    defaultCaVersion,
    notices: [...notices, ...unreadable],
    emptySources,
    cycleSize,
  };
}

/** The version of the last pass, if its pool is the same. Encoding is the dear part of a pass. */
function sameVersionPool(
  pool: readonly Certificate[],
  previous: ResolveOptions["previous"],
): Version | undefined {
  if (previous === undefined || !previous.resolution.ok) return undefined;
  const { version } = previous.resolution;
  const same = version.pool.length === pool.length &&
    version.pool.every(({ sha256 }, index) => sha256 === pool[index]?.sha256);
  return same ? version : undefined;
}

function isSameBundle(a: BundleRecord, b: BundleRecord | undefined): boolean {
  return a.uid === b?.uid && a.generation === b.generation;
}

function encodeVersion(
  bundle: BundleRecord,
  pool: readonly Certificate[],
  encodeKeyStore: KeyStoreEncoder | undefined,
  formerKeyStores: readonly KeyStore[],
): Version {
  const pem = pemOf(pool);
  const { target } = bundle;
  const templates = ([["ConfigMap", target.configMap], ["Secret", target.secret]] as const)
    .flatMap(([kind, template]) => template === undefined ? [] : [{ kind, template }]);
  let encoded: EncodedKeyStores = { keyStores: [], failures: {} };
  if (templates.length > 0 && target.additionalFormats !== undefined) {
    if (encodeKeyStore === undefined) {
      throw new TypeError("A Bundle asks for key stores, but no encoder was passed");
    }
    encoded = encodeKeyStores(pool, target.additionalFormats, encodeKeyStore, formerKeyStores);
  }
  return {
    pool,
    contents: templates.map(({ kind, template }) => encodeContent(bundle, kind, template, pem, encoded)),
    keyStores: encoded.keyStores,
    earliestExpiry: earliestNotAfter(pool) ?? Infinity,
  };
}

/**
 * What targets of one kind must hold. A key store that cannot be in them is left out, so that the certificates get there in all
 * other formats; what makes the API server refuse the whole object leaves targets as they are.
 */
function encodeContent(
  bundle: BundleRecord,
  kind: TargetKind,
  template: TargetTemplate,
  pem: string,
  { keyStores, failures }: EncodedKeyStores,
): TargetContent {
  const { name, target: { additionalFormats } } = bundle;
  const hash = targetHash(pem, additionalFormats, template.metadata);
  const { whole, stores } = targetLimits(name, kind, template, additionalFormats);
  const problems = [...whole];
  const leftOut = { ...failures, ...stores };
  const fitting = keyStores.filter(({ options }) => leftOut[options.format] === undefined);
  const sizes = new Map([
    [template.key, pem.length],
    ...fitting.map(({ key, bytes }) => [key, bytes.length] as const),
  ]);
  const sum = [...sizes.values()].reduce((a, b) => a + b, 0);
  if (sum > MAX_DATA_BYTES) problems.push(oversize(sizes, sum));
  if (problems.length > 0) {
    const nothing = { keys: [], owned: "", layout: undefined, body: new Uint8Array() };
    return { kind, hash, ...nothing, shortfall: problems.join("; "), frozen: true };
  }
  const missing = Object.values(leftOut).map((problem) => `${problem} (left out)`).join("; ");
  const layout = layoutOf(template.key, additionalFormats);
  const body = targetBody(kind, bundle, template, pem, hash, layout, fitting);
  return {
    kind,
    hash,
    keys: [...sizes.keys()],
    owned: ownedFields({
      data: Object.keys(body.data),
      binaryData: Object.keys(body.binaryData ?? {}),
      labels: body.metadata.labels,
      annotations: body.metadata.annotations,
    }),
    layout,
    body: new TextEncoder().encode(JSON.stringify(body)),
    ...(missing === "" ? {} : { shortfall: missing }),
  };
}

function oversize(sizes: ReadonlyMap<string, number>, sum: number): string {
  const keys = [...sizes].map(([key, size]) => `${key}: ${size}`).join(", ");
  return `the target would hold ${sum} bytes (${keys}), more than the ${MAX_DATA_BYTES} that the API server allows; ` +
    "remove sources or formats, or split the Bundle";
}

/**
 * The server-side apply of one target. The bundle's own label and annotations win over the user's, which only a Bundle that was stored past
 * admission has: where they stay without need, they would be taken for what was written before.
 */
function targetBody(
  kind: TargetKind,
  bundle: BundleRecord,
  template: TargetTemplate,
  pem: string,
  hash: string,
  layout: string | undefined,
  keyStores: readonly KeyStore[],
): TargetBody {
  const binary = Object.fromEntries(keyStores.map(({ key, bytes }) => [key, bytes.toBase64()]));
  const data = kind === "ConfigMap"
    ? { data: { [template.key]: pem }, ...(keyStores.length > 0 ? { binaryData: binary } : {}) }
    : { data: { [template.key]: new TextEncoder().encode(pem).toBase64(), ...binary } };
  const { [LAYOUT_ANNOTATION]: _layout, [BUNDLE_UID_ANNOTATION]: _uid, ...annotations } =
    template.metadata?.annotations ?? {};
  return {
    apiVersion: "v1",
    kind,
    metadata: {
      name: bundle.name,
      labels: { ...template.metadata?.labels, [BUNDLE_LABEL]: bundle.name },
      annotations: {
        ...annotations,
        [HASH_ANNOTATION]: hash,
        ...(layout === undefined ? {} : { [LAYOUT_ANNOTATION]: layout }),
      },
      ownerReferences: [ownerReference(bundle)],
    },
    ...data,
  };
}

/** What is sent to apply one target. */
interface TargetBody {
  readonly apiVersion: "v1";
  readonly kind: TargetKind;
  readonly metadata: {
    readonly name: string;
    readonly labels: Readonly<Record<string, string>>;
    readonly annotations: Readonly<Record<string, string>>;
    readonly ownerReferences?: readonly OwnerReference[];
  };
  readonly data: Readonly<Record<string, string>>;
  readonly binaryData?: Readonly<Record<string, string>>;
}

/**
 * Returns the body for an object in which others own data. An owner reference would have the garbage collector delete that with the
 * Bundle, so an annotation takes its place: the operator itself takes out what is its own. Few targets need it, so it is not kept.
 *
 * @param bundleUid UID of the Bundle.
 */
export function sharedBody({ body }: TargetContent, bundleUid: string): Uint8Array<ArrayBuffer> {
  const { metadata: { ownerReferences: _, ...metadata }, ...rest }: TargetBody = JSON.parse(
    new TextDecoder().decode(body),
  );
  const annotations = { ...metadata.annotations, [BUNDLE_UID_ANNOTATION]: bundleUid };
  return new TextEncoder().encode(JSON.stringify({ ...rest, metadata: { ...metadata, annotations } }));
}

/** The owner reference of every target. */
export function ownerReference(bundle: { readonly name: string; readonly uid: string }): OwnerReference {
  return {
    apiVersion: BUNDLE_API_VERSION,
    kind: "Bundle",
    name: bundle.name,
    uid: bundle.uid,
    controller: true,
    blockOwnerDeletion: true,
  };
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
