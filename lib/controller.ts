import type { TargetKind } from "./api/bundle.ts";
import { NotLeadingError, WriteError, type Writer } from "./apply.ts";
import { BundleReports } from "./bundle_reports.ts";
import { expiriesAt } from "./certs/pool.ts";
import { type Clock, delay } from "./clock.ts";
import type { ClusterView } from "./cluster_view.ts";
import { decide, type Owner } from "./decide.ts";
import { isStatus } from "./kube/errors.ts";
import type { EventInput } from "./kube/event_recorder.ts";
import type { Change } from "./kube/store.ts";
import type { KeyStoreEncoder } from "./key_stores.ts";
import { layoutOf } from "./layout.ts";
import type { Logger } from "./log.ts";
import type { BundleFigures, Metrics } from "./metrics.ts";
import { OwnWrites } from "./own_writes.ts";
import { KeyedQueue, type QueueOptions, type RunResult } from "./queue.ts";
import { RepairLimiter } from "./repair_limiter.ts";
import type { BundleRecord } from "./records/bundle_record.ts";
import type { NamespaceRecord } from "./records/namespace_record.ts";
import type { SourceRecord } from "./records/source_record.ts";
import { bundleNameOf, type TargetRecord, targetStoreKey } from "./records/target_record.ts";
import { type Resolution, resolve, type TargetContent } from "./resolve.ts";
import { SourceGraph } from "./source_graph.ts";
import type { DefaultCas, PoolFilters } from "./sources.ts";
import {
  conditionDiffers,
  type DesiredStatus,
  foldStatus,
  statusBody,
  statusDiffers,
  type TargetFailure,
} from "./status.ts";
import { type Brought, type TargetPlace, TargetWriter, writeKeyOf } from "./target_writer.ts";
import { bundlesOfTarget, changesBundle, concernsSource } from "./triggers.ts";

/** How many targets are written at once: the API server is no quicker with more (measured: bench/README.md). */
export const TARGET_CONCURRENCY = 10;
/** How many at once beside one that is urgent: all wait for the same API server, and a new namespace shall not wait long. */
const TARGET_CONCURRENCY_BESIDE_URGENT = 4;

/**
 * Between two passes over a Bundle that write targets there are at least so many milliseconds, so that 20 changes of a source in a
 * second come to three passes of writes, and not to one each.
 */
export const PASS_INTERVAL_MS = 700;

/**
 * Attempts of one write that fail for a passing reason before the Bundle's status says so; it says so at once if one takes long, with the
 * pause that the API server asks for.
 */
const QUIET_ATTEMPTS = 3;
const QUIET_ATTEMPT_MS = 3_000;

/** A contested target counts as such until it has been left alone for so many milliseconds after its repair. */
const CONTESTED_MS = 10_000;

/** Work that runs longer than this, in milliseconds, is taken as stuck: the process is not live any more. */
const STUCK_MS = 300_000;

/**
 * A status that says the same, as another writer changed it, or the same in other words, such as another number of failed targets, is
 * written at most this often, in milliseconds.
 */
const STATUS_PAUSE_MS = 5_000;

/** How long a Bundle that the API server knows, and the watch does not show, is waited for, in milliseconds, before both are asked again. */
const UNKNOWN_BUNDLE_MS = 10_000;

/** A Bundle is looked at again at least this often, in milliseconds, while it waits for a certificate to expire: clocks jump. */
const LONGEST_SLEEP_MS = 3_600_000;

/** What the controller works with. */
export interface ControllerOptions {
  readonly view: ClusterView;
  readonly writer: Writer;
  /** Takes an event about a Bundle; never fails. */
  readonly recordEvent: (event: EventInput) => void;
  readonly defaultCas: DefaultCas | undefined;
  readonly filters: PoolFilters;
  readonly secretTargetsEnabled: boolean;
  readonly trustNamespace: string;
  /** Empty means all. */
  readonly targetNamespaces: readonly string[];
  /** Loads the key-store encoder; called only when a Bundle asks for key stores. */
  readonly loadKeyStoreEncoder: () => Promise<KeyStoreEncoder>;
  readonly clock: Clock;
  readonly random: () => number;
  readonly log: Logger;
  readonly metrics: Metrics;
}

