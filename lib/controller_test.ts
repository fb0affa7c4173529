import assert from "node:assert/strict";
import {
  canonicalPem,
  EXPIRED,
  parsed,
  pemBlock,
  pemText,
  ROOT_1,
  ROOT_2,
  TRUST_NAMESPACE,
  withoutLayout,
} from "../tests/builders.ts";
import { collectionOf, ControllerWorld } from "../tests/controller_world.ts";
import { status } from "../tests/fake_api_server.ts";
import { serverSideApply } from "../tests/fake_apply.ts";
import {
  type AdditionalFormats,
  BUNDLE_LABEL,
  BUNDLE_UID_ANNOTATION,
  BUNDLES_PATH,
  type BundleSource,
  FIELD_MANAGER,
  HASH_ANNOTATION,
  LAYOUT_ANNOTATION,
  type TargetMetadata,
} from "./api/bundle.ts";
import { KubeConnectionError } from "./kube/errors.ts";
import type { Condition, ConfigMap } from "./kube/objects.ts";

const MINUTE = 60_000;

/** A Bundle of one inline certificate, for namespaces of team x. */
function spec(key = "ca.crt", certificate = ROOT_1) {
  return {
    sources: [{ inLine: pemText(certificate) }],
    target: { configMap: { key }, namespaceSelector: { matchLabels: { team: "x" } } },
  };
}

function withMetadata(metadata: TargetMetadata) {
  const { sources, target } = spec();
  return { sources, target: { ...target, configMap: { key: "ca.crt", metadata } } };
}

/** A world with Bundle `example` and namespace `app` in it. */
function example(): ControllerWorld {
  const world = new ControllerWorld();
  world.putNamespace("app", { team: "x" });
  world.putBundle("example", spec());
  return world;
}

function patch(namespace: string, name = "example"): string {
  return `PATCH /api/v1/namespaces/${namespace}/configmaps/${name}`;
}

const STATUS = "PATCH /apis/trust.cert-manager.io/v1alpha1/bundles/example/status";

Deno.test("what happens costs the writes it needs, and no others", async (t) => {
  const table: {
    name: string;
    work: (world: ControllerWorld) => void;
    writes: string[];
  }[] = [
    { name: "nothing", work: () => {}, writes: [] },
    {
      name: "a new namespace",
      work: (world) => world.putNamespace("new", { team: "x" }),
      writes: [patch("new")],
    },
    { name: "a namespace that is not selected", work: (world) => world.putNamespace("new"), writes: [] },
    {
      name: "another certificate",
      work: (world) => world.putBundle("example", spec("ca.crt", ROOT_2)),
      writes: [patch("app"), STATUS],
    },
    {
      name: "another key, which the hash does not tell",
      work: (world) => world.putBundle("example", spec("tls.crt")),
      writes: [patch("app"), STATUS],
    },
    {
      name: "a target that somebody edits",
      work: (world) => world.editTarget("app", "example", ({ data }) => data && (data["ca.crt"] = "x")),
      writes: [patch("app")],
    },
    {
      name: "a key that somebody adds: the owner reference goes, so that no deletion takes it along",
      work: (world) =>
        world.editTarget("app", "example", (target) => target.data = { ...target.data, more: "x" }),
      writes: [patch("app")],
    },
    {
      name: "a target edited under our name",
      work: (world) =>
        world.editTarget(
          "app",
          "example",
          ({ data }) => data && (data["ca.crt"] = "x"),
          "ConfigMap",
          "trust-manager",
        ),
      writes: [patch("app")],
    },
    {
      name: "a key added under our name: it is taken over, and goes",
      work: (world) =>
        world.editTarget(
          "app",
          "example",
          (target) => target.data = { ...target.data, more: "x" },
          "ConfigMap",
          "trust-manager",
        ),
      writes: [patch("app"), patch("app"), patch("app")],
    },
    {
      name: "a label of the Bundle that becomes an annotation",
      work: (world) => world.putBundle("example", withMetadata({ annotations: { team: "blue" } })),
      writes: [patch("app"), STATUS],
    },
    {
      name: "a target that somebody deletes",
      work: (world) => world.removeTarget("app", "example"),
      writes: [patch("app")],
    },
    {
      name: "a namespace that is not selected any more",
      work: (world) => world.putNamespace("app"),
      writes: [patch("app"), patch("app").replace("PATCH", "DELETE")],
    },
    {
      name: "a namespace that is going away",
      work: (world) => world.terminate("app"),
      writes: [patch("app"), patch("app").replace("PATCH", "DELETE")],
    },
    { name: "a Bundle that is gone", work: (world) => world.removeBundle("example"), writes: [] },
    {
      name: "a Bundle and a namespace that are gone and made anew",
      work: (world) => {
        world.removeBundle("example");
        world.removeNamespace("app");
        world.putNamespace("app", { team: "x" });
        world.putBundle("example", spec());
      },
      writes: [patch("app"), STATUS],
    },
    {
      name: "a Bundle that is deleted and made anew while its targets are there",
      work: (world) => {
        world.removeBundle("example");
        world.putBundle("example", spec());
      },
      writes: [patch("app"), STATUS],
    },
    { name: "watches that start anew", work: (world) => world.server.failWatches(410), writes: [] },
  ];
  for (const { name, work, writes } of table) {
    await t.step(name, async () => {
      await using world = example();
      await world.start();
      await world.clock.advance(MINUTE);
      const sent = await world.writesOf(async () => {
        work(world);
        await world.clock.advance(20_000);
      });
      assert.deepEqual(sent, writes);
      assert.deepEqual(await world.writesOf(() => world.clock.advance(60 * MINUTE)), []);
      await world.stop();
      assert.equal(world.clock.timers, 0);
    });
  }
});

