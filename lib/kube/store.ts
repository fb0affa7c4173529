/** What happened to one key of a store. One of `before` and `after` is always there. */
export interface Change<T> {
  readonly key: string;
  readonly before?: T;
  readonly after?: T;
}

/** Where one list-and-watch (a {@link Reflector}) puts what it sees. */
export interface StoreWriter<T> {
  /**
   * A complete list: what it lacks is removed. Readers never see half of it. Of the keys in `unreadable`, which exist but could
   * not be read, the store keeps what it holds: losing an object because it cannot be read would undo what it asks for.
   */
  replace(items: readonly T[], unreadable?: ReadonlySet<string>): void;
  upsert(item: T): void;
  remove(key: string): void;
}

/**
 * The last known state of some kind of object, by key (`namespace/name`, or `name`). One or more reflectors write (one a
 * namespace, say), each to a part of its own; all others only read.
 */
export class Store<T> {
  readonly #parts: { items: Map<string, T>; synced: boolean }[] = [];
  readonly #keyOf: (item: T) => string;
  readonly #same: (a: T, b: T) => boolean;
  readonly #onChange: (change: Change<T>) => void;

  /**
   * @param options.same whether two states of one key are equal for all readers; equal ones cause no change.
   * @param options.onChange called after the store holds the change; must not throw.
   */
  constructor(
    options: {
      keyOf: (item: T) => string;
      same: (a: T, b: T) => boolean;
      onChange: (change: Change<T>) => void;
    },
  ) {
    this.#keyOf = options.keyOf;
    this.#same = options.same;
    this.#onChange = options.onChange;
  }

  /** Adds a part and returns its writer. The store counts as synced when each part has had a complete list. */
  writer(): StoreWriter<T> {
    const part = { items: new Map<string, T>(), synced: false };
    this.#parts.push(part);
    const put = (item: T): Change<T> | undefined => {
      const key = this.#keyOf(item);
      const before = part.items.get(key);
      part.items.set(key, item);
      if (before === undefined) return { key, after: item };
      return this.#same(before, item) ? undefined : { key, before, after: item };
    };
    const report = (change: Change<T> | undefined) => {
      if (change !== undefined) this.#onChange(change);
    };
    return {
      replace: (items, unreadable) => {
        const held = part.items;
        const next = new Map(items.map((item) => [this.#keyOf(item), item]));
        const changes: Change<T>[] = [];
        for (const [key, after] of next) {
          const before = held.get(key);
          if (before === undefined) changes.push({ key, after });
          else if (!this.#same(before, after)) changes.push({ key, before, after });
        }
        for (const [key, before] of held) {
          if (next.has(key)) continue;
          if (unreadable?.has(key)) next.set(key, before);
          else changes.push({ key, before });
        }
        part.items = next;
        part.synced = true;
        changes.forEach(report);
      },
      upsert: (item) => report(put(item)),
      remove: (key) => {
        const before = part.items.get(key);
        if (before !== undefined && part.items.delete(key)) report({ key, before });
      },
    };
  }

  /** Whether every part has had a complete list. */
  get synced(): boolean {
    return this.#parts.every((part) => part.synced);
  }

  /** How many objects there are. */
  get size(): number {
    return this.#parts.reduce((sum, part) => sum + part.items.size, 0);
  }

  get(key: string): T | undefined {
    for (const part of this.#parts) {
      const item = part.items.get(key);
      if (item !== undefined) return item;
    }
    return undefined;
  }

  *values(): IterableIterator<T> {
    for (const part of this.#parts) yield* part.items.values();
  }
}
