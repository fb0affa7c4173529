import { type Clock, delay } from "../clock.ts";
import type { Logger } from "../log.ts";
import type { KubeClient } from "./client.ts";
import { isStatus } from "./errors.ts";
import { failureCause, FailureLog } from "./failure_log.ts";
import { microTime } from "./micro_time.ts";
import type { KubeObject } from "./objects.ts";

/** `coordination.k8s.io/v1` LeaseSpec, as far as it is used; other fields are sent back as they came. */
export interface LeaseSpec {
  holderIdentity?: string;
  leaseDurationSeconds?: number;
  acquireTime?: string;
  renewTime?: string;
  leaseTransitions?: number;
}

interface Lease extends KubeObject {
  spec?: LeaseSpec;
}

/** What a {@linkcode LeaderElection} works with. `leaseDurationMs` > `renewDeadlineMs` > 1.2 × `retryPeriodMs`. */
export interface LeaderElectionOptions {
  /** A client of its own, so that the lease never waits behind other traffic. */
  readonly client: KubeClient;
  readonly namespace: string;
  readonly name: string;
  /** Who this process is; no other process may ever have the same (`<hostname>_<UUID>`). */
  readonly identity: string;
  /** How long, in milliseconds, others wait after they have seen the lease renewed before they take it. */
  readonly leaseDurationMs: number;
  /** How long, in milliseconds, after the start of its last renewal a leader may act. */
  readonly renewDeadlineMs: number;
  /** Time between two attempts, in milliseconds; with up to 1.2 times as much jitter on top while another is leader. */
  readonly retryPeriodMs: number;
  readonly clock: Clock;
  /** Uniform in [0, 1). */
  readonly random: () => number;
  readonly log: Logger;
  /** Tells what fails, under the name `lease`; shared by all whose common cause shall be told once. One of its own by default. */
  readonly failures?: FailureLog;
  /** Called once, when this process becomes leader. `leading` aborts when it is leader no more, for whatever reason. */
  readonly onStartedLeading: (leading: AbortSignal) => void;
}

/** This process was leader and is not any more. It must not write any more, and end. */
export class LeaseLostError extends Error {
  override readonly name = "LeaseLostError";
}

/** What the log calls it when its requests fail. */
const LEASE = "lease";

/** Jitter of Kubernetes' own leader election, so that candidates do not all come at once. */
const JITTER = 1.2;

/**
 * Leader election by a Lease, as Kubernetes' own components do it (and together with them): one process holds the lease and
 * renews it; others take it when they have seen no change of it for as long as it says, by their own monotonic clock, so
 * that clocks need not agree. Every write depends on the resourceVersion that was read, so two cannot both win.
 */
export class LeaderElection {
  readonly #options: LeaderElectionOptions;
  readonly #path: string;
  readonly #log: Logger;
  readonly #failures: FailureLog;
  /** As last read or written; its resourceVersion is what the next write depends on. */
  #lease: Lease | undefined;
  /** The spec as last observed, and the monotonic time since when it has not changed. */
  #observed: { readonly spec: string; readonly since: number } | undefined;
  /** When the last successful write of the lease was sent; undefined unless leader. */
  #renewed: { readonly wall: number; readonly monotonic: number } | undefined;
  /** Whether the API server may hold a lease in our name. */
  #mayHold = false;
  #lastHolder: string | undefined;
  readonly #leading = new AbortController();

  /** @throws {RangeError} if the durations do not leave time to renew, and to stop before another takes over. */
  constructor(options: LeaderElectionOptions) {
    const { leaseDurationMs, renewDeadlineMs, retryPeriodMs, namespace, name, identity } = options;
    if (!(leaseDurationMs > renewDeadlineMs)) {
      throw new RangeError(
        `Lease duration of ${leaseDurationMs} ms must be longer than the renew deadline of ${renewDeadlineMs} ms`,
      );
    }
    if (!(renewDeadlineMs > retryPeriodMs * JITTER)) {
      throw new RangeError(
        `Renew deadline of ${renewDeadlineMs} ms must be longer than ${JITTER} times the retry period of ${retryPeriodMs} ms`,
      );
    }
    if (!(retryPeriodMs > 0)) throw new RangeError(`Retry period of ${retryPeriodMs} ms must be positive`);
    this.#options = options;
    this.#path = `/apis/coordination.k8s.io/v1/namespaces/${encodeURIComponent(namespace)}/leases`;
    this.#failures = options.failures ?? new FailureLog(options);
    this.#log = options.log.with({ lease: `${namespace}/${name}`, identity });
  }