Deno.test("each change of the Bundle that changes bytes reaches every target, also one made while no operator ran", async (t) => {
  const jks = (key: string, password: string) => ({ jks: { key, password } });
  const pkcs12 = (key: string, password: string) => ({ pkcs12: { key, password } });
  const target = (additionalFormats: AdditionalFormats, key = "ca.crt") => ({ key, additionalFormats });
  const table: { name: string; from: ReturnType<typeof target>; to: ReturnType<typeof target> }[] = [
    {
      name: "PEM key and JKS key exchanged",
      from: target(jks("b", "changeit"), "a"),
      to: target(jks("a", "changeit"), "b"),
    },
    {
      name: "JKS and PKCS#12 keys exchanged",
      from: target({ ...jks("a", "x"), ...pkcs12("b", "x") }),
      to: target({ ...jks("b", "x"), ...pkcs12("a", "x") }),
    },
    {
      name: "a JKS that becomes a PKCS#12 store",
      from: target(jks("a", "changeit")),
      to: target(pkcs12("a", "changeit")),
    },
    {
      name: "passwords that read the same when joined",
      from: target({ ...jks("a", "changeit1"), ...pkcs12("b", "2") }),
      to: target({ ...jks("a", "changeit"), ...pkcs12("b", "12") }),
    },
  ];
  for (const kind of ["configMap", "secret"] as const) {
    for (const { name, from, to } of table) {
      for (const running of [true, false]) {
        for (const marked of [true, false]) {
          const title = `${name}, ${kind}, ${running ? "watched" : "unwatched"}, ${
            marked ? "" : "not "
          }marked`;
          await t.step(title, async () => {
            await using world = example();
            const bundle = ({ key, additionalFormats }: typeof from) => ({
              sources: [{ inLine: pemText(ROOT_1) }],
              target: { [kind]: { key }, additionalFormats },
            });
            world.putBundle("example", bundle(from));
            const parts = { secretTargetsEnabled: true };
            await world.start(parts);
            if (!marked) {
              // As the Go project writes it: the operator that wrote it ends, and its annotation with it.
              await world.stop();
              for (const targetKind of ["ConfigMap", "Secret"] as const) {
                for (const held of world.targets(targetKind)) {
                  world.server.put(
                    collectionOf(targetKind, held.metadata.namespace ?? ""),
                    withoutLayout(held),
                  );
                }
              }
              assert.deepEqual(await world.writesOf(() => world.start(parts).then(() => {})), []);
            }
            if (!running) await world.stop();
            world.putBundle("example", bundle(to));
            if (!running) await world.start(parts);
            await world.clock.advance(MINUTE);
            const held = world.target("app", "example", kind === "secret" ? "Secret" : "ConfigMap");
            const value = (key: string) => held?.binaryData?.[key] ?? held?.data?.[key];
            const pem = value(to.key);
            assert.equal(kind === "secret" ? pem && atob(pem) : pem, canonicalPem(ROOT_1));
            for (const [format, store] of Object.entries(to.additionalFormats)) {
              const text = atob(value(store.key) ?? "");
              assert.ok(text.toLowerCase().startsWith(`${format},${store.password}`), `${format}: ${text}`);
            }
            await world.stop();
            assert.deepEqual(await world.writesOf(() => world.start(parts).then(() => {})), []);
          });
        }
      }
    }
  }
});

Deno.test("metadata of targets follows the Bundle, though the hash joins it without separators", async (t) => {
  const table: { name: string; from: TargetMetadata; to: TargetMetadata }[] = [
    {
      name: "an annotation that becomes a label",
      from: { annotations: { team: "blue" } },
      to: { labels: { team: "blue" } },
    },
    { name: "a=bc, then ab=c", from: { labels: { a: "bc" } }, to: { labels: { ab: "c" } } },
    { name: "values that move", from: { labels: { a: "xb", b: "y" } }, to: { labels: { a: "x", b: "by" } } },
  ];
  for (const { name, from, to } of table) {
    await t.step(name, async () => {
      await using world = example();
      world.putBundle("example", withMetadata(from));
      await world.start();
      world.putBundle("example", withMetadata(to));
      await world.clock.advance(MINUTE);
      const { labels = {}, annotations = {} } = world.target("app", "example")?.metadata ?? {};
      const { [BUNDLE_LABEL]: _, ...ownLabels } = labels;
      const { [HASH_ANNOTATION]: __, ...ownAnnotations } = annotations;
      assert.deepEqual({ labels: ownLabels, annotations: ownAnnotations }, {
        labels: to.labels ?? {},
        annotations: to.annotations ?? {},
      });
    });
  }
});

Deno.test("no deletion reaches the data that others have in a target", async (t) => {
  const others = (world: ControllerWorld) =>
    world.editTarget("app", "example", (target) => target.data = { ...target.data, more: "kept" });
  const table: {
    name: string;
    before: (world: ControllerWorld) => void;
    after?: (world: ControllerWorld) => void;
  }[] = [
    {
      name: "an object that was there before",
      before: (world) => world.createObject("app", "example", { more: "kept" }),
    },
    { name: "a key that came later", before: () => {}, after: others },
    {
      name: "our own key as well, with other content",
      before: (world) => world.createObject("app", "example", { more: "kept", "ca.crt": "x" }),
    },
  ];
  const ends: { name: string; end: (world: ControllerWorld) => Promise<void> | void }[] = [
    {
      name: "deselected, then the Bundle is deleted",
      end: async (world) => {
        world.putNamespace("app");
        await world.clock.advance(MINUTE);
        world.removeBundle("example");
      },
    },
    { name: "the Bundle is deleted", end: (world) => world.removeBundle("example") },
    {
      name: "the Bundle is deleted while no operator runs",
      end: async (world) => {
        await world.stop();
        world.removeBundle("example");
        world.collectGarbage();
        await world.start();
      },
    },
    {
      name: "the Bundle is replaced, and the sources of the new one fail",
      end: (world) => {
        world.removeBundle("example");
        world.putBundle("example", { ...spec(), sources: [{ inLine: pemBlock("PRIVATE KEY", "none") }] });
      },
    },
    {
      name: "the Bundle is replaced, and the new one does not select the namespace",
      end: (world) => {
        world.removeBundle("example");
        world.putBundle("example", {
          ...spec(),
          target: { configMap: { key: "ca.crt" }, namespaceSelector: { matchLabels: { team: "none" } } },
        });
      },
    },
  ];
  for (const { name, before, after } of table) {
    for (const { name: how, end } of ends) {
      await t.step(`${name}; ${how}`, async () => {
        await using world = example();
        before(world);
        await world.start();
        after?.(world);
        await world.clock.advance(MINUTE);
        const target = world.target("app", "example");
        assert.deepEqual(target?.data, { "ca.crt": canonicalPem(ROOT_1), more: "kept" });
        assert.deepEqual(target?.metadata.ownerReferences ?? [], []);
        assert.equal(world.condition("example")?.status, "True");
        assert.deepEqual(await world.writesOf(() => world.clock.advance(60 * MINUTE)), [], "steady");
        await end(world);
        world.collectGarbage();
        await world.clock.advance(MINUTE);
        world.collectGarbage();
        const left = world.target("app", "example");
        assert.deepEqual(left?.data, { more: "kept" });
        assert.deepEqual(left?.metadata.labels ?? {}, {});
        assert.deepEqual(left?.metadata.annotations ?? {}, {});
        assert.deepEqual(await world.writesOf(() => world.clock.advance(60 * MINUTE)), [], "steady");
      });
    }
  }
});

