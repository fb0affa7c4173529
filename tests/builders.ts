import type { Bundle, BundleSource, BundleStatus, BundleTarget, TargetKind } from "../lib/api/bundle.ts";
import { BUNDLE_LABEL, FIELD_MANAGER, HASH_ANNOTATION, LAYOUT_ANNOTATION } from "../lib/api/bundle.ts";
import type { Certificate } from "../lib/certs/certificate.ts";
import { readPem } from "../lib/certs/pem.ts";
import type { ConfigMap, KubeObject, ManagedFieldsEntry, ObjectMeta, Secret } from "../lib/kube/objects.ts";
import { type BundleRecord, readBundle } from "../lib/records/bundle_record.ts";
import { readConfigMapSource, readSecretSource, type SourceRecord } from "../lib/records/source_record.ts";
import { type OwnedFields, ownedFields, type TargetRecord } from "../lib/records/target_record.ts";
import { ownerReference } from "../lib/resolve.ts";
import type { DefaultCas, SourceView } from "../lib/sources.ts";

/** Namespace of all sources in tests. */
export const TRUST_NAMESPACE = "trust";

/** A certificate made for tests with openssl. Nobody has its private key. */
export interface TestCertificate {
  /** Canonical PEM, without a newline at its end. */
  readonly pem: string;
  /** Of the DER, as `openssl x509 -fingerprint -sha256` prints it, in lower case without colons. */
  readonly sha256: string;
  /** As Go prints it. */
  readonly subject: string;
  readonly notAfter: string;
}

/** A CA, the first of all four in the order of SHA-256. */
export const ROOT_1: TestCertificate = {
  pem: `-----BEGIN CERTIFICATE-----
MIIBsTCCAVagAwIBAgIULw5JDmFopnOV/X0nc0cFINesd2owCgYIKoZIzj0EAwIw
PjELMAkGA1UEBhMCRVgxFjAUBgNVBAoMDUV4YW1wbGUgVHJ1c3QxFzAVBgNVBAMM
DkV4YW1wbGUgUm9vdCAxMB4XDTIwMDEwMTAwMDAwMFoXDTQwMDEwMTAwMDAwMFow
PjELMAkGA1UEBhMCRVgxFjAUBgNVBAoMDUV4YW1wbGUgVHJ1c3QxFzAVBgNVBAMM
DkV4YW1wbGUgUm9vdCAxMFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEq7gOnWaL
I28UGwx8a1JzCugw4H7ZRSsJntvtTUhWu2dHqHDfYOFnpp4mGV/PYVNvlGIsn3EA
m99JQGTeZF4zFaMyMDAwDwYDVR0TAQH/BAUwAwEB/zAdBgNVHQ4EFgQUQumlcOg4
+4IO2gV3jGhuBa98YwkwCgYIKoZIzj0EAwIDSQAwRgIhAMkczwJikl24rr8zrCd2
3Du+7seyGJQxHfi5ltyiQQJVAiEA3F2hw5sAGl9ze9fqBWJzqs4URKd5p+cGYqCt
Wrbaviw=
-----END CERTIFICATE-----`,
  sha256: "b46438f369133dbbab6fff106b7b5030ea835d5c7c36eee05e9064ee221ee58a",
  subject: "CN=Example Root 1,O=Example Trust,C=EX",
  notAfter: "2040-01-01T00:00:00Z",
};

/** No CA; the second in the order of SHA-256. */
export const LEAF: TestCertificate = {
  pem: `-----BEGIN CERTIFICATE-----
MIIBZzCCAQ2gAwIBAgIUagQVZn6D0Z9VzPrToX1S+GZTYjwwCgYIKoZIzj0EAwIw
GzEZMBcGA1UEAwwQbGVhZi5leGFtcGxlLm9yZzAeFw0yMDAxMDEwMDAwMDBaFw00
MDAxMDEwMDAwMDBaMBsxGTAXBgNVBAMMEGxlYWYuZXhhbXBsZS5vcmcwWTATBgcq
hkjOPQIBBggqhkjOPQMBBwNCAARlrgcMwQ8wrUnTK0wwzX8nDFxp/SeAZ/ozM+7R
MC2Yue2OxlsRc+n+dN61wAzGJWX0dX8YJr7mmhhx2dIabv0ioy8wLTAMBgNVHRMB
Af8EAjAAMB0GA1UdDgQWBBQCHadRqABzQ++PHX44GXj9FmLuqjAKBggqhkjOPQQD
AgNIADBFAiAjYg5sCz6/pOaUADZUuuiU/R50b1+Wt6IdlYKH+7cH1gIhAIJohEtg
TRAB4BhkVCYi6p9ovN0w0REWsRqPJfh5Z7kz
-----END CERTIFICATE-----`,
  sha256: "cd82c6eee9f491bfe0e754ac71b89a726ce169800df656010e0c2432e0ad6fac",
  subject: "CN=leaf.example.org",
  notAfter: "2040-01-01T00:00:00Z",
};