/** What is known of a Bundle beside its record in the store: the last pass over it, and what became of its targets. */
interface BundleState {
  /** As it was at the last pass. */
  bundle: BundleRecord;
  resolution: Resolution;
  /** The last pass that found no problem: its version is used again if nothing has changed since. */
  lastGood: { readonly bundle: BundleRecord; readonly resolution: Resolution & { ok: true } } | undefined;
  /** Targets, by key, that have yet to be written or cleaned for this resolution. */
  readonly pending: Set<string>;
  /** Targets, by key, of which a write failed; each is tried again after a pause of its own. */
  readonly failures: Map<string, FailedTarget>;
  /** Others, by key, that somebody else changes again and again, so that their repair waits for a pause. */
  readonly contested: Map<string, ContestedTarget>;
  /** The layout that targets without a layout annotation are known to have: that of the generation that was in sync at the start. */
  readonly unmarkedLayouts: Readonly<Partial<Record<TargetKind, string>>>;
  /** The status last written, over which resourceVersion (the watch takes a while to show it), and when by the monotonic clock. */
  written: { readonly status: WrittenStatus; readonly over: string; readonly at: number } | undefined;
  /** When the last pass that had targets written began, by the monotonic clock. */
  markedAt: number | undefined;
  /** How many targets are wanted that can hold all that is asked for, and that cannot; undefined if it is to be counted anew. */
  wanted: { readonly whole: number; readonly short: number } | undefined;
  /** When all targets were last found right, in milliseconds since the Unix epoch. */
  lastSuccess: number | undefined;
}

/** A target that is not what it should be, for a while. */
interface OpenTarget extends TargetFailure {
  /** What it was to hold; undefined if it was to be cleaned, of which the Bundle's status says nothing. */
  readonly content: TargetContent | undefined;
}

/** A target of which a write failed. */
interface FailedTarget extends OpenTarget {
  /** Its resourceVersion as of the failed write; undefined if it was not there. Another one ends the pause. */
  readonly seen: string | undefined;
}

/** A target that somebody else changes again and again. */
interface ContestedTarget extends OpenTarget {
  /** Whether it has been repaired since, and nobody has changed it again so far. */
  readonly isRepaired: boolean;
}

/** A status, and the generation of the Bundle that it is about. */
type WrittenStatus = DesiredStatus & { readonly generation: number };

/** Which target; the parts are DNS names, so the key can be taken apart again. */
interface TargetId {
  readonly kind: TargetKind;
  readonly namespace: string;
  readonly name: string;
  readonly bundle: string;
}

/**
 * Wires the stages together: changes in the stores trigger passes over Bundles; a pass resolves what targets must hold and marks
 * those that differ; each target is then written on its own, with what is the latest version at that moment; and what became of
 * all of them is folded into the Bundle's status.
 */
export class Controller {
  readonly #options: ControllerOptions;
  readonly #states = new Map<string, BundleState>();
  readonly #ownWrites: OwnWrites;
  readonly #repairs: RepairLimiter;
  readonly #reports: BundleReports;
  readonly #targetWriter: TargetWriter;
  readonly #bundles: KeyedQueue;
  readonly #targets: KeyedQueue;
  readonly #statuses: KeyedQueue;
  readonly #targetNamespaces: ReadonlySet<string>;
  readonly #graph = new SourceGraph();
  #started = false;

