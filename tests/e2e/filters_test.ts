import assert from "node:assert/strict";
import { canonicalPem, EXPIRED, LEAF, ROOT_1, ROOT_2 } from "../builders.ts";
import { OperatorInside } from "./operator_inside.ts";
import { TestCluster } from "./test_cluster.ts";

Deno.test("Filters leave certificates out, when they expire also without any event", async (t) => {
  await using cluster = await TestCluster.start();
  await cluster.createNamespace("ns-a", { team: "yes" });
  const target = { configMap: { key: "ca.pem" }, namespaceSelector: { matchLabels: { team: "yes" } } };
  const becomes = (name: string, text: string) =>
    cluster.targetBecomes(
      "ns-a",
      name,
      "holds what the filters leave",
      (it) => it?.data?.["ca.pem"] === text,
    );
  const all = canonicalPem(ROOT_1, LEAF, ROOT_2, EXPIRED);

  await t.step("Without filters, all are kept", async () => {
    await using _operator = OperatorInside.start(cluster.operatorKubeconfig, []);
    await cluster.putBundle("filtered", { sources: [{ inLine: all }], target });
    const held = await cluster.targetBecomes("ns-a", "filtered", "is written", (it) => it !== undefined);
    assert.equal(held.data?.["ca.pem"]?.match(/BEGIN/g)?.length, 4);
  });

  await t.step("--filter-non-ca-certs", async () => {
    await using operator = OperatorInside.start(cluster.operatorKubeconfig, ["--filter-non-ca-certs"]);
    await cluster.targetBecomes(
      "ns-a",
      "filtered",
      "has no leaf",
      (it) => it?.data?.["ca.pem"]?.match(/BEGIN/g)?.length === 3,
    );
    assert.match(
      operator.log.join("\n"),
      /Ignoring non-CA certificate" bundle=filtered .*CN=leaf\.example\.org/,
    );
  });

  await t.step("--filter-expired-certificates, also when one expires later", async () => {
    await using operator = OperatorInside.start(
      cluster.operatorKubeconfig,
      ["--filter-expired-certificates", "--filter-non-ca-certs"],
    );
    await becomes("filtered", canonicalPem(ROOT_1, ROOT_2));
    assert.match(operator.log.join("\n"), /Ignoring expired certificate/);
    operator.clock.jump(Date.parse(ROOT_2.notAfter) - operator.clock.now() - 60_000);
    assert.equal((await cluster.target("ns-a", "filtered"))?.data?.["ca.pem"], canonicalPem(ROOT_1, ROOT_2));
    operator.clock.jump(61_000);
    await becomes("filtered", canonicalPem(ROOT_1));
    const event = await cluster.event("filtered", "CertificatesRemoved");
    assert.match(event.note, new RegExp(ROOT_2.sha256));
    // The last one expires, too: nothing is left, and the target keeps its last good content.
    operator.clock.jump(Date.parse(ROOT_1.notAfter) - operator.clock.now() + 1_000);
    const condition = await cluster.condition("filtered", "False");
    assert.equal(
      condition.message,
      "Bundle source was not found: couldn't find any valid certificates in bundle: " +
        ([
          [ROOT_1, "expired on 2040-01-01"],
          [LEAF, "expired on 2040-01-01"],
          [ROOT_2, "expired on 2035-06-01"],
          [EXPIRED, "expired on 2020-01-01"],
        ] as const).map(([{ subject, sha256 }, why]) =>
          `inline source: ${subject} (SHA-256 ${sha256}) ${why} and is filtered`
        ).join("; "),
    );
    assert.equal((await cluster.target("ns-a", "filtered"))?.data?.["ca.pem"], canonicalPem(ROOT_1));
  });
});
