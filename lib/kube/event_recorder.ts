import type { CancelTimer, Clock } from "../clock.ts";
import type { Logger } from "../log.ts";
import type { KubeClient } from "./client.ts";
import { isStatus, KubeStatusError } from "./errors.ts";
import { microTime } from "./micro_time.ts";

/** `v1.ObjectReference` of the object that an event is about. */
export interface ObjectReference {
  readonly apiVersion: string;
  readonly kind: string;
  readonly name: string;
  /** Absent for cluster-scoped objects. */
  readonly namespace?: string;
  readonly uid?: string;
  readonly resourceVersion?: string;
}

/** What happened. */
export interface EventInput {
  readonly type: "Normal" | "Warning";
  /** Why, for machines: `UpperCamelCase`, at most 128 bytes. */
  readonly reason: string;
  /** What was done or failed, likewise. */
  readonly action: string;
  /** For people. Cut at 1,024 bytes. Never holds a secret. */
  readonly note: string;
  readonly regarding: ObjectReference;
}

/** What an {@linkcode EventRecorder} works with. */
export interface EventRecorderOptions {
  readonly client: KubeClient;
  readonly clock: Clock;
  /** Uniform in [0, 1). */
  readonly random: () => number;
  readonly log: Logger;
  /** Name of the controller, a qualified name such as `bundles`. */
  readonly reportingController: string;
  /** This process, such as the pod's name. */
  readonly reportingInstance: string;
  /** Where events of cluster-scoped objects go; the API server takes them in `default` and `kube-system` only. */
  readonly namespace: string;
}

/**
 * An event that comes again within so many milliseconds belongs to the same series; the count of a series is written at most
 * once in that time (after the first repeat, which is written at once). As Kubernetes' own clients have it. An attempt that
 * fails counts as well, whatever the failure: the next is made when the next count would be due.
 */
const SERIES_MS = 6 * 60_000;
/** New events about one object: so many at once, and one more each five minutes. As of the spam filter of Kubernetes' clients. */
const BURST = 25;
const REFILL_MS = 5 * 60_000;
/** How often series are looked through for counts to be written and for what can be forgotten. */
const SWEEP_MS = 60_000;
/** So many series and objects are remembered; beyond, the oldest are forgotten. */
const MAX_REMEMBERED = 4096;
/** So many events may wait to be written; beyond, new ones are dropped. */
const MAX_WAITING = 1000;
/** Failures are logged so often at most. */
const FAILURE_LOG_MS = 60_000;
const REQUEST_TIMEOUT_MS = 10_000;
/** Limits of the events.k8s.io/v1 API. */
const MAX_NOTE_BYTES = 1024;
const MAX_INSTANCE_LENGTH = 128;
const MAX_NAME_LENGTH = 253;

/** Equal events about one object. */
interface Series {
  readonly key: string;
  readonly event: EventInput;
  readonly name: string;
  readonly namespace: string;
  /** Wall clock. */
  readonly firstAt: number;
  lastAt: number;
  /** Monotonic, of the last occurrence. */
  lastSeen: number;
  count: number;
  /** The count that the API server has; 0 before the event is created. */
  written: number;
  /** Monotonic, of the last attempt to write. */
  lastWrite: number;
  /** Whether it was tried to write a repeat, which the first time is done at once. */
  repeatTried: boolean;
}

/**
 * Writes events (`events.k8s.io/v1`) in the background, one after the other. Equal ones become one series with a count, and
 * how many different ones an object can have is limited, so that many broken objects cannot flood the API server. Events are
 * for people who look into something: they are dropped rather than that anything waits for them.
 *
 * The note is part of what makes events equal: the API does not let it be changed, and a series that kept its first note
 * would go on telling of a problem that has become another.
 */
export class EventRecorder {
  readonly #options: EventRecorderOptions;
  readonly #series = new Map<string, Series>();
  readonly #buckets = new Map<string, { tokens: number; at: number }>();
  readonly #waiting = new Set<Series>();
  readonly #abort = new AbortController();
  #working: Promise<void> | undefined;
  #cancelSweep: CancelTimer | undefined;
  #lastFailureLog = Number.NEGATIVE_INFINITY;
  #stopped = false;

  constructor(options: EventRecorderOptions) {
    this.#options = options;
  }