Deno.test("a target is deleted with its Bundle again, once others have taken their data out of it", async () => {
  await using world = example();
  world.createObject("app", "example", { more: "x" });
  await world.start();
  world.editTarget("app", "example", ({ data }) => delete data?.more);
  await world.clock.advance(MINUTE);
  assert.equal(world.target("app", "example")?.metadata.ownerReferences?.length, 1);
  world.removeBundle("example");
  world.collectGarbage();
  assert.equal(world.target("app", "example"), undefined);
});

Deno.test("fields that were updated under our name end as ours, whatever becomes of the target", async (t) => {
  const update = (world: ControllerWorld, namespace: string, data: Record<string, string>) => {
    world.createObject(namespace, "example", {});
    world.editTarget(
      namespace,
      "example",
      (target) => target.data = { ...target.data, ...data },
      "ConfigMap",
      FIELD_MANAGER,
    );
  };
  await t.step("the same content, posted before the operator came, then deselected", async () => {
    await using world = example();
    world.putNamespace("other", { team: "x" });
    update(world, "app", { "ca.crt": canonicalPem(ROOT_1) });
    await world.start();
    await world.clock.advance(MINUTE);
    const writes = await world.writesOf(async () => {
      world.putNamespace("app");
      await world.clock.advance(10 * MINUTE);
    });
    assert.equal(world.target("app", "example"), undefined);
    assert.ok(writes.length <= 6, `${writes.length} writes`);
    assert.equal(world.condition("example")?.status, "True");
  });
  await t.step("a key beside ours, while the target is wanted", async () => {
    await using world = example();
    await world.start();
    update(world, "app", { user: "x" });
    await world.clock.advance(MINUTE);
    assert.deepEqual(world.target("app", "example")?.data, { "ca.crt": canonicalPem(ROOT_1) });
    assert.equal(world.condition("example")?.status, "True");
    assert.deepEqual(await world.writesOf(() => world.clock.advance(60 * MINUTE)), []);
  });
  await t.step("what others own stays", async () => {
    await using world = example();
    await world.start();
    update(world, "app", { user: "x" });
    world.editTarget("app", "example", (target) => target.data = { ...target.data, more: "kept" });
    await world.clock.advance(MINUTE);
    assert.deepEqual(world.target("app", "example")?.data, { "ca.crt": canonicalPem(ROOT_1), more: "kept" });
  });
});

Deno.test("no write is repeated without a pause, whatever the API server makes of it", async (t) => {
  const table: { name: string; stored: (target: ConfigMap) => void }[] = [
    { name: "a webhook takes the label", stored: ({ metadata }) => metadata.labels = {} },
    { name: "a webhook takes the owner", stored: ({ metadata }) => metadata.ownerReferences = [] },
    {
      name: "a webhook sets another hash",
      stored: ({ metadata }) => metadata.annotations = { [HASH_ANNOTATION]: "x" },
    },
  ];
  for (const { name, stored } of table) {
    await t.step(name, async () => {
      await using world = example();
      world.server.mutate = (object) => {
        if (object.metadata.namespace === "app") stored(object as ConfigMap);
      };
      await world.start();
      world.server.latencyMs = () => 5;
      const writes = await world.writesOf(() => world.clock.advance(10 * MINUTE));
      const ofTarget = writes.filter((write) => write === patch("app")).length;
      assert.ok(ofTarget >= 1 && ofTarget <= 25, `${ofTarget} writes in ten minutes`);
      assert.match(world.condition("example")?.message ?? "", /stores something else/);
    });
  }
  await t.step(
    "a webhook sets another annotation each time, and the watch is quicker than the answer",
    async () => {
      await using world = example();
      let count = 0;
      world.server.mutate = ({ metadata }) => {
        if (metadata.namespace === "app") metadata.annotations = { count: String(count++) };
      };
      world.server.answerLatencyMs = () => 5;
      await world.start();
      const writes = await world.writesOf(() => world.clock.advance(10 * MINUTE));
      const ofTarget = writes.filter((write) => write === patch("app")).length;
      assert.ok(ofTarget >= 1 && ofTarget <= 25, `${ofTarget} writes in ten minutes`);
    },
  );
  await t.step("somebody else writes the status again and again", async () => {
    await using world = example();
    await world.start();
    const writes = await world.writesOf(async () => {
      for (let i = 0; i < 600; i++) {
        world.server.edit(BUNDLES_PATH, "example", "somebody", (bundle) => {
          const [condition] =
            (bundle as unknown as { status: { conditions: Condition[] } }).status.conditions;
          if (condition !== undefined) condition.message = `changed ${i}`;
        });
        await world.clock.advance(100);
      }
      await world.clock.advance(10_000);
    });
    assert.ok(writes.length <= 15, `${writes.length} statuses in a minute`);
    assert.match(world.condition("example")?.message ?? "", /^Successfully synced/);
  });
});

