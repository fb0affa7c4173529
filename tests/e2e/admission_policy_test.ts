import assert from "node:assert/strict";
import type { Bundle } from "../../lib/api/bundle.ts";
import { validateBundle } from "../../lib/api/validate.ts";
import { ADMISSION_CASES } from "../admission_cases.ts";
import { bundleOf } from "../admission_review.ts";
import { startControlPlane } from "../cluster/control_plane.ts";
import { RestError, type RestObject } from "../cluster/rest_client.ts";

const BUNDLES = "/apis/trust.cert-manager.io/v1alpha1/bundles";
const POLICY = "/apis/admissionregistration.k8s.io/v1/validatingadmissionpolicies/trust-manager";
const DENIED = "ValidatingAdmissionPolicy 'trust-manager' with binding 'trust-manager' denied request: ";

/** The errors of a refusal; where the policy says less, only as far as it says it. */
function errorsOf(refusal: string): string[] {
  // It quotes operators as other strings.
  return refusal.replace(/^\[(.*)\]$/s, "$1").replaceAll("\\u003c", "<").replaceAll("\\u003e", ">").split(
    /, (?=spec\.)/,
  );
}

/** The field and the value of an error that is about syntax, without why. */
function fieldAndValue(error: string): string | undefined {
  return /^(.*?: Invalid value: "(?:[^"\\]|\\.)*"): (?:name part|prefix part|a valid label|must be no more than)/s
    .exec(error)?.[1];
}

Deno.test("the admission policy refuses what the webhook refuses, and nothing else", async (t) => {
  const read = (file: string) => Deno.readTextFile(new URL(`../../deploy/${file}`, import.meta.url));
  await using controlPlane = await startControlPlane({
    manifests: [
      await read("crds/trust.cert-manager.io_bundles.yaml"),
      await read("validating_admission_policy.yaml"),
    ],
  });
  const { admin } = controlPlane;
  const refusal = async (bundle: unknown) => {
    try {
      await admin.create(`${BUNDLES}?dryRun=All`, bundle);
      return undefined;
    } catch (error) {
      if (error instanceof RestError) return { status: error.status, message: error.statusMessage };
      throw error;
    }
  };
  const bad = bundleOf({ spec: { sources: [{ useDefaultCAs: false }] } });
  const deadline = performance.now() + 30_000;
  while (await refusal(bad) === undefined) {
    assert.ok(performance.now() < deadline, "The policy is not in force");
    await new Promise((resolve) => setTimeout(resolve, 50));
  }

  await t.step("its expressions have no warning of the type check", async () => {
    const policy = await admin.waitFor<
      RestObject & { status?: { typeChecking?: unknown; observedGeneration?: number } }
    >(
      POLICY,
      "exists",
      (policy) => policy !== undefined,
    );
    assert.deepEqual(Object(policy?.status?.typeChecking)["expressionWarnings"] ?? [], []);
  });

  for (const { name, refusal: wanted, schemaRefuses, ...it } of ADMISSION_CASES) {
    if (schemaRefuses === true) continue;
    await t.step(`${name}: ${wanted === undefined ? "admitted" : "refused"}`, async () => {
      const answer = await refusal(bundleOf(it));
      if (wanted === undefined) {
        assert.equal(answer, undefined);
        return;
      }
      assert.equal(answer?.status, 403, answer?.message);
      const [, said = ""] = answer?.message.split(DENIED) ?? [];
      const accepted = errorsOf(wanted).some((error) => {
        const start = fieldAndValue(error);
        return said === error || (start !== undefined && said.startsWith(`${start}: not a valid `));
      });
      assert.ok(accepted, `Wanted one of ${wanted}, got ${answer?.message}`);
    });
  }

  await t.step("passwords that Java cannot use are admitted, as by the webhook", async () => {
    const additionalFormats = { pkcs12: { key: "p", password: "päss" }, jks: { key: "j", password: "päss" } };
    const spec = { sources: [{ inLine: "pem" }], target: { configMap: { key: "k" }, additionalFormats } };
    assert.deepEqual(validateBundle({ metadata: { name: "example" }, spec }), []);
    assert.equal(await refusal(bundleOf({ spec })), undefined);
  });

  await t.step("a bad Bundle that is being deleted can lose its finalizers", async () => {
    const binding = "/apis/admissionregistration.k8s.io/v1/validatingadmissionpolicybindings/trust-manager";
    await admin.delete(binding);
    const bundle = { ...bad, metadata: { name: "example", finalizers: ["example.com/wait"] } };
    while (await refusal(bundle) !== undefined) await new Promise((resolve) => setTimeout(resolve, 50));
    await admin.create(BUNDLES, bundle);
    await admin.apply(await read("validating_admission_policy.yaml"));
    while (await refusal({ ...bad, metadata: { name: "other" } }) === undefined) {
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
    await assert.rejects(
      admin.mergePatch(`${BUNDLES}/example`, { metadata: { labels: { a: "b" } } }),
      RestError,
    );
    await admin.delete(`${BUNDLES}/example`);
    await admin.mergePatch(`${BUNDLES}/example`, { metadata: { finalizers: null } });
    await admin.waitUntilGone(`${BUNDLES}/example`);
  });

  await t.step("the largest Bundles stay within the cost that the API server allows", async () => {
    const matchLabels = Object.fromEntries(
      Array.from({ length: 20 }, (_, i) => [`example.com/${"k".repeat(50)}${i}`, "v".repeat(60)]),
    );
    const sources: Bundle["spec"]["sources"] = Array.from({ length: 100 }, (_, i) => ({
      secret: { selector: { matchLabels: { ...matchLabels, index: String(i) } }, key: "k" },
    }));
    assert.equal(await refusal(bundleOf({ spec: { sources } })), undefined);
    const matchExpressions = [{ key: "a", operator: "In", values: ["-"] }];
    const last = { secret: { selector: { matchLabels, matchExpressions }, key: "k" } };
    const answer = await refusal(bundleOf({ spec: { sources: [...sources.slice(1), last] } }));
    assert.ok(
      answer?.message.endsWith(
        'spec.sources[99].secret.selector.matchExpressions[0].values[0]: Invalid value: "-": not a valid value of a label',
      ),
      answer?.message,
    );
    const inLine = { inLine: "x".repeat(1_000_000) };
    assert.equal(await refusal(bundleOf({ spec: { sources: [inLine] } })), undefined);
  });
});