  /**
   * Whether this process may write, now. To be asked before each write: it looks at the clocks, so it is right also when the
   * process was stopped and no timer has run yet. Once false after having been true, it stays false.
   */
  isLeader(): boolean {
    if (this.#leading.signal.aborted || this.#renewed === undefined) return false;
    if (this.#leftMs(this.#renewed) > 0) return true;
    this.#stopLeading(
      new LeaseLostError(`The lease was not renewed within ${this.#options.renewDeadlineMs} ms`),
    );
    return false;
  }

  /**
   * Tries to become leader, and stays it as long as possible. When `signal` aborts, it gives the lease up and resolves; to be
   * aborted after the work that needs the lease has stopped, as another process may start at once. To be called once.
   *
   * @throws {LeaseLostError} if the lease could not be renewed in time, or was taken away.
   */
  async run(signal: AbortSignal): Promise<void> {
    const onAbort = () => this.#stopLeading(signal.reason);
    signal.addEventListener("abort", onAbort, { once: true });
    try {
      await this.#acquire(signal);
      if (!signal.aborted) {
        this.#log.info("Became leader");
        this.#options.onStartedLeading(this.#leading.signal);
        await this.#keep();
      }
    } finally {
      signal.removeEventListener("abort", onAbort);
      this.#failures.forget(LEASE);
    }
    this.#stopLeading(signal.reason);
    if (this.#mayHold) await this.#release();
  }

  /** Returns when this process is leader, or `signal` has aborted. */
  async #acquire(signal: AbortSignal): Promise<void> {
    const { clock, random, retryPeriodMs } = this.#options;
    while (!signal.aborted) {
      const sent = await this.#attempt(signal);
      if (sent !== undefined && this.#leftMs(sent) > 0 && !signal.aborted) {
        this.#renewed = sent;
        return;
      }
      await delay(clock, retryPeriodMs * (1 + JITTER * random()), signal).catch(() => {}); // aborted: the loop ends
    }
  }

  /**
   * Renews until the signal of {@linkcode run} aborts.
   *
   * @throws {LeaseLostError}
   */
  async #keep(): Promise<void> {
    const { clock, retryPeriodMs } = this.#options;
    const leading = this.#leading.signal;
    let started = clock.monotonic();
    while (this.isLeader() && this.#renewed !== undefined) {
      // The deadline ends a request that hangs, and a pause.
      // The extra millisecond: timers have whole ones.
      const cancelDeadline = clock.setTimer(this.#leftMs(this.#renewed) + 1, () => this.isLeader());
      try {
        // A fixed rate: after an attempt that took long, the next comes at once.
        await delay(clock, started + retryPeriodMs - clock.monotonic(), leading);
        started = clock.monotonic();
        const sent = await this.#attempt(leading);
        // Asked before the renewal counts: if it came too late, another may have acted on that.
        if (this.isLeader() && sent !== undefined) this.#renewed = sent;
      } catch (error) {
        if (!leading.aborted) throw error;
      } finally {
        cancelDeadline();
      }
    }
    if (leading.reason instanceof LeaseLostError) {
      this.#log.error("Lost the lease", leading.reason);
      throw leading.reason;
    }
  }

  /**
   * Creates, renews or takes the lease, if it may be. Returns when the write that did so was sent; undefined if it was not
   * to be had. Never rejects.
   */
  async #attempt(signal: AbortSignal): Promise<{ wall: number; monotonic: number } | undefined> {
    try {
      const sent = await this.#claim(signal);
      this.#failures.recovered(LEASE);
      return sent;
    } catch (error) {
      // What the API server holds now is not known: the request may have been carried out.
      this.#lease = undefined;
      if (signal.aborted) return undefined;
      this.#failures.failing(LEASE, failureCause(error, "the lease is not to be had"));
      return undefined;
    }
  }

