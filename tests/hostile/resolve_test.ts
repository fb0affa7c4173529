import assert from "node:assert/strict";
import fc from "fast-check";
import type { BundleSource } from "../../lib/api/bundle.ts";
import { readPem } from "../../lib/certs/pem.ts";
import { pemOf } from "../../lib/certs/pem_of.ts";
import { resolve } from "../../lib/resolve.ts";
import { bundleRecord, configMap, LEAF, pemText, ROOT_1, ROOT_2, secret, sourceView } from "../builders.ts";
import { pemTexts, SECRET } from "./inputs.ts";
import { forAll } from "./property.ts";

/** Texts, some of them only certificates. */
const texts = fc.oneof(
  fc.constantFrom(pemText(ROOT_1), pemText(ROOT_2, LEAF), pemText(LEAF, ROOT_1, LEAF), pemText(ROOT_2)),
  pemTexts,
);

/** A Bundle of ConfigMaps, Secrets and inline text, its sources in the order of `order`. */
function resolved(contents: readonly string[], order: readonly number[]) {
  const sources: BundleSource[] = contents.map((inLine, i) =>
    i % 3 === 0
      ? { configMap: { name: `s${i}`, key: "ca" } }
      : i % 3 === 1
      ? { secret: { name: `s${i}`, includeAllKeys: true } }
      : { inLine }
  );
  const ordered = order.flatMap((i) => sources[i] ?? []);
  return resolve(
    bundleRecord({ sources: ordered, target: { configMap: { key: "ca.crt" }, secret: { key: "ca.crt" } } }),
    {
      view: sourceView({
        configMaps: contents.map((text, i) => configMap(`s${i}`, { ca: text })),
        secrets: contents.map((text, i) => secret(`s${i}`, { ca: text })),
      }),
      filters: { expired: false, nonCa: false },
      secretTargetsEnabled: true,
      now: Date.parse("2030-01-01T00:00:00Z"),
    },
  );
}

const cases = fc.array(texts, { minLength: 1, maxLength: 5 }).chain((contents) => {
  const order = contents.map((_, i) => i);
  return fc.record({
    contents: fc.constant(contents),
    order: fc.shuffledSubarray(order, { minLength: order.length, maxLength: order.length }),
  });
});

Deno.test("whatever the sources hold, a target holds only certificates, and a problem tells no secret", async () => {
  let good = 0;
  await forAll(cases, 2000, ({ contents, order }) => {
    const resolution = resolved(contents, order);
    if (!resolution.ok) {
      assert.ok(!resolution.problem.message.includes(SECRET));
      return;
    }
    good++;
    for (const { kind, body } of resolution.version.contents) {
      const text = new TextDecoder().decode(body);
      const value: string = JSON.parse(text).data["ca.crt"];
      const pem = kind === "Secret" ? atob(value) : value;
      assert.ok(!pem.includes(SECRET) && !pem.includes("PRIVATE KEY") && !text.includes(SECRET));
      const reading = readPem(new TextEncoder().encode(pem));
      assert.ok(reading.ok && reading.skipped.brokenBlocks === 0);
      assert.equal(pemOf(reading.certificates), pem);
      assert.deepEqual(reading.certificates, resolution.version.pool);
    }
  });
  assert.ok(good > 100, `only ${good} were good`);
});

Deno.test("order and hash do not depend on the order of the sources", async () => {
  await forAll(cases, 2000, ({ contents, order }) => {
    const [one, other] = [resolved(contents, order), resolved(contents, order.toReversed())];
    assert.equal(one.ok, other.ok);
    if (one.ok && other.ok) assert.deepEqual(one.version.contents, other.version.contents);
  });
});