Deno.test("a change of the target, or of its namespace, ends the pause after a failed write", async (t) => {
  const table: { name: string; change: (world: ControllerWorld) => void }[] = [
    { name: "it is deleted", change: (world) => world.removeTarget("app", "example") },
    {
      name: "somebody edits it",
      change: (world) => world.editTarget("app", "example", ({ metadata }) => metadata.annotations = {}),
    },
    {
      name: "its namespace gets another label",
      change: (world) => world.putNamespace("app", { team: "x", more: "1" }),
    },
  ];
  for (const { name, change } of table) {
    await t.step(name, async () => {
      await using world = example();
      await world.start();
      world.server.intercept = (request) =>
        "body" in request && request.path.includes("/app/") ? status(403, "Forbidden", "quota") : undefined;
      world.putBundle("example", spec("ca.crt", ROOT_2));
      await world.clock.advance(30 * MINUTE); // the pause is five minutes by now
      assert.equal(world.condition("example")?.status, "False");
      world.server.intercept = () => undefined;
      change(world);
      await world.clock.advance(1_000);
      assert.equal(world.target("app", "example")?.data?.["ca.crt"], canonicalPem(ROOT_2));
      assert.equal(world.condition("example")?.status, "True");
    });
  }
  await t.step("but not without end", async () => {
    await using world = example();
    await world.start();
    world.server.intercept = (request) =>
      "body" in request && request.path.includes("/app/") ? status(403, "Forbidden", "quota") : undefined;
    world.putBundle("example", spec("ca.crt", ROOT_2));
    await world.clock.advance(MINUTE);
    const writes = await world.writesOf(async () => {
      for (let i = 0; i < 600; i++) {
        world.editTarget("app", "example", ({ metadata }) => metadata.annotations = { note: String(i) });
        await world.clock.advance(100);
      }
    });
    const ofTarget = writes.filter((write) => write === patch("app")).length;
    assert.ok(ofTarget <= 15, `${ofTarget} writes in a minute`);
  });
});

Deno.test("a Bundle is not in sync while another writer's content is in a target, and is again when that ends", async () => {
  await using world = example();
  await world.start();
  const steal = () => world.editTarget("app", "example", ({ data }) => data && (data["ca.crt"] = "theirs"));
  for (let i = 0; i < 8; i++) {
    steal();
    await world.clock.advance(500);
  }
  for (let i = 0; i < 600; i++) {
    steal();
    await world.clock.advance(500);
    if (world.target("app", "example")?.data?.["ca.crt"] !== "theirs") continue;
    const { status, reason, message } = world.condition("example") ?? {};
    assert.deepEqual([status, reason], ["False", "SyncConfigMapTargetFailed"]);
    assert.match(
      message ?? "",
      /^Failed to sync bundle ConfigMap to namespace "app": ConfigMap app\/example is changed again/,
    );
  }
  const statuses = world.writes.filter(({ path }) => path.endsWith("/status")).length;
  assert.ok(statuses < 20, `${statuses} statuses`);
  await world.clock.advance(10 * MINUTE);
  assert.equal(world.condition("example")?.status, "True");
});

Deno.test("a target that holds data of others is cleaned once, also if others apply our hash", async (t) => {
  for (const coOwned of [false, true]) {
    await t.step(coOwned ? "the hash too" : "data only", async () => {
      await using world = example();
      await world.start();
      world.editTarget("app", "example", (target) => {
        target.data = { ...target.data, more: "kept" };
      });
      const held = world.target("app", "example");
      if (coOwned && held !== undefined) {
        const annotations = { [HASH_ANNOTATION]: held.metadata.annotations?.[HASH_ANNOTATION] ?? "" };
        const theirs = { metadata: { name: "example", annotations } };
        world.server.put(collectionOf("ConfigMap", "app"), serverSideApply(held, theirs, "gitops"));
      }
      world.putNamespace("app");
      await world.clock.advance(MINUTE);
      assert.deepEqual(world.target("app", "example")?.data, { more: "kept" });
      const writes = await world.writesOf(async () => {
        world.putBundle("example", spec("other.crt"));
        await world.clock.advance(MINUTE);
      });
      assert.deepEqual(writes, [STATUS]);
    });
  }
});

Deno.test("labels and annotations of ours in a Bundle that was stored past admission change nothing", async (t) => {
  const labels = { [BUNDLE_LABEL]: "another" };
  const table: Record<string, TargetMetadata> = {
    "the bundle label": { labels },
    "the hash": { annotations: { [HASH_ANNOTATION]: "another" } },
    "the layout": { annotations: { [LAYOUT_ANNOTATION]: "another" } },
    "the UID of the Bundle": { annotations: { [BUNDLE_UID_ANNOTATION]: "another" } },
    "all of them": {
      labels,
      annotations: {
        [HASH_ANNOTATION]: "another",
        [LAYOUT_ANNOTATION]: "another",
        [BUNDLE_UID_ANNOTATION]: "another",
      },
    },
  };
  for (const [name, metadata] of Object.entries(table)) {
    await t.step(name, async () => {
      await using world = example();
      world.putBundle("example", withMetadata({ ...metadata }));
      await world.start();
      await world.clock.advance(MINUTE);
      const target = world.target("app", "example");
      assert.equal(target?.metadata.labels?.[BUNDLE_LABEL], "example");
      assert.deepEqual(Object.keys(target?.metadata.annotations ?? {}), [HASH_ANNOTATION]);
      assert.notEqual(target?.metadata.annotations?.[HASH_ANNOTATION], "another");
      assert.equal(world.condition("example")?.status, "True", world.condition("example")?.message);
      assert.deepEqual(await world.writesOf(() => world.clock.advance(60 * MINUTE)), []);
    });
  }
});

Deno.test("a write that fails after its namespace is not selected any more is no failure of the Bundle", async () => {
  await using world = example();
  await world.start();
  world.server.latencyMs = ({ path }) => path.includes("/slow/") ? 20_000 : 0;
  world.putNamespace("slow", { team: "x" });
  await world.clock.advance(1_000);
  world.putNamespace("slow");
  await world.clock.advance(60 * MINUTE);
  assert.equal(world.condition("example")?.status, "True", world.condition("example")?.message);
});

Deno.test("a write whose answer is lost, but which the watch shows, is no failure", async () => {
  await using world = example();
  world.server.interceptAnswer = ({ path }) =>
    path.includes("/app/") ? new KubeConnectionError("no answer", { timedOut: true }) : undefined;
  await world.start();
  await world.clock.advance(60 * MINUTE);
  assert.equal(world.condition("example")?.status, "True", world.condition("example")?.message);
});

