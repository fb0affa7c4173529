import assert from "node:assert/strict";
import {
  BUNDLE_LABEL,
  BUNDLE_UID_ANNOTATION,
  HASH_ANNOTATION,
  type TargetMetadata,
} from "../../lib/api/bundle.ts";
import type { ConfigMap } from "../../lib/kube/objects.ts";
import {
  bundle,
  canonicalPem,
  EXPIRED,
  LEAF,
  managedFields,
  ROOT_1,
  ROOT_2,
  target,
  type TestCertificate,
  TRUST_NAMESPACE,
} from "../builders.ts";
import { targetHash } from "../../lib/hash.ts";
import {
  bundleSpec,
  type ClusterState,
  FOREIGN_KEY,
  type ModelSource,
  type ModelSpec,
  OURS_KEY,
  SoakModel,
  type Value,
} from "./model.ts";

const UID = "uid-of-example";
const SOURCE: ModelSource = { type: "named", kind: "ConfigMap", name: "roots", key: "one" };
const SPEC: ModelSpec = { sources: [SOURCE], target: { configMap: { key: "ca.crt" } } };

/** A model with a namespace `app`, a Bundle `example` of one ConfigMap, and that ConfigMap. */
function model(parts: { spec?: ModelSpec; value?: Value } = {}): SoakModel {
  const model = new SoakModel({
    trustNamespace: TRUST_NAMESPACE,
    certificates: [EXPIRED, ROOT_2, LEAF, ROOT_1],
    filtered: [EXPIRED],
    defaultPackage: { version: "1", certificates: 0b1 },
  });
  model.namespaces.set("app", { labels: {}, terminating: false });
  put(model, parts.value ?? value(model, ROOT_1));
  model.setBundle("example", parts.spec ?? SPEC);
  model.bundleIs("example", UID);
  return model;
}

function value(model: SoakModel, ...certificates: TestCertificate[]): Value {
  return { text: "", certificates: model.setOf(certificates) };
}

function put(model: SoakModel, one: Value): void {
  model.setSource("ConfigMap", "roots", { labels: {}, isTls: false, binary: false, values: { one } });
}

/** A target as the operator leaves it. */
function holding(...certificates: TestCertificate[]): ConfigMap {
  const pem = canonicalPem(...certificates);
  return { ...target({ hash: targetHash(pem, undefined, undefined) }), data: { "ca.crt": pem } };
}

function state(parts: Partial<ClusterState> & { targets?: ClusterState["targets"] } = {}): ClusterState {
  return {
    bundles: [bundle({
      status: {
        conditions: [{
          type: "Synced",
          status: "True",
          reason: "Synced",
          message: "Successfully synced Bundle to all namespaces",
          observedGeneration: 1,
          lastTransitionTime: "",
        }],
      },
    })],
    namespaces: [{ metadata: { name: "app" } }],
    targets: { ConfigMap: [holding(ROOT_1)], Secret: [] },
    ...parts,
  };
}

function texts(model: SoakModel, cluster: ClusterState): string[] {
  return model.compare(cluster).map(({ text }) => text);
}