/** A CA, the third in the order of SHA-256. */
export const ROOT_2: TestCertificate = {
  pem: `-----BEGIN CERTIFICATE-----
MIIBsTCCAVagAwIBAgIUNWdwxJefjxqOQGdx8m8CPfpGbLkwCgYIKoZIzj0EAwIw
PjELMAkGA1UEBhMCRVgxFjAUBgNVBAoMDUV4YW1wbGUgVHJ1c3QxFzAVBgNVBAMM
DkV4YW1wbGUgUm9vdCAyMB4XDTIwMDEwMTAwMDAwMFoXDTM1MDYwMTEyMDAwMFow
PjELMAkGA1UEBhMCRVgxFjAUBgNVBAoMDUV4YW1wbGUgVHJ1c3QxFzAVBgNVBAMM
DkV4YW1wbGUgUm9vdCAyMFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEYo9KZRt5
B/z7zo7NkINzNly9evq7RMFRW+QTpn32MYN7poYul6sV5lO7+wkgfpAx92eBwkWz
rr20251I2ZpPeqMyMDAwDwYDVR0TAQH/BAUwAwEB/zAdBgNVHQ4EFgQU7ZU3U1sm
UDJJhSitt5nOVHwISV8wCgYIKoZIzj0EAwIDSQAwRgIhAIeInteVHbYpb/YGpdrm
4Ps3xXZHJSpEPmY6vX/NTzZGAiEA0WN0TIqC+xlWVIJzS6xq3XWJc3qX1G6ndwhS
2C8/XUA=
-----END CERTIFICATE-----`,
  sha256: "d2b91cdf1f722bf7a2c2d7393f9fb3a92a061bce8c6f199d64ce7c156306a3fe",
  subject: "CN=Example Root 2,O=Example Trust,C=EX",
  notAfter: "2035-06-01T12:00:00Z",
};

/** A CA that has expired; the last in the order of SHA-256. */
export const EXPIRED: TestCertificate = {
  pem: `-----BEGIN CERTIFICATE-----
MIIBozCCAUigAwIBAgIUX9+fykcaUGGqnCZ0MLWR6QaG2l4wCgYIKoZIzj0EAwIw
NzEWMBQGA1UECgwNRXhhbXBsZSBUcnVzdDEdMBsGA1UEAwwURXhhbXBsZSBFeHBp
cmVkIFJvb3QwHhcNMTAwMTAxMDAwMDAwWhcNMjAwMTAxMDAwMDAwWjA3MRYwFAYD
VQQKDA1FeGFtcGxlIFRydXN0MR0wGwYDVQQDDBRFeGFtcGxlIEV4cGlyZWQgUm9v
dDBZMBMGByqGSM49AgEGCCqGSM49AwEHA0IABEUyfCTNjQLXuJ8NwvPUZuVxpRa5
ftcApwVh9BpwuGwFlpPLwqySE7Dfol5jWTPikpZBw2Y6nYXepMWr8FXu+0yjMjAw
MA8GA1UdEwEB/wQFMAMBAf8wHQYDVR0OBBYEFO8XBE3ZR/QOErDV7q5AUhBkaEtE
MAoGCCqGSM49BAMCA0kAMEYCIQCC5NZ+CuhyLzl0fRmMZuCpjYKx1FrbBDMk/IYo
Pl8k/QIhAMiryCvaIsT8/4F/zPAH2fVz9F70eSSd7zWJYe+3XcfL
-----END CERTIFICATE-----`,
  sha256: "ec05f3877d76174cdf5b5bef87caa797837d3215e92f333c18a752b6325e24ba",
  subject: "CN=Example Expired Root,O=Example Trust",
  notAfter: "2020-01-01T00:00:00Z",
};

/** Several certificates in one text. */
export function pemText(...certificates: readonly TestCertificate[]): string {
  return certificates.map(({ pem }) => `${pem}\n`).join("");
}