Deno.test("a clean-up whose answer is lost, while its namespace is selected again, is made good", async () => {
  await using world = example();
  await world.start();
  world.server.hold(/v1\/configmaps$/); // the watch never shows that the target was there
  world.putNamespace("new", { team: "x" });
  await world.clock.advance(1_000);
  world.server.latencyMs = ({ method }) => method === "DELETE" ? 1_000 : 0;
  world.server.interceptAnswer = ({ method }) =>
    method === "DELETE" ? new KubeConnectionError("reset", { timedOut: false }) : undefined;
  world.putNamespace("new");
  await world.clock.advance(500);
  world.putNamespace("new", { team: "x" });
  world.server.compact();
  world.server.endWatches();
  await world.clock.advance(500);
  world.server.release();
  await world.clock.advance(20 * MINUTE);
  assert.ok(world.target("new", "example"));
});

Deno.test("a target that fails is tried at once when the Bundle changes, though its hash does not", async () => {
  await using world = example();
  world.server.intercept = (request) =>
    "body" in request && request.path.includes("/app/") &&
      new TextDecoder().decode(request.body as Uint8Array<ArrayBuffer>).includes("ca.crt")
      ? status(422, "Invalid", "no such key")
      : undefined;
  await world.start();
  await world.clock.advance(30 * MINUTE);
  assert.equal(world.condition("example")?.reason, "SyncConfigMapTargetFailed");
  world.putBundle("example", spec("tls.crt"));
  await world.clock.advance(1_000);
  assert.equal(world.condition("example")?.status, "True");
});

Deno.test("a contested target holds nothing up, and waits for its pause whatever else happens", async () => {
  await using world = example();
  world.putNamespace("calm", { team: "x" });
  await world.start();
  const steal = () =>
    world.editTarget("app", "example", (target) => {
      target.metadata.annotations = { [HASH_ANNOTATION]: "stolen" };
    });
  for (let i = 0; i < 10; i++) {
    steal();
    await world.clock.advance(20_000);
  }
  steal(); // the eleventh: a pause of 32 seconds
  const writes = await world.writesOf(async () => {
    for (let i = 0; i < 3; i++) {
      await world.clock.advance(9_000);
      steal();
      world.removeTarget("calm", "example");
    }
  });
  assert.deepEqual(writes.filter((write) => write === patch("app")), []);
  world.putBundle("example", { ...spec("ca.crt", ROOT_2), target: { configMap: { key: "ca.crt" } } });
  await world.clock.advance(1_000);
  const { metadata, status } = world.bundle("example") ?? {};
  assert.equal(status?.conditions?.[0]?.observedGeneration, metadata?.generation);
  assert.equal(
    world.target("app", "example")?.data?.["ca.crt"],
    canonicalPem(ROOT_2),
    "a new version is no repair",
  );
});

Deno.test("a thousand failing targets do not flood the log, the status or the events", async () => {
  await using world = example();
  for (let i = 0; i < 1_000; i++) world.putNamespace(`n${String(i).padStart(3, "0")}`, { team: "x" });
  const forbidden = new Set(
    world.namespaces().map(({ metadata }) => metadata.name).filter((name) => name !== "app"),
  );
  world.server.intercept = ({ path }) =>
    forbidden.has(/namespaces\/([^/]+)\/configmaps\/example/.exec(path)?.[1] ?? "")
      ? status(403, "Forbidden", "forbidden by a test")
      : undefined;
  await world.start();
  await world.clock.advance(30 * MINUTE);
  assert.match(
    world.condition("example")?.message ?? "",
    /^Failed to sync bundle ConfigMap to namespace "n000": .*forbidden by a test \(and 999 more\)$/,
  );
  assert.ok(world.log.length < 1_100, `${world.log.length} lines`);
  assert.ok(world.target("app", "example"));

  forbidden.clear(); // and they come back one after the other
  const writes = await world.writesOf(() => world.clock.advance(10 * MINUTE));
  assert.equal(world.condition("example")?.status, "True");
  const statuses = writes.filter((write) => write === STATUS).length;
  assert.ok(statuses <= 1 + 10 * MINUTE / 5_000, `${statuses} statuses`);
  assert.ok(world.events.length < 200, `${world.events.length} events`);
});

Deno.test("a source that cannot be read is told once, however often it is tried", async () => {
  await using world = example();
  world.putBundle("example", {
    ...spec(),
    sources: [{ inLine: "-----BEGIN X-----\nAA==\n-----END X-----\n" }],
  });
  await world.start();
  await world.clock.advance(24 * 60 * MINUTE);
  assert.equal(world.condition("example")?.reason, "SourceBuildError");
  assert.equal(world.log.filter((line) => line.includes("only CERTIFICATE blocks")).length, 2);
  assert.equal(world.events.length, 1);
});

Deno.test("a password that Java cannot take stops no certificate, and is told once for each change of the Bundle", async () => {
  await using world = example();
  const put = (certificate = ROOT_1, password = "pässword") =>
    world.putBundle("example", {
      ...spec("ca.crt", certificate),
      target: { ...spec().target, additionalFormats: { pkcs12: { key: "ca.p12", password } } },
    });
  const told = () => world.events.filter(({ reason }) => reason === "KeyStoreNotForJava");
  put();
  await world.start();
  assert.equal(world.target("app", "example")?.data?.["ca.crt"], canonicalPem(ROOT_1));
  assert.deepEqual(Object.keys(world.target("app", "example")?.binaryData ?? {}), ["ca.p12"]);
  assert.equal(told().length, 1);
  assert.equal(world.condition("example")?.status, "True");
  // Nothing changes: nothing is told.
  world.putNamespace("new", { team: "x" });
  await world.clock.advance(MINUTE);
  assert.equal(told().length, 1);
  put(ROOT_2);
  await world.clock.advance(MINUTE);
  assert.equal(world.target("app", "example")?.data?.["ca.crt"], canonicalPem(ROOT_2));
  assert.equal(told().length, 2);
  put(ROOT_2, "password");
  await world.clock.advance(MINUTE);
  assert.equal(told().length, 2);
  assert.ok(
    ![...world.log, ...world.events.map(({ note }) => note)].some((text) => text.includes("pässword")),
  );
});