Deno.test("what a Bundle comes to", async (t) => {
  const selected: ModelSource = {
    type: "selected",
    kind: "ConfigMap",
    selector: { spec: {}, text: "", matches: ({ set }) => set === "a" },
    key: "one",
  };
  const named = (name: string, key?: string): ModelSource => ({
    type: "named",
    kind: "Secret",
    name,
    ...(key === undefined ? {} : { key }),
  });
  const cases: [name: string, sources: ModelSource[], expected: number | RegExp][] = [
    ["one object", [SOURCE], 0b1],
    ["a union", [SOURCE, { type: "default CAs", use: true }, selected], 0b11],
    ["default CAs that are not used", [SOURCE, { type: "default CAs", use: false }], 0b1],
    ["what is filtered", [{ type: "inLine", value: { text: "", certificates: 0b1011 } }], 0b11],
    [
      "nothing else than that",
      [{ type: "inLine", value: { text: "", certificates: 0b1000 } }],
      /^SourceNotFound Bundle source was not found: couldn't find any valid certificates in bundle$/,
    ],
    [
      "a missing object",
      [named("none", "one")],
      /^SourceNotFound .*: failed to get Secret trust\/none: Secret "none" not found$/,
    ],
    [
      "a missing key",
      [named("pair", "x")],
      /^SourceNotFound .*: no data found in Secret trust\/pair at key "x"$/,
    ],
    ["all of a pair", [named("pair")], /^SourceBuildError .*: includeAllKeys is not .* such as trust\/pair$/],
    [
      "a private key",
      [named("pair", "tls.key")],
      /^SourceBuildError .*: invalid PEM data in Secret trust\/pair at key "tls.key": a key$/,
    ],
    ["the first error", [SOURCE, named("pair", "x"), named("none", "one")], /trust\/pair at key "x"/],
  ];
  for (const [name, sources, expected] of cases) {
    await t.step(name, () => {
      const it = model({ spec: { sources } });
      const selectable = { text: "", certificates: 0b10 };
      it.setSource("ConfigMap", "more", {
        labels: { set: "a" },
        isTls: false,
        binary: false,
        values: { one: selectable },
      });
      it.setSource("Secret", "pair", {
        labels: {},
        isTls: true,
        binary: false,
        values: {
          "tls.crt": selectable,
          "tls.key": { text: "", certificates: 0, refusal: "a key" },
        },
      });
      const outcome = it.outcome("example");
      if (typeof expected === "number") assert.deepEqual(outcome, { pool: expected });
      else assert.match("reason" in outcome ? `${outcome.reason} ${outcome.message}` : "", expected);
    });
  }
});

Deno.test("the specs are what a user would write", () => {
  assert.deepEqual(bundleSpec(SPEC), {
    sources: [{ configMap: { name: "roots", key: "one" } }],
    target: { configMap: { key: "ca.crt" } },
  });
});

Deno.test("until all is settled, a target may hold what any state since then comes to, and nothing else", async (t) => {
  const it = model();
  put(it, value(it, ROOT_2));
  put(it, value(it, ROOT_2, LEAF));
  const cases: [name: string, target: ConfigMap, expected: RegExp | undefined][] = [
    ["the first state", holding(ROOT_1), undefined],
    ["a later one", holding(ROOT_2), undefined],
    ["the last one", holding(LEAF, ROOT_2), undefined],
    ["a mixture", holding(ROOT_1, ROOT_2), /holds \{Example Root 1, Example Root 2\}, and should hold/],
    ["another order", holding(ROOT_2, LEAF), /holds something else than a bundle/],
    ["half a certificate", {
      ...holding(ROOT_1),
      data: { "ca.crt": ROOT_1.pem.slice(0, 100) },
    }, /holds something else than a bundle/],
    ["nothing", { ...holding(ROOT_1), data: {} }, /holds something else than a bundle: ""/],
    [
      "the hash of another",
      { ...target({ hash: "other" }), data: { "ca.crt": ROOT_1.pem } },
      /has the hash other/,
    ],
    [
      "one key too many",
      target({ metadata: { managedFields: [managedFields({ data: ["ca.crt", "more"] })] } }),
      /should have the keys ca.crt of ours, and has ca.crt, more/,
    ],
    [
      "another Bundle's label",
      {
        ...holding(ROOT_1),
        metadata: { ...holding(ROOT_1).metadata, labels: { [BUNDLE_LABEL]: "other" } },
      },
      /has the bundle label other/,
    ],
    [
      "an owner that nobody knows",
      target({
        metadata: {
          ownerReferences: [{ apiVersion: "", kind: "Bundle", name: "example", uid: "x", controller: true }],
        },
      }),
      /belongs to a Bundle of UID x/,
    ],
    ["nothing of ours", target({ metadata: { managedFields: [] } }), undefined],
  ];
  for (const [name, object, expected] of cases) {
    await t.step(name, () => {
      const problem = it.judge("ConfigMap", object);
      if (expected === undefined) assert.equal(problem, undefined);
      else assert.match(problem ?? "", expected);
    });
  }
  await t.step("after it is settled, only the last one", () => {
    it.settled();
    assert.match(it.judge("ConfigMap", holding(ROOT_1)) ?? "", /should hold/);
    assert.equal(it.judge("ConfigMap", holding(LEAF, ROOT_2)), undefined);
  });
  await t.step("with an error in the sources, what was right before it", () => {
    put(it, { text: "", certificates: 0, refusal: "bad" });
    it.settled();
    assert.equal(it.judge("ConfigMap", holding(LEAF, ROOT_2)), undefined);
    assert.match(it.judge("ConfigMap", holding(ROOT_1)) ?? "", /should hold/);
  });
});

