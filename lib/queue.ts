import type { CancelTimer, Clock } from "./clock.ts";

/** What a queue tells about itself, for metrics. All durations are in seconds. */
export interface QueueObserver {
  depth(keys: number): void;
  added(): void;
  started(waitedSeconds: number): void;
  finished(workedSeconds: number): void;
  retried(): void;
}

/**
 * Outcome of a run. A number: run the key again after so many milliseconds, or when it is added. `unchanged`: the run has sent a write
 * that changed nothing. If the key was added meanwhile, it runs again only after a pause, as after a failure: whatever leads to the same
 * write again and again, the API server is not flooded.
 */
export type RunResult = number | "unchanged" | void;

/** How a {@linkcode KeyedQueue} works. */
export interface QueueOptions {
  /** Does the work of one key. A rejection means: try it again after a pause. Must end when `signal` aborts. */
  readonly run: (key: string, signal: AbortSignal) => Promise<RunResult>;
  /** Told of each rejection of `run`; `repeated` is whether it is the same, by its message, as the last time in a row. */
  readonly onError: (key: string, error: unknown, retryInMs: number, repeated: boolean) => void;
  /** How many keys are worked on at once. */
  readonly concurrency: number;
  /** While urgent keys are worked on, bulk ones are only begun below this many at once, so that the urgent are quick; default: `concurrency`. */
  readonly concurrencyBesideUrgent?: number;
  /** Work that takes longer than this many milliseconds stops counting against `concurrency`, so that hanging keys hold nobody up. */
  readonly slowAfterMs: number;
  /** How many keys may be worked on at once, slow ones included. */
  readonly maxInFlight: number;
  /** First pause after a failure, in milliseconds; doubled each time up to `maxBackoffMs`, with up to 10 % jitter on top. */
  readonly baseBackoffMs: number;
  readonly maxBackoffMs: number;
  /** The pause in milliseconds that an error asks for at least (`Retry-After`). */
  readonly minimumPauseMs?: (error: unknown) => number;
  readonly clock: Clock;
  /** Uniform in [0, 1). */
  readonly random: () => number;
  readonly observer?: QueueObserver;
}

/** Where a key is, when it is anywhere. */
interface Entry {
  state: "waiting" | "running" | "delayed";
  /** Of a running key: whether it was added again meanwhile, and so runs once more. */
  again: "no" | "bulk" | "urgent";
  /** Of a running key: after how many milliseconds it is to run once more. */
  againAfterMs: number | undefined;
  /** Of a running key: whether what this run comes to is nobody's concern any more. */
  forgotten: boolean;
  since: number;
  cancelTimer: CancelTimer | undefined;
}

/**
 * Work by key. A key that is added many times before its turn comes runs once; one that is added while it runs runs once
 * more; it never runs twice at the same time. Urgent keys (small work, such as a new namespace) go before bulk.
 */
export class KeyedQueue {
  readonly #options: QueueOptions;
  readonly #entries = new Map<string, Entry>();
  readonly #failures = new Map<string, { readonly count: number; readonly message: string }>();
  readonly #urgent = new Set<string>();
  readonly #bulk = new Set<string>();
  readonly #abort = new AbortController();
  #running = 0;
  #slow = 0;
  /** Urgent keys that are worked on, without slow ones. */
  #urgentRunning = 0;
  #stopping = false;
  #idle: (() => void)[] = [];

  constructor(options: QueueOptions) {
    this.#options = options;
  }

