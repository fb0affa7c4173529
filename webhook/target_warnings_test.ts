import assert from "node:assert/strict";
import type { Bundle, BundleTarget } from "../lib/api/bundle.ts";
import { readNamespace } from "../lib/records/namespace_record.ts";
import { readConfigMapSource, readSecretSource } from "../lib/records/source_record.ts";
import { configMap, pemText, ROOT_1, secret } from "../tests/builders.ts";
import { admissionWarnings, type KnownObjects } from "./warnings.ts";

const bundleLabel = (name: string) => ({ metadata: { labels: { "trust.cert-manager.io/bundle": name } } });
const objects = {
  ConfigMap: [
    configMap("taken", { "ca.crt": "theirs" }),
    configMap("mine", { "ca.crt": "ours" }, bundleLabel("mine")),
    configMap("others", { "ca.crt": "ours" }, bundleLabel("another")),
  ].map((object) => readConfigMapSource(object)),
  Secret: [secret("taken", { "ca.crt": "theirs" }), secret("secret-only", { "ca.crt": "theirs" })].map((
    object,
  ) => readSecretSource(object)),
};
const known: KnownObjects = {
  synced: true,
  trustNamespace: "cert-manager",
  sources: (kind) => objects[kind],
  source: (kind, name) => objects[kind].find((object) => object.name === name),
  namespaces: () => [
    readNamespace({ metadata: { name: "cert-manager", labels: { trust: "yes" } } }),
    readNamespace({ metadata: { name: "app", labels: { team: "blue" } } }),
  ],
};

const both: BundleTarget = { configMap: { key: "ca.crt" }, secret: { key: "ca.crt" } };
const onlyConfigMap: BundleTarget = { configMap: { key: "ca.crt" } };
const taken = (kind: string, name = "taken") =>
  new RegExp(
    `^metadata\\.name: ${kind} cert-manager/${name} exists already, and is of no Bundle of this name: its key "ca\\.crt" will be`,
  );

const cases: Record<
  string,
  { name?: string; target: BundleTarget; warnings?: RegExp[]; known?: KnownObjects }
> = {
  "nothing to say": { target: both },
  "a name that is too long": {
    name: "x".repeat(64),
    target: both,
    warnings: [/^nothing can be written: metadata\.name: has 64 characters, .* shorter name$/],
  },
  "keys that are none": {
    target: { configMap: { key: "certs/ca.pem" }, secret: { key: ".." } },
    warnings: [
      /^nothing can be written: spec\.target\.configMap\.key: is no key /,
      /^nothing can be written: spec\.target\.secret\.key: is no key /,
    ],
  },
  "a key store whose key is none": {
    target: { ...both, additionalFormats: { jks: { key: "a/b" } } },
    warnings: [/^will be left out: spec\.target\.additionalFormats\.jks\.key: is no key /],
  },
  "annotations that leave no room": {
    target: { configMap: { key: "k", metadata: { annotations: { a: "x".repeat(262_143) } } } },
    warnings: [/^nothing can be written: spec\.target\.configMap\.metadata\.annotations: have 262234 bytes/],
  },
  "passwords that Java cannot take": {
    target: {
      ...both,
      additionalFormats: { jks: { key: "j", password: "pässword" }, pkcs12: { key: "p", password: "tab\t" } },
    },
    warnings: [
      /^spec\.target\.additionalFormats\.jks\.password: Java cannot open this store: .* other than ASCII at position 2;/,
      /^spec\.target\.additionalFormats\.pkcs12\.password: Java cannot open this store: .* printable ASCII at position 4;/,
    ],
  },
  "kube-root-ca.crt": {
    name: "kube-root-ca.crt",
    target: onlyConfigMap,
    warnings: [
      /^metadata\.name: the ConfigMap kube-root-ca\.crt is one that Kubernetes writes into each namespace/,
    ],
  },
  "openshift-service-ca.crt": {
    name: "openshift-service-ca.crt",
    target: onlyConfigMap,
    warnings: [/OpenShift/],
  },
  "istio-ca-root-cert": { name: "istio-ca-root-cert", target: both, warnings: [/Istio/] },
  "coredns": { name: "coredns", target: both, warnings: [/DNS/] },
  "aws-auth": { name: "aws-auth", target: both, warnings: [/EKS/] },
  "a Secret of a well-known name": { name: "coredns", target: { secret: { key: "k" } } },
  "a name that every object has": { name: "constructor", target: both },
  "a well-known name, but nothing is written": { name: "coredns", target: {} },
  "objects that exist already": {
    name: "taken",
    target: both,
    warnings: [taken("ConfigMap"), taken("Secret")],
  },
  "one of another kind": { name: "secret-only", target: onlyConfigMap },
  "one of another kind beside": {
    name: "secret-only",
    target: both,
    warnings: [taken("Secret", "secret-only")],
  },
  "a target of its own": { name: "mine", target: onlyConfigMap },
  "a target of another Bundle": {
    name: "others",
    target: onlyConfigMap,
    warnings: [taken("ConfigMap", "others")],
  },
  "it is in no namespace that is selected": {
    name: "taken",
    target: { ...both, namespaceSelector: { matchLabels: { team: "blue" } } },
  },
  "it is in one that is selected": {
    name: "taken",
    target: { ...onlyConfigMap, namespaceSelector: { matchLabels: { trust: "yes" } } },
    warnings: [taken("ConfigMap")],
  },
  "not all is known yet": { name: "taken", target: both, known: { ...known, synced: false } },
};

for (
  const [what, { name = "example", target, warnings = [], known: view = known }] of Object.entries(cases)
) {
  Deno.test(`warnings about targets: ${what}`, () => {
    const spec: Bundle["spec"] = { sources: [{ inLine: pemText(ROOT_1) }], target };
    const told = admissionWarnings({ metadata: { name }, spec }, view, Date.parse("2030-01-01T00:00:00Z"));
    assert.equal(told.length, warnings.length, told.join("\n"));
    warnings.forEach((pattern, i) => assert.match(told[i] ?? "", pattern));
    const { jks, pkcs12 } = target.additionalFormats ?? {};
    for (const password of [jks?.password, pkcs12?.password]) {
      assert.ok(
        password === undefined || !told.some((text) => text.includes(password)),
        "tells the password",
      );
    }
  });
}