  constructor(options: ControllerOptions) {
    this.#options = options;
    this.#targetNamespaces = new Set(options.targetNamespaces);
    this.#ownWrites = new OwnWrites(options.clock, (record) => this.#recheck(record));
    this.#repairs = new RepairLimiter(options.clock);
    this.#reports = new BundleReports(options);
    this.#targetWriter = new TargetWriter({ ...options, ownWrites: this.#ownWrites });
    const { clock, random, metrics, log } = options;
    const queue = (
      name: string,
      run: (key: string, signal: AbortSignal) => Promise<RunResult>,
      limits: Pick<
        QueueOptions,
        "concurrency" | "concurrencyBesideUrgent" | "baseBackoffMs" | "maxBackoffMs"
      >,
    ) =>
      new KeyedQueue({
        ...limits,
        clock,
        random,
        slowAfterMs: 1_000,
        maxInFlight: limits.concurrency * 8,
        observer: metrics.queue(name),
        minimumPauseMs: (error) => error instanceof WriteError ? error.retryAfterMs : 0,
        onError: (key, error, retryInMs, repeated) => {
          if (error instanceof NotLeadingError) return;
          const fields = { queue: name, key, retryInMs: Math.round(retryInMs) };
          // A thousand targets that go on to fail say so once each, not at each attempt.
          if (repeated) log.info("Work failed again and will be tried again", fields, 2);
          else log.error("Work failed and will be tried again", error, fields);
        },
        run: async (key, signal) => {
          const start = clock.monotonic();
          let result: "success" | "error" = "error";
          try {
            const outcome = await run(key, signal);
            result = "success";
            return outcome;
          } finally {
            metrics.reconciled(name, result, (clock.monotonic() - start) / 1000);
          }
        },
      });
    this.#bundles = queue("bundles", (key, signal) => this.#passBundle(key, signal), {
      concurrency: 1,
      baseBackoffMs: 1_000,
      maxBackoffMs: 900_000,
    });
    this.#targets = queue("targets", (key, signal) => this.#passTarget(key, signal), {
      concurrency: TARGET_CONCURRENCY,
      concurrencyBesideUrgent: TARGET_CONCURRENCY_BESIDE_URGENT,
      baseBackoffMs: 500,
      maxBackoffMs: 300_000,
    });
    this.#statuses = queue("statuses", (key, signal) => this.#passStatus(key, signal), {
      concurrency: 4,
      baseBackoffMs: 500,
      maxBackoffMs: 300_000,
    });
  }

  /** Begins to write. To be called once, when all stores have synced and this replica leads. */
  start(): void {
    this.#started = true;
    const { view } = this.#options;
    const { bundles, sources } = view;
    for (const kind of ["ConfigMap", "Secret"] as const) {
      for (const object of sources[kind].values()) this.#graph.putObject(kind, object.name, object, []);
    }
    for (const bundle of bundles.values()) if (!bundle.deleting) this.#graph.putBundle(bundle);
    this.#graph.update();
    for (const { name } of bundles.values()) this.#bundles.add(name);
    for (const kind of this.#kinds()) {
      for (const target of view.targets[kind]?.values() ?? []) this.#addOrphan(target);
    }
  }

  /** Ends all work: what runs gets `graceMs` milliseconds, what waits is given up. */
  async stop(graceMs: number): Promise<void> {
    this.#started = false;
    await Promise.all([this.#bundles, this.#targets, this.#statuses].map((queue) => queue.stop(graceMs)));
    this.#ownWrites.clear();
  }

  /** Whether work goes on: false when some of it has been running for so long that it must be stuck. */
  get live(): boolean {
    return [this.#bundles, this.#targets, this.#statuses].every((queue) => queue.oldestRunMs() < STUCK_MS);
  }

  /** State of each Bundle, for metrics. */
  *figures(): IterableIterator<readonly [bundle: string, figures: BundleFigures]> {
    for (const [name, state] of this.#states) {
      const { resolution, pending, lastSuccess } = state;
      const { whole, short } = state.wanted ??= this.#countWanted(state);
      const wrong = wrongTargets(state).length;
      const pool = resolution.ok ? resolution.version.pool : [];
      const { next, expired } = expiriesAt(this.#options.clock.now(), pool);
      yield [name, {
        certificates: pool.length,
        expired,
        emptySources: resolution.emptySources,
        cycleSize: resolution.cycleSize,
        earliestExpiry: next,
        inSync: Math.max(0, whole - wrong - pending.size),
        failed: wrong + short,
        pending: pending.size,
        lastSuccess,
      }];
    }
  }

  // Triggers

  /** A Bundle was written, changed or deleted. */
  onBundle(change: Change<BundleRecord>): void {
    if (!this.#started) return;
    const { key, before, after } = change;
    const isGone = after === undefined || after.deleting;
    // At once: nothing must be written any more for a Bundle that is gone or going; its targets are the garbage collector's.
    if (isGone || before?.uid !== after.uid) this.#forget(key);
    if (after === undefined) this.#addOrphansOf(key);
    if (!changesBundle(change)) {
      if (!isGone) this.#statuses.add(key);
      return;
    }
    const members = this.#graph.membersOf(key);
    if (isGone) this.#graph.removeBundle(key);
    else this.#graph.putBundle(after);
    this.#addWithCycles(isGone ? members : [key, ...members]);
  }

  /** A ConfigMap or Secret in the trust namespace changed. */
  onSource(kind: TargetKind, change: Change<SourceRecord>): void {
    if (!this.#started) return;
    const concerned: BundleRecord[] = [];
    for (const bundle of this.#options.view.bundles.values()) {
      if (!bundle.deleting && concernsSource(bundle, kind, change)) concerned.push(bundle);
    }
    this.#graph.putObject(kind, change.key, change.after, concerned);
    this.#addWithCycles(concerned.map(({ name }) => name));
    // An object that does not carry our label yet is not among the targets; here it is seen all the same.
    const { trustNamespace } = this.#options;
    const state = this.#states.get(change.key);
    if (state?.failures.has(targetKey(kind, trustNamespace, change.key, change.key))) {
      const { after } = change;
      this.#check(state, kind, trustNamespace, change.key, "repair", after?.resourceVersion ?? "gone");
    }
  }

  /** Bundles in a cycle are made of each other's sources, so that what concerns one of them concerns all. */
  #addWithCycles(names: Iterable<string>): void {
    const all = this.#graph.update();
    for (const name of names) {
      all.add(name);
      this.#graph.membersOf(name).forEach((member) => all.add(member));
    }
    const { bundles } = this.#options.view;
    for (const name of all) {
      const bundle = bundles.get(name);
      if (bundle !== undefined && !bundle.deleting) this.#bundles.add(name);
    }
  }

  /** A namespace came, changed or went: at most one target of each kind and Bundle is concerned, so no Bundle pass is needed. */
  onNamespace({ key: namespace }: Change<NamespaceRecord>): void {
    if (!this.#started) return;
    for (const state of this.#states.values()) {
      state.wanted = undefined;
      for (const kind of this.#kinds()) this.#check(state, kind, namespace, state.bundle.name, "urgent");
    }
  }

  /** An object that carries, or carried, our label changed. */
  onTarget(kind: TargetKind, { key, before, after }: Change<TargetRecord>): void {
    if (!this.#started) return;
    this.#ownWrites.shown(`${kind}/${key}`, after?.resourceVersion);
    this.#checkTarget(kind, { ...(before && { before }), ...(after && { after }) }, "repair");
    if (after !== undefined) this.#addOrphan(after);
  }

  /** Queues a target without owner reference whose Bundle is gone: no garbage collector takes out of it what is ours. */
  #addOrphan(target: TargetRecord): void {
    const { kind, namespace, name, bundleUid } = target;
    const bundle = bundleNameOf(target);
    if (bundle === undefined || bundleUid === undefined) return;
    if (this.#isGone(bundle, bundleUid)) this.#targets.add(targetKey(kind, namespace, name, bundle));
  }

  /** Queues those of a Bundle, or of a predecessor of its name. */
  #addOrphansOf(bundle: string): void {
    for (const kind of this.#kinds()) {
      for (const target of this.#options.view.targetsOf(kind, bundle)) this.#addOrphan(target);
    }
  }

  /**
   * Whether a Bundle is gone, as far as is known, and no successor of its name takes care of its targets: one whose sources fail leaves
   * them as they are.
   */
  #isGone(bundle: string, uid: string): boolean {
    const present = this.#options.view.bundles.get(bundle);
    if (present === undefined) return true;
    return present.uid !== uid && this.#states.get(bundle)?.resolution.ok === false;
  }

  /** The watch has not shown in time what was written to a target, so it may have skipped that: what it shows counts again. */
  #recheck(record: TargetRecord): void {
    const { kind, namespace, name } = record;
    const after = this.#options.view.targets[kind]?.get(targetStoreKey(namespace, name));
    this.#checkTarget(kind, { before: record, ...(after && { after }) }, "bulk");
    if (after !== undefined) this.#addOrphan(after);
  }

  #checkTarget(
    kind: TargetKind,
    change: { readonly before?: TargetRecord; readonly after?: TargetRecord },
    cause: "repair" | "bulk",
  ): void {
    const object = change.after ?? change.before;
    if (object === undefined) return;
    for (const name of bundlesOfTarget(change)) {
      const state = this.#states.get(name);
      if (state !== undefined) this.#check(state, kind, object.namespace, object.name, cause);
    }
  }

  /** Namespaces or targets cannot be listed: all Bundles go on with what is known, which may be out of date. */
  onListFailure(kind: "Namespace" | TargetKind, cause: string): void {
    if (!this.#started) return;
    for (const bundle of this.#options.view.bundles.values()) {
      this.#reports.listFailed(bundle, kind, cause);
    }
  }

  // Bundles

  /**
   * One pass over a Bundle: resolves it, and marks the targets that may have to be written.
   *
   * @returns after how many milliseconds the next pass is due, if no event comes before.
   */
  async #passBundle(name: string, signal: AbortSignal): Promise<RunResult> {
    const { view, log, clock } = this.#options;
    // A pass may take tens of milliseconds, and many may come together: watches and the lease go on in between.
    await delay(clock, 0, signal);
    const bundle = view.bundles.get(name);
    if (bundle === undefined || bundle.deleting) return;
    const markedAt = this.#states.get(name)?.markedAt;
    const pauseMs = markedAt === undefined ? 0 : markedAt + PASS_INTERVAL_MS - clock.monotonic();
    if (pauseMs > 0) return pauseMs;
    const encodeKeyStore = bundle.target.additionalFormats === undefined
      ? undefined
      : await this.#options.loadKeyStoreEncoder();
    if (view.bundles.get(name) !== bundle) return 0; // it has changed meanwhile
    const previous = this.#states.get(name);
    const resolution = resolve(bundle, {
      view: {
        trustNamespace: this.#options.trustNamespace,
        get: (kind, object) => view.sources[kind].get(object),
        list: (kind) => view.sources[kind].values(),
        defaultCas: this.#options.defaultCas,
        bundle: (name) => view.bundles.get(name),
        cycle: (name) => this.#graph.cycle(name),
      },
      filters: this.#options.filters,
      secretTargetsEnabled: this.#options.secretTargetsEnabled,
      now: clock.now(),
      ...(encodeKeyStore && { encodeKeyStore }),
      ...(previous?.lastGood && { previous: previous.lastGood }),
    });
    if (resolution.ok && previous?.bundle.generation !== bundle.generation) {
      this.#reports.refused(bundle);
      this.#reports.notForJava(bundle);
    }
    this.#reports.noticed(bundle, resolution.notices, previous?.resolution.notices);
    const state: BundleState = previous ?? {
      bundle,
      resolution,
      lastGood: undefined,
      pending: new Set(),
      failures: new Map(),
      contested: new Map(),
      unmarkedLayouts: layoutsInSync(bundle),
      written: undefined,
      markedAt: undefined,
      wanted: undefined,
      lastSuccess: undefined,
    };
    state.bundle = bundle;
    state.resolution = resolution;
    state.wanted = undefined;
    if (resolution.ok) {
      this.#reports.resolved(bundle, resolution, state.lastGood?.resolution);
      state.lastGood = { bundle, resolution };
    }
    this.#states.set(name, state);
    this.#mark(state);
    if (state.pending.size > 0) state.markedAt = clock.monotonic();
    log.info("Resolved Bundle", { bundle: name, ok: resolution.ok, pendingTargets: state.pending.size }, 2);
    this.#afterOutcome(state);
    if (!resolution.ok) this.#addOrphansOf(name);
    if (!resolution.ok && resolution.problem.retry) throw new Error(resolution.problem.message);
    return this.#nextExpiryMs(resolution);
  }

  /** Drops all that is known of a Bundle, and what waits for it. */
  #forget(name: string): void {
    this.#bundles.forget(name);
    this.#statuses.forget(name);
    const state = this.#states.get(name);
    if (state === undefined) return;
    for (const key of openTargets(state)) this.#targets.forget(key);
    this.#states.delete(name);
    this.#options.metrics.forgetBundle(name);
  }

  /** With the filter for expired certificates, a pool changes at a point in time, which no event tells. In milliseconds from now. */
  #nextExpiryMs(resolution: Resolution): number | undefined {
    if (!this.#options.filters.expired) return undefined;
    // It may be that all have expired only by a clock that is wrong; that it is set right is no event either.
    if (!resolution.ok) return LONGEST_SLEEP_MS;
    // A certificate is expired after its notAfter, not at it.
    const wait = resolution.version.earliestExpiry + 1 - this.#options.clock.now();
    return Math.max(1, Math.min(wait, LONGEST_SLEEP_MS));
  }

  /** Marks the targets of a Bundle that may differ from what is wanted. */
  #mark(state: BundleState): void {
    const { bundle, resolution } = state;
    const former = new Set(openTargets(state));
    const concerned = (key: string, kind: TargetKind, namespace: string, name: string) => {
      former.delete(key);
      this.#check(state, kind, namespace, name, "bulk");
    };
    if (resolution.ok) {
      const { view } = this.#options;
      const kinds = new Set(resolution.version.contents.map(({ kind }) => kind));
      for (const kind of kinds) {
        for (const { name: namespace } of view.namespaces.values()) {
          concerned(targetKey(kind, namespace, bundle.name, bundle.name), kind, namespace, bundle.name);
        }
      }
      for (const kind of this.#kinds()) {
        for (const { namespace, name } of view.targetsOf(kind, bundle.name)) {
          // Its write may have begun above: to queue it once more would repeat it at once if it fails.
          if (kinds.has(kind) && name === bundle.name && view.namespaces.get(namespace) !== undefined) {
            continue;
          }
          concerned(targetKey(kind, namespace, name, bundle.name), kind, namespace, name);
        }
      }
    }
    // What is left was wanted before and is not any more, or must wait for the sources to be right again.
    for (const key of former) this.#settle(state, key);
  }

  /**
   * Compares one target with what is wanted, and queues it if they differ.
   *
   * @param cause `bulk` of a pass over the Bundle, `urgent` of one namespace, `repair` if somebody changed the target.
   * @param shown tells the state of the target from others; by default its resourceVersion.
   */
  #check(
    state: BundleState,
    kind: TargetKind,
    namespace: string,
    name: string,
    cause: "bulk" | "urgent" | "repair",
    shown?: string,
  ): void {
    if (!state.resolution.ok) return;
    const key = targetKey(kind, namespace, name, state.bundle.name);
    const wanted = this.#wanted(state, kind, namespace, name);
    const contested = state.contested.get(key);
    const failure = state.failures.get(key);
    const observed = this.#observed(kind, namespace, name);
    if (decide(wanted, observed, ownerOf(state)) === "keep") {
      // A contested one counts as such until it has been left alone for a while.
      if (isOpen(state, key) && (contested === undefined || contested.content !== wanted)) {
        this.#settle(state, key);
        this.#afterOutcome(state);
      }
      return;
    }
    // What waits for a pause of its own goes on to, however many events come, unless it is to hold something else by now…
    if (contested?.isRepaired === false && contested.content === wanted) return;
    // … or, after a failed write, what made that fail may have changed.
    const version = shown ?? observed?.resourceVersion;
    const endsPause = cause === "urgent" || (cause === "repair" && version !== failure?.seen);
    if (failure !== undefined && failure.content === wanted && !endsPause) return;
    // What the watch shows while a write is under way is judged when that ends: it may be this very write.
    if (cause === "repair" && this.#ownWrites.isUnderWay(writeKeyOf({ kind, namespace, name }))) return;
    const isRepair = cause === "repair" && !state.pending.has(key);
    state.failures.delete(key);
    state.contested.delete(key);
    const pause = isRepair ? this.#repairs.take(key) : 0;
    if (pause > 0) {
      const error = `${kind} ${namespace}/${name} is changed again and again by another field manager; ` +
        "until its next repair it may hold other content";
      state.contested.set(key, { kind, namespace, content: wanted, cause: error, isRepaired: false });
      this.#targets.forget(key);
      this.#targets.addAfter(key, pause);
      this.#reports.contested(state.bundle, kind, namespace, name, pause);
      return this.#afterOutcome(state);
    }
    state.pending.add(key);
    this.#targets.add(key, cause === "bulk" ? "bulk" : "urgent");
  }

  /** Nothing is to be done for a target any more. */
  #settle(state: BundleState, key: string): void {
    state.pending.delete(key);
    state.failures.delete(key);
    state.contested.delete(key);
    this.#targets.forget(key);
  }

  // Targets

  /** Brings one target to the latest version, or takes ours out of it. */
  async #passTarget(key: string, signal: AbortSignal): Promise<RunResult> {
    const { kind, namespace, name, bundle } = parseTargetKey(key);
    const place = { kind, namespace, name };
    const state = this.#states.get(bundle);
    if (state?.resolution.ok !== true) return await this.#passOrphan(place, bundle, signal);
    const wanted = this.#wanted(state, kind, namespace, name);
    const { clock } = this.#options;
    const start = clock.monotonic();
    const brought = await this.#bring(place, wanted, ownerOf(state), signal);
    const { outcome, error, record } = brought;
    if (this.#states.get(bundle) !== state) return this.#checkSuccessor(place, bundle, brought);
    if (outcome === "failed") {
      if (!isOpen(state, key) || this.#wanted(state, kind, namespace, name) !== wanted) {
        // It was settled meanwhile, by what the watch showed or by a change of what is wanted; but that was judged by a state
        // that this write may have changed, or not.
        this.#check(state, kind, namespace, name, "bulk");
      } else if (error instanceof WriteError) {
        const isQuick = clock.monotonic() - start + error.retryAfterMs < QUIET_ATTEMPT_MS;
        const isQuiet = error.transient && isQuick &&
          this.#targets.failures(key) + 1 < QUIET_ATTEMPTS;
        if (!isQuiet) {
          state.pending.delete(key);
          state.contested.delete(key);
          const failed = { kind, namespace, content: wanted, cause: error.message };
          state.failures.set(key, { ...failed, seen: record?.resourceVersion });
          this.#afterOutcome(state);
          // Somebody may have changed it while it was written.
          this.#check(state, kind, namespace, name, "repair");
        }
      }
      throw error;
    }
    state.failures.delete(key);
    state.pending.delete(key);
    const contested = state.contested.get(key);
    if (contested !== undefined && outcome !== "kept") {
      state.contested.set(key, { ...contested, isRepaired: true });
      this.#targets.addAfter(key, CONTESTED_MS);
    } else {
      state.contested.delete(key);
    }
    if (outcome !== "kept") {
      // While this was written, a pass over the Bundle may have changed what is wanted, or somebody else the target.
      const isSame = this.#wanted(state, kind, namespace, name) === wanted;
      this.#check(state, kind, namespace, name, isSame ? "repair" : "bulk");
    }
    this.#afterOutcome(state);
    if (outcome === "unchanged") return outcome;
  }

  /** Takes what is ours out of a target without owner reference whose Bundle is gone. */
  async #passOrphan(place: TargetPlace, bundle: string, signal: AbortSignal): Promise<RunResult> {
    const { kind, namespace, name } = place;
    const uid = this.#observed(kind, namespace, name)?.bundleUid;
    if (uid === undefined || !this.#isGone(bundle, uid)) return;
    // Where watches lag behind, as they may do for a new leader, a Bundle can be news, and its target not.
    const present = await this.#options.writer.bundleUid(bundle, signal);
    if (!this.#isGone(bundle, uid)) return;
    if (present === uid) return UNKNOWN_BUNDLE_MS;
    const brought = await this.#bring(place, undefined, { name: bundle, uid: "" }, signal);
    return this.#checkSuccessor(place, bundle, brought);
  }

  /** Judges a target whose Bundle went, or was replaced, while it was written: what the watch showed meanwhile was left to this. */
  #checkSuccessor({ kind, namespace, name }: TargetPlace, bundle: string, brought: Brought): RunResult {
    const state = this.#states.get(bundle);
    if (state !== undefined) this.#check(state, kind, namespace, name, "bulk");
    else if (brought.outcome !== "failed" && brought.record !== undefined) this.#addOrphan(brought.record);
    if (brought.outcome === "failed") throw brought.error;
    if (brought.outcome === "unchanged") return brought.outcome;
  }

  #bring(
    place: TargetPlace,
    wanted: TargetContent | undefined,
    owner: Owner,
    signal: AbortSignal,
  ): Promise<Brought> {
    const { kind, namespace, name } = place;
    const shown = this.#options.view.targets[kind]?.get(targetStoreKey(namespace, name));
    const observed = this.#observed(kind, namespace, name);
    return this.#targetWriter.bring(place, wanted, observed, shown?.resourceVersion, owner, signal);
  }

  /** Status is due once every target has been tried. */
  #afterOutcome(state: BundleState): void {
    if (state.pending.size > 0) return;
    const { resolution } = state;
    if (
      resolution.ok && wrongTargets(state).length === 0 && resolution.version.contents.every(isWhole)
    ) {
      state.lastSuccess = this.#options.clock.now();
    }
    this.#statuses.add(state.bundle.name);
  }

  /** What a target must hold now; undefined if it is not wanted (any more). */
  #wanted(state: BundleState, kind: TargetKind, namespace: string, name: string): TargetContent | undefined {
    const { resolution, bundle } = state;
    if (!resolution.ok || name !== bundle.name || !this.#selects(resolution, namespace)) return undefined;
    return resolution.version.contents.find((content) => content.kind === kind);
  }

  #selects(resolution: Resolution & { ok: true }, name: string): boolean {
    const namespace = this.#options.view.namespaces.get(name);
    return namespace !== undefined && !namespace.terminating && this.#allows(name) &&
      resolution.selector.matches(namespace.labels);
  }

  #allows(namespace: string): boolean {
    return this.#targetNamespaces.size === 0 || this.#targetNamespaces.has(namespace);
  }

  /** The target as it is: what was just written, or what the watch shows. */
  #observed(kind: TargetKind, namespace: string, name: string): TargetRecord | undefined {
    return this.#ownWrites.get(writeKeyOf({ kind, namespace, name })) ??
      this.#options.view.targets[kind]?.get(targetStoreKey(namespace, name));
  }

  #kinds(): readonly TargetKind[] {
    return this.#options.secretTargetsEnabled ? ["ConfigMap", "Secret"] : ["ConfigMap"];
  }

  // Status

  /**
   * Writes a Bundle's status, and tells it in an event, if it says something new.
   *
   * @returns in how many milliseconds it may be written, if it was written just now.
   */
  async #passStatus(name: string, signal: AbortSignal): Promise<RunResult> {
    const state = this.#states.get(name);
    const stored = this.#options.view.bundles.get(name);
    // A Bundle that has changed since its last pass gets its status after its next.
    if (state === undefined || stored === undefined || stored.uid !== state.bundle.uid || stored.deleting) {
      return;
    }
    if (stored.generation !== state.bundle.generation || state.pending.size > 0) return;
    const { clock, writer, log } = this.#options;
    const limited = this.#targetNamespaces.size > 0;
    const desired = foldStatus(state.resolution, wrongTargets(state), limited, stored.defaultCaVersion);
    if (!statusDiffers(desired, stored)) return;
    const status: WrittenStatus = { ...desired, generation: stored.generation };
    const { written } = state;
    if (written !== undefined) {
      const isSame = JSON.stringify(written.status) === JSON.stringify(status);
      if (isSame && written.over === stored.resourceVersion) return;
      const pauseMs = written.at + STATUS_PAUSE_MS - clock.monotonic();
      if (pauseMs > 0 && (isSame || isRewording(status, written.status))) return pauseMs;
    }
    let version: string;
    try {
      version = await writer.applyStatus(stored, statusBody(desired, stored, clock.now()), signal);
      state.written = { status, over: stored.resourceVersion, at: clock.monotonic() };
    } catch (error) {
      if (error instanceof WriteError && (isStatus(error.cause, 404) || isStatus(error.cause, 409))) {
        // Deleted, or made anew: the watch tells.
        log.info("Bundle is gone; its status is not written", { bundle: name }, 2);
        return;
      }
      throw error;
    }
    if (conditionDiffers(desired, stored.condition)) this.#reports.outcome(stored, desired);
    if (version === stored.resourceVersion) return "unchanged";
  }

  #countWanted({ resolution }: BundleState): { whole: number; short: number } {
    if (!resolution.ok) return { whole: 0, short: 0 };
    let namespaces = 0;
    for (const { name } of this.#options.view.namespaces.values()) {
      if (this.#selects(resolution, name)) namespaces++;
    }
    const { contents } = resolution.version;
    const whole = contents.filter(isWhole).length;
    return { whole: namespaces * whole, short: namespaces * (contents.length - whole) };
  }
}