  /** Asks for a run of `key` now. A pause after a failure is cut short; its length is remembered until a run succeeds. */
  add(key: string, priority: "bulk" | "urgent" = "bulk"): void {
    if (this.#stopping) return;
    const entry = this.#entries.get(key);
    this.#options.observer?.added();
    if (entry?.state === "running") {
      entry.forgotten = false;
      if (entry.again !== "urgent") entry.again = priority;
      return;
    }
    entry?.cancelTimer?.();
    if (priority === "urgent") {
      this.#bulk.delete(key);
      this.#urgent.add(key);
    } else if (!this.#urgent.has(key)) {
      this.#bulk.add(key);
    }
    if (entry?.state !== "waiting") {
      this.#entries.set(key, {
        state: "waiting",
        again: "no",
        againAfterMs: undefined,
        forgotten: false,
        since: this.#options.clock.monotonic(),
        cancelTimer: undefined,
      });
    }
    this.#report();
    this.#pump();
  }

  /** Asks for a run of `key` in `ms` milliseconds (from the end of a run that is going on), unless it is waiting or delayed already. */
  addAfter(key: string, ms: number): void {
    if (this.#stopping) return;
    const entry = this.#entries.get(key);
    if (entry === undefined) this.#delay(key, ms);
    else if (entry.state === "running") entry.againAfterMs = ms;
  }

  /** Forgets `key`: its failures, and the run it waits for. A run that is going on is not stopped, and not repeated. */
  forget(key: string): void {
    this.#failures.delete(key);
    const entry = this.#entries.get(key);
    if (entry === undefined) return;
    if (entry.state === "running") {
      entry.again = "no";
      entry.againAfterMs = undefined;
      entry.forgotten = true;
      return;
    }
    entry.cancelTimer?.();
    this.#urgent.delete(key);
    this.#bulk.delete(key);
    this.#entries.delete(key);
    this.#report();
  }

  /** How often in a row `key` has failed. */
  failures(key: string): number {
    return this.#failures.get(key)?.count ?? 0;
  }

  /** Milliseconds that the longest-running key has been running; 0 if none runs. */
  oldestRunMs(): number {
    const now = this.#options.clock.monotonic();
    let oldest = 0;
    if (this.#running === 0) return 0;
    for (const entry of this.#entries.values()) {
      if (entry.state === "running") oldest = Math.max(oldest, now - entry.since);
    }
    return oldest;
  }

  /** How many keys wait for their turn (not those that pause after a failure). */
  get depth(): number {
    return this.#urgent.size + this.#bulk.size;
  }

  /**
   * Takes no more work and gives up what waits. Running work gets `graceMs` milliseconds before its signal aborts.
   * Resolves when nothing runs any more.
   */
  async stop(graceMs: number): Promise<void> {
    const cancel = this.#options.clock.setTimer(
      graceMs,
      () => this.#abort.abort(new Error("The queue is stopping")),
    );
    for (const [key, entry] of this.#entries) {
      entry.cancelTimer?.();
      entry.again = "no";
      if (entry.state !== "running") this.#entries.delete(key);
    }
    this.#urgent.clear();
    this.#bulk.clear();
    this.#stopping = true;
    if (this.#running > 0) await new Promise<void>((resolve) => this.#idle.push(resolve));
    cancel();
    this.#abort.abort(new Error("The queue has stopped"));
  }

  #report(): void {
    this.#options.observer?.depth(this.depth);
  }

  #delay(key: string, ms: number): void {
    this.#entries.set(key, {
      state: "delayed",
      again: "no",
      againAfterMs: undefined,
      forgotten: false,
      since: this.#options.clock.monotonic(),
      cancelTimer: this.#options.clock.setTimer(ms, () => {
        this.#entries.delete(key);
        this.add(key);
      }),
    });
  }

  #pump(): void {
    const { concurrency, concurrencyBesideUrgent = concurrency, maxInFlight } = this.#options;
    while (this.#running < maxInFlight) {
      const isUrgent = this.#urgent.size > 0;
      const limit = isUrgent || this.#urgentRunning === 0 ? concurrency : concurrencyBesideUrgent;
      const [key] = isUrgent ? this.#urgent : this.#bulk;
      if (key === undefined || this.#stopping || this.#running - this.#slow >= limit) return;
      this.#urgent.delete(key);
      this.#bulk.delete(key);
      this.#report();
      this.#start(key, isUrgent);
    }
  }

  #start(key: string, isUrgent: boolean): void {
    const { clock, observer, slowAfterMs } = this.#options;
    const started = clock.monotonic();
    observer?.started((started - (this.#entries.get(key)?.since ?? started)) / 1000);
    let slow = false;
    const entry: Entry = {
      state: "running",
      again: "no",
      againAfterMs: undefined,
      forgotten: false,
      since: started,
      cancelTimer: clock.setTimer(slowAfterMs, () => {
        slow = true;
        this.#slow++;
        if (isUrgent) this.#urgentRunning--;
        this.#pump();
      }),
    };
    this.#entries.set(key, entry);
    this.#running++;
    if (isUrgent) this.#urgentRunning++;
    const end = (outcome: { result: RunResult } | { error: unknown }) => {
      entry.cancelTimer?.();
      this.#running--;
      if (slow) this.#slow--;
      else if (isUrgent) this.#urgentRunning--;
      observer?.finished((clock.monotonic() - started) / 1000);
      this.#entries.delete(key);
      if (this.#stopping) {
        if (this.#running === 0) this.#idle.splice(0).forEach((resolve) => resolve());
        return;
      }
      const { forgotten, again, againAfterMs } = entry;
      const isUnchanged = "result" in outcome && outcome.result === "unchanged";
      if ("error" in outcome && !forgotten) {
        this.#retry(key, outcome.error);
      } else if (isUnchanged && again !== "no") {
        this.#delay(key, this.#failed(key, "unchanged"));
      } else {
        this.#failures.delete(key);
        const { result } = "result" in outcome ? outcome : { result: undefined };
        const pauseMs = againAfterMs ?? (forgotten || typeof result !== "number" ? undefined : result);
        if (pauseMs !== undefined) this.#delay(key, pauseMs);
      }
      if (again !== "no" && !isUnchanged) this.add(key, again);
      this.#pump();
    };
    this.#options.run(key, this.#abort.signal).then(
      (result) => end({ result }),
      (error) => end({ error }),
    );
  }

  #retry(key: string, error: unknown): void {
    const { minimumPauseMs, observer, onError } = this.#options;
    const message = error instanceof Error ? error.message : String(error);
    const repeated = message === this.#failures.get(key)?.message;
    const ms = Math.max(this.#failed(key, message), minimumPauseMs?.(error) ?? 0);
    observer?.retried();
    onError(key, error, ms, repeated);
    this.#delay(key, ms);
  }

  /** Counts one more failure of `key`, and returns the pause in milliseconds that follows. */
  #failed(key: string, message: string): number {
    const { baseBackoffMs, maxBackoffMs, random } = this.#options;
    const count = this.failures(key) + 1;
    this.#failures.set(key, { count, message });
    const pause = Math.min(maxBackoffMs, baseBackoffMs * 2 ** Math.min(count - 1, 30));
    return pause * (1 + 0.1 * random());
  }
}