/** What a target holds of certificates in this order: canonical PEM, without a newline at its end. */
export function canonicalPem(...certificates: readonly TestCertificate[]): string {
  return certificates.map(({ pem }) => pem).join("\n");
}

/** The certificates as the pool holds them. */
export function parsed(...certificates: readonly TestCertificate[]): readonly Certificate[] {
  const reading = readPem(new TextEncoder().encode(pemText(...certificates)));
  if (!reading.ok) throw new Error(reading.error);
  return reading.certificates;
}

/** A PEM block that holds `content`, which is no certificate or key. */
export function pemBlock(label: string, content: string, headers = ""): string {
  return `-----BEGIN ${label}-----\n${headers}${btoa(content)}\n-----END ${label}-----\n`;
}

/** A ConfigMap as the API server returns it. */
export function configMap(
  name: string,
  data: Readonly<Record<string, string>>,
  more: { readonly metadata?: Partial<ObjectMeta>; readonly binaryData?: Record<string, string> } = {},
): ConfigMap {
  const { metadata, binaryData } = more;
  return {
    metadata: { name, namespace: TRUST_NAMESPACE, uid: `uid-of-${name}`, resourceVersion: "1", ...metadata },
    ...(Object.keys(data).length > 0 ? { data } : {}),
    ...(binaryData === undefined ? {} : { binaryData }),
  };
}

/** A Secret as the API server returns it. `data` is given in plain text. */
export function secret(
  name: string,
  data: Readonly<Record<string, string>>,
  more: { readonly metadata?: Partial<ObjectMeta>; readonly type?: string } = {},
): Secret {
  const { metadata, type = "Opaque" } = more;
  const encoded = Object.entries(data).map(([key, text]) => [key, base64(text)] as const);
  return {
    metadata: { name, namespace: TRUST_NAMESPACE, uid: `uid-of-${name}`, resourceVersion: "1", ...metadata },
    type,
    ...(encoded.length > 0 ? { data: Object.fromEntries(encoded) } : {}),
  };
}

/** Base64 of text. */
export function base64(text: string): string {
  return new TextEncoder().encode(text).toBase64();
}

/** What a test says about a Bundle; the rest is usual. */
export interface BundleParts {
  readonly name?: string;
  readonly sources?: readonly BundleSource[];
  readonly target?: BundleTarget;
  readonly metadata?: Partial<ObjectMeta>;
  readonly status?: BundleStatus;
}

/** A Bundle as the API server returns it: named `example`, one inline source, one ConfigMap target. */
export function bundle(parts: BundleParts = {}): Bundle {
  const {
    name = "example",
    sources = [{ inLine: pemText(ROOT_1) }],
    target = { configMap: { key: "ca.crt" } },
    metadata,
    status,
  } = parts;
  return {
    apiVersion: "trust.cert-manager.io/v1alpha1",
    kind: "Bundle",
    metadata: { name, uid: `uid-of-${name}`, resourceVersion: "1", generation: 1, ...metadata },
    spec: { sources, target },
    ...(status === undefined ? {} : { status }),
  };
}

/** As {@linkcode bundle}, as it is kept. */
export function bundleRecord(parts: BundleParts = {}): BundleRecord {
  return readBundle(bundle(parts));
}

/** Where sources are looked up in tests. */
export function sourceView(
  parts: {
    readonly configMaps?: readonly ConfigMap[];
    readonly secrets?: readonly Secret[];
    readonly defaultCas?: DefaultCas;
    /** Other Bundles. */
    readonly bundles?: readonly BundleRecord[];
    /** Names of Bundles that read each other's targets, in a cycle. */
    readonly cycle?: readonly string[];
  } = {},
): SourceView {
  const records: Record<TargetKind, readonly SourceRecord[]> = {
    ConfigMap: (parts.configMaps ?? []).map((object) => readConfigMapSource(object)),
    Secret: (parts.secrets ?? []).map((object) => readSecretSource(object)),
  };
  return {
    trustNamespace: TRUST_NAMESPACE,
    get: (kind, name) => records[kind].find((record) => record.name === name),
    list: (kind) => records[kind],
    defaultCas: parts.defaultCas,
    bundle: (name) => parts.bundles?.find((bundle) => bundle.name === name),
    cycle: (name) => {
      const names = parts.cycle ?? [];
      const at = names.indexOf(name);
      if (at < 0) return undefined;
      return { members: new Set(names), path: [...names.slice(at), ...names.slice(0, at)] };
    },
  };
}

