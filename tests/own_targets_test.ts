import assert from "node:assert/strict";
import type { BundleSource, BundleSpec } from "../lib/api/bundle.ts";
import {
  canonicalPem,
  LEAF,
  pemText,
  ROOT_1,
  ROOT_2,
  type TestCertificate,
  TRUST_NAMESPACE,
} from "./builders.ts";
import { ControllerWorld } from "./controller_world.ts";

const byLabel: BundleSource = {
  configMap: { selector: { matchLabels: { ca: "yes" } }, includeAllKeys: true },
};
const reads = (name: string): BundleSource => ({ configMap: { name, key: "ca.crt" } });
const inLine = (...certificates: TestCertificate[]): BundleSource => ({ inLine: pemText(...certificates) });

/** Its targets carry the label that {@linkcode byLabel} selects. */
function spec(...sources: BundleSource[]): BundleSpec {
  return { sources, target: { configMap: { key: "ca.crt", metadata: { labels: { ca: "yes" } } } } };
}

async function settle(world: ControllerWorld): Promise<void> {
  await world.clock.advance(10_000);
}

function assertHolds(world: ControllerWorld, bundle: string, ...certificates: TestCertificate[]): void {
  for (const namespace of ["app", TRUST_NAMESPACE]) {
    const held = world.target(namespace, bundle)?.data?.["ca.crt"];
    assert.equal(held, canonicalPem(...certificates), `${namespace}/${bundle}`);
  }
}

function eventsOf(world: ControllerWorld, bundle: string, reason: string): string[] {
  return world.events.filter((event) => event.regarding.name === bundle && event.reason === reason)
    .map(({ note }) => note);
}

/** That all is settled, and stays so over a restart. */
async function assertSteady(world: ControllerWorld): Promise<void> {
  assert.deepEqual(await world.writesOf(() => world.clock.advance(60_000)), []);
  await world.stop();
  const again = await world.writesOf(async () => {
    await world.start();
    await settle(world);
  });
  assert.deepEqual(again, [], "after a restart");
}

Deno.test("a CA that is removed from a Bundle whose selector matches its own target is not trusted any more", async () => {
  await using world = new ControllerWorld();
  world.putNamespace("app");
  world.putSource("roots", { one: pemText(ROOT_1), two: pemText(ROOT_2) }, { ca: "yes" });
  world.putBundle("own", spec(byLabel));
  const controller = await world.start();
  await settle(world);
  assertHolds(world, "own", ROOT_1, ROOT_2);
  world.putSource("roots", { one: pemText(ROOT_1) }, { ca: "yes" });
  await settle(world);
  assertHolds(world, "own", ROOT_1);
  assert.equal(world.condition("own")?.status, "True");
  assert.deepEqual(eventsOf(world, "own", "OwnTargetAsSource"), [
    `A Bundle is no source of itself: ConfigMap ${TRUST_NAMESPACE}/own, key "ca.crt": is the Bundle's own target, ` +
    "which is not read. Take it out of the sources, or select by a label that targets do not have",
  ]);
  assert.equal(eventsOf(world, "own", "TargetSelected").length, 1);
  const [[, figures] = []] = [...controller.figures()];
  assert.equal(figures?.cycleSize, 1);
  await assertSteady(world);
});

Deno.test("what a user keeps in a target of the same name goes on to be a source", async () => {
  await using world = new ControllerWorld();
  world.putNamespace("app");
  world.putSource("own", { mine: pemText(LEAF) });
  world.putBundle("own", spec(inLine(ROOT_1, ROOT_2), { configMap: { name: "own", includeAllKeys: true } }));
  await world.start();
  await settle(world);
  assertHolds(world, "own", ROOT_1, LEAF, ROOT_2);
  world.putBundle("own", spec(inLine(ROOT_1), { configMap: { name: "own", includeAllKeys: true } }));
  await settle(world);
  assertHolds(world, "own", ROOT_1, LEAF);
  assert.equal(world.target(TRUST_NAMESPACE, "own")?.data?.mine, pemText(LEAF));
  world.editTarget(TRUST_NAMESPACE, "own", ({ data }) => delete data?.mine);
  await settle(world);
  assertHolds(world, "own", ROOT_1);
  await assertSteady(world);
});

Deno.test("a CA that is removed from Bundles in a cycle is not trusted any more by any of them", async (t) => {
  const cycles: [string, Record<string, BundleSource[]>][] = [
    ["of two", { a: [inLine(ROOT_1, ROOT_2), reads("b")], b: [reads("a")] }],
    ["of three", { a: [inLine(ROOT_1, ROOT_2), reads("c")], b: [reads("a")], c: [reads("b")] }],
    ["by selectors", { a: [inLine(ROOT_1, ROOT_2), byLabel], b: [byLabel], c: [byLabel] }],
    ["closed by the last Bundle", {
      c: [reads("b")],
      b: [reads("a")],
      a: [inLine(ROOT_1, ROOT_2), reads("c")],
    }],
  ];
  for (const [name, sources] of cycles) {
    await t.step(name, async () => {
      await using world = new ControllerWorld();
      const names = Object.keys(sources).sort();
      world.putNamespace("app");
      let controller = await world.start();
      // A Bundle that names a target waits for it to be there, so that a cycle can only be closed later.
      for (const bundle of names) world.putBundle(bundle, spec(inLine(ROOT_1, ROOT_2)));
      await settle(world);
      for (const [bundle, of] of Object.entries(sources)) {
        world.putBundle(bundle, spec(...of));
        await settle(world);
      }
      for (const bundle of names) assertHolds(world, bundle, ROOT_1, ROOT_2);
      world.putBundle("a", spec(inLine(ROOT_1), ...sources.a?.slice(1) ?? []));
      await settle(world);
      for (const bundle of names) {
        assertHolds(world, bundle, ROOT_1);
        assert.equal(world.condition(bundle)?.status, "True");
        assert.match(
          eventsOf(world, bundle, "SourceCycle").at(-1) ?? "",
          new RegExp(`in a cycle \\(${bundle} → .* → ${bundle}\\)`),
        );
      }
      const sizes = [...controller.figures()].map(([, { cycleSize }]) => cycleSize);
      assert.deepEqual(sizes, names.map(() => names.length));
      await assertSteady(world);
      // An operator that starts anew knows the cycle before it reads the first source.
      await world.stop();
      world.putBundle("a", spec(inLine(LEAF), ...sources.a?.slice(1) ?? []));
      controller = await world.start();
      await settle(world);
      for (const bundle of names) assertHolds(world, bundle, LEAF);
      await assertSteady(world);
    });
  }
});

