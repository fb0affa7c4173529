import assert from "node:assert/strict";
import { parse } from "yaml";
import { goModuleDirectory } from "../../tests/cluster/go_module.ts";

/** Any YAML. */
type Value = null | string | number | boolean | Value[] | { [field: string]: Value };

const FILE = "trust.cert-manager.io_bundles.yaml";
const ownCrd = async () => await Deno.readTextFile(`${import.meta.dirname}/${FILE}`);

Deno.test("the CRD equals that of the Go trust-manager but for its wording", async () => {
  const peer = await goModuleDirectory(
    `${import.meta.dirname}/../../tests/peer`,
    "github.com/cert-manager/trust-manager",
  );
  const peerCrd = await Deno.readTextFile(`${peer}/deploy/crds/${FILE}`);

  assert.deepEqual(contractOf(parse(await ownCrd())), contractOf(parse(peerCrd)));
});

Deno.test("each field of the CRD is described", async () => {
  const crd = parse(await ownCrd());

  const undescribed = fieldsWithoutDescription(crd.spec.versions[0].schema.openAPIV3Schema, "");

  assert.deepEqual(undescribed, [".metadata"]);
});

/**
 * What must be the same: all but descriptions, the generator's annotation, and how a rule is put (tests/e2e/crd_test.ts shows
 * that the rules decide alike).
 */
function contractOf(value: Value): Value {
  if (Array.isArray(value)) return value.map(contractOf);
  if (typeof value !== "object" || value === null) return value;
  const isRule = "rule" in value && "message" in value;
  return Object.fromEntries(
    Object.entries(value)
      .filter(([field, content]) => {
        if (field === "description") return typeof content !== "string";
        return field !== "annotations" || !JSON.stringify(content).includes("controller-gen");
      })
      .filter(([field]) => !(isRule && field === "rule"))
      .map(([field, content]) => [field, contractOf(content)]),
  );
}

interface Schema {
  description?: string;
  properties?: Record<string, Schema>;
  items?: Schema;
}

function fieldsWithoutDescription(schema: Schema, path: string): string[] {
  const below = schema.items === undefined ? schema : schema.items;
  return Object.entries(below.properties ?? {}).flatMap(([name, field]) => [
    ...(field.description === undefined ? [`${path}.${name}`] : []),
    ...fieldsWithoutDescription(field, `${path}.${name}`),
  ]);
}
