import assert from "node:assert/strict";
import { type Change, Store } from "./store.ts";

interface Item {
  readonly key: string;
  readonly value: number;
  /** Not compared by `same`. */
  readonly note?: string;
}

function setUp() {
  const changes: Change<Item>[] = [];
  const seen: (number | undefined)[] = [];
  const store = new Store<Item>({
    keyOf: (item) => item.key,
    same: (a, b) => a.value === b.value,
    onChange: (change) => {
      changes.push(change);
      seen.push(store.get(change.key)?.value);
    },
  });
  /** Changes since the last call, as text: `key: before -> after`. */
  const take = () =>
    changes.splice(0).map((c) => `${c.key}: ${c.before?.value ?? "-"} -> ${c.after?.value ?? "-"}`);
  return { store, take, seen };
}

const item = (key: string, value: number): Item => ({ key, value });

Deno.test("each kind of write reports what it changed, and only that", async (t) => {
  const table: {
    name: string;
    write: (writer: ReturnType<Store<Item>["writer"]>) => void;
    changes: string[];
  }[] = [
    { name: "a new object", write: (w) => w.upsert(item("c", 3)), changes: ["c: - -> 3"] },
    { name: "a changed object", write: (w) => w.upsert(item("a", 9)), changes: ["a: 1 -> 9"] },
    { name: "an equal object", write: (w) => w.upsert(item("a", 1)), changes: [] },
    { name: "a removed object", write: (w) => w.remove("a"), changes: ["a: 1 -> -"] },
    { name: "an unknown object removed", write: (w) => w.remove("x"), changes: [] },
    {
      name: "a list",
      write: (w) => w.replace([item("b", 8), item("c", 3)]),
      changes: ["b: 2 -> 8", "c: - -> 3", "a: 1 -> -"],
    },
    { name: "an equal list", write: (w) => w.replace([item("b", 2), item("a", 1)]), changes: [] },
    { name: "an empty list", write: (w) => w.replace([]), changes: ["a: 1 -> -", "b: 2 -> -"] },
    {
      name: "a list that holds a key twice: the last one counts",
      write: (w) => w.replace([item("a", 1), item("b", 2), item("c", 3), item("c", 4)]),
      changes: ["c: - -> 4"],
    },
    {
      name: "a list with unreadable objects keeps what is held of them",
      write: (w) => w.replace([], new Set(["a", "never seen"])),
      changes: ["b: 2 -> -"],
    },
  ];
  for (const { name, write, changes } of table) {
    await t.step(name, () => {
      const { store, take } = setUp();
      const writer = store.writer();
      writer.replace([item("a", 1), item("b", 2)]);
      assert.deepEqual(take(), ["a: - -> 1", "b: - -> 2"]);
      write(writer);
      assert.deepEqual(take(), changes);
    });
  }
});

Deno.test("the store holds the whole list before the first change is reported", () => {
  const sizes: number[] = [];
  const store: Store<Item> = new Store<Item>({
    keyOf: (item) => item.key,
    same: () => false,
    onChange: () => sizes.push(store.size),
  });
  const writer = store.writer();
  writer.replace([item("a", 1), item("b", 2), item("c", 3)]);
  writer.replace([item("d", 4)]);
  assert.deepEqual(sizes, [3, 3, 3, 1, 1, 1, 1]);
});

Deno.test("an equal object still takes the place of the old one", () => {
  const { store } = setUp();
  const writer = store.writer();
  writer.upsert({ key: "a", value: 1, note: "old" });
  writer.upsert({ key: "a", value: 1, note: "new" });
  assert.equal(store.get("a")?.note, "new");
});

Deno.test("a store of several parts is synced when each has had a list, also an empty one", () => {
  const { store, take } = setUp();
  const [one, two] = [store.writer(), store.writer()];
  one.upsert(item("ns1/a", 1));
  assert.equal(store.synced, false);
  one.replace([item("ns1/a", 1)]);
  assert.equal(store.synced, false);
  two.replace([]);
  assert.equal(store.synced, true);
  take();

  two.upsert(item("ns2/b", 2));
  one.replace([]); // says nothing about what belongs to the other part
  assert.deepEqual(take(), ["ns2/b: - -> 2", "ns1/a: 1 -> -"]);
  assert.equal(store.size, 1);
  assert.deepEqual([...store.values()], [item("ns2/b", 2)]);
  assert.equal(store.get("ns1/a"), undefined);
});