Deno.test("everything is compared", async (t) => {
  const wrongOwner = { apiVersion: "", kind: "Bundle", name: "example", uid: "old", controller: true };
  const none = { ConfigMap: [], Secret: [] };
  const [right] = state().bundles;
  const withStatus = (
    change: Record<string, unknown>,
  ) => [{ ...bundle(), status: { conditions: [{ ...condition(), ...change }] } }];
  const condition = () => right?.status?.conditions?.[0] ?? assert.fail();
  const notWanted: ModelSpec = { sources: [SOURCE], target: { secret: { key: "ca.crt" } } };
  const cases: [name: string, cluster: ClusterState, spec: ModelSpec, expected: RegExp[]][] = [
    ["all is right", state(), SPEC, []],
    ["a missing target", state({ targets: none }), SPEC, [/^ConfigMap app\/example is missing$/]],
    ["old content", state({ targets: { ConfigMap: [holding(ROOT_2)], Secret: [] } }), SPEC, [/should hold/]],
    [
      "another owner",
      state({
        targets: {
          ConfigMap: [{
            ...holding(ROOT_1),
            metadata: { ...holding(ROOT_1).metadata, ownerReferences: [wrongOwner] },
          }],
          Secret: [],
        },
      }),
      SPEC,
      [/belongs to a Bundle that is gone, UID old/, /is controlled by old, not uid-of-example/],
    ],
    [
      "a target that is not wanted",
      state(),
      notWanted,
      [
        /^ConfigMap app\/example is not wanted, and still has our keys ca.crt$/,
        /^Secret app\/example is missing$/,
      ],
    ],
    ["a Bundle that is gone", state({ bundles: [] }), SPEC, [
      /belongs to a Bundle that is gone/,
      /is missing/,
    ]],
    ["another status", state({ bundles: withStatus({ status: "False" }) }), SPEC, [
      /has condition False Synced/,
    ]],
    ["another message", state({ bundles: withStatus({ message: "x" }) }), SPEC, [
      /has condition True Synced "x"/,
    ]],
    ["an old generation", state({ bundles: withStatus({ observedGeneration: 0 }) }), SPEC, [
      /of generation 0/,
    ]],
    ["no status", state({ bundles: [bundle()] }), SPEC, [/has no condition/]],
    [
      "default CAs without their version",
      state(),
      { ...SPEC, sources: [{ type: "default CAs", use: true }] },
      [/has defaultCAVersion undefined, and should have soak-1-[0-9a-f]{16}$/],
    ],
    [
      "a namespace that should be gone",
      state({ namespaces: [{ metadata: { name: "app" } }, { metadata: { name: "old" } }] }),
      SPEC,
      [/^Namespace old is still there$/],
    ],
  ];
  for (const [name, cluster, spec, expected] of cases) {
    await t.step(name, () => {
      const found = texts(model({ spec }), cluster);
      expected.forEach((pattern) =>
        assert.ok(found.some((text) => pattern.test(text)), `${pattern}: ${found}`)
      );
      if (expected.length === 0) assert.deepEqual(found, []);
    });
  }

  await t.step("targets of a Bundle with an error stay as they are", () => {
    const it = model({ value: { text: "", certificates: 0, refusal: "bad" } });
    const message =
      'Failed to build bundle sources: invalid PEM data in ConfigMap trust/roots at key "one": bad';
    const bundles = withStatus({ status: "False", reason: "SourceBuildError", message });
    assert.deepEqual(
      texts(it, state({ bundles, targets: { ConfigMap: [holding(ROOT_2)], Secret: [] } })),
      [],
    );
    assert.deepEqual(texts(it, state({ bundles, targets: none })), []);
  });
  await t.step("a key of somebody else is not lost", () => {
    const it = model();
    const id = { kind: "ConfigMap", namespace: "app", name: "example" } as const;
    it.setForeign(id, { uid: "uid-of-target", value: "theirs" });
    assert.match(texts(it, state()).join(), /has lost the key foreign/);
    it.setForeign(id, { uid: "of an object that is gone", value: "theirs" });
    assert.deepEqual(texts(it, state()), []);
  });
  await t.step("a hash is our own even without a key", () => {
    const left = target({ metadata: { managedFields: [managedFields({ annotations: [HASH_ANNOTATION] })] } });
    const found = texts(model({ spec: notWanted }), state({ targets: { ConfigMap: [left], Secret: [] } }));
    assert.match(found.join(), /is not wanted, and still has our hash/);
  });
});