/** One entry of `managedFields` as the API server writes it: `manager` owns these fields of the object. */
export function managedFields(
  parts: {
    readonly manager?: string;
    readonly operation?: "Apply" | "Update";
    readonly data?: readonly string[];
    readonly binaryData?: readonly string[];
    readonly labels?: readonly string[];
    readonly annotations?: readonly string[];
    /** UIDs of the owners whose references it owns. */
    readonly owners?: readonly string[];
  },
): ManagedFieldsEntry {
  const { manager = FIELD_MANAGER, operation = "Apply", labels = [], annotations = [], owners = [] } = parts;
  const fields = (keys: readonly string[]) => Object.fromEntries(keys.map((key) => [`f:${key}`, {}]));
  // Who creates a map by update owns the map itself too, which is the member ".".
  const itself = operation === "Update" ? { ".": {} } : {};
  const fieldsV1: Record<string, unknown> = {};
  for (const field of ["data", "binaryData"] as const) {
    const keys = parts[field];
    if (keys !== undefined) fieldsV1[`f:${field}`] = { ...itself, ...fields(keys) };
  }
  if (labels.length + annotations.length + owners.length > 0) {
    fieldsV1["f:metadata"] = {
      ...(labels.length > 0 ? { "f:labels": { ...itself, ...fields(labels) } } : {}),
      ...(annotations.length > 0 ? { "f:annotations": { ...itself, ...fields(annotations) } } : {}),
      ...(owners.length > 0
        ? { "f:ownerReferences": Object.fromEntries(owners.map((uid) => [`k:{"uid":"${uid}"}`, {}])) }
        : {}),
    };
  }
  return { manager, operation, fieldsV1 };
}

/** The metadata of a target of {@linkcode bundle}, in namespace `app`, as the API server returns it after our apply. */
export function target(
  parts: { readonly metadata?: Partial<ObjectMeta>; readonly hash?: string } = {},
): KubeObject {
  return {
    metadata: {
      name: "example",
      namespace: "app",
      uid: "uid-of-target",
      resourceVersion: "1",
      labels: { [BUNDLE_LABEL]: "example" },
      annotations: { [HASH_ANNOTATION]: parts.hash ?? "some-hash" },
      ownerReferences: [ownerReference({ name: "example", uid: "uid-of-example" })],
      managedFields: [
        managedFields({
          data: ["ca.crt"],
          labels: [BUNDLE_LABEL],
          annotations: [HASH_ANNOTATION],
          owners: ["uid-of-example"],
        }),
      ],
      ...parts.metadata,
    },
  };
}

/** What our field manager applied of a target of {@linkcode bundle}, as it is kept. */
export function owned(parts: Partial<OwnedFields> = {}): string {
  const { data = ["ca.crt"], binaryData = [], labels, annotations } = parts;
  return ownedFields({
    data,
    binaryData,
    labels: { [BUNDLE_LABEL]: "example", ...labels },
    annotations: { ...annotations, [HASH_ANNOTATION]: "some-hash" },
  });
}

/** A target of {@linkcode bundle} as it is kept, in namespace `app`, that holds `ca.crt`. */
export function targetRecord(parts: Partial<TargetRecord> = {}): TargetRecord {
  return {
    kind: "ConfigMap",
    namespace: "app",
    name: "example",
    uid: "uid-of-target",
    resourceVersion: "1",
    bundle: "example",
    hash: "some-hash",
    layout: undefined,
    controllerUid: "uid-of-example",
    bundleUid: undefined,
    owned: owned(),
    ownsOwner: true,
    hasUpdates: false,
    foreignKeys: [],
    hasData: true,
    immutable: false,
    deleting: false,
    ...parts,
  };
}

/** A target as the Go project leaves it: without the annotation that says how it is laid out. */
export function withoutLayout(target: ConfigMap): ConfigMap {
  const { [LAYOUT_ANNOTATION]: _, ...annotations } = target.metadata.annotations ?? {};
  const managedFields: ManagedFieldsEntry[] = JSON.parse(
    JSON.stringify(
      target.metadata.managedFields ?? [],
      (key, value) => key === `f:${LAYOUT_ANNOTATION}` ? undefined : value,
    ),
  );
  return { ...target, metadata: { ...target.metadata, annotations, managedFields } };
}
