import type { CancelTimer, Clock } from "../lib/clock.ts";

/** What a request costs to answer: `yield` says that others may have their turn, before the next stage. */
export type Work<T> = Generator<undefined, T, undefined>;

/** A request to answer. */
export interface Job<T> {
  /** Who it comes from. */
  readonly source: string;
  /** Size of its body, which says about how long it takes. */
  readonly bytes: number;
  readonly work: Work<T>;
  /** Takes the answer, or the error that `work` threw. */
  readonly done: (outcome: { readonly value: T } | { readonly error: unknown }) => void;
}

/** Bodies up to this size, in bytes, are small: those of nearly all Bundles, which take a few milliseconds. */
const SMALL_BYTES = 64 * 1024;

/** For so long, in milliseconds, small requests are answered without a look at anything else. */
const SLICE_MS = 10;

/** What a source has used counts half after this time, in milliseconds. */
const HALF_LIFE_MS = 10_000;

/** Of so many sources it is known what they have used. */
const MOST_SOURCES = 1_000;

/** How many milliseconds a byte is expected to take, for the order of what waits. */
const MS_PER_BYTE = 1e-4;

/**
 * Answers requests one after the other, in turns that leave time for all else that this process does, the lease first of all.
 *
 * Whoever sends whatever, a small request is soon answered: large ones take at most half of the time, one stage at a turn, and one of
 * them at a time is under way, because of its memory. Among those that wait, the source that has used the least processor time comes
 * first, and of one source the smallest request.
 */
export class AdmissionQueue<T> {
  readonly #clock: Clock;
  readonly #nextTurn: (run: () => void) => void;
  readonly #small = new Set<Job<T>>();
  readonly #large = new Set<Job<T>>();
  /** The large one that is under way. */
  #started: Job<T> | undefined;
  /** Before that, in milliseconds of the monotonic clock, no stage of a large one has its turn. */
  #largeAt = -Infinity;
  /** Processor time of each source, in milliseconds, as it counted at a time. */
  readonly #used = new Map<string, { readonly ms: number; readonly at: number }>();
  /** Whether the next turn comes as soon as all else that waits has had its own. */
  #turnIsNext = false;
  #cancelTurn: CancelTimer = () => {};

  /** @param nextTurn runs something after all else that waits now, such as messages from the network. */
  constructor(
    clock: Clock,
    nextTurn: (run: () => void) => void = (run) => void setTimeout(run, 0),
  ) {
    this.#clock = clock;
    this.#nextTurn = nextTurn;
  }

  /** How many wait or are under way. */
  get size(): number {
    return this.#small.size + this.#large.size;
  }

  /**
   * Answers `job` when its turn comes, at once if there was nothing to do lately. Returns what gives it up: nothing of it is done from then
   * on.
   */
  add(job: Job<T>): () => void {
    const jobs = job.bytes <= SMALL_BYTES ? this.#small : this.#large;
    jobs.add(job);
    if (!this.#turnIsNext) this.#turn();
    return () => this.#remove(job, jobs);
  }

  #turn(): void {
    this.#cancelTurn();
    // Set before, as the answers may add more.
    this.#turnIsNext = true;
    const clock = this.#clock;
    const began = clock.monotonic();
    do {
      const job = this.#first(this.#small);
      if (job === undefined) break;
      while (!this.#runStage(job, this.#small));
    } while (clock.monotonic() - began < SLICE_MS);

    const now = clock.monotonic();
    if (now >= this.#largeAt) {
      this.#started ??= this.#first(this.#large);
      if (this.#started !== undefined) {
        this.#runStage(this.#started, this.#large);
        const end = clock.monotonic();
        this.#largeAt = end + (end - now);
      }
    }
    this.#nextTurn(() => {
      this.#turnIsNext = false;
      const restMs = this.#largeAt - clock.monotonic();
      if (this.#small.size > 0 || (this.#large.size > 0 && restMs <= 0)) this.#turn();
      else if (this.#large.size > 0) this.#cancelTurn = clock.setTimer(restMs, () => this.#turn());
    });
  }

  /** Of those that wait, the one that comes first. */
  #first(jobs: ReadonlySet<Job<T>>): Job<T> | undefined {
    let first: Job<T> | undefined;
    let least = Infinity;
    for (const job of jobs) {
      const cost = this.#usedBy(job.source) + job.bytes * MS_PER_BYTE;
      if (cost < least) [first, least] = [job, cost];
    }
    return first;
  }

  /** Runs the next stage. Returns whether it was the last. */
  #runStage(job: Job<T>, jobs: Set<Job<T>>): boolean {
    const began = this.#clock.monotonic();
    let outcome: Parameters<Job<T>["done"]>[0];
    try {
      const { done, value } = job.work.next();
      if (!done) return false;
      outcome = { value };
    } catch (error) {
      outcome = { error };
    } finally {
      this.#use(job.source, this.#clock.monotonic() - began);
    }
    this.#remove(job, jobs);
    job.done(outcome);
    return true;
  }

  #remove(job: Job<T>, jobs: Set<Job<T>>): void {
    jobs.delete(job);
    if (this.#started === job) this.#started = undefined;
  }

  #usedBy(source: string): number {
    const used = this.#used.get(source);
    return used === undefined ? 0 : used.ms * 2 ** ((used.at - this.#clock.monotonic()) / HALF_LIFE_MS);
  }

  #use(source: string, ms: number): void {
    const total = this.#usedBy(source) + ms;
    this.#used.delete(source);
    this.#used.set(source, { ms: total, at: this.#clock.monotonic() });
    // Who has been here least lately is forgotten.
    for (const other of this.#used.keys()) {
      if (this.#used.size <= MOST_SOURCES) break;
      this.#used.delete(other);
    }
  }
}