/** As the operator leaves a target in which others have data: an annotation takes the place of the owner reference. */
function shared(uid = UID): ConfigMap {
  const { metadata, data } = holding(ROOT_1);
  const { ownerReferences: _, ...rest } = metadata;
  const annotations = { ...metadata.annotations, [BUNDLE_UID_ANNOTATION]: uid };
  return { metadata: { ...rest, annotations }, data: { ...data, [FOREIGN_KEY]: "theirs" } };
}

Deno.test("where others have data, an annotation takes the place of the owner, and nowhere else", async (t) => {
  const { metadata, data } = shared();
  const notWanted: ModelSpec = { sources: [SOURCE], target: { secret: { key: "ca.crt" } } };
  const owned = { ...holding(ROOT_1).metadata };
  const none = { ...metadata, annotations: holding(ROOT_1).metadata.annotations ?? {} };
  const cleaned = (it: ConfigMap["metadata"]) => ({ ...it, managedFields: [] });
  const cases: [name: string, target: ConfigMap, spec: ModelSpec, expected: RegExp | undefined][] = [
    ["as it should be", shared(), SPEC, undefined],
    [
      "both",
      { metadata: { ...metadata, ...owned }, data: data ?? {} },
      SPEC,
      /has 1 owners, and should have 0/,
    ],
    ["an owner", { metadata: owned, data: data ?? {} }, SPEC, /has 1 owners, and should have 0/],
    ["neither", { metadata: none, data: data ?? {} }, SPEC, /is controlled by nobody, not uid-of-example/],
    ["the annotation of a predecessor", shared("old"), SPEC, /belongs to a Bundle that is gone, UID old/],
    [
      "no data of others",
      { metadata, data: holding(ROOT_1).data ?? {} },
      SPEC,
      /has 0 owners, and should have 1/,
    ],
    ["not wanted", shared(), notWanted, /is not wanted, and still has our keys ca.crt/],
    [
      "not wanted, cleaned, and still tied to the Bundle by an owner",
      { metadata: cleaned(owned), data: { [FOREIGN_KEY]: "theirs" } },
      notWanted,
      /is not wanted, and would go with its Bundle/,
    ],
    [
      "not wanted, cleaned, and still tied to the Bundle by the annotation",
      { metadata: cleaned(metadata), data: { [FOREIGN_KEY]: "theirs" } },
      notWanted,
      /is not wanted, and would go with its Bundle/,
    ],
    [
      "not wanted, and released",
      { metadata: { name: "example", namespace: "app" }, data: { [FOREIGN_KEY]: "theirs" } },
      notWanted,
      undefined,
    ],
  ];
  for (const [name, object, spec, expected] of cases) {
    await t.step(name, () => {
      const found = texts(model({ spec }), state({ targets: { ConfigMap: [object], Secret: [] } }))
        .filter((text) => text.startsWith("ConfigMap "));
      if (expected === undefined) assert.deepEqual(found, []);
      else assert.match(found.join("; "), expected);
    });
  }
  await t.step("a target of a Bundle that is gone must be released", () => {
    const it = model();
    it.setBundle("example", undefined);
    it.bundleIs("example", undefined);
    const left = (object: ConfigMap) =>
      texts(it, state({ bundles: [], targets: { ConfigMap: [object], Secret: [] } }));
    assert.match(left(shared()).join(), /belongs to a Bundle that is gone, UID uid-of-example/);
    assert.deepEqual(left({ ...shared(), metadata: { name: "example", namespace: "app" } }), []);
  });
  await t.step("its content is judged at any time, whichever ties it to the Bundle", () => {
    const it = model();
    assert.equal(it.judge("ConfigMap", shared()), undefined);
    const wrong = { ...shared(), data: { "ca.crt": canonicalPem(ROOT_2), [FOREIGN_KEY]: "theirs" } };
    assert.match(it.judge("ConfigMap", wrong) ?? "", /should hold/);
    assert.match(it.judge("ConfigMap", shared("other")) ?? "", /belongs to a Bundle of UID other/);
  });
});

