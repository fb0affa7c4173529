import assert from "node:assert/strict";
import type { AdditionalFormats, TargetKind } from "../../lib/api/bundle.ts";
import type { ConfigMap } from "../../lib/kube/objects.ts";
import { canonicalPem as pemText, ROOT_1, ROOT_2 } from "../builders.ts";
import { bundlePath, TestCluster } from "./test_cluster.ts";

const OURS = "?fieldManager=trust-manager";
const sources = [{ inLine: pemText(ROOT_1) }];

/** The first four bytes of a JKS, and of the DER of a PKCS#12 store of that size. */
const MAGIC: Readonly<Record<string, RegExp>> = { jks: /^feedfeed/, pkcs12: /^3082/ };

Deno.test("Targets are right whatever the hash says, and what others own in them outlives the Bundle", async (t) => {
  await using cluster = await TestCluster.start({ secretTargets: true });
  const { admin } = cluster;
  await using operator = await cluster.operator("--secret-targets-enabled");
  for (const name of ["one", "two"]) await cluster.createNamespace(name, { shared: name, all: "yes" });
  const inNamespace = (name: string) => ({ namespaceSelector: { matchLabels: { shared: name } } });
  const inAll = { namespaceSelector: { matchLabels: { all: "yes" } } };
  const path = (bundle: string, namespace = "one") => `/api/v1/namespaces/${namespace}/configmaps/${bundle}`;

  await t.step("An object that was there before loses what is ours, and nothing else", async (t) => {
    const ends: { name: string; bundle: string; end: (bundle: string) => Promise<unknown> }[] = [
      {
        name: "when its namespace is not selected any more, and when the Bundle is deleted after that",
        bundle: "deselected",
        end: async (bundle) => {
          await cluster.putBundle(bundle, {
            sources,
            target: { configMap: { key: "ca.pem" }, ...inNamespace("two") },
          });
          await cluster.targetBecomes(
            "one",
            bundle,
            "is released",
            (it) => it?.data?.["ca.pem"] === undefined,
          );
          await cluster.deleteBundles(bundle);
        },
      },
      {
        name: "when the Bundle is deleted",
        bundle: "deleted",
        end: (bundle) => cluster.deleteBundles(bundle),
      },
    ];
    for (const { name, bundle, end } of ends) {
      await t.step(name, async () => {
        await admin.create("/api/v1/namespaces/one/configmaps", {
          metadata: { name: bundle, labels: { app: "theirs" } },
          data: { theirs: "kept" },
        });
        await cluster.putBundle(bundle, { sources, target: { configMap: { key: "ca.pem" }, ...inAll } });
        await cluster.synced(bundle);
        const shared = await cluster.target("one", bundle);
        assert.deepEqual(shared?.data, { "ca.pem": pemText(ROOT_1), theirs: "kept" });
        assert.equal(shared?.metadata.ownerReferences, undefined);
        assert.equal((await cluster.target("two", bundle))?.metadata.ownerReferences?.length, 1);
        await end(bundle);
        // What the garbage collector takes, it has taken by then.
        await cluster.targetGone("two", bundle);
        const left = await cluster.targetBecomes(
          "one",
          bundle,
          "is left",
          (it) => it?.data?.["ca.pem"] === undefined,
        );
        assert.deepEqual(left.data, { theirs: "kept" });
        assert.deepEqual([left.metadata.labels, left.metadata.annotations], [{ app: "theirs" }, undefined]);
      });
    }
  });

  await t.step(
    "An immutable target that is not wanted any more is deleted, since it cannot be cleaned",
    async () => {
      const target = { configMap: { key: "ca.pem" } };
      await cluster.putBundle("immutable", { sources, target: { ...target, ...inAll } });
      await cluster.synced("immutable");
      await admin.mergePatch(path("immutable"), { immutable: true });
      await cluster.putBundle("immutable", { sources, target: { ...target, ...inNamespace("two") } });
      await cluster.targetGone("one", "immutable");
      await cluster.deleteBundles("immutable");
    },
  );

  await t.step("A change that the hash does not tell reaches ConfigMaps and Secrets", async (t) => {
    const jks = (key: string, password: string) => ({ jks: { key, password } });
    const pkcs12 = (key: string, password: string) => ({ pkcs12: { key, password } });
    const changes: { name: string; key?: string; additionalFormats: AdditionalFormats }[] = [
      { name: "in the beginning", additionalFormats: { ...jks("a", "changeit1"), ...pkcs12("b", "2") } },
      {
        name: "passwords that read the same when joined",
        additionalFormats: { ...jks("a", "changeit"), ...pkcs12("b", "12") },
      },
      { name: "keys exchanged", additionalFormats: { ...jks("b", "changeit"), ...pkcs12("a", "12") } },
      { name: "one store less", additionalFormats: jks("b", "changeit") },
      { name: "another format under the same key", additionalFormats: pkcs12("b", "changeit") },
      { name: "keys of PEM and store exchanged", key: "b", additionalFormats: pkcs12("ca.pem", "changeit") },
    ];
    let stores: Record<string, string> = {};
    for (const { name, key = "ca.pem", additionalFormats } of changes) {
      await t.step(name, async () => {
        const target = { configMap: { key }, secret: { key }, additionalFormats, ...inNamespace("one") };
        await cluster.putBundle("formats", { sources, target });
        await cluster.synced("formats");
        const found: Record<string, string> = {};
        for (const kind of ["ConfigMap", "Secret"] as TargetKind[]) {
          const object = await cluster.target("one", "formats", kind);
          const bytes = (kind === "Secret" ? object?.data : object?.binaryData) ?? {};
          const pem = object?.data?.[key] ?? "";
          assert.equal(kind === "Secret" ? atob(pem) : pem, pemText(ROOT_1), kind);
          for (const [format, store] of Object.entries(additionalFormats)) {
            const hex = Uint8Array.fromBase64(bytes[store.key] ?? "").toHex();
            assert.match(hex, MAGIC[format] ?? /none/, `${kind}: ${format} at ${store.key}`);
            found[`${kind} ${format} ${store.password}`] = hex;
          }
        }
        for (const [store, hex] of Object.entries(found)) {
          for (const [former, formerHex] of Object.entries(stores)) {
            const isOfKind = store.split(" ")[0] === former.split(" ")[0];
            if (isOfKind && store !== former) assert.notEqual(hex, formerHex, `${store} is as ${former} was`);
          }
        }
        stores = found;
      });
    }
    await cluster.deleteBundles("formats");
  });

  await t.step("What was updated under the operator's name is the operator's", async (t) => {
    await t.step("a target that was posted so, then is not wanted any more", async () => {
      await admin.create(`/api/v1/namespaces/one/configmaps${OURS}`, {
        metadata: { name: "posted" },
        data: { "ca.pem": pemText(ROOT_1) },
      });
      await cluster.putBundle("posted", { sources, target: { configMap: { key: "ca.pem" }, ...inAll } });
      await cluster.synced("posted");
      await cluster.putBundle("posted", {
        sources,
        target: { configMap: { key: "ca.pem" }, ...inNamespace("two") },
      });
      await cluster.targetGone("one", "posted");
      await cluster.synced("posted");
      await cluster.deleteBundles("posted");
    });
    await t.step("also after somebody has cleared managedFields", async () => {
      const target = (key: string, namespace: string) => ({ configMap: { key }, ...inNamespace(namespace) });
      await cluster.putBundle("cleared", { sources, target: target("ca.pem", "one") });
      await cluster.synced("cleared");
      const clear = async () => {
        await admin.mergePatch(path("cleared"), { metadata: { managedFields: [{}] } });
        await cluster.targetBecomes("one", "cleared", "is ours alone", (it) => {
          const managers = it?.metadata.managedFields?.map(({ manager }) => manager);
          return managers?.includes("before-first-apply") === false && managers.includes("trust-manager");
        });
      };
      await clear();
      await cluster.putBundle("cleared", { sources, target: target("b.pem", "one") });
      await cluster.synced("cleared");
      const { data, metadata } = (await cluster.target("one", "cleared")) ?? {};
      assert.deepEqual([data, metadata?.ownerReferences?.length], [{ "b.pem": pemText(ROOT_1) }, 1]);
      await clear();
      // An owner reference that nobody would let go of would have the data of others deleted with the Bundle.
      await admin.mergePatch(path("cleared"), { data: { theirs: "kept" } });
      await cluster.targetBecomes(
        "one",
        "cleared",
        "has no owner",
        (it) => it?.data?.theirs === "kept" && it.metadata.ownerReferences === undefined,
      );
      await cluster.putBundle("cleared", { sources, target: target("b.pem", "two") });
      await cluster.synced("cleared");
      await cluster.deleteBundles("cleared");
      await cluster.targetGone("two", "cleared");
      const left = await cluster.target("one", "cleared");
      assert.deepEqual([left?.data, left?.metadata.labels], [{ theirs: "kept" }, undefined]);
    });
    await t.step("a key beside ours goes, and the Bundle is in sync", async () => {
      await cluster.putBundle("patched", {
        sources,
        target: { configMap: { key: "ca.pem" }, ...inNamespace("one") },
      });
      await cluster.synced("patched");
      await admin.mergePatch(`${path("patched")}${OURS}`, { data: { user: "x" } });
      const target = await cluster.targetBecomes(
        "one",
        "patched",
        "is ours alone",
        (it) => it?.data?.user === undefined,
      );
      assert.deepEqual(target.data, { "ca.pem": pemText(ROOT_1) });
      await admin.mergePatch(`${path("patched")}${OURS}`, { data: { "ca.pem": "edited" } });
      await cluster.targetBecomes(
        "one",
        "patched",
        "is repaired",
        (it) => it?.data?.["ca.pem"] === pemText(ROOT_1),
      );
      await cluster.putBundle("patched", {
        sources: [{ inLine: pemText(ROOT_2) }],
        target: { configMap: { key: "ca.pem" }, ...inNamespace("one") },
      });
      await cluster.synced("patched");
      const { resourceVersion } = (await cluster.target("one", "patched"))?.metadata ?? {};
      // A steady state: after a restart of the operator, too, nothing is written.
      await operator.stop();
      await using _next = await cluster.operator("--secret-targets-enabled");
      await cluster.putBundle("marker", {
        sources,
        target: { configMap: { key: "ca.pem" }, ...inNamespace("one") },
      });
      await cluster.synced("marker");
      assert.equal((await admin.get<ConfigMap>(path("patched")))?.metadata.resourceVersion, resourceVersion);
      await admin.delete(bundlePath("patched"));
    });
  });
});
