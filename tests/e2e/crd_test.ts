import assert from "node:assert/strict";
import { startControlPlane } from "../cluster/control_plane.ts";
import { goModuleDirectory } from "../cluster/go_module.ts";
import { type RestClient, RestError, type RestObject } from "../cluster/rest_client.ts";

const BUNDLES = "/apis/trust.cert-manager.io/v1alpha1/bundles";
const FILE = "deploy/crds/trust.cert-manager.io_bundles.yaml";
const HERE = import.meta.dirname ?? ".";

const inLine = { inLine: "pem" };
const target = { configMap: { key: "ca.crt" } };
const named = { name: "a", key: "b" };
const anyObject = { selector: { matchLabels: { a: "b" } }, includeAllKeys: true };

const ONE_SOURCE = `exactly one of the fields in [configMap secret inLine useDefaultCAs] must be set`;
const NAME_OR_SELECTOR = `exactly one of the fields in [name selector] must be set`;
const SOME_TARGET = `at least one of the fields in [configMap secret] must be set`;
const SOME_FORMAT = `at least one of the fields in [jks pkcs12] must be set`;

/** Specs by what they are an example of, with the part of the message that refuses them; undefined if they are good. */
const cases: { name: string; spec: unknown; refusal?: string }[] = [
  { name: "inline source", spec: { sources: [inLine], target } },
  { name: "no target", spec: { sources: [inLine] } },
  { name: "named sources", spec: { sources: [{ configMap: named }, { secret: named }], target } },
  { name: "selected sources", spec: { sources: [{ configMap: anyObject }, { secret: anyObject }], target } },
  { name: "default CAs", spec: { sources: [{ useDefaultCAs: true }, { useDefaultCAs: false }], target } },
  {
    name: "empty selectors",
    spec: { sources: [{ secret: { selector: {}, key: "a" } }], target: { ...target, namespaceSelector: {} } },
  },
  {
    name: "all of a target",
    spec: {
      sources: [inLine],
      target: {
        configMap: { key: "a", metadata: { labels: { a: "b" }, annotations: { c: "d" } } },
        secret: { key: "a", metadata: { labels: { a: "b" } } },
        additionalFormats: { jks: { key: "b" }, pkcs12: { key: "c" } },
        namespaceSelector: {
          matchLabels: { team: "blue" },
          matchExpressions: [{ key: "env", operator: "In", values: ["x"] }, {
            key: "off",
            operator: "DoesNotExist",
          }],
        },
      },
    },
  },
  ...["LegacyRC2", "LegacyDES", "Modern2023"].map((profile) => ({
    name: `profile ${profile}`,
    spec: { sources: [inLine], target: { ...target, additionalFormats: { pkcs12: { key: "a", profile } } } },
  })),
  { name: "100 sources", spec: { sources: Array(100).fill(inLine), target } },
  { name: "longest key", spec: { sources: [{ secret: { name: "a", key: "k".repeat(253) } }], target } },
  { name: "largest inline source", spec: { sources: [{ inLine: "x".repeat(1_048_576) }] } },

  { name: "no spec", spec: undefined, refusal: "spec: Required value" },
  { name: "no sources", spec: { target }, refusal: "spec.sources: Required value" },
  {
    name: "empty sources",
    spec: { sources: [], target },
    refusal: "spec.sources in body should have at least 1 items",
  },
  { name: "101 sources", spec: { sources: Array(101).fill(inLine) }, refusal: "spec.sources: Too many: 101" },
  { name: "empty source", spec: { sources: [{}], target }, refusal: ONE_SOURCE },
  {
    name: "two kinds in a source",
    spec: { sources: [{ inLine: "a", configMap: named }], target },
    refusal: ONE_SOURCE,
  },
  {
    name: "all kinds in a source",
    spec: { sources: [{ inLine: "a", configMap: named, secret: named, useDefaultCAs: false }] },
    refusal: ONE_SOURCE,
  },
  {
    name: "neither name nor selector",
    spec: { sources: [{ configMap: { key: "a" } }], target },
    refusal: NAME_OR_SELECTOR,
  },
  {
    name: "name and selector",
    spec: { sources: [{ secret: { ...named, selector: {} } }], target },
    refusal: NAME_OR_SELECTOR,
  },
  {
    name: "empty name",
    spec: { sources: [{ configMap: { name: "", key: "a" } }] },
    refusal: "spec.sources[0].configMap.name",
  },
  {
    name: "long name",
    spec: { sources: [{ secret: { name: "n".repeat(254), key: "a" } }] },
    refusal: "spec.sources[0].secret.name: Too long",
  },
  {
    name: "empty key",
    spec: { sources: [{ configMap: { name: "a", key: "" } }] },
    refusal: "spec.sources[0].configMap.key",
  },
  {
    name: "long key",
    spec: { sources: [{ configMap: { name: "a", key: "k".repeat(254) } }] },
    refusal: "spec.sources[0].configMap.key: Too long",
  },
  { name: "empty inline source", spec: { sources: [{ inLine: "" }] }, refusal: "spec.sources[0].inLine" },
  {
    name: "too large inline source",
    spec: { sources: [{ inLine: "x".repeat(1_048_577) }] },
    refusal: "spec.sources[0].inLine: Too long",
  },
  {
    name: "selector without operator",
    spec: { sources: [{ secret: { key: "a", selector: { matchExpressions: [{ key: "a" }] } } }] },
    refusal: "operator: Required value",
  },
  { name: "empty target", spec: { sources: [inLine], target: {} }, refusal: SOME_TARGET },
  {
    name: "target of formats only",
    spec: { sources: [inLine], target: { additionalFormats: { jks: { key: "a" } } } },
    refusal: SOME_TARGET,
  },
  {
    name: "target without key",
    spec: { sources: [inLine], target: { secret: {} } },
    refusal: "spec.target.secret.key: Required value",
  },
  {
    name: "empty metadata",
    spec: { sources: [inLine], target: { configMap: { key: "a", metadata: {} } } },
    refusal: "metadata in body should have at least 1 properties",
  },
  {
    name: "empty labels",
    spec: { sources: [inLine], target: { configMap: { key: "a", metadata: { labels: {} } } } },
    refusal: "labels in body should have at least 1 properties",
  },
  {
    name: "empty annotations",
    spec: { sources: [inLine], target: { secret: { key: "a", metadata: { annotations: {} } } } },
    refusal: "annotations in body should have at least 1 properties",
  },
  {
    name: "no formats",
    spec: { sources: [inLine], target: { ...target, additionalFormats: {} } },
    refusal: SOME_FORMAT,
  },
  {
    name: "format without key",
    spec: { sources: [inLine], target: { ...target, additionalFormats: { jks: { password: "a" } } } },
    refusal: "jks.key: Required value",
  },
  {
    name: "empty JKS password",
    spec: {
      sources: [inLine],
      target: { ...target, additionalFormats: { jks: { key: "a", password: "" } } },
    },
    refusal: "jks.password",
  },
  {
    name: "empty PKCS#12 password",
    spec: {
      sources: [inLine],
      target: { ...target, additionalFormats: { pkcs12: { key: "a", password: "" } } },
    },
  },
  {
    name: "long PKCS#12 password",
    spec: {
      sources: [inLine],
      target: { ...target, additionalFormats: { pkcs12: { key: "a", password: "p".repeat(129) } } },
    },
    refusal: "pkcs12.password: Too long",
  },
  {
    name: "unknown profile",
    spec: {
      sources: [inLine],
      target: { ...target, additionalFormats: { pkcs12: { key: "a", profile: "Best" } } },
    },
    refusal: `Unsupported value: "Best"`,
  },
  {
    name: "unknown field",
    spec: { sources: [inLine], target, more: true },
    refusal: `unknown field "spec.more"`,
  },
];