Deno.test("in a cycle a change of any source reaches all, and one that is broken is told of all", async () => {
  await using world = new ControllerWorld();
  world.putNamespace("app");
  world.putSource("roots", { "ca.crt": pemText(ROOT_1) });
  world.putBundle("a", spec(reads("roots")));
  world.putBundle("b", spec(reads("a")));
  await world.start();
  await settle(world);
  world.putBundle("a", spec(reads("roots"), reads("b")));
  await settle(world);
  assertHolds(world, "b", ROOT_1);
  world.removeSource("roots");
  await settle(world);
  for (const bundle of ["a", "b"]) {
    assert.match(world.condition(bundle)?.message ?? "", /ConfigMap "roots" not found/);
    assertHolds(world, bundle, ROOT_1);
  }
  world.putSource("roots", { "ca.crt": pemText(ROOT_2) });
  await settle(world);
  for (const bundle of ["a", "b"]) assertHolds(world, bundle, ROOT_2);
  // Without the cycle, a Bundle reads what the other's target holds.
  world.putBundle("a", spec(reads("roots")));
  await settle(world);
  for (const bundle of ["a", "b"]) assertHolds(world, bundle, ROOT_2);
  world.removeBundle("a");
  await settle(world);
  assertHolds(world, "b", ROOT_2);
  assert.equal(world.condition("b")?.status, "True");
});

Deno.test("a chain of Bundles is no cycle", async () => {
  await using world = new ControllerWorld();
  world.putNamespace("app");
  world.putBundle("a", spec(inLine(ROOT_1, ROOT_2)));
  const controller = await world.start();
  await settle(world);
  world.putBundle("b", spec(reads("a"), inLine(LEAF)));
  await settle(world);
  world.putBundle("c", spec(reads("b")));
  await settle(world);
  assertHolds(world, "c", ROOT_1, LEAF, ROOT_2);
  world.putBundle("a", spec(inLine(ROOT_1)));
  await settle(world);
  for (const bundle of ["b", "c"]) assertHolds(world, bundle, ROOT_1, LEAF);
  assert.deepEqual(world.events.filter(({ type }) => type === "Warning"), []);
  assert.deepEqual([...controller.figures()].map(([, { cycleSize }]) => cycleSize), [0, 0, 0]);
  await assertSteady(world);
});

Deno.test("sources that give nothing are told once per change, by an event, the log and a figure", async () => {
  await using world = new ControllerWorld();
  world.putNamespace("app");
  world.putSource("roots", { "ca.crt": pemText(ROOT_1), other: btoa(pemText(ROOT_2)) });
  const sources: BundleSource = { configMap: { name: "roots", includeAllKeys: true } };
  world.putBundle("x", spec(sources));
  const controller = await world.start();
  const told = () => eventsOf(world, "x", "EmptySource").length;
  const logged = () => world.log.filter((line) => line.includes("A source gives no certificate")).length;
  const figure = () => [...controller.figures()][0]?.[1].emptySources;
  await settle(world);
  assertHolds(world, "x", ROOT_1);
  assert.deepEqual([told(), logged(), figure()], [1, 1, 1]);
  assert.match(
    eventsOf(world, "x", "EmptySource")[0] ?? "",
    /key "other": .* base64 of PEM: decode it once more/,
  );
  world.putBundle("x", spec(sources, inLine(LEAF)));
  await settle(world);
  assert.deepEqual([told(), logged(), figure()], [1, 1, 1], "nothing new is told");
  world.putSource("roots", { "ca.crt": pemText(ROOT_1), other: "" });
  await settle(world);
  assert.deepEqual([told(), logged(), figure()], [2, 2, 1], "another way to give nothing");
  world.putSource("roots", { "ca.crt": pemText(ROOT_1), other: pemText(ROOT_2) });
  await settle(world);
  assert.deepEqual([told(), logged(), figure()], [2, 2, 0]);
  assertHolds(world, "x", ROOT_1, LEAF, ROOT_2);
  // When nothing is left, condition, event and log say why.
  world.putSource("roots", { "ca.crt": `\ufeff${pemText(ROOT_1)}` });
  world.putBundle("x", spec(sources));
  await settle(world);
  const says = /couldn't find any valid certificates in bundle: .*key "ca.crt": .* byte order mark/;
  assert.match(world.condition("x")?.message ?? "", says);
  assert.match(eventsOf(world, "x", "SourceNotFound").at(-1) ?? "", says);
  assert.match(
    world.log.filter((line) => line.includes("Bundle is not in sync")).at(-1) ?? "",
    /byte order mark/,
  );
  assert.equal(figure(), 1);
});
