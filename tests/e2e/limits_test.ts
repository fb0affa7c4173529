import assert from "node:assert/strict";
import type { BundleSpec } from "../../lib/api/bundle.ts";
import type { ConfigMap } from "../../lib/kube/objects.ts";
import { canonicalPem, pemText, ROOT_1, ROOT_2 } from "../builders.ts";
import { type AuditEntry, type AuditMark, WRITES } from "../cluster/audit.ts";
import { manyCertificates } from "../many_certificates.ts";
import { until } from "../until.ts";
import { bundlePath, TestCluster, TRUST_NAMESPACE } from "./test_cluster.ts";

const OPERATOR = `system:serviceaccount:${TRUST_NAMESPACE}:trust-manager`;
const RBAC = "/apis/rbac.authorization.k8s.io/v1";

/** What the API server allows in one ConfigMap, in bytes. */
const LIMIT = 1_048_576;

Deno.test("What cannot be written harms nothing that can", async (t) => {
  await using cluster = await TestCluster.start();
  const { admin, audit } = cluster;
  const sources = [{ inLine: pemText(ROOT_1) }];
  const target = (label: string) => ({
    configMap: { key: "ca.pem" },
    namespaceSelector: { matchLabels: { [label]: "yes" } },
  });
  const holds = (namespace: string, name: string, text: string) =>
    cluster.targetBecomes(namespace, name, "is as wanted", (it) => it?.data?.["ca.pem"] === text);

  await t.step("One namespace is forbidden, one over quota, one Terminating for ever", async () => {
    await using operator = await cluster.operator("--leader-elect=false");
    const good = Array.from({ length: 10 }, (_, index) => `d-good-${index}`);
    for (const name of ["a-forbidden", "b-quota", "c-ending", ...good]) {
      await cluster.createNamespace(name, { mixed: "yes" });
    }
    // The right to write ConfigMaps is given namespace by namespace.
    const role = `${RBAC}/clusterroles/trust-manager`;
    const { rules } = await admin.request<{ rules: { resources: string[]; verbs: string[] }[] }>("GET", role);
    await admin.mergePatch(role, {
      rules: rules.map((rule) =>
        rule.resources.includes("configmaps") ? { ...rule, verbs: ["get", "list", "watch"] } : rule
      ),
    });
    await admin.create(`${RBAC}/clusterroles`, {
      metadata: { name: "writer" },
      rules: rules.filter(({ resources }) => resources.includes("configmaps")),
    });
    const allow = (namespace: string) =>
      admin.create(`${RBAC}/namespaces/${namespace}/rolebindings`, {
        metadata: { name: "writer" },
        roleRef: { apiGroup: "rbac.authorization.k8s.io", kind: "ClusterRole", name: "writer" },
        subjects: [{ kind: "ServiceAccount", name: "trust-manager", namespace: TRUST_NAMESPACE }],
      });
    for (const namespace of [...good, "b-quota", "c-ending"]) await allow(namespace);
    await cluster.putConfigMap("c-ending", "holder", {});
    await admin.mergePatch("/api/v1/namespaces/c-ending/configmaps/holder", {
      metadata: { finalizers: ["example.com/hold"] },
    });
    await admin.delete("/api/v1/namespaces/c-ending");
    await admin.create("/api/v1/namespaces/b-quota/resourcequotas", {
      metadata: { name: "none" },
      spec: { hard: { "count/configmaps": "1" } },
    });
    await admin.waitFor<{ status?: { used?: Record<string, string> } }>(
      "/api/v1/namespaces/b-quota/resourcequotas/none",
      "is counted",
      (quota) => quota?.status?.used?.["count/configmaps"] === "1",
    );

    const mark = await audit.mark();
    const start = performance.now();
    await cluster.putBundle("mixed", { sources, target: target("mixed") });
    for (const namespace of good) await holds(namespace, "mixed", canonicalPem(ROOT_1));
    const condition = await cluster.condition("mixed", "False");
    assert.equal(condition.reason, "SyncConfigMapTargetFailed");
    assert.match(
      condition.message,
      /^Failed to sync bundle ConfigMap to namespace "a-forbidden": failed to patch ConfigMap a-forbidden\/mixed: configmaps "mixed" is forbidden: User "system:serviceaccount:cert-manager:trust-manager" cannot patch resource "configmaps" .* \(and 1 more\)$/,
    );
    // A change reaches the good ones all the same.
    await cluster.putBundle("mixed", { sources: [{ inLine: pemText(ROOT_2) }], target: target("mixed") });
    for (const namespace of good) await holds(namespace, "mixed", canonicalPem(ROOT_2));
    await cluster.condition("mixed", "False");
    let writes: AuditEntry[] = [];
    const triesIn = (namespace: string) => writes.filter((entry) => entry.namespace === namespace);
    await until(async () => {
      writes = await audit.since(mark, { user: OPERATOR, verb: WRITES, resource: "configmaps" });
      return ["a-forbidden", "b-quota"].every((namespace) => triesIn(namespace).length >= 2);
    }, "what fails is tried again");
    // Twice, for two contents; what fails is tried again after 0.5 s, 1 s, 2 s and so on.
    const seconds = (performance.now() - start) / 1000;
    const tries = 2 * (2 + Math.log2(1 + seconds / 0.5));
    for (const namespace of [...good, "a-forbidden", "b-quota", "c-ending"]) {
      const count = triesIn(namespace).length;
      const most = namespace === "c-ending" ? 0 : namespace.startsWith("d-") ? 2 : tries;
      assert.ok(count <= most, `${count} writes in ${namespace} within ${seconds} s`);
    }

    // The good ones wait for none of that: each was written before anything was tried again.
    const times = (namespace: string, attempt: number) =>
      triesIn(namespace).map(({ time }) => time).sort()[attempt] ?? "";
    const [again = ""] = ["a-forbidden", "b-quota"].map((namespace) => times(namespace, 1)).sort();
    for (const namespace of good) assert.ok(times(namespace, 0) < again, `${namespace} had to wait`);

    await allow("a-forbidden");
    await admin.delete("/api/v1/namespaces/b-quota/resourcequotas/none");
    await admin.mergePatch("/api/v1/namespaces/c-ending/configmaps/holder", {
      metadata: { finalizers: null },
    });
    await admin.waitUntilGone("/api/v1/namespaces/c-ending");
    await cluster.createNamespace("c-ending", { mixed: "yes" });
    await allow("c-ending");
    for (const namespace of [...good, "a-forbidden", "b-quota", "c-ending"]) {
      await holds(namespace, "mixed", canonicalPem(ROOT_2));
    }
    await cluster.synced("mixed");
    assert.equal(await operator.stop(), 0);
    await cluster.deleteBundles("mixed");
    await admin.mergePatch(role, { rules });
  });

  await t.step("The content grows above 1 MiB: the last good content stays in every target", async () => {
    await using operator = await cluster.operator("--leader-elect=false");
    const namespaces = Array.from({ length: 5 }, (_, index) => `large-${index}`);
    for (const name of namespaces) await cluster.createNamespace(name, { large: "yes" });
    // Each part is below the limit, and twice as much text is not.
    const put = (first: number, second: number) =>
      Promise.all([
        cluster.putConfigMap(TRUST_NAMESPACE, "part-1", { "ca.crt": manyCertificates(first) }),
        cluster.putConfigMap(TRUST_NAMESPACE, "part-2", { "ca.crt": manyCertificates(second, 10_000) }),
      ]);
    await put(5, 5);
    await cluster.putBundle("large", {
      sources: ["part-1", "part-2"].map((name) => ({ configMap: { name, key: "ca.crt" } })),
      target: target("large"),
    });
    await cluster.synced("large");
    const states = async () => {
      const all = await Promise.all(namespaces.map((namespace) => cluster.target(namespace, "large")));
      return all.map((it) => ({
        version: it?.metadata.resourceVersion,
        length: it?.data?.["ca.pem"]?.length ?? 0,
      }));
    };
    const hold = async (certificates: number) => {
      for (const namespace of namespaces) {
        await cluster.targetBecomes(
          namespace,
          "large",
          `holds ${certificates} certificates`,
          (it) => it?.data?.["ca.pem"]?.match(/BEGIN/g)?.length === certificates,
        );
      }
    };
    const writesSince = (mark: AuditMark) =>
      audit.since(mark, { user: OPERATOR, verb: WRITES, resource: "configmaps", name: "large" });
    const before = await states();
    const mark = await audit.mark();
    await put(1400, 5); // still fits
    await hold(1405);
    await until(
      async () => (await writesSince(mark)).length >= namespaces.length,
      "all those writes are in the audit log",
    );
    const full = await states();
    assert.notDeepEqual(full, before);

    const grown = await audit.mark();
    let last = 0;
    for (const count of [500, 300, 250]) {
      await put(1400, count);
      const condition = await cluster.condition("large", "False", ({ message }) => {
        const size = Number(/would hold (\d+) bytes/.exec(message)?.[1]);
        return size > LIMIT && size !== last;
      });
      last = Number(/would hold (\d+) bytes/.exec(condition.message)?.[1]);
      assert.equal(condition.reason, "SyncConfigMapTargetFailed");
      assert.match(condition.message, /more than the 1048576 that the API server allows; remove sources/);
      await cluster.event("large", condition.reason, condition.message);
    }
    // Nothing has been written, and nothing is while others are at work.
    await cluster.putBundle("beside", { sources, target: target("large") });
    await cluster.synced("beside");
    const writes = await audit.since(grown, { user: OPERATOR, verb: WRITES });
    const about = (name: string) => writes.filter((entry) => entry.name === name);
    assert.deepEqual(about("large").filter(({ resource }) => resource === "configmaps"), []);
    assert.ok(about("large").length <= 6, `${about("large").length} writes of the status`);
    assert.deepEqual(await states(), full);
    await put(5, 6);
    await hold(11);
    await cluster.synced("large");
    const all = await writesSince(mark);
    // Two good contents, each perhaps by way of one that has only the first part's change.
    assert.ok(all.length <= 5 * namespaces.length, `${all.length} writes`);
    assert.equal(await operator.stop(), 0);
    await cluster.deleteBundles("large", "beside");
  });

  await t.step(
    "What no API server takes in a target, or in a status, is told once, and not tried again and again",
    async () => {
      await using operator = await cluster.operator("--leader-elect=false");
      const namespaces = ["odd-1", "odd-2", "odd-3"];
      for (const name of namespaces) await cluster.createNamespace(name, { odd: "yes" });
      const long = `${"x".repeat(60)}.org`;
      const about = (additions: object = {}, labels: object = { odd: "yes" }) =>
        ({
          sources,
          target: { configMap: { key: "ca.pem" }, namespaceSelector: { matchLabels: labels }, ...additions },
        }) as BundleSpec;
      const rows: { name: string; spec: BundleSpec; cause: RegExp; holdsPem: boolean }[] = [
        { name: long, spec: about(), cause: /^metadata\.name: has 64 characters/, holdsPem: false },
        {
          name: "a-path",
          spec: about({ configMap: { key: "certs/ca.pem" } }),
          cause: /^spec\.target\.configMap\.key: is no key/,
          holdsPem: false,
        },
        {
          name: "dots",
          spec: about({ configMap: { key: "..data" } }),
          cause: /^spec\.target\.configMap\.key: is no key .* '\.\.'$/,
          holdsPem: false,
        },
        {
          name: "labels",
          spec: about({ configMap: { key: "ca.pem", metadata: { labels: { "a b": "c" } } } }),
          cause: /^spec\.target\.configMap\.metadata\.labels: Invalid value: "a b": /,
          holdsPem: false,
        },
        {
          name: "annotations",
          // Admission takes as much as this, but for the operator's own.
          spec: about({
            configMap: { key: "ca.pem", metadata: { annotations: { a: "x".repeat(256 * 1024 - 1) } } },
          }),
          cause: /^spec\.target\.configMap\.metadata\.annotations: have 262234 bytes/,
          holdsPem: false,
        },
        {
          name: "a-store",
          spec: about({ additionalFormats: { jks: { key: "java/trust.jks" }, pkcs12: { key: "p12" } } }),
          cause: /^spec\.target\.additionalFormats\.jks\.key: is no key .* \(left out\)$/,
          holdsPem: true,
        },
      ];
      const mark = await audit.mark();
      for (const { name, spec } of rows) await cluster.putBundle(name, spec);
      for (const { name, cause, holdsPem } of rows) {
        const { reason, message } = await cluster.condition(name, "False");
        assert.equal(reason, "SyncConfigMapTargetFailed");
        const start = `Failed to sync bundle ConfigMap to any namespace${holdsPem ? " in full" : ""}: `;
        assert.ok(message.startsWith(start), message);
        assert.match(message.slice(start.length), cause);
        await cluster.event(name, reason, message);
        if (holdsPem) {
          for (const namespace of namespaces) await holds(namespace, name, canonicalPem(ROOT_1));
        }
      }
      // 800 names, of 63 characters each: more than a condition takes.
      const names = Array.from({ length: 800 }, (_, i) => `${i}`.padStart(63, "n"));
      const key = "kubernetes.io/metadata.name";
      const many = { matchExpressions: [{ key, operator: "In", values: [...namespaces, ...names] }] };
      await cluster.putBundle("many", about({ namespaceSelector: many }));
      const { message } = await cluster.condition("many", "True");
      assert.match(
        message,
        /^Successfully synced Bundle to namespaces that match this label selector: kubernetes/,
      );
      assert.ok(message.endsWith("…") && message.length > 32_000, `${message.length} characters`);
      for (const namespace of namespaces) await holds(namespace, "many", canonicalPem(ROOT_1));
      await cluster.event("many", "Synced");

      // Time goes by, and other Bundles change: nothing is written again.
      await cluster.createNamespace("odd-4", { odd: "yes" });
      await holds("odd-4", "a-store", canonicalPem(ROOT_1));
      for (const certificate of [ROOT_2, ROOT_1, ROOT_2]) {
        await cluster.putBundle("beside", { ...about(), sources: [{ inLine: pemText(certificate) }] });
        await holds("odd-1", "beside", canonicalPem(certificate));
      }
      await cluster.synced("beside");
      const writes = (await audit.since(mark, { user: OPERATOR, verb: WRITES })).filter(({ name }) =>
        name !== "beside"
      );
      const of = (resource: string) =>
        writes.filter((entry) => entry.resource === resource).map(({ name }) => name);
      assert.deepEqual(of("bundles").sort(), ["many", ...rows.map(({ name }) => name)].sort());
      assert.deepEqual(of("configmaps").sort(), [...Array(4).fill("a-store"), ...Array(3).fill("many")]);
      // It goes on once the Bundle is right.
      await cluster.putBundle("a-path", about());
      await cluster.synced("a-path");
      for (const namespace of namespaces) await holds(namespace, "a-path", canonicalPem(ROOT_1));
      assert.equal(await operator.stop(), 0);
      await cluster.deleteBundles("many", "beside", ...rows.map(({ name }) => name));
    },
  );

  await t.step(
    "100 Bundles are broken: few events, few lines, and a good one is in sync at once",
    async () => {
      await using operator = await cluster.operator("--leader-elect=false", "--log-level=1");
      await cluster.createNamespace("broken", { broken: "yes" });
      const count = 100;
      const key = (label: string) => `-----BEGIN ${label}-----\nc2VjcmV0\n-----END ${label}-----\n`;
      await cluster.putConfigMap(TRUST_NAMESPACE, "broken", { "ca.crt": key("PRIVATE KEY") });
      const names = Array.from({ length: count }, (_, index) => `broken-${index}`);
      /** Puts a good Bundle, and returns how many milliseconds the operator then took. */
      const putGood = async (name: string) => {
        await cluster.putBundle(name, { sources, target: target("broken") });
        const start = performance.now();
        await cluster.synced(name);
        return performance.now() - start;
      };
      const alone = await putGood("alone"); // how fast this machine is now
      await cluster.deleteBundles("alone");
      const mark = await audit.mark();
      const put = names.map((name, index) =>
        cluster.putBundle(name, {
          // One half has a source with a private key, which is tried again and again; the other has none.
          sources: [{ configMap: { name: index % 2 === 0 ? "broken" : "missing", key: "ca.crt" } }],
          target: target("broken"),
        })
      );
      const took = await putGood("good");
      assert.ok(took < 3_000 + 10 * alone, `the good one took ${took} ms, alone ${alone} ms`);
      assert.equal((await cluster.target("broken", "good"))?.data?.["ca.pem"], canonicalPem(ROOT_1));
      await Promise.all(put);
      for (const name of names) await cluster.condition(name, "False");
      await cluster.event("broken-99", "SourceNotFound");

      // 20 changes of the source that leave it as bad as it was.
      const noise = await audit.mark();
      const lines = operator.output.split("\n").length;
      assert.ok(lines < 8 * count, `${lines} lines`);
      for (let i = 0; i < 20; i++) {
        await cluster.putConfigMap(TRUST_NAMESPACE, "broken", { "ca.crt": `# ${i}\n${key("PRIVATE KEY")}` });
      }
      // And two more rounds of retries of the half that is tried again.
      const retries = async () =>
        Number(/workqueue_retries_total\{name="bundles"\} (\d+)/.exec(await operator.metrics())?.[1] ?? 0);
      await until(
        async () => await retries() >= count,
        async () => `there were ${count} retries; there were ${await retries()}`,
        20_000,
      );
      await cluster.putBundle("good", { sources: [{ inLine: pemText(ROOT_2) }], target: target("broken") });
      await holds("broken", "good", canonicalPem(ROOT_2));
      await cluster.synced("good");
      const told = (await audit.since(noise, { user: OPERATOR, verb: WRITES }))
        .filter(({ resource, name }) => resource !== "leases" && name !== "good" && !/good/.test(name));
      const about = told.filter(({ resource }) => resource === "bundles");
      assert.deepEqual(about, [], "a status is written though nothing has changed");
      const moreLines = operator.output.split("\n").length - lines;
      assert.ok(moreLines < 3 * count, `${moreLines} lines for 20 changes that change nothing`);

      const writes = await audit.since(mark, { user: OPERATOR, verb: WRITES });
      const of = (resource: string) => writes.filter((entry) => entry.resource === resource);
      assert.ok(of("bundles").length <= count + 4, `${of("bundles").length} writes of statuses`);
      assert.ok(of("events").length <= count + 4, `${of("events").length} writes of events`);
      assert.deepEqual(of("configmaps").map(({ name }) => name), ["good", "good"]);
      assert.doesNotMatch(operator.output, /c2VjcmV0/);

      // Healed by one change, all of them that it concerns.
      await cluster.putConfigMap(TRUST_NAMESPACE, "broken", { "ca.crt": pemText(ROOT_1) });
      for (let index = 0; index < count; index += 2) {
        await cluster.synced(`broken-${index}`);
        await holds("broken", `broken-${index}`, canonicalPem(ROOT_1));
      }
      const { items } = await admin.request<{ items: ConfigMap[] }>(
        "GET",
        "/api/v1/namespaces/broken/configmaps",
      );
      assert.equal(items.filter(({ metadata }) => metadata.name.startsWith("broken-")).length, count / 2);
      assert.equal(await operator.stop(), 0);
      for (const name of names) await admin.delete(bundlePath(name));
    },
  );
});
