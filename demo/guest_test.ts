import assert from "node:assert/strict";
import { describeGuest, GuestError, obtainConsent, planGuest, RUN_LABEL } from "./guest.ts";

const RUN = "trust-manager-demo-0a1b2c3d";

const read = (file: string) => Deno.readTextFile(`${import.meta.dirname}/../deploy/${file}`);

async function plan() {
  return planGuest(RUN, [await read("rbac.yaml"), await read("crds/trust.cert-manager.io_bundles.yaml")]);
}

Deno.test("all that is created in a cluster of the user's own has a name of this run, and its label", async () => {
  const { objects } = await plan();
  const [definition, ...rest] = objects;
  assert.equal(definition?.object?.kind, "CustomResourceDefinition");
  assert.ok(rest.length > 8);
  for (const { path, object } of objects) {
    const name = path.split("/").at(-1) ?? "";
    if (object !== definition?.object) assert.ok(name.startsWith(RUN), path);
    const [, namespace] = /\/namespaces\/([^/]+)\/./.exec(path) ?? [];
    assert.ok(namespace === undefined || namespace === RUN || namespace === "default", path);
    if (object === undefined) continue;
    assert.equal(Object(object.metadata["labels"])[RUN_LABEL], RUN, path);
    assert.equal(object.metadata.name, name);
    assert.equal(object.metadata.namespace, namespace);
    // Nothing binds, or is bound to, what was there before.
    const text = JSON.stringify({ ...object, metadata: {}, spec: {} });
    assert.doesNotMatch(text, /"(name|namespace)":"(trust-manager|cert-manager)[":]/, path);
  }
});

Deno.test("the plan names the cluster and each object", async () => {
  const { objects, run } = await plan();
  const text = describeGuest({ run, objects }, { context: "prod", server: "https://example.com" }).join("\n");
  assert.match(text, /context prod, https:\/\/example\.com/);
  for (const { path } of objects) assert.ok(text.includes(path.split("/").at(-1) ?? "?"), path);
});

Deno.test("nothing is created unless somebody agrees", () => {
  const cases = [
    { yes: false, ask: undefined, agreed: /no terminal to ask on.*--yes/ },
    { yes: false, ask: () => false, agreed: /Nothing was created/ },
    { yes: false, ask: () => true, agreed: true },
    { yes: true, ask: undefined, agreed: true },
    { yes: true, ask: () => false, agreed: true },
  ] as const;
  for (const { agreed, ...options } of cases) {
    if (agreed === true) obtainConsent(options);
    else {
      assert.throws(
        () => obtainConsent(options),
        (error) => error instanceof GuestError && agreed.test(error.message),
      );
    }
  }
});