Deno.test("what the API server would take in no target is not sent, and targets stay as they are", async () => {
  await using world = example();
  const put = (key: string, secretKey: string, certificate = ROOT_1) =>
    world.putBundle("example", {
      ...spec(key, certificate),
      target: { ...spec(key).target, secret: { key: secretKey } },
    });
  put("ca.crt", "ca.crt");
  const controller = await world.start({ secretTargetsEnabled: true });
  const before = world.target("app", "example");
  assert.equal(before?.data?.["ca.crt"], canonicalPem(ROOT_1));

  const written = world.writes.length;
  put("certs/ca.pem", "ca.crt", ROOT_2);
  await world.clock.advance(MINUTE);
  world.putNamespace("new", { team: "x" });
  await world.clock.advance(60 * MINUTE);
  assert.deepEqual(world.target("app", "example"), before);
  assert.equal(world.target("new", "example"), undefined);
  // The other kind goes on.
  for (const namespace of ["app", "new"]) {
    const { data = {} } = world.target(namespace, "example", "Secret") ?? {};
    assert.equal(atob(data["ca.crt"] ?? ""), canonicalPem(ROOT_2));
  }
  const writes = world.writes.slice(written).map(({ path }) => path);
  assert.deepEqual(writes.filter((path) => path.includes("/configmaps/")), []);
  assert.ok(writes.length <= 4, `${writes.length} writes: ${writes}`); // two Secrets, and the status
  assert.equal(world.condition("example")?.reason, "SyncConfigMapTargetFailed");
  const [[, figures] = []] = [...controller.figures()];
  assert.deepEqual([figures?.inSync, figures?.failed, figures?.pending], [2, 2, 0]);

  // A target that is not wanted any more is cleaned all the same.
  world.putNamespace("app");
  await world.clock.advance(MINUTE);
  assert.equal(world.target("app", "example"), undefined);
  put("ca.pem", "ca.crt", ROOT_2);
  await world.clock.advance(MINUTE);
  assert.equal(world.target("new", "example")?.data?.["ca.pem"], canonicalPem(ROOT_2));
  assert.equal(world.condition("example")?.status, "True");
});

Deno.test("a target that fails is not tried any more once nothing could be written to it at all", async () => {
  await using world = example();
  world.server.intercept = (request) =>
    request.path.includes("/configmaps/") && "body" in request ? status(403, "Forbidden", "no") : undefined;
  await world.start();
  world.putBundle("example", spec("a/b"));
  await world.clock.advance(MINUTE);
  const written = world.writes.length;
  await world.clock.advance(60 * MINUTE);
  assert.equal(world.writes.length, written);
});

Deno.test("nothing is written for a Bundle that is being deleted", async () => {
  await using world = example();
  for (let i = 0; i < 100; i++) world.putNamespace(`n${i}`, { team: "x" });
  world.server.latencyMs = () => 100;
  await world.start();
  const writes = await world.writesOf(async () => {
    world.removeBundle("example");
    await world.clock.advance(10 * MINUTE);
  });
  assert.deepEqual(writes, []);
  world.collectGarbage();
  await world.clock.advance(MINUTE);
  assert.deepEqual(world.targets(), []);
});

Deno.test("a Bundle that a finalizer of somebody else holds is frozen until it is gone", async () => {
  await using world = example();
  world.putNamespace("other", { team: "x" });
  await world.start();
  const [bundle] = world.server.objects(BUNDLES_PATH);
  assert.ok(bundle !== undefined);
  const writes = await world.writesOf(async () => {
    const metadata = {
      ...bundle.metadata,
      deletionTimestamp: "2030-01-01T00:00:00Z",
      finalizers: ["example.com/hold"],
    };
    world.server.put(BUNDLES_PATH, {
      ...bundle,
      metadata: { ...metadata, generation: 2 },
      ...{ spec: spec("ca.crt", ROOT_2) },
    });
    await world.clock.advance(MINUTE);
    world.editTarget("app", "example", ({ data }) => data && (data["ca.crt"] = "x"));
    world.server.remove(collectionOf("ConfigMap", "other"), "example");
    world.putNamespace("new", { team: "x" });
    await world.clock.advance(60 * MINUTE);
  });
  assert.deepEqual(writes, []);
  assert.equal(world.target("app", "example")?.data?.["ca.crt"], "x");
  assert.equal(world.target("other", "example"), undefined);
});

Deno.test("who does not lead writes nothing, and does not complain", async () => {
  await using world = example();
  let leads = true;
  await world.start({ mayWrite: () => leads });
  leads = false;
  const lines = world.log.length;
  world.putBundle("example", spec("ca.crt", ROOT_2));
  assert.deepEqual(await world.writesOf(() => world.clock.advance(MINUTE)), []);
  assert.deepEqual(world.log.slice(lines).filter((line) => line.includes("level=ERROR")), []);
});

Deno.test("an end in the middle of a bulk leaves nothing behind", async () => {
  await using world = example();
  for (let i = 0; i < 100; i++) world.putNamespace(`n${i}`, { team: "x" });
  world.server.latencyMs = () => 3_000;
  await world.start();
  await world.stop();
  assert.equal(world.clock.timers, 0);
  assert.deepEqual(await world.writesOf(() => world.clock.advance(60 * MINUTE)), []);
  world.server.latencyMs = () => 0;
  await world.start();
  assert.equal(world.targets().filter(({ metadata }) => metadata.name === "example").length, 101);
  assert.equal(world.condition("example")?.status, "True");
});

Deno.test("many changes at once cost two passes at most", async () => {
  await using world = example();
  world.putBundle("example", {
    ...spec(),
    sources: [{ inLine: pemText(ROOT_1) }, { configMap: { selector: {}, includeAllKeys: true } }],
  });
  await world.start();
  const writes = await world.writesOf(async () => {
    for (let i = 0; i < 100; i++) world.putSource(`s${i}`, { a: pemText(i < 99 ? ROOT_1 : ROOT_2) });
    await world.clock.advance(1_000);
  });
  assert.deepEqual(writes, [patch("app")]);
});