  /** Notes that something happened. Returns at once and never throws; what cannot be written is logged. */
  record(input: EventInput): void {
    if (this.#stopped) return;
    const { clock, log, namespace } = this.#options;
    const event = { ...input, note: cutNote(input.note) };
    const now = clock.monotonic();
    const { regarding, type, reason, action, note } = event;
    const object = objectKey(regarding);
    const key = JSON.stringify([object, type, reason, action, note]);
    const series = this.#series.get(key);
    if (series !== undefined && now - series.lastSeen < SERIES_MS) {
      series.count++;
      series.lastSeen = now;
      series.lastAt = clock.now();
      if (isFirstRepeat(series) || now - series.lastWrite >= SERIES_MS) this.#enqueue(series);
      return;
    }
    if (this.#waiting.size >= MAX_WAITING || !this.#takeToken(object, now)) {
      log.info("Event dropped, as there are too many", { reason, object: regarding.name }, 2);
      return;
    }
    if (series !== undefined) this.#finish(series);
    const started: Series = {
      key,
      event,
      name: eventName(regarding.name, this.#suffix()),
      namespace: regarding.namespace ?? namespace,
      firstAt: clock.now(),
      lastAt: clock.now(),
      lastSeen: now,
      count: 1,
      written: 0,
      lastWrite: now,
      repeatTried: false,
    };
    remember(this.#series, key, started);
    this.#enqueue(started);
    this.#scheduleSweep();
  }

  /**
   * Writes what waits and the last counts of all series, for at most `timeoutMs` milliseconds. For the end of the process:
   * later events are ignored.
   */
  async flush(timeoutMs: number): Promise<void> {
    this.#stopped = true;
    this.#cancelSweep?.();
    for (const series of this.#series.values()) this.#finish(series);
    const cancel = this.#options.clock.setTimer(
      timeoutMs,
      () => this.#abort.abort(new Error("There was no time left to write events")),
    );
    await this.#working;
    cancel();
    if (this.#waiting.size > 0) {
      this.#options.log.info("Events were not written before the end", { events: this.#waiting.size });
    }
    this.#waiting.clear();
    this.#series.clear();
    this.#buckets.clear();
  }

  /** Forgets a series; its count is written if it has changed since. */
  #finish(series: Series): void {
    if (this.#series.get(series.key) === series) this.#series.delete(series.key);
    if (series.written !== series.count) this.#enqueue(series);
  }

  #takeToken(object: string, now: number): boolean {
    const bucket = this.#buckets.get(object) ?? { tokens: BURST, at: now };
    const tokens = Math.min(BURST, bucket.tokens + (now - bucket.at) / REFILL_MS);
    remember(this.#buckets, object, { tokens: tokens >= 1 ? tokens - 1 : tokens, at: now });
    return tokens >= 1;
  }

  #scheduleSweep(): void {
    this.#cancelSweep ??= this.#options.clock.setTimer(SWEEP_MS, () => {
      this.#cancelSweep = undefined;
      this.#sweep();
      if (this.#series.size > 0 || this.#buckets.size > 0) this.#scheduleSweep();
    });
  }

  #sweep(): void {
    const now = this.#options.clock.monotonic();
    for (const series of this.#series.values()) {
      if (now - series.lastSeen >= SERIES_MS) this.#finish(series);
      else if (series.written !== series.count && now - series.lastWrite >= SERIES_MS) this.#enqueue(series);
    }
    for (const [object, { tokens, at }] of this.#buckets) {
      if (tokens + (now - at) / REFILL_MS >= BURST) this.#buckets.delete(object);
    }
  }