Deno.test("a key under our name may be there for a moment, and must go", () => {
  const it = model();
  const withKey: ConfigMap = {
    metadata: {
      ...holding(ROOT_1).metadata,
      managedFields: [
        managedFields({
          data: ["ca.crt", OURS_KEY],
          labels: [BUNDLE_LABEL],
          annotations: [HASH_ANNOTATION],
          owners: [UID],
        }),
      ],
    },
    data: { ...holding(ROOT_1).data, [OURS_KEY]: "x" },
  };
  assert.equal(it.judge("ConfigMap", withKey), undefined);
  const found = texts(it, state({ targets: { ConfigMap: [withKey], Secret: [] } }));
  assert.match(found.join(), /has the key under-our-name, which nobody but us owned/);
});

Deno.test("labels and annotations are what the Bundle asks for, though the hash joins them", async (t) => {
  const asked = (metadata: TargetMetadata): ModelSpec => ({
    sources: [SOURCE],
    target: { configMap: { key: "ca.crt", metadata } },
  });
  const withMetadata = ({ labels, annotations }: TargetMetadata): ConfigMap => {
    const pem = canonicalPem(ROOT_1);
    const hash = targetHash(pem, undefined, { labels: labels ?? {}, annotations: annotations ?? {} });
    const { metadata } = target({ hash });
    return {
      metadata: {
        ...metadata,
        labels: { ...metadata.labels, ...labels },
        annotations: { ...metadata.annotations, ...annotations },
      },
      data: { "ca.crt": pem },
    };
  };
  const cases: [name: string, asked: TargetMetadata, held: TargetMetadata, expected: RegExp | undefined][] = [
    ["as asked for", { labels: { a: "bc" } }, { labels: { a: "bc" } }, undefined],
    [
      "joined otherwise",
      { labels: { ab: "c" } },
      { labels: { a: "bc" } },
      /has label a=bc instead of undefined/,
    ],
    [
      "an annotation that became a label",
      { labels: { color: "red" } },
      { annotations: { color: "red" } },
      /has label color=undefined instead of red/,
    ],
    [
      "a label that became an annotation",
      { annotations: { color: "red" } },
      { labels: { color: "red" } },
      /has label color=red instead of undefined/,
    ],
    [
      "annotations joined otherwise",
      { annotations: { "example.com/a": "x", "example.com/b": "y" } },
      { annotations: { "example.com/a": "xexample.com/by" } },
      /has annotation example.com\/a=xexample.com\/by instead of x/,
    ],
  ];
  for (const [name, wanted, held, expected] of cases) {
    await t.step(name, () => {
      const object = withMetadata(held);
      const found = texts(
        model({ spec: asked(wanted) }),
        state({ targets: { ConfigMap: [object], Secret: [] } }),
      );
      if (expected === undefined) assert.deepEqual(found, []);
      else assert.match(found.join(), expected);
    });
  }
});