/** Whether targets can hold all that is asked for. */
function isWhole({ shortfall }: TargetContent): boolean {
  return shortfall === undefined;
}

/** Targets that are still to be brought to what is wanted, by key: now, or after a pause. */
function openTargets({ pending, failures, contested }: BundleState): string[] {
  return [...pending, ...failures.keys(), ...contested.keys()];
}

function isOpen({ pending, failures, contested }: BundleState, key: string): boolean {
  return pending.has(key) || failures.has(key) || contested.has(key);
}

/** Targets that do not hold what they should, or may not: the Bundle is not in sync. A failed clean-up is only logged. */
function wrongTargets({ failures, contested }: BundleState): TargetFailure[] {
  return [...failures.values(), ...contested.values()].filter(({ content }) => content !== undefined);
}

function ownerOf({ bundle: { name, uid }, unmarkedLayouts }: BundleState): Owner {
  return { name, uid, unmarkedLayouts };
}

/** The layouts of targets, if the stored status says that those of this very generation are right; none otherwise. */
function layoutsInSync(bundle: BundleRecord): Readonly<Partial<Record<TargetKind, string>>> {
  const { condition, generation, target: { configMap, secret, additionalFormats } } = bundle;
  if (condition?.status !== "True" || condition.observedGeneration !== generation) return {};
  const ofConfigMap = configMap && layoutOf(configMap.key, additionalFormats);
  const ofSecret = secret && layoutOf(secret.key, additionalFormats);
  return {
    ...(ofConfigMap === undefined ? {} : { ConfigMap: ofConfigMap }),
    ...(ofSecret === undefined ? {} : { Secret: ofSecret }),
  };
}

/** Whether both say the same, if in other words. */
function isRewording(a: WrittenStatus, b: WrittenStatus): boolean {
  return a.generation === b.generation && a.status === b.status && a.reason === b.reason;
}

function targetKey(kind: TargetKind, namespace: string, name: string, bundle: string): string {
  return `${kind}/${namespace}/${name}/${bundle}`;
}

function parseTargetKey(key: string): TargetId {
  const [kind = "", namespace = "", name = "", bundle = ""] = key.split("/");
  return { kind: kind === "Secret" ? "Secret" : "ConfigMap", namespace, name, bundle };
}