  #enqueue(series: Series): void {
    this.#waiting.add(series);
    this.#working ??= this.#work();
  }

  async #work(): Promise<void> {
    await Promise.resolve(); // the caller of record() goes on first
    for (const series of this.#waiting) { // those that are added meanwhile, too
      if (this.#abort.signal.aborted) break;
      this.#waiting.delete(series); // so that it can be added again while it is written
      await this.#write(series);
      // It may have come again while it was written for the first time.
      if (isFirstRepeat(series)) this.#waiting.add(series);
    }
    this.#working = undefined;
  }

  async #write(series: Series): Promise<void> {
    const { clock, log } = this.#options;
    const { event, count } = series;
    series.lastWrite = clock.monotonic();
    series.repeatTried ||= series.written > 0;
    try {
      if (series.written === 0 || !await this.#patch(series)) await this.#create(series);
      series.written = count;
    } catch (error) {
      // Not created: when it comes again, that is another chance.
      if (series.written === 0 && this.#series.get(series.key) === series) this.#series.delete(series.key);
      const due = clock.monotonic() - this.#lastFailureLog >= FAILURE_LOG_MS;
      if (due) this.#lastFailureLog = clock.monotonic();
      const fields = { reason: event.reason, object: event.regarding.name };
      if (due) log.error("Event could not be written", error, fields);
      else log.info("Event could not be written", fields, 3);
    }
  }

  async #create(series: Series): Promise<void> {
    const { reportingController, reportingInstance } = this.#options;
    const { event: { regarding, type, reason, action, note }, name, namespace, firstAt } = series;
    try {
      await this.#send("POST", eventsPath(namespace), "application/json", {
        apiVersion: "events.k8s.io/v1",
        kind: "Event",
        metadata: { name, namespace },
        eventTime: microTime(firstAt),
        ...(series.count > 1 ? { series: seriesOf(series) } : {}),
        reportingController,
        reportingInstance: reportingInstance.slice(0, MAX_INSTANCE_LENGTH),
        type,
        reason,
        action,
        note,
        regarding,
      });
    } catch (error) {
      // The name is unique, so this is our own, of an attempt whose answer was lost.
      if (error instanceof KubeStatusError && error.status.reason === "AlreadyExists") return;
      throw error;
    }
  }

  /** Writes the count; false if the event is gone (events live for an hour). */
  async #patch(series: Series): Promise<boolean> {
    try {
      await this.#send(
        "PATCH",
        `${eventsPath(series.namespace)}/${series.name}`,
        "application/merge-patch+json",
        { series: seriesOf(series) },
      );
      return true;
    } catch (error) {
      if (isStatus(error, 404)) return false;
      throw error;
    }
  }

  async #send(
    method: "POST" | "PATCH",
    path: string,
    contentType: string,
    body: Readonly<Record<string, unknown>>,
  ): Promise<void> {
    await this.#options.client.request({
      method,
      path,
      contentType,
      body,
      timeoutMs: REQUEST_TIMEOUT_MS,
      signal: this.#abort.signal,
    });
  }

  /** Sixteen hexadecimal digits that no other event of the object has. */
  #suffix(): string {
    const half = () => Math.floor(this.#options.random() * 0x1_0000_0000).toString(16).padStart(8, "0");
    return half() + half();
  }
}

/** `note` if it has at most `maxBytes` bytes of UTF-8; otherwise as many whole characters as fit, and `…`. */
export function cutNote(note: string, maxBytes = MAX_NOTE_BYTES): string {
  const text = note.toWellFormed();
  const encoder = new TextEncoder();
  const { read } = encoder.encodeInto(text, new Uint8Array(maxBytes));
  if (read === text.length) return text;
  const fitting = encoder.encodeInto(text, new Uint8Array(maxBytes - encoder.encode("…").length)).read;
  return text.slice(0, fitting) + "…";
}

/** A name for an event about `object`: a DNS subdomain (RFC 1123) of at most 253 characters. */
export function eventName(object: string, suffix: string): string {
  const room = MAX_NAME_LENGTH - 1 - suffix.length;
  return `${object.slice(0, room).replace(/[^a-z0-9]+$/, "")}.${suffix}`;
}

function objectKey({ uid, kind, namespace, name }: ObjectReference): string {
  return JSON.stringify([uid, kind, namespace, name]);
}

function eventsPath(namespace: string): string {
  return `/apis/events.k8s.io/v1/namespaces/${encodeURIComponent(namespace)}/events`;
}

/** Whether it came again, for the first time that the API server is to hear of. Said once, whether or not the API server takes it. */
function isFirstRepeat({ written, count, repeatTried }: Series): boolean {
  return written === 1 && count > 1 && !repeatTried;
}

function seriesOf({ count, lastAt }: Series): Record<string, unknown> {
  return { count, lastObservedTime: microTime(lastAt) };
}

/** Puts `value` last into `map`, and forgets the first if there are too many. */
function remember<V>(map: Map<string, V>, key: string, value: V): void {
  map.delete(key);
  map.set(key, value);
  if (map.size > MAX_REMEMBERED) {
    for (const oldest of map.keys()) {
      map.delete(oldest);
      break;
    }
  }
}
