import assert from "node:assert/strict";
import { OPERATOR_FLAGS, SCRIPT } from "../../build.ts";
import { pemText, ROOT_1 } from "../builders.ts";
import { heapStrings } from "./heap_strings.ts";
import { freePort } from "../cluster/free_ports.ts";
import { OperatorProcess } from "./operator_process.ts";
import { TestCluster, TRUST_NAMESPACE } from "./test_cluster.ts";

/** A text that stands in for a private key: long, and the same everywhere, as a snapshot shows only the beginning of a long string. */
const planted = (what: string) => `PLANTED-${what}-`.repeat(200);

/** The ways in which `text` may stand in a string: as it is, or in base64, at each of the three places where it may begin. */
function forms(text: string): string[] {
  const base64 = [0, 1, 2].map((before) => btoa("x".repeat(before) + text).slice(before === 0 ? 0 : 4, 40));
  return [text.slice(0, 30), ...base64];
}

Deno.test("A private key in the trust namespace does not stay in memory", async (t) => {
  await using cluster = await TestCluster.start();
  const keyBlock = (what: string) =>
    `-----BEGIN PRIVATE KEY-----\n${btoa(planted(what))}\n-----END PRIVATE KEY-----\n`;
  const label = "KEPT-LABEL-OF-A-SOURCE";
  await cluster.putSecret("ca", { "ca.crt": pemText(ROOT_1), "tls.key": keyBlock("LISTED") }, {
    labels: { label },
  });
  await cluster.putSecret("mixed", { "both.pem": pemText(ROOT_1) + keyBlock("MIXED") + planted("BEHIND") });
  await cluster.putConfigMap(TRUST_NAMESPACE, "keys", { "tls.key": planted("CONFIGMAP") });

  const inspector = freePort();
  await using operator = OperatorProcess.start(
    [...OPERATOR_FLAGS, `--inspect=127.0.0.1:${inspector}`],
    SCRIPT,
    [
      `--kubeconfig=${cluster.operatorKubeconfig}`,
      `--trust-namespace=${TRUST_NAMESPACE}`,
      "--webhook-enabled=false",
      "--log-level=5",
    ],
  );
  await operator.ready();
  const target = { configMap: { key: "ca.pem" } };
  await cluster.putBundle("ca", { sources: [{ secret: { name: "ca", key: "ca.crt" } }], target });
  await cluster.synced("ca");
  await cluster.putBundle("mixed", { sources: [{ secret: { name: "mixed", key: "both.pem" } }], target });
  const condition = await cluster.condition("mixed", "False");
  assert.match(condition.message, /only CERTIFICATE blocks are permitted but found 'PRIVATE KEY'/);
  await cluster.putBundle("inline", { sources: [{ inLine: keyBlock("INLINE") }], target });
  await cluster.condition("inline", "False");
  // The last event of that watch: nothing comes after it.
  await cluster.putSecret("ca", { "ca.crt": pemText(ROOT_1), "tls.key": keyBlock("WATCHED") }, {
    labels: { label, seen: "yes" },
  });
  await cluster.putBundle("seen", {
    sources: [{ secret: { selector: { matchLabels: { seen: "yes" } }, key: "ca.crt" } }],
    target,
  });
  await cluster.synced("seen");

  const heap = await heapStrings(`http://127.0.0.1:${inspector}`);
  await t.step("The snapshot shows what is kept", () => {
    assert.ok(
      heap.includes(label),
      "the label of a source is not in the heap snapshot, so it shows too little",
    );
  });
  for (const what of ["LISTED", "MIXED", "BEHIND", "CONFIGMAP", "INLINE", "WATCHED"]) {
    await t.step(`It does not show what was planted: ${what}`, () => {
      for (const text of [planted(what), btoa(planted(what)), btoa(btoa(planted(what)))]) {
        for (const form of forms(text)) {
          assert.ok(!heap.includes(form), `${what} is in the heap snapshot: ${form}`);
        }
      }
    });
    await t.step(`Nor does the log: ${what}`, () => {
      for (const form of [...forms(planted(what)), ...forms(btoa(planted(what)))]) {
        assert.ok(!operator.output.includes(form));
      }
    });
  }
});
