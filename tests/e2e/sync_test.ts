import assert from "node:assert/strict";
import { targetHash } from "../../lib/hash.ts";
import { canonicalPem as pemText, LEAF, ROOT_1, ROOT_2, type TestCertificate } from "../builders.ts";
import { bundlePath, TestCluster, TRUST_NAMESPACE } from "./test_cluster.ts";

/** A private key block that must never reach a target. Its content is none. */
const PRIVATE_KEY =
  "-----BEGIN PRIVATE KEY-----\nc2VjcmV0LXBsYW50ZWQtaW4tdGhlLXRydXN0LW5hbWVzcGFjZQ==\n-----END PRIVATE KEY-----\n";

const inTeams = (label: string) => ({ namespaceSelector: { matchLabels: { [label]: "yes" } } });

Deno.test("Bundles are kept in sync", async (t) => {
  await using cluster = await TestCluster.start();
  const { admin } = cluster;
  await using _operator = await cluster.operator();
  for (const name of ["ns-a", "ns-b", "ns-c"]) {
    await cluster.createNamespace(name, { team: "yes", [name]: "yes" });
  }

  await t.step("An inline source reaches every namespace, as a target that says whose it is", async () => {
    await cluster.putBundle("inline", {
      sources: [{ inLine: pemText(ROOT_2, ROOT_1, ROOT_2) }],
      target: {
        configMap: {
          key: "ca.pem",
          metadata: { labels: { color: "red" }, annotations: { "example.com/note": "x" } },
        },
      },
    });
    const condition = await cluster.synced("inline");
    assert.equal(condition.reason, "Synced");
    assert.equal(condition.message, "Successfully synced Bundle to all namespaces");
    const uid = (await cluster.getBundle("inline"))?.metadata.uid;
    for (const namespace of ["ns-a", "ns-b", "ns-c", "default", "kube-system", TRUST_NAMESPACE]) {
      // Not once it is in sync: a new namespace may become known later than a new Bundle.
      const target = await cluster.targetBecomes(namespace, "inline", "is written", (it) => it !== undefined);
      assert.deepEqual(target.data, { "ca.pem": pemText(ROOT_1, ROOT_2) }, namespace);
      assert.deepEqual(target.metadata.labels, { color: "red", "trust.cert-manager.io/bundle": "inline" });
      assert.deepEqual(target.metadata.annotations, {
        "example.com/note": "x",
        "trust.cert-manager.io/hash": targetHash(pemText(ROOT_1, ROOT_2), undefined, {
          labels: { color: "red" },
          annotations: { "example.com/note": "x" },
        }),
      });
      assert.deepEqual(target.metadata.ownerReferences, [{
        apiVersion: "trust.cert-manager.io/v1alpha1",
        kind: "Bundle",
        name: "inline",
        uid,
        controller: true,
        blockOwnerDeletion: true,
      }]);
    }
    const event = await cluster.event("inline", "Synced");
    assert.equal(event.type, "Normal");
    assert.equal(event.action, "Synced");
    assert.equal(event.note, "Successfully synced Bundle to all namespaces");
    assert.equal(event.reportingController, "bundles");
    assert.deepEqual([event.regarding.kind, event.regarding.uid], ["Bundle", uid]);
  });

  await t.step(
    "Target metadata that changes is written, and what is not asked for any more goes",
    async () => {
      await cluster.putBundle("inline", {
        sources: [{ inLine: pemText(ROOT_1) }],
        target: { configMap: { key: "other.pem", metadata: { labels: { color: "blue" } } } },
      });
      await cluster.synced("inline");
      const target = await cluster.target("ns-b", "inline");
      assert.deepEqual(target?.data, { "other.pem": pemText(ROOT_1) });
      assert.equal(target?.metadata.labels?.color, "blue");
      assert.equal(target?.metadata.annotations?.["example.com/note"], undefined);
      await cluster.deleteBundles("inline");
      for (const namespace of ["ns-a", "default"]) await cluster.targetGone(namespace, "inline");
    },
  );

  await t.step("Each kind of source is read, and followed", async () => {
    const sourceLabels = { ca: "selected" };
    await cluster.putConfigMap(TRUST_NAMESPACE, "cm-1", {
      "ca.crt": pemText(ROOT_1),
      "more.crt": pemText(LEAF),
    });
    await cluster.putConfigMap(TRUST_NAMESPACE, "cm-2", { "ca.crt": pemText(ROOT_2) }, sourceLabels);
    await cluster.putSecret("secret-1", { "ca.crt": pemText(ROOT_1), "tls.key": PRIVATE_KEY });
    await cluster.putSecret("secret-2", { "a.crt": pemText(ROOT_1), "b.crt": pemText(ROOT_2) }, {
      labels: sourceLabels,
    });
    await admin.apply([{
      apiVersion: "v1",
      kind: "ConfigMap",
      metadata: { namespace: TRUST_NAMESPACE, name: "cm-binary" },
      binaryData: { "ca.crt": btoa(pemText(ROOT_2)) },
    }]);
    const selector = { matchLabels: sourceLabels };
    const rows = {
      "configmap-key": [{ configMap: { name: "cm-1", key: "ca.crt" } }, [ROOT_1]],
      "configmap-all": [{ configMap: { name: "cm-1", includeAllKeys: true } }, [ROOT_1, LEAF]],
      "configmap-selector": [{ configMap: { selector, key: "ca.crt" } }, [ROOT_2]],
      "configmap-binary": [{ configMap: { name: "cm-binary", key: "ca.crt" } }, [ROOT_2]],
      "secret-key": [{ secret: { name: "secret-1", key: "ca.crt" } }, [ROOT_1]],
      "secret-all": [{ secret: { name: "secret-2", includeAllKeys: true } }, [ROOT_1, ROOT_2]],
      "secret-selector": [{ secret: { selector, includeAllKeys: true } }, [ROOT_1, ROOT_2]],
    } as const;
    const names = Object.keys(rows).map((name) => `source-${name}`);
    for (const [name, [source]] of Object.entries(rows)) {
      const target = { configMap: { key: "ca.pem" }, ...inTeams("ns-a") };
      await cluster.putBundle(`source-${name}`, { sources: [source], target });
    }
    for (const [name, [, certificates]] of Object.entries(rows)) {
      await cluster.synced(`source-${name}`);
      assert.equal(
        (await cluster.target("ns-a", `source-${name}`))?.data?.["ca.pem"],
        pemText(...certificates),
        name,
      );
      assert.equal(await cluster.target("ns-b", `source-${name}`), undefined);
    }
    // A new object that a selector matches, and one that changes.
    await cluster.putConfigMap(TRUST_NAMESPACE, "cm-3", { "ca.crt": pemText(LEAF) }, sourceLabels);
    const becomes = (name: string, ...certificates: readonly TestCertificate[]) =>
      cluster.targetBecomes(
        "ns-a",
        `source-${name}`,
        "follows its source",
        (target) => target?.data?.["ca.pem"] === pemText(...certificates),
      );
    await becomes("configmap-selector", LEAF, ROOT_2);
    await cluster.putConfigMap(TRUST_NAMESPACE, "cm-1", {
      "ca.crt": pemText(ROOT_2),
      "more.crt": pemText(LEAF),
    });
    await becomes("configmap-key", ROOT_2);
    await becomes("configmap-all", LEAF, ROOT_2);
    // One that is not matched any more.
    await cluster.putConfigMap(TRUST_NAMESPACE, "cm-3", { "ca.crt": pemText(LEAF) }, { ca: "no" });
    await becomes("configmap-selector", ROOT_2);
    const event = await cluster.event("source-configmap-selector", "CertificatesRemoved");
    assert.match(event.note, new RegExp(LEAF.sha256));
    assert.match(event.note, /CN=leaf\.example\.org/);
    assert.match(
      await _operator.metrics(),
      /trust_manager_bundle_certificates_removed_total\{bundle="source-configmap-selector"\} 1/,
    );
    await cluster.deleteBundles(...names);
  });

  await t.step("A bad source is told, and targets keep their last good content", async () => {
    await cluster.putConfigMap(TRUST_NAMESPACE, "bad", {
      "text": "no certificates",
      "key": pemText(ROOT_1) + "\n" + PRIVATE_KEY,
      "headers": pemText(ROOT_1).replace("-----\n", "-----\nProc-Type: 4\n\n"),
      "der": "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
    });
    await cluster.putSecret("bad", { key: PRIVATE_KEY });
    await admin.apply([{
      apiVersion: "v1",
      kind: "Secret",
      metadata: { namespace: TRUST_NAMESPACE, name: "tls" },
      type: "kubernetes.io/tls",
      stringData: { "tls.crt": pemText(LEAF), "tls.key": PRIVATE_KEY },
    }]);
    const notFound = "Bundle source was not found: ";
    const failed = "Failed to build bundle sources: ";
    const onlyCertificates =
      "invalid PEM block in bundle: only CERTIFICATE blocks are permitted but found 'PRIVATE KEY'";
    const badSelector = { matchExpressions: [{ key: "a", operator: "Near", values: ["b"] }] };
    const rows: [
      source: Parameters<typeof cluster.putBundle>[1]["sources"][number],
      reason: string,
      message: string | RegExp,
    ][] = [
      [
        { configMap: { name: "nope", key: "k" } },
        "SourceNotFound",
        `${notFound}failed to get ConfigMap cert-manager/nope: ConfigMap "nope" not found`,
      ],
      [
        { secret: { name: "nope", key: "k" } },
        "SourceNotFound",
        `${notFound}failed to get Secret cert-manager/nope: Secret "nope" not found`,
      ],
      [
        { configMap: { name: "bad", key: "k" } },
        "SourceNotFound",
        `${notFound}no data found in ConfigMap cert-manager/bad at key "k"`,
      ],
      [
        { secret: { name: "bad", key: "k" } },
        "SourceNotFound",
        `${notFound}no data found in Secret cert-manager/bad at key "k"`,
      ],
      [
        { configMap: { name: "bad", key: "text" } },
        "SourceNotFound",
        `${notFound}couldn't find any valid certificates in bundle: ConfigMap cert-manager/bad, key "text": ` +
        "gives no certificate; it is text without PEM: put certificates in PEM there",
      ],
      [
        { configMap: { selector: { matchLabels: { no: "one" } }, key: "k" } },
        "SourceNotFound",
        `${notFound}couldn't find any valid certificates in bundle: selector "no=one" of ConfigMaps: matches nothing`,
      ],
      [
        { useDefaultCAs: true },
        "SourceNotFound",
        `${notFound}no default package was specified when trust-manager was started; default CAs not available`,
      ],
      [
        { configMap: { name: "bad", key: "key" } },
        "SourceBuildError",
        `${failed}invalid PEM data in ConfigMap cert-manager/bad at key "key": ${onlyCertificates}`,
      ],
      [
        { secret: { name: "bad", key: "key" } },
        "SourceBuildError",
        `${failed}invalid PEM data in Secret cert-manager/bad at key "key": ${onlyCertificates}`,
      ],
      [
        { configMap: { name: "bad", key: "headers" } },
        "SourceBuildError",
        `${failed}invalid PEM data in ConfigMap cert-manager/bad at key "headers": invalid PEM block in bundle; blocks are not permitted to have PEM headers`,
      ],
      [
        { configMap: { name: "bad", key: "der" } },
        "SourceBuildError",
        /^Failed to build bundle sources: invalid PEM data in ConfigMap cert-manager\/bad at key "der": invalid PEM block in bundle; invalid PEM certificate: x509: /,
      ],
      [
        { inLine: PRIVATE_KEY },
        "SourceBuildError",
        `${failed}inline source contains invalid PEM data: ${onlyCertificates}`,
      ],
      [
        { secret: { name: "tls", includeAllKeys: true } },
        "SourceBuildError",
        `${failed}includeAllKeys is not supported for TLS Secrets such as cert-manager/tls`,
      ],
      [
        { configMap: { selector: badSelector, key: "k" } },
        "SourceBuildError",
        `${failed}failed to parse label selector as Selector for ConfigMap in namespace cert-manager: "Near" is not a valid label selector operator`,
      ],
      [
        { secret: { selector: badSelector, key: "k" } },
        "SourceBuildError",
        `${failed}failed to parse label selector as Selector for Secret in namespace cert-manager: "Near" is not a valid label selector operator`,
      ],
    ];
    const target = { configMap: { key: "ca.pem" }, ...inTeams("ns-a") };
    await cluster.putBundle("bad-source", { sources: [{ inLine: pemText(ROOT_1) }], target });
    await cluster.synced("bad-source");
    const before = await cluster.target("ns-a", "bad-source");
    for (const [source, reason, message] of rows) {
      // Beside a good source: the pool must not become a part of what is asked for.
      const good = typeof message === "string" && message.includes("couldn't find any valid certificates")
        ? []
        : [{ inLine: pemText(ROOT_1) }];
      await cluster.putBundle("bad-source", { sources: [...good, source], target });
      const condition = await cluster.condition("bad-source", "False");
      assert.equal(condition.reason, reason, JSON.stringify(source));
      if (typeof message === "string") assert.equal(condition.message, message);
      else assert.match(condition.message, message);
      const event = await cluster.event("bad-source", reason, condition.message);
      assert.deepEqual([event.type, event.action], ["Warning", "SyncFailed"]);
      assert.deepEqual(await cluster.target("ns-a", "bad-source"), before);
    }
    // What is missing is waited for.
    await cluster.putBundle("bad-source", {
      sources: [{ configMap: { name: "late", key: "ca.crt" } }],
      target,
    });
    await cluster.condition("bad-source", "False");
    await cluster.putConfigMap(TRUST_NAMESPACE, "late", { "ca.crt": pemText(ROOT_2) });
    await cluster.synced("bad-source");
    assert.equal((await cluster.target("ns-a", "bad-source"))?.data?.["ca.pem"], pemText(ROOT_2));
    // And what goes missing leaves the target as it is.
    await admin.delete(`/api/v1/namespaces/${TRUST_NAMESPACE}/configmaps/late`);
    const condition = await cluster.condition("bad-source", "False");
    assert.equal(condition.reason, "SourceNotFound");
    assert.equal((await cluster.target("ns-a", "bad-source"))?.data?.["ca.pem"], pemText(ROOT_2));
    await cluster.deleteBundles("bad-source");
  });

  await t.step("A bad namespace selector, Secret targets and too much data are told", async () => {
    const sources = [{ inLine: pemText(ROOT_1) }];
    await cluster.putBundle("bad-target", {
      sources,
      target: {
        configMap: { key: "ca.pem" },
        namespaceSelector: { matchExpressions: [{ key: "a", operator: "In" }] },
      },
    });
    const selector = await cluster.condition("bad-target", "False");
    assert.equal(selector.reason, "NamespaceSelectorError");
    assert.match(
      selector.message,
      /^Failed to build namespace match labels selector: values: Invalid value: /,
    );
    await cluster.event("bad-target", "NamespaceSelectorError", selector.message);

    await cluster.putBundle("bad-target", {
      sources,
      target: { configMap: { key: "ca.pem" }, secret: { key: "ca.pem" }, ...inTeams("ns-a") },
    });
    const secret = await cluster.condition(
      "bad-target",
      "False",
      ({ reason }) => reason === "SecretTargetsDisabled",
    );
    assert.equal(secret.message, "Bundle has Secret targets but the feature is disabled");
    assert.equal(await cluster.target("ns-a", "bad-target"), undefined);

    // Three sources of nearly 1 MiB each, with the same certificate and much text: what counts is what comes out.
    const filler = "# ".padEnd(300_000, "x") + "\n";
    await cluster.putConfigMap(TRUST_NAMESPACE, "wordy", { "ca.crt": filler + pemText(ROOT_1) });
    await cluster.putBundle("bad-target", {
      sources: [{ configMap: { name: "wordy", key: "ca.crt" } }],
      target: { configMap: { key: "ca.pem" }, ...inTeams("ns-a") },
    });
    await cluster.synced("bad-target");
    assert.equal((await cluster.target("ns-a", "bad-target"))?.data?.["ca.pem"], pemText(ROOT_1));
    await cluster.deleteBundles("bad-target");
  });

  await t.step("Drift is repaired, and what others own is left alone", async () => {
    await cluster.putBundle("drift", {
      sources: [{ inLine: pemText(ROOT_1) }],
      target: { configMap: { key: "ca.pem" }, ...inTeams("ns-a") },
    });
    await cluster.synced("drift");
    const path = "/api/v1/namespaces/ns-a/configmaps/drift";
    const good = await cluster.target("ns-a", "drift");
    const isGood = (target: typeof good) =>
      target?.data?.["ca.pem"] === pemText(ROOT_1) &&
      target.metadata.labels?.["trust.cert-manager.io/bundle"] === "drift" &&
      target.metadata.annotations?.["trust.cert-manager.io/hash"] ===
        good?.metadata.annotations?.["trust.cert-manager.io/hash"] &&
      target.metadata.ownerReferences?.length === 1;
    const drifts: [what: string, patch: unknown][] = [
      ["an edited key", { data: { "ca.pem": "none" } }],
      ["a removed key", { data: { "ca.pem": null } }],
      ["a removed label", { metadata: { labels: { "trust.cert-manager.io/bundle": null } } }],
      ["a changed label", { metadata: { labels: { "trust.cert-manager.io/bundle": "other" } } }],
      ["a changed hash", { metadata: { annotations: { "trust.cert-manager.io/hash": "other" } } }],
      ["a removed owner", { metadata: { ownerReferences: [] } }],
    ];
    for (const [what, patch] of drifts) {
      await admin.mergePatch(path, patch);
      await cluster.targetBecomes("ns-a", "drift", `is repaired after ${what}`, isGood);
    }
    const uid = (await cluster.target("ns-a", "drift"))?.metadata.uid;
    await admin.delete(path);
    await cluster.targetBecomes(
      "ns-a",
      "drift",
      "is made anew",
      (target) => isGood(target) && target?.metadata.uid !== uid,
    );

    await admin.mergePatch(path, { data: { "theirs": "kept" } });
    // It must not be deleted with the Bundle any more.
    await cluster.targetBecomes(
      "ns-a",
      "drift",
      "has no owner reference",
      (target) => target?.metadata.ownerReferences === undefined,
    );
    await admin.mergePatch(path, { data: { "ca.pem": "none" } });
    const repaired = await cluster.targetBecomes(
      "ns-a",
      "drift",
      "is repaired",
      (target) => target?.data?.["ca.pem"] === pemText(ROOT_1),
    );
    assert.equal(repaired.data?.theirs, "kept");
    assert.equal(repaired.metadata.ownerReferences, undefined);
  });

  await t.step(
    "A target that is not wanted any more is cleaned, and deleted if nothing is left in it",
    async () => {
      const sources = [{ inLine: pemText(ROOT_1) }];
      await cluster.putBundle("drift", {
        sources,
        target: { configMap: { key: "ca.pem" }, ...inTeams("ns-b") },
      });
      await cluster.targetBecomes("ns-b", "drift", "is written", (target) => target !== undefined);
      // Others have data in this one.
      const kept = await cluster.targetBecomes(
        "ns-a",
        "drift",
        "is cleaned",
        (target) => target?.data?.["ca.pem"] === undefined,
      );
      assert.deepEqual(kept.data, { theirs: "kept" });
      const { labels, annotations, ownerReferences } = kept.metadata;
      assert.deepEqual([labels, annotations, ownerReferences], [undefined, undefined, undefined]);

      await cluster.putBundle("drift", {
        sources,
        target: { configMap: { key: "ca.pem" }, ...inTeams("ns-c") },
      });
      await cluster.targetGone("ns-b", "drift");
      await cluster.synced("drift");
      // It was cleaned once, and is not patched again at each sync.
      assert.equal(
        (await cluster.target("ns-a", "drift"))?.metadata.resourceVersion,
        kept.metadata.resourceVersion,
      );

      // Without a target at all.
      await cluster.admin.mergePatch(bundlePath("drift"), { spec: { target: null } });
      await cluster.targetGone("ns-c", "drift");
      await cluster.synced("drift");
      await cluster.deleteBundles("drift");
    },
  );

  await t.step("Namespaces come, change and go", async () => {
    await cluster.putBundle("places", {
      sources: [{ inLine: pemText(ROOT_1) }],
      target: {
        configMap: { key: "ca.pem" },
        namespaceSelector: {
          matchLabels: { zone: "x" },
          matchExpressions: [{ key: "off", operator: "DoesNotExist" }],
        },
      },
    });
    const condition = await cluster.synced("places");
    assert.equal(
      condition.message,
      "Successfully synced Bundle to namespaces that match this label selector: !off,zone=x",
    );
    await cluster.createNamespace("place-1", { zone: "x" });
    await cluster.targetBecomes("place-1", "places", "is written", (target) => target !== undefined);
    await admin.mergePatch("/api/v1/namespaces/place-1", { metadata: { labels: { off: "yes" } } });
    await cluster.targetGone("place-1", "places");
    await admin.mergePatch("/api/v1/namespaces/place-1", { metadata: { labels: { off: null } } });
    await cluster.targetBecomes("place-1", "places", "is written again", (target) => target !== undefined);

    // A namespace that stays Terminating: something in it holds it.
    await admin.apply([{
      apiVersion: "v1",
      kind: "ConfigMap",
      metadata: { namespace: "place-1", name: "holder", finalizers: ["example.com/hold"] },
    }]);
    await admin.delete("/api/v1/namespaces/place-1");
    await cluster.targetGone("place-1", "places");
    await cluster.putBundle("places-2", {
      sources: [{ inLine: pemText(ROOT_1) }],
      target: { configMap: { key: "ca.pem" }, namespaceSelector: { matchLabels: { zone: "x" } } },
    });
    await cluster.synced("places-2");
    assert.equal(await cluster.target("place-1", "places-2"), undefined);
    await admin.mergePatch("/api/v1/namespaces/place-1/configmaps/holder", {
      metadata: { finalizers: null },
    });
    await admin.waitUntilGone("/api/v1/namespaces/place-1");
    assert.equal((await cluster.synced("places")).lastTransitionTime, condition.lastTransitionTime);
    await cluster.deleteBundles("places", "places-2");
  });

  await t.step("A namespace that fails or hangs does not stop the others", async () => {
    for (const name of ["f-1", "f-2", "f-3", "f-4"]) await cluster.createNamespace(name, { f: "yes" });
    const quota = (namespace: string) =>
      admin.apply([{
        apiVersion: "v1",
        kind: "ResourceQuota",
        metadata: { namespace, name: "none" },
        spec: { hard: { "count/configmaps": "0" } },
      }]);
    for (const name of ["f-2", "f-3"]) {
      await quota(name);
      await admin.waitFor<{ status?: { hard?: unknown } }>(
        `/api/v1/namespaces/${name}/resourcequotas/none`,
        "is in force",
        (object) => object?.status?.hard !== undefined,
      );
    }
    await cluster.putBundle("fails", {
      sources: [{ inLine: pemText(ROOT_1) }],
      target: { configMap: { key: "ca.pem" }, ...inTeams("f") },
    });
    // At first the API server may say that it does not know what the quota allows.
    const refused =
      /^Failed to sync bundle ConfigMap to namespace "f-2": (failed to patch ConfigMap f-2\/fails: configmaps "fails" is forbidden: exceeded quota: none.* \(and 1 more\))$/;
    const { reason, message } = await cluster.condition(
      "fails",
      "False",
      ({ message }) => refused.test(message),
    );
    assert.equal(reason, "SyncConfigMapTargetFailed");
    await cluster.event(
      "fails",
      reason,
      message.replace(refused, 'Failed to sync target ConfigMap in Namespace "f-2": $1'),
    );
    for (const name of ["f-1", "f-4"]) {
      const target = await cluster.targetBecomes(name, "fails", "is written", (it) => it !== undefined);
      assert.equal(target.data?.["ca.pem"], pemText(ROOT_1));
    }
    assert.match(
      await _operator.metrics(),
      /trust_manager_bundle_targets\{bundle="fails",state="failed"\} 2/,
    );
    for (const name of ["f-2", "f-3"]) await admin.delete(`/api/v1/namespaces/${name}/resourcequotas/none`);
    await cluster.synced("fails");
    await cluster.deleteBundles("fails");
  });

  await t.step("An object of that name that somebody else controls is not taken over", async () => {
    await admin.apply([{
      apiVersion: "v1",
      kind: "ConfigMap",
      metadata: {
        namespace: "ns-a",
        name: "taken",
        ownerReferences: [{
          apiVersion: "v1",
          kind: "Namespace",
          name: "default",
          uid: (await admin.get("/api/v1/namespaces/default"))?.metadata.uid,
          controller: true,
        }],
      },
      data: { "ca.pem": "theirs" },
    }]);
    await cluster.putBundle("taken", {
      sources: [{ inLine: pemText(ROOT_1) }],
      target: { configMap: { key: "ca.pem" }, ...inTeams("team") },
    });
    const condition = await cluster.condition("taken", "False");
    assert.equal(condition.reason, "SyncConfigMapTargetFailed");
    assert.match(condition.message, /namespace "ns-a": failed to patch ConfigMap ns-a\/taken: .*controller/i);
    assert.equal((await cluster.target("ns-b", "taken"))?.data?.["ca.pem"], pemText(ROOT_1));
    await cluster.deleteBundles("taken");
  });
});