Deno.test("20 changes in a second cost three passes at most, and the first does not wait", async () => {
  await using world = example();
  await world.start();
  await world.clock.advance(MINUTE);
  const held = () => world.targets()[0]?.data?.["ca.crt"];
  const writes = await world.writesOf(async () => {
    for (let i = 0; i < 20; i++) {
      world.putBundle("example", spec("ca.crt", i % 2 === 0 ? ROOT_2 : ROOT_1));
      await world.clock.advance(50);
      if (i === 0) assert.equal(held(), canonicalPem(ROOT_2));
    }
    await world.clock.advance(1_000);
  });
  assert.equal(held(), canonicalPem(ROOT_1));
  const ofTargets = writes.filter((write) => write !== STATUS).length;
  assert.ok(ofTargets >= 2 && ofTargets <= 3, `${ofTargets} writes of one target`);
});

Deno.test("Secret targets are written once they are allowed, and left alone when they are not any more", async () => {
  await using world = example();
  world.putBundle("example", { ...spec(), target: { secret: { key: "ca.crt" } } });
  await world.start();
  assert.equal(world.condition("example")?.reason, "SecretTargetsDisabled");
  await world.stop();
  await world.start({ secretTargetsEnabled: true });
  assert.equal(world.condition("example")?.status, "True");
  assert.equal(world.targets("Secret").length, 2);
  await world.stop();
  await world.start();
  assert.equal(world.condition("example")?.reason, "SecretTargetsDisabled");
  assert.equal(world.targets("Secret").length, 2);
});

Deno.test("only allowed namespaces are written to or cleaned", async () => {
  await using world = example();
  world.putNamespace("other", { team: "x" });
  await world.start();
  await world.stop();
  await world.start({ targetNamespaces: ["app", "later"] });
  assert.match(world.condition("example")?.message ?? "", /to allowed namespaces that match .*: team=x$/);
  world.putNamespace("other");
  world.putNamespace("app");
  world.putNamespace("later", { team: "x" });
  await world.clock.advance(MINUTE);
  const holders = world.targets().map(({ metadata }) => metadata.namespace).toSorted();
  assert.deepEqual(holders, ["later", "other"]);
});

Deno.test("an expired certificate is dropped when its time comes, and the next pass is due at the next", async () => {
  await using world = example();
  world.putBundle("example", { ...spec(), sources: [{ inLine: pemText(ROOT_1, ROOT_2) }] });
  await world.start({ filters: { expired: true, nonCa: false } });
  const holds = () => (world.target("app", "example") as ConfigMap).data?.["ca.crt"];
  assert.equal(holds(), canonicalPem(ROOT_1, ROOT_2));
  const left = Date.parse(ROOT_2.notAfter) - world.clock.now();
  world.clock.jumpWall(left - 10 * MINUTE); // as a clock that is set
  await world.clock.advance(10 * MINUTE);
  assert.equal(holds(), canonicalPem(ROOT_1, ROOT_2));
  await world.clock.advance(60 * MINUTE); // a jump is noticed within the hour
  assert.equal(holds(), canonicalPem(ROOT_1));
  assert.deepEqual(world.events.map(({ reason }) => reason), ["Synced", "CertificatesRemoved"]);
});

Deno.test("certificates that have expired already do not count as what expires next", async () => {
  await using world = new ControllerWorld();
  const certificates = pemText(EXPIRED, ROOT_2, ROOT_1);
  world.putBundle("example", { ...spec(), sources: [{ inLine: certificates }] });
  const controller = await world.start();
  const figures = () => new Map(controller.figures()).get("example");
  const { certificates: count, expired, earliestExpiry } = figures() ?? {};
  assert.deepEqual({ count, expired, earliestExpiry }, {
    count: 3,
    expired: 1,
    earliestExpiry: Date.parse(ROOT_2.notAfter),
  });
});

Deno.test("a Bundle in the trust namespace is a target like any other", async () => {
  await using world = new ControllerWorld();
  world.putBundle("example", { ...spec(), target: { configMap: { key: "ca.crt" } } });
  await world.start();
  assert.ok(world.target(TRUST_NAMESPACE, "example"));
});

Deno.test("a target namespace that does not exist, and so cannot be listed, stops nobody", async () => {
  await using world = example();
  let listable = false;
  world.server.intercept = ({ path }) =>
    !listable && path === "/api/v1/namespaces/later/configmaps"
      ? status(403, "Forbidden", "no Role can be there")
      : undefined;
  await world.start({ targetNamespaces: ["app", "later"] });
  assert.equal(world.condition("example")?.status, "True");
  world.putNamespace("later", { team: "x" });
  await world.clock.advance(1_000);
  assert.ok(world.target("later", "example"));
  listable = true;
  await world.clock.advance(MINUTE);
  assert.deepEqual(await world.writesOf(() => world.clock.advance(60 * MINUTE)), []);
});

Deno.test("a target namespace that exists is waited for: what is in it must be known", async () => {
  await using world = example();
  let listable = false;
  world.server.intercept = ({ path }) =>
    !listable && path === "/api/v1/namespaces/app/configmaps"
      ? status(403, "Forbidden", "not yet")
      : undefined;
  await world.start({ targetNamespaces: ["app"] });
  await world.clock.advance(MINUTE);
  assert.equal(world.condition("example"), undefined);
  listable = true;
  await world.clock.advance(MINUTE);
  assert.equal(world.condition("example")?.status, "True");
});

Deno.test("the version of the default CAs is told once all is right, kept while something fails, and removed", async () => {
  await using world = example();
  const reading = {
    ok: true,
    certificates: parsed(ROOT_1),
    skipped: { brokenBlocks: 0, certificates: [] },
  } as const;
  const use = (...sources: BundleSource[]) => world.putBundle("example", { ...spec(), sources });
  const version = () => world.bundle("example")?.status?.defaultCAVersion;
  use({ useDefaultCAs: true });
  await world.start({ defaultCas: { id: "first", reading } });
  assert.equal(version(), "first");
  await world.stop();

  world.server.intercept = ({ path }) =>
    path.includes("/app/") ? status(403, "Forbidden", "forbidden by a test") : undefined;
  const certificates = parsed(ROOT_1, ROOT_2);
  await world.start({ defaultCas: { id: "second", reading: { ...reading, certificates } } });
  assert.equal(world.condition("example")?.status, "False");
  assert.equal(version(), "first");
  world.server.intercept = () => undefined;
  await world.clock.advance(MINUTE);
  assert.equal(version(), "second");
  await world.stop();

  await world.start({ defaultCas: { id: "empty", reading: { ...reading, certificates: [] } } });
  assert.match(
    world.condition("example")?.message ?? "",
    /couldn't find any valid certificates in bundle: default CAs: gives no certificate/,
  );
  assert.equal(version(), "second");
  use({ useDefaultCAs: true }, { inLine: pemText(ROOT_1) });
  await world.clock.advance(1_000);
  assert.equal(version(), "empty");
  use({ useDefaultCAs: false }, { inLine: pemText(ROOT_1) });
  await world.clock.advance(1_000);
  assert.equal(world.condition("example")?.status, "True");
  assert.equal(version(), undefined);
});

