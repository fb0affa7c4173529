import assert from "node:assert/strict";
import { EXPIRED, LEAF, ROOT_1, ROOT_2, TRUST_NAMESPACE } from "../builders.ts";
import { seededRandom } from "../controller_world.ts";
import { type Action, ActionSource, actionText, ATTACKS, PLANTED_MARKS } from "./actions.ts";
import { SoakModel } from "./model.ts";

/** The first actions of a seed, with a model that is told of them and a cluster that is not there. */
function actionsOf(seed: number, count: number): Action[] {
  const model = new SoakModel({
    trustNamespace: TRUST_NAMESPACE,
    certificates: [ROOT_1, LEAF, ROOT_2, EXPIRED],
    defaultPackage: { version: "0", certificates: 1 },
  });
  model.namespaces.set("default", { labels: {}, terminating: false });
  const source = new ActionSource(seededRandom(seed), model);
  const actions: Action[] = [];
  const take = (action: Action) => {
    actions.push(action);
    switch (action.type) {
      case "put source":
        return model.setSource(action.kind, action.name, action.state);
      case "delete source":
        return model.setSource(action.kind, action.name, undefined);
      case "put Bundle":
      case "replace Bundle":
        return model.setBundle(action.name, action.spec);
      case "delete Bundle":
        return model.setBundle(action.name, undefined);
      case "create namespace":
      case "relabel namespace":
      case "replace namespace":
        model.namespaces.set(action.name, { labels: action.labels, terminating: false });
        return;
      case "delete namespace":
        if (action.hold) model.namespaces.set(action.name, { labels: {}, terminating: true });
        else model.namespaces.delete(action.name);
        return;
      case "release namespace":
        model.namespaces.delete(action.name);
        return;
    }
  };
  for (const action of source.beginning()) take(action);
  while (actions.length < count) {
    for (let left = source.beginRound().actions; left > 0; left--) take(source.next());
  }
  return actions;
}

Deno.test("the same seed gives the same actions, another one others", () => {
  const texts = (seed: number) => actionsOf(seed, 500).map((action) => JSON.stringify(action));
  assert.deepEqual(texts(7), texts(7));
  assert.notDeepEqual(texts(7), texts(8));
});

Deno.test("everything happens, and every action can be told in one line", () => {
  const actions = actionsOf(1, 5_000);
  const types = new Set(actions.map(({ type }) => type));
  assert.equal(types.size, 17);
  const attacks = new Set(
    actions.flatMap((action) => action.type === "attack target" ? [action.attack] : []),
  );
  assert.deepEqual([...attacks].sort(), [...ATTACKS].sort());
  for (const action of actions) assert.doesNotMatch(actionText(action), /\n|undefined/);
});

Deno.test("there are never more than twelve namespaces, and none is changed that is not there", () => {
  const there = new Map<string, "living" | "held">();
  for (const action of actionsOf(3, 3_000)) {
    switch (action.type) {
      case "create namespace":
        assert.equal(there.get(action.name), undefined);
        there.set(action.name, "living");
        assert.ok(there.size <= 12);
        break;
      case "relabel namespace":
      case "replace namespace":
        assert.equal(there.get(action.name), "living");
        break;
      case "delete namespace":
        assert.equal(there.get(action.name), "living");
        if (action.hold) there.set(action.name, "held");
        else there.delete(action.name);
        break;
      case "release namespace":
        assert.equal(there.get(action.name), "held");
        there.delete(action.name);
        break;
    }
  }
});

Deno.test("every private key among the sources carries a mark, and is known to refuse the source or to be passed over", () => {
  let keys = 0;
  for (const action of actionsOf(5, 2_000)) {
    if (action.type !== "put source") continue;
    for (const { text, refusal } of Object.values(action.state.values)) {
      if (!text.includes("PRIVATE KEY")) continue;
      keys++;
      assert.ok(PLANTED_MARKS.some((mark) => text.includes(mark)), text);
      assert.equal(refusal !== undefined, text.includes("END PRIVATE KEY"));
    }
  }
  assert.ok(keys > 20, `${keys} keys`);
});
