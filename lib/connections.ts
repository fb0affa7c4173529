import type { Clock } from "./clock.ts";

/** What a connection does: a request, its TLS handshake included, has not arrived whole; it waits for the next one; it is being answered. */
export type ConnectionState = "unfinished" | "idle" | "answering";

/** A connection that was let in. */
export interface Connection {
  /** Who it comes from, see {@linkcode sourceOf}. */
  readonly source: string;
  /** What it does. */
  readonly state: ConnectionState;
  /** It does something, or something else, from now on. */
  become(state: ConnectionState): void;
  /** It has ended, for whatever reason. */
  forget(): void;
}

/** For longer than this, in milliseconds, no request of an honest client is unfinished. */
export const SLOW_MS = 1_000;

/**
 * The open connections of one port, of which there are never more than a fixed number. When one more comes, another one has to go:
 *
 * 1. If there is a source with a request that has been unfinished for longer than {@linkcode SLOW_MS} (no API server, kubelet or
 *    Prometheus is as slow), the oldest unfinished one of that source; of several, of the one that has most unfinished ones.
 * 2. Else one of the source that has the most connections, the newcomer counted, so that nobody can take the place of who has few:
 *    the oldest whose request is unfinished, else the one that has been idle for longest. What is being answered goes only if the
 *    newcomer is of another source. If several sources have as many, whichever has the oldest unfinished one, and so on.
 *
 * If none can go, the newcomer is turned away. It costs next to nothing to find, as this is what a flood of connections makes it do.
 */
export class Connections {
  readonly #most: number;
  readonly #clock: Clock;
  readonly #sources = new Map<string, Source>();
  #size = 0;

  /** @param most so many connections there may be. */
  constructor(most: number, clock: Clock) {
    this.#most = most;
    this.#clock = clock;
  }

  /** How many there are. */
  get size(): number {
    return this.#size;
  }

  /**
   * Lets a connection in, and ends another one if need be; undefined if it must be turned away.
   *
   * @param address the client's IP address.
   * @param end ends the connection; it is forgotten already then.
   */
  open(address: string, end: () => void): Connection | undefined {
    const source = sourceOf(address);
    if (this.#size >= this.#most) {
      const victim = this.#victim(source);
      if (victim === undefined) return undefined;
      victim.forget();
      victim.end();
    }
    const entry = new Entry(this, source, end);
    this.#put(entry);
    return entry;
  }

  /** Puts it at the end of those that do the same. */
  #put(entry: Entry): void {
    let source = this.#sources.get(entry.source);
    if (source === undefined) {
      source = { unfinished: new Set(), idle: new Set(), answering: new Set() };
      this.#sources.set(entry.source, source);
    }
    entry.since = this.#clock.monotonic();
    source[entry.state].add(entry);
    this.#size++;
  }

  /** For {@linkcode Entry} alone. */
  take(entry: Entry): boolean {
    const source = this.#sources.get(entry.source);
    if (source === undefined || !source[entry.state].delete(entry)) return false;
    this.#size--;
    if (sizeOf(source) === 0) this.#sources.delete(entry.source);
    return true;
  }

  /** For {@linkcode Entry} alone. */
  move(entry: Entry, state: ConnectionState): void {
    if (!this.take(entry)) return;
    entry.state = state;
    this.#put(entry);
  }

  #victim(newcomer: string): Entry | undefined {
    const now = this.#clock.monotonic();
    let slow: Entry | undefined;
    let mostSlow = 0;
    let mostAll = 0;
    for (const [name, source] of this.#sources) {
      const [oldest] = source.unfinished;
      if (oldest !== undefined && now - oldest.since > SLOW_MS && source.unfinished.size > mostSlow) {
        [slow, mostSlow] = [oldest, source.unfinished.size];
      }
      mostAll = Math.max(mostAll, sizeOf(source) + (name === newcomer ? 1 : 0));
    }
    if (slow !== undefined) return slow;
    const oldest: Partial<Record<ConnectionState, Entry>> = {};
    for (const [name, source] of this.#sources) {
      if (sizeOf(source) + (name === newcomer ? 1 : 0) < mostAll) continue;
      for (const state of STATES) {
        const [entry] = source[state];
        if (entry === undefined || (state === "answering" && name === newcomer)) continue;
        if (oldest[state] === undefined || entry.since < oldest[state].since) oldest[state] = entry;
      }
    }
    return oldest.unfinished ?? oldest.idle ?? oldest.answering;
  }
}

const STATES = ["unfinished", "idle", "answering"] as const;

/** The connections of a source by what they do, those that have done so for longest first. */
type Source = Readonly<Record<ConnectionState, Set<Entry>>>;

function sizeOf({ unfinished, idle, answering }: Source): number {
  return unfinished.size + idle.size + answering.size;
}

class Entry implements Connection {
  state: ConnectionState = "unfinished";
  /** Since when it has been in that state, in milliseconds of the monotonic clock. */
  since = 0;
  readonly source: string;
  readonly end: () => void;
  readonly #connections: Connections;

  constructor(connections: Connections, source: string, end: () => void) {
    this.#connections = connections;
    this.source = source;
    this.end = end;
  }

  become(state: ConnectionState): void {
    this.#connections.move(this, state);
  }

  forget(): void {
    this.#connections.take(this);
  }
}

/**
 * Whom a connection counts for: an IPv4 address (also one that is mapped into IPv6), or the network of 64 bits that an IPv6 address is of,
 * since one machine may take any address of that (RFC 4291, section 2.5.4).
 */
export function sourceOf(address: string): string {
  if (!address.includes(":")) return address;
  const mapped = /^::ffff:(\d+\.\d+\.\d+\.\d+)$/i.exec(address)?.[1];
  if (mapped !== undefined) return mapped;
  const [head = "", tail] = address.split("%", 1)[0]?.split("::") ?? [];
  const groups = head === "" ? [] : head.split(":");
  if (tail !== undefined) {
    const last = tail === "" ? [] : tail.split(":");
    while (groups.length + last.length < 8) groups.push("0");
    groups.push(...last);
  }
  return groups.slice(0, 4).map((group) => group.toLowerCase().replace(/^0+(?=.)/, "")).join(":");
}