Deno.test("the CRD admits what it should, and refuses the rest with the contract's messages", async (t) => {
  const crd = await Deno.readTextFile(`${HERE}/../../${FILE}`);
  await using controlPlane = await startControlPlane({ kubeconfig: "", manifests: [crd] });
  const { admin } = controlPlane;

  for (const { name, spec, refusal } of cases) {
    await t.step(name, async () => {
      const answer = await tryOut(admin, spec);
      if (refusal === undefined) assert.equal(answer.refusal, undefined);
      else assert.ok(answer.refusal?.includes(refusal), `Wanted "${refusal}", got ${answer.refusal}`);
    });
  }

  await t.step("passwords have defaults", async () => {
    const additionalFormats = { jks: { key: "a" }, pkcs12: { key: "b" } };
    const { spec } = await tryOut(admin, { sources: [inLine], target: { ...target, additionalFormats } });
    assert.deepEqual(spec, {
      sources: [inLine],
      target: {
        ...target,
        additionalFormats: { jks: { key: "a", password: "changeit" }, pkcs12: { key: "b", password: "" } },
      },
    });
  });

  await t.step("the status is a subresource, its conditions are merged by type", async () => {
    const bundle = { ...bundleOf({ sources: [inLine] }), status: { defaultCAVersion: "ignored" } };
    const created = await admin.create(BUNDLES, bundle);
    assert.equal(created["status"], undefined);

    await applyStatus(admin, "one", { conditions: [condition("Synced")], defaultCAVersion: "v1" });
    await applyStatus(admin, "two", { conditions: [condition("Audited")] });
    const both = await admin.get<{ status: { conditions: { type: string }[] } }>(`${BUNDLES}/example`);
    assert.deepEqual(both?.status.conditions.map(({ type }) => type).sort(), ["Audited", "Synced"]);

    // Who applies again without something gives it up; what others applied stays.
    await applyStatus(admin, "one", { conditions: [condition("Synced")] });
    await applyStatus(admin, "two", {});
    const after = await admin.get<{ status: unknown }>(`${BUNDLES}/example`);
    assert.deepEqual(after?.status, { conditions: [condition("Synced")] });
  });

  await t.step("kubectl shows the columns", async () => {
    const table = await admin.request<
      { columnDefinitions: { name: string }[]; rows: { cells: unknown[] }[] }
    >(
      "GET",
      BUNDLES,
      { accept: "application/json;as=Table;v=v1;g=meta.k8s.io" },
    );
    assert.deepEqual(
      table.columnDefinitions.map(({ name }) => name),
      ["Name", "ConfigMap Target", "Secret Target", "Synced", "Reason", "Age"],
    );
    assert.deepEqual(
      table.rows[0]?.cells.slice(0, 5),
      ["example", "", "", "True", "Test"].map((it) => it || null),
    );
  });

  await t.step("sources are replaced as a whole", async () => {
    const apply = (manager: string, sources: unknown[]) =>
      admin.apply([{ ...bundleOf({ sources }), metadata: { name: "merged" } }], { fieldManager: manager });
    await apply("one", [inLine]);
    const [bundle] = await apply("two", [{ useDefaultCAs: true }]);
    assert.deepEqual(bundle?.["spec"], { sources: [{ useDefaultCAs: true }] });
  });
});