Deno.test("a target whose label somebody changes to another Bundle's name stays its own Bundle's", async (t) => {
  const changes: { name: string; change: (target: ConfigMap) => void }[] = [
    { name: "others have data in it", change: () => {} },
    { name: "others take their data out of it", change: ({ data }) => delete data?.more },
  ];
  for (const label of ["another", "none"]) {
    for (const { name, change } of changes) {
      for (const isRunning of [true, false]) {
        for (const answerMs of [0, 5]) {
          const when = isRunning ? "" : "while no operator runs; ";
          await t.step(`${label}; ${name}; ${when}answers take ${answerMs} ms`, async () => {
            await using world = new ControllerWorld();
            world.putNamespace("app", { team: "x" });
            world.putBundle("another", spec());
            world.putBundle("example", spec());
            world.createObject("app", "example", { more: "kept" });
            await world.start();
            const isRight = () => world.target("app", "example")?.data?.["ca.crt"] === canonicalPem(ROOT_1);
            if (!isRunning) await world.stop();
            world.server.answerLatencyMs = () => answerMs;
            world.editTarget("app", "example", (target) => {
              target.metadata.labels = { [BUNDLE_LABEL]: label };
              change(target);
            });
            let gaps = 0;
            const put = world.server.put.bind(world.server);
            world.server.put = (collection, object) => {
              const stored = put(collection, object);
              if (!isRight()) gaps++;
              return stored;
            };
            if (!isRunning) await world.start();
            await world.clock.advance(MINUTE);
            assert.ok(isRight());
            assert.equal(gaps, 0, "it has never been without its content");
            assert.equal(world.target("app", "example")?.metadata.labels?.[BUNDLE_LABEL], "example");
            assert.deepEqual(await world.writesOf(() => world.clock.advance(60 * MINUTE)), []);
          });
        }
      }
    }
  }
});

Deno.test("an object without our label that a write failed on is written again once it is deleted in the trust namespace", async () => {
  await using world = new ControllerWorld();
  world.putBundle("example", { ...spec(), target: { configMap: { key: "ca.crt" } } });
  world.createObject(TRUST_NAMESPACE, "example", { more: "x" }); // say, an immutable one
  world.server.intercept = (request) =>
    "body" in request && request.path.includes(`/${TRUST_NAMESPACE}/`)
      ? status(422, "Invalid", "field is immutable when `immutable` is set")
      : undefined;
  await world.start();
  await world.clock.advance(30 * MINUTE);
  assert.equal(world.condition("example")?.status, "False");
  world.server.intercept = () => undefined;
  world.removeTarget(TRUST_NAMESPACE, "example");
  await world.clock.advance(1_000);
  assert.equal(world.target(TRUST_NAMESPACE, "example")?.data?.["ca.crt"], canonicalPem(ROOT_1));
});

Deno.test("a leader that does not know of a Bundle yet leaves its targets alone", async () => {
  await using world = example();
  world.createObject("app", "example", { more: "kept" });
  await world.start();
  const bundle = world.server.objects(BUNDLES_PATH).find(({ metadata }) => metadata.name === "example");
  const held = world.target("app", "example");
  assert.ok(bundle !== undefined && held !== undefined);
  await world.stop();

  // What it sees of Bundles lags behind: what the former leader wrote for one is there before that Bundle.
  world.removeBundle("example");
  world.removeTarget("app", "example");
  await world.start();
  world.server.hold(/bundles$/);
  world.server.put(BUNDLES_PATH, bundle);
  world.server.put(collectionOf("ConfigMap", "app"), held);
  const writes = await world.writesOf(() => world.clock.advance(MINUTE));
  assert.deepEqual(writes.filter((write) => !write.startsWith("GET")), []);
  assert.ok(writes.length >= 1 && writes.length <= 10, `${writes.length} requests`);
  world.server.release();
  await world.clock.advance(1_000);
  assert.deepEqual(world.target("app", "example")?.data, held.data);
  assert.deepEqual(await world.writesOf(() => world.clock.advance(MINUTE)), []);

  world.removeBundle("example");
  await world.clock.advance(MINUTE);
  assert.deepEqual(world.target("app", "example")?.data, { more: "kept" });
});

Deno.test("a target that has to wait long because the API server asks for it is told at once", async () => {
  await using world = example();
  const put = (pem: string) => world.putSource("roots", { pem });
  put(pemText(ROOT_1));
  world.putBundle("example", { ...spec(), sources: [{ configMap: { name: "roots", key: "pem" } }] });
  await world.start();
  assert.equal(world.condition("example")?.status, "True");
  const refuse = (seconds: number) =>
    world.server.intercept = (request) =>
      "body" in request && request.path.includes("/app/")
        ? status(429, "TooManyRequests", "overloaded", seconds)
        : undefined;
  refuse(1);
  put(pemText(ROOT_2));
  await world.clock.advance(1_500);
  assert.equal(world.condition("example")?.status, "True", "a short wait is none to tell of");
  world.server.intercept = () => undefined;
  await world.clock.advance(MINUTE);
  refuse(600);
  put(pemText(ROOT_1));
  await world.clock.advance(5_000);
  assert.equal(world.condition("example")?.status, "False", "it does not hold what it should");
});

Deno.test("a write that fails is not repeated at once", async () => {
  await using world = example();
  await world.start();
  world.server.intercept = (request) =>
    "body" in request && request.path.includes("/app/")
      ? status(429, "TooManyRequests", "overloaded", 10)
      : undefined;
  const writes = await world.writesOf(async () => {
    world.putBundle("example", spec("ca.crt", ROOT_2));
    await world.clock.advance(5_000);
  });
  assert.deepEqual(writes.filter((write) => write === patch("app")), [patch("app")]);
});
