import assert from "node:assert/strict";
import { canonicalPem as pemText, ROOT_1, ROOT_2 } from "../builders.ts";
import { TestCluster, TRUST_NAMESPACE } from "./test_cluster.ts";

const sources = [{ inLine: pemText(ROOT_1) }];

Deno.test("Flags change what is watched, read and written", async (t) => {
  await using cluster = await TestCluster.start({ secretTargets: true });
  const { admin, audit } = cluster;
  for (const name of ["ns-a", "ns-b", "ns-c"]) await cluster.createNamespace(name, { team: "yes" });
  const namespaceSelector = { matchLabels: { team: "yes" } };

  await t.step("--target-namespaces: only those are watched and written", async () => {
    const mark = await audit.mark();
    await using operator = await cluster.operator("--target-namespaces=ns-a,ns-b");
    await cluster.putBundle("limited", { sources, target: { configMap: { key: "ca.pem" } } });
    const condition = await cluster.synced("limited");
    assert.equal(condition.message, "Successfully synced Bundle to all allowed namespaces");
    for (const name of ["ns-a", "ns-b"]) assert.ok(await cluster.target(name, "limited"));
    for (const name of ["ns-c", "default"]) assert.equal(await cluster.target(name, "limited"), undefined);
    const watched =
      (await audit.since(mark, { verb: "watch", resource: "configmaps", userAgent: "trust-manager/" }))
        .map(({ namespace }) => namespace).sort();
    assert.deepEqual(watched, ["cert-manager", "ns-a", "ns-b"]);

    await cluster.putBundle("limited", {
      sources,
      target: { configMap: { key: "ca.pem" }, namespaceSelector },
    });
    const selected = await cluster.synced("limited");
    assert.equal(
      selected.message,
      "Successfully synced Bundle to allowed namespaces that match this label selector: team=yes",
    );
    assert.equal(await operator.stop(), 0);
    await cluster.deleteBundles("limited");
  });

  await t.step("--secret-targets-enabled: Secrets are written, repaired and cleaned", async () => {
    await using operator = await cluster.operator("--secret-targets-enabled");
    const secret = { key: "ca.pem", metadata: { labels: { kind: "trust" } } };
    await cluster.putBundle("secrets", {
      sources,
      target: { secret, configMap: { key: "ca.pem" }, namespaceSelector },
    });
    await cluster.synced("secrets");
    const path = "/api/v1/namespaces/ns-a/secrets/secrets";
    const good = (target?: { data?: Record<string, string> }) =>
      target?.data?.["ca.pem"] === btoa(pemText(ROOT_1));
    const target = await cluster.targetBecomes("ns-a", "secrets", "holds the bundle", good, "Secret");
    assert.equal(target.metadata.labels?.kind, "trust");
    assert.equal((await cluster.target("ns-a", "secrets"))?.data?.["ca.pem"], pemText(ROOT_1));
    await admin.mergePatch(path, { data: { "ca.pem": btoa("none"), "theirs": btoa("kept") } });
    const repaired = await cluster.targetBecomes("ns-a", "secrets", "is repaired", good, "Secret");
    assert.equal(repaired.data?.theirs, btoa("kept"));
    await cluster.putBundle("secrets", {
      sources,
      target: { configMap: { key: "ca.pem" }, namespaceSelector },
    });
    await cluster.targetGone("ns-b", "secrets", "Secret");
    const cleaned = await cluster.targetBecomes(
      "ns-a",
      "secrets",
      "is cleaned",
      (target) => target?.data?.["ca.pem"] === undefined,
      "Secret",
    );
    assert.deepEqual(cleaned.data, { theirs: btoa("kept") });
    await cluster.putBundle("secrets", {
      sources,
      target: { secret, configMap: { key: "ca.pem" }, namespaceSelector },
    });
    await cluster.synced("secrets");
    assert.equal(await operator.stop(), 0);
  });

  await t.step(
    "Without it, a Bundle with a Secret target is told, and nothing of it is touched",
    async () => {
      await using operator = await cluster.operator();
      const condition = await cluster.condition("secrets", "False");
      assert.equal(condition.reason, "SecretTargetsDisabled");
      await admin.delete("/api/v1/namespaces/ns-b/configmaps/secrets");
      // Another Bundle's target there is written after that, so the deletion has been seen.
      await cluster.putBundle("other", {
        sources,
        target: { configMap: { key: "ca.pem" }, namespaceSelector },
      });
      await cluster.synced("other");
      assert.equal(await cluster.target("ns-b", "secrets"), undefined);
      assert.equal(await operator.stop(), 0);
      await cluster.deleteBundles("secrets", "other");
    },
  );

  await t.step("--default-package-location: the package, and its version in status", async () => {
    const path = `${cluster.controlPlane.dir}/package.json`;
    const bundle = pemText(ROOT_2);
    await Deno.writeTextFile(
      path,
      JSON.stringify({ name: "test-package", version: "20260101.0", bundle, extra: 1 }),
    );
    const hash = new Uint8Array(await crypto.subtle.digest("SHA-256", new TextEncoder().encode(bundle)))
      .slice(0, 8);
    await using operator = await cluster.operator(`--default-package-location=${path}`);
    const target = { configMap: { key: "ca.pem" }, namespaceSelector };
    await cluster.putBundle("defaults", { sources: [{ useDefaultCAs: true }, ...sources], target });
    await cluster.synced("defaults");
    assert.equal((await cluster.target("ns-a", "defaults"))?.data?.["ca.pem"], pemText(ROOT_1, ROOT_2));
    const version = `test-package-20260101.0-${hash.toHex()}`;
    assert.equal((await cluster.getBundle("defaults"))?.status?.defaultCAVersion, version);
    // A failure keeps the version.
    await cluster.putBundle("defaults", {
      sources: [{ useDefaultCAs: true }, { configMap: { name: "no", key: "k" } }],
      target,
    });
    await cluster.condition("defaults", "False");
    assert.equal((await cluster.getBundle("defaults"))?.status?.defaultCAVersion, version);
    // No use of it any more removes it.
    await cluster.putBundle("defaults", { sources: [{ useDefaultCAs: false }, ...sources], target });
    await cluster.synced("defaults");
    assert.equal((await cluster.getBundle("defaults"))?.status?.defaultCAVersion, undefined);
    assert.equal(await operator.stop(), 0);
    await cluster.deleteBundles("defaults");
  });

  await t.step("A start that cannot work ends with one clear line", async () => {
    const file = (name: string, text: string) => {
      const path = `${cluster.controlPlane.dir}/${name}`;
      Deno.writeTextFileSync(path, text);
      return path;
    };
    const key = "-----BEGIN PRIVATE KEY-----\nc2VjcmV0\n-----END PRIVATE KEY-----\n";
    const bad = file("bad.json", JSON.stringify({ name: "n", version: "1", bundle: key }));
    const rows: [flags: string[], code: number, line: RegExp][] = [
      [["--no-such-flag"], 2, /^trust-manager: Unknown flag --no-such-flag/],
      [["--metrics-port=many"], 2, /^trust-manager: Flag --metrics-port: "many" is not a port/],
      [["--default-package-location=/no/such.json"], 1, /^trust-manager: .*\/no\/such\.json.*does not exist/],
      [
        [`--default-package-location=${file("package.txt", "{}")}`],
        1,
        /^trust-manager: .*must have a name that ends in \.json/,
      ],
      [[`--default-package-location=${file("broken.json", "{")}`], 1, /^trust-manager: .*is not valid JSON/],
      [
        [`--default-package-location=${bad}`],
        1,
        /^trust-manager: .*only CERTIFICATE blocks are permitted but found 'PRIVATE KEY'/,
      ],
      [["--kubeconfig=/no/such/kubeconfig"], 1, /^trust-manager: .*\/no\/such\/kubeconfig/],
      [["--context=nobody"], 1, /^trust-manager: .*nobody/],
    ];
    for (const [flags, code, line] of rows) {
      await using operator = await cluster.operatorWith({ flags, wait: false });
      assert.equal(await operator.exited(), code, flags.join(" "));
      const errors = operator.output.split("\n").filter((text) => text.startsWith("trust-manager:"));
      assert.equal(errors.length, 1, operator.output);
      assert.match(errors[0] ?? "", line);
      assert.doesNotMatch(operator.output, /c2VjcmV0|^\s+at /m);
    }
  });

  await t.step("The trust namespace is the only one that sources are read from", async () => {
    await using operator = await cluster.operator();
    await cluster.putConfigMap("ns-a", "elsewhere", { "ca.crt": pemText(ROOT_1) });
    await cluster.putBundle("elsewhere", {
      sources: [{ configMap: { name: "elsewhere", key: "ca.crt" } }],
      target: { configMap: { key: "ca.pem" }, namespaceSelector },
    });
    const condition = await cluster.condition("elsewhere", "False");
    assert.equal(
      condition.message,
      `Bundle source was not found: failed to get ConfigMap ${TRUST_NAMESPACE}/elsewhere: ConfigMap "elsewhere" not found`,
    );
    assert.equal(await operator.stop(), 0);
  });
});