Deno.test("the CRD of the Go trust-manager gives the same answers", async () => {
  const peer = await goModuleDirectory(`${HERE}/../peer`, "github.com/cert-manager/trust-manager");
  const answers = [];
  for (const directory of [`${HERE}/../..`, peer]) {
    const crd = await Deno.readTextFile(`${directory}/${FILE}`);
    await using controlPlane = await startControlPlane({ kubeconfig: "", manifests: [crd] });
    const answer: Record<string, Answer> = {};
    for (const { name, spec } of cases) answer[name] = await tryOut(controlPlane.admin, spec);
    answers.push(answer);
  }

  assert.deepEqual(answers[0], answers[1]);
});

/** What the API server makes of a Bundle. */
interface Answer {
  readonly refusal?: string;
  /** With defaults. */
  readonly spec?: unknown;
}

/** Creates a Bundle without storing it. */
async function tryOut(admin: RestClient, spec: unknown): Promise<Answer> {
  try {
    const bundle = await admin.create(`${BUNDLES}?dryRun=All&fieldValidation=Strict`, bundleOf(spec));
    return { spec: bundle["spec"] };
  } catch (error) {
    if (error instanceof RestError) return { refusal: error.statusMessage };
    throw error;
  }
}

function bundleOf(spec: unknown): RestObject {
  return {
    apiVersion: "trust.cert-manager.io/v1alpha1",
    kind: "Bundle",
    metadata: { name: "example" },
    ...(spec === undefined ? {} : { spec }),
  };
}

async function applyStatus(admin: RestClient, fieldManager: string, status: unknown): Promise<void> {
  await admin.request("PATCH", `${BUNDLES}/example/status?fieldManager=${fieldManager}&force=true`, {
    body: { ...bundleOf(undefined), status },
    contentType: "application/apply-patch+yaml",
  });
}

function condition(type: string): Record<string, unknown> {
  return { type, status: "True", reason: "Test", message: "", lastTransitionTime: "2026-01-02T03:04:05Z" };
}