  async #claim(signal: AbortSignal): Promise<{ wall: number; monotonic: number } | undefined> {
    const { identity, leaseDurationMs, clock } = this.#options;
    // A leader knows its lease: one request instead of two. If it was changed by another, it is read again.
    if (this.#renewed === undefined || this.#lease === undefined) await this.#read(signal);
    for (let fresh = this.#renewed === undefined;; fresh = true) {
      const held = this.#lease?.spec;
      const spec = claimLease(this.#lease === undefined ? undefined : held ?? {}, {
        identity,
        leaseDurationMs,
        now: clock.now(),
        unchangedMs: this.#observed === undefined ? 0 : clock.monotonic() - this.#observed.since,
      });
      if (spec === undefined) {
        this.#mayHold = false;
        this.#sawHolder(held?.holderIdentity);
        if (this.#renewed !== undefined) {
          this.#stopLeading(new LeaseLostError(`The lease was taken by "${held?.holderIdentity}"`));
        }
        return undefined;
      }
      const sent = { wall: clock.now(), monotonic: clock.monotonic() };
      this.#mayHold = true;
      try {
        await this.#write(spec, signal);
        this.#sawHolder(identity);
        return sent;
      } catch (error) {
        // 409: changed or created by another; 404: deleted. Or by ourselves, in a request whose answer was lost.
        if (fresh || !(isStatus(error, 409) || isStatus(error, 404))) throw error;
        await this.#read(signal);
      }
    }
  }

  /** Gives the lease up, so that another need not wait. What fails is logged: it ends by itself. */
  async #release(): Promise<void> {
    const { clock, identity } = this.#options;
    const deadline = new AbortController();
    const cancel = clock.setTimer(
      this.#requestTimeoutMs,
      () => deadline.abort(new Error("There was no time left")),
    );
    try {
      // Read first: the answer to the last write may have been lost.
      await this.#read(deadline.signal);
      const held = this.#lease?.spec;
      if (held?.holderIdentity !== identity) return;
      const now = microTime(clock.now());
      await this.#write(
        { ...held, holderIdentity: "", leaseDurationSeconds: 1, acquireTime: now, renewTime: now },
        deadline.signal,
      );
      this.#log.info("Released the lease");
    } catch (error) {
      this.#log.error("Lease could not be released; others wait until it ends", error);
    } finally {
      cancel();
    }
  }

  async #read(signal: AbortSignal): Promise<void> {
    const { client, name } = this.#options;
    try {
      this.#lease = await client.request<Lease>({
        path: `${this.#path}/${encodeURIComponent(name)}`,
        ...this.#sending(signal),
      });
    } catch (error) {
      if (!isStatus(error, 404)) throw error;
      this.#lease = undefined;
    }
    this.#observe();
  }

  async #write(spec: LeaseSpec, signal: AbortSignal): Promise<void> {
    const { client, name, namespace } = this.#options;
    const held = this.#lease;
    const body = {
      apiVersion: "coordination.k8s.io/v1",
      kind: "Lease",
      metadata: held?.metadata ?? { name, namespace },
      spec,
    };
    this.#lease = await client.request<Lease>({
      method: held === undefined ? "POST" : "PUT",
      path: held === undefined ? this.#path : `${this.#path}/${encodeURIComponent(name)}`,
      body,
      ...this.#sending(signal),
    });
    this.#observe();
  }

  #sending(signal: AbortSignal) {
    return { timeoutMs: this.#requestTimeoutMs, attempts: 1, signal };
  }

  /** Half the renew deadline: after a request that got no answer there is time for another, on a new connection. */
  get #requestTimeoutMs(): number {
    return Math.ceil(this.#options.renewDeadlineMs / 2);
  }

  /** Notes whether the lease has changed since it was last seen. */
  #observe(): void {
    const spec = JSON.stringify(this.#lease?.spec ?? null);
    if (this.#observed?.spec !== spec) {
      this.#observed = { spec, since: this.#options.clock.monotonic() };
    }
  }

  #sawHolder(holder: string | undefined): void {
    if (holder === this.#lastHolder) return;
    this.#lastHolder = holder;
    if (holder !== this.#options.identity) this.#log.info("Another process is leader", { leader: holder });
  }

  /**
   * Milliseconds until the deadline of a renewal sent at `sent`. The clock that went further counts: the monotonic one
   * stands still while a machine is suspended, the wall clock can be set back.
   */
  #leftMs(sent: { readonly wall: number; readonly monotonic: number }): number {
    const { clock, renewDeadlineMs } = this.#options;
    return renewDeadlineMs - Math.max(clock.now() - sent.wall, clock.monotonic() - sent.monotonic);
  }

  #stopLeading(reason: unknown): void {
    this.#leading.abort(reason);
  }
}

/**
 * What a process writes into a lease to hold it: to create it (`held` is undefined), renew its own, or take one that is free
 * or was abandoned. Undefined if it is another's. Pure.
 *
 * @param claim.now wall clock, milliseconds since the Unix epoch.
 * @param claim.unchangedMs for how long this process has seen the lease as it is.
 */
export function claimLease(
  held: LeaseSpec | undefined,
  claim: {
    readonly identity: string;
    readonly leaseDurationMs: number;
    readonly now: number;
    readonly unchangedMs: number;
  },
): LeaseSpec | undefined {
  const { identity, leaseDurationMs, now, unchangedMs } = claim;
  const time = microTime(now);
  const own = {
    ...held,
    holderIdentity: identity,
    // Whole seconds, and no less than asked for.
    leaseDurationSeconds: Math.ceil(leaseDurationMs / 1000),
    renewTime: time,
  };
  if (held === undefined) return { ...own, acquireTime: time, leaseTransitions: 0 };
  const holder = held.holderIdentity ?? "";
  if (holder === identity) return own;
  // The holder acts by the duration it wrote down, which may differ from ours.
  const seconds = held.leaseDurationSeconds ?? 0;
  const heldMs = seconds > 0 ? seconds * 1000 : leaseDurationMs;
  if (holder !== "" && unchangedMs < heldMs) return undefined;
  return { ...own, acquireTime: time, leaseTransitions: (held.leaseTransitions ?? 0) + 1 };
}
