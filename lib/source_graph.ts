import type { TargetKind } from "./api/bundle.ts";
import type { BundleRecord } from "./records/bundle_record.ts";
import type { SourceRecord } from "./records/source_record.ts";
import { outputReader, type SourceCycle } from "./sources.ts";

/**
 * Which Bundles read the targets of which others, and where that goes round in a cycle. Kept up by each change, at the cost of that
 * change; all cycles are looked for anew only when a Bundle has come to read another, or has ceased to.
 */
export class SourceGraph {
  /** Objects in the trust namespace that are targets, by kind and name. */
  readonly #outputs = new Map<string, { readonly kind: TargetKind; readonly object: SourceRecord }>();
  /** By Bundle, the objects of other Bundles that it reads, and whose they are. */
  readonly #reads = new Map<string, Map<string, string>>();
  #cycles: ReadonlyMap<string, ReadonlySet<string>> = new Map();
  #changed = false;

  /** A Bundle is there, or is another than before. */
  putBundle(bundle: BundleRecord): void {
    const readsOutput = outputReader(bundle);
    const reads = new Map<string, string>();
    for (const [id, { kind, object }] of this.#outputs) {
      if (object.output !== undefined && readsOutput(kind, object)) {
        reads.set(id, object.output.bundle);
      }
    }
    this.#set(bundle.name, reads);
  }

  /** A Bundle is gone, or going: nothing is written for it any more. */
  removeBundle(name: string): void {
    this.#set(name, new Map());
  }

  /**
   * An object in the trust namespace has changed; undefined if it is gone.
   *
   * @param concerned the Bundles that name or select the object, as it was or as it is.
   */
  putObject(
    kind: TargetKind,
    name: string,
    object: SourceRecord | undefined,
    concerned: Iterable<BundleRecord>,
  ): void {
    const id = `${kind}/${name}`;
    const output = object?.output;
    const wasOutput = this.#outputs.delete(id);
    if (object !== undefined && output !== undefined) this.#outputs.set(id, { kind, object });
    else if (!wasOutput) return;
    for (const bundle of concerned) {
      const reads = this.#reads.get(bundle.name) ?? new Map<string, string>();
      const after = object !== undefined && outputReader(bundle)(kind, object) ? output?.bundle : undefined;
      if (reads.get(id) === after) continue;
      const next = new Map(reads);
      if (after === undefined) next.delete(id);
      else next.set(id, after);
      this.#set(bundle.name, next);
    }
  }

  /** Looks for cycles anew, if need be, and returns the Bundles that are in another than before, or in none any more. */
  update(): Set<string> {
    const different = new Set<string>();
    if (!this.#changed) return different;
    this.#changed = false;
    const before = this.#cycles;
    this.#cycles = cyclesOf(this.#reads);
    for (const name of new Set([...before.keys(), ...this.#cycles.keys()])) {
      const [a, b] = [before.get(name), this.#cycles.get(name)];
      if (a?.size !== b?.size || (a !== undefined && b !== undefined && !a.isSubsetOf(b))) {
        different.add(name);
      }
    }
    return different;
  }

  /** The other Bundles of the cycle that a Bundle is in, and itself; empty if it is in none. */
  membersOf(bundle: string): ReadonlySet<string> {
    return this.#cycles.get(bundle) ?? NOBODY;
  }

  /** The cycle that a Bundle is in, as of the last {@linkcode update}. */
  cycle(bundle: string): SourceCycle | undefined {
    const members = this.#cycles.get(bundle);
    return members && { members, path: this.#shortestWayRound(bundle, members) };
  }

  #set(bundle: string, reads: Map<string, string>): void {
    const before = new Set(this.#reads.get(bundle)?.values());
    const after = new Set(reads.values());
    if (reads.size === 0) this.#reads.delete(bundle);
    else this.#reads.set(bundle, reads);
    if (before.size !== after.size || !before.isSubsetOf(after)) this.#changed = true;
  }

  /** By breadth-first search; of several, the first in the order of names. */
  #shortestWayRound(from: string, members: ReadonlySet<string>): string[] {
    const cameFrom = new Map<string, string>();
    const queue = [from];
    for (const name of queue) {
      const next = [...new Set(this.#reads.get(name)?.values())].filter((other) => members.has(other)).sort();
      for (const other of next) {
        if (other === from) return wayBack(name, from, cameFrom);
        if (cameFrom.has(other)) continue;
        cameFrom.set(other, name);
        queue.push(other);
      }
    }
    return [from];
  }
}

const NOBODY: ReadonlySet<string> = new Set();

function wayBack(last: string, from: string, cameFrom: ReadonlyMap<string, string>): string[] {
  const way: string[] = [];
  for (let name: string | undefined = last; name !== undefined && name !== from; name = cameFrom.get(name)) {
    way.push(name);
  }
  return [from, ...way.reverse()];
}

/**
 * The strongly connected components of more than one Bundle, by each of their members (Tarjan 1972, without recursion: a chain may be as
 * long as there are Bundles). Nobody reads itself here.
 */
function cyclesOf(
  reads: ReadonlyMap<string, ReadonlyMap<string, string>>,
): Map<string, ReadonlySet<string>> {
  const cycles = new Map<string, ReadonlySet<string>>();
  const index = new Map<string, number>();
  const low = new Map<string, number>();
  const open: string[] = [];
  const isOpen = new Set<string>();
  const enter = (name: string) => {
    index.set(name, index.size);
    low.set(name, index.size - 1);
    open.push(name);
    isOpen.add(name);
    return { name, next: new Set(reads.get(name)?.values()).values() };
  };
  for (const root of reads.keys()) {
    if (index.has(root)) continue;
    const path = [enter(root)];
    for (let at = path.at(-1); at !== undefined; at = path.at(-1)) {
      const { name, next } = at;
      const { value: other, done } = next.next();
      if (done !== true) {
        if (!index.has(other)) path.push(enter(other));
        else if (isOpen.has(other)) low.set(name, Math.min(low.get(name) ?? 0, index.get(other) ?? 0));
        continue;
      }
      path.pop();
      const parent = path.at(-1)?.name;
      if (parent !== undefined) low.set(parent, Math.min(low.get(parent) ?? 0, low.get(name) ?? 0));
      if (low.get(name) !== index.get(name)) continue;
      const members = new Set(open.splice(open.lastIndexOf(name)));
      members.forEach((member) => isOpen.delete(member));
      if (members.size > 1) members.forEach((member) => cycles.set(member, members));
    }
  }
  return cycles;
}
