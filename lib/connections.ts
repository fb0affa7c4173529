import type { Clock } from "./clock.ts";

/** What a connection does: a request, its TLS handshake included, has not arrived whole; it waits for the next one; it is being answered. */
export type ConnectionState = "unfinished" | "idle" | "answering";

/** An open connection, as far as it matters for who has to go. */
export interface ConnectionView {
  /** Who it comes from, see {@linkcode sourceOf}. */
  readonly source: string;
  readonly state: ConnectionState;
  /** Since when it has been in that state, in milliseconds of a monotonic clock. */
  readonly since: number;
}

/** A connection that was let in. */
export interface Connection extends ConnectionView {
  /** It does something else from now on. */
  become(state: ConnectionState): void;
  /** It has ended, for whatever reason. */
  forget(): void;
}

/** For longer than this, in milliseconds, no request of an honest client is unfinished. */
export const SLOW_MS = 1_000;

/**
 * The open connections of one port, of which there are never more than a fixed number: when one more comes, {@linkcode victimOf} says who
 * has to go for it.
 */
export class Connections {
  readonly #most: number;
  readonly #clock: Clock;
  /** Oldest first, with what ends each. */
  readonly #open = new Map<Entry, () => void>();

  /** @param most so many connections there may be. */
  constructor(most: number, clock: Clock) {
    this.#most = most;
    this.#clock = clock;
  }

  /** How many there are. */
  get size(): number {
    return this.#open.size;
  }

  /**
   * Lets a connection in, and ends another one if need be; undefined if it must be turned away.
   *
   * @param address the client's IP address.
   * @param end ends the connection; it is forgotten already then.
   */
  open(address: string, end: () => void): Connection | undefined {
    const source = sourceOf(address);
    if (this.#open.size >= this.#most) {
      const victim = victimOf([...this.#open.keys()], source, this.#clock.monotonic());
      if (victim === undefined) return undefined;
      const endVictim = this.#open.get(victim);
      this.#open.delete(victim);
      endVictim?.();
    }
    const entry = new Entry(source, this.#clock, (it) => this.#open.delete(it));
    this.#open.set(entry, end);
    return entry;
  }
}

class Entry implements Connection {
  readonly source: string;
  state: ConnectionState = "unfinished";
  since: number;
  readonly #clock: Clock;
  readonly #onForget: (entry: Entry) => void;

  constructor(source: string, clock: Clock, onForget: (entry: Entry) => void) {
    this.source = source;
    this.since = clock.monotonic();
    this.#clock = clock;
    this.#onForget = onForget;
  }

  become(state: ConnectionState): void {
    this.state = state;
    this.since = this.#clock.monotonic();
  }

  forget(): void {
    this.#onForget(this);
  }
}

/**
 * Which connection has to go so that one from `source` can come; undefined if none has to, and the newcomer is turned away. Pure.
 *
 * 1. One whose request has been unfinished for longer than {@linkcode SLOW_MS}: no API server, kubelet or Prometheus is as slow. Of the
 *    source that has the most of them, the oldest.
 * 2. Else one of the source that has the most connections, the newcomer counted, so that nobody can take the place of who has few:
 *    the oldest whose request is unfinished, else the one that has been idle for longest. What is being answered goes only if the
 *    newcomer is of another source.
 */
export function victimOf<T extends ConnectionView>(
  connections: readonly T[],
  source: string,
  now: number,
): T | undefined {
  const slow = connections.filter(({ state, since }) => state === "unfinished" && now - since > SLOW_MS);
  const slowest = oldest(ofLargestSources(slow, countBySource(slow)));
  if (slowest !== undefined) return slowest;

  const counts = countBySource(connections);
  counts.set(source, (counts.get(source) ?? 0) + 1);
  const candidates = ofLargestSources(connections, counts);
  const inState = (wanted: ConnectionState) => candidates.filter(({ state }) => state === wanted);
  return oldest(inState("unfinished")) ?? oldest(inState("idle")) ??
    oldest(inState("answering").filter((it) => it.source !== source));
}

function countBySource(connections: readonly ConnectionView[]): Map<string, number> {
  const counts = new Map<string, number>();
  for (const { source } of connections) counts.set(source, (counts.get(source) ?? 0) + 1);
  return counts;
}

/** Those of the source with the highest count, or of all that have as many. */
function ofLargestSources<T extends ConnectionView>(
  connections: readonly T[],
  counts: ReadonlyMap<string, number>,
): readonly T[] {
  const largest = Math.max(0, ...counts.values());
  return connections.filter(({ source }) => counts.get(source) === largest);
}

function oldest<T extends ConnectionView>(connections: readonly T[]): T | undefined {
  let found: T | undefined;
  for (const connection of connections) {
    if (found === undefined || connection.since < found.since) found = connection;
  }
  return found;
}

/**
 * Whom a connection counts for: an IPv4 address (also one that is mapped into IPv6), or the network of 64 bits that an IPv6 address is of,
 * since one machine may take any address of that (RFC 4291, section 2.5.4).
 */
export function sourceOf(address: string): string {
  const mapped = /^::ffff:(\d+\.\d+\.\d+\.\d+)$/i.exec(address)?.[1];
  if (mapped !== undefined) return mapped;
  if (!address.includes(":")) return address;
  const [head = "", tail] = address.split("%", 1)[0]?.split("::") ?? [];
  const groups = head === "" ? [] : head.split(":");
  if (tail !== undefined) {
    const last = tail === "" ? [] : tail.split(":");
    while (groups.length + last.length < 8) groups.push("0");
    groups.push(...last);
  }
  return groups.slice(0, 4).map((group) => group.toLowerCase().replace(/^0+(?=.)/, "")).join(":");
}
