/**
 * What a reflector does next, as a pure step function. Three phases:
 *
 * - `stream`: the initial state arrives as events of a watch, up to the bookmark that ends it (KEP-3157);
 * - `pages`: the initial state is listed page by page, where the API server does not stream it;
 * - `watch`: changes since `resourceVersion` arrive as events.
 *
 * A `stream` turns into a `watch` without a new request. ResourceVersions are opaque: they are kept and sent back, never compared.
 */
export type WatchPhase =
  | { readonly kind: "stream" }
  | { readonly kind: "pages"; readonly continueToken?: string }
  | {
    readonly kind: "watch";
    readonly resourceVersion: string;
    /** How often in a row the API server has refused to resume from there. */
    readonly refusals: number;
  };

/** All that a reflector remembers between two inputs, but the objects. */
export interface WatchState {
  readonly phase: WatchPhase;
  /** Whether the API server is believed to stream the initial state. */
  readonly canStream: boolean;
  /** How many initial streams in a row have ended before their bookmark. */
  readonly cutStreams: number;
  /** How many requests in a row have failed; what the pause between them grows with. */
  readonly failures: number;
  /** What is wrong at present, as last reported; undefined if all is well. */
  readonly problem?: string;
}

/** Why a request is over. */
export type WatchEnd =
  /** The API server ended the stream in good order. */
  | { readonly kind: "closed" }
  /** Nothing came for too long, not even a bookmark. */
  | { readonly kind: "idle" }
  /** There was no answer, or the connection broke while it arrived. */
  | { readonly kind: "broken" }
  /** The API server refused: the HTTP status, or the code of an ERROR event. */
  | { readonly kind: "refused"; readonly code: number; readonly retryAfterSeconds?: number }
  /** What came cannot be understood. */
  | { readonly kind: "malformed" };

/** Something that happened to a request. */
export type WatchInput =
  | {
    readonly kind: "object";
    readonly type: "ADDED" | "MODIFIED" | "DELETED";
    readonly resourceVersion: string;
  }
  | {
    readonly kind: "bookmark";
    readonly resourceVersion: string;
    /** Whether it carries the annotation `k8s.io/initial-events-end: "true"`. */
    readonly endsInitialEvents: boolean;
  }
  /** A page whose items have been collected. */
  | { readonly kind: "page"; readonly resourceVersion: string; readonly continueToken?: string }
  /** The request is over. `livedMs` is how long its answer was read, in milliseconds; undefined if there was none. */
  | { readonly kind: "end"; readonly end: WatchEnd; readonly livedMs: number | undefined };

/** What to do with the object that came with an input, or with all that was collected. */
export type WatchEffect = "collect" | "discard" | "upsert" | "remove" | "show" | "nothing";

/** What follows from an input. */
export interface WatchStep {
  readonly state: WatchState;
  readonly effect: WatchEffect;
  /** Undefined while the present request goes on; otherwise when the next one is sent: after a time within this range. */
  readonly pause?: { readonly minMs: number; readonly maxMs: number };
  /** Something to tell once: a problem that was not there before, or that it is over. */
  readonly report?: { readonly kind: "failing"; readonly problem: string } | { readonly kind: "recovered" };
}

/** First pause after a failure: what Kubernetes' own clients wait, so that an API server under load sees the same from all. */
export const FIRST_PAUSE_MS = 800;
/** Longest pause before jitter, of the same origin. The jitter at most doubles it: 30 to 60 seconds. */
export const LONGEST_PAUSE_MS = 30_000;
/**
 * A request that lived so long counts as a success, whatever ended it, and the pauses start small again. As long as the
 * longest pause: with a proxy that cuts each stream after a minute, more time is spent watching than pausing.
 */
export const LONG_LIFE_MS = LONGEST_PAUSE_MS;
/** `Retry-After` is honoured up to this; a server that asks for more is asked again after it. */
export const LONGEST_RETRY_AFTER_MS = 5 * 60_000;
/** So many initial streams in a row may end early before pages are tried: something on the way does not pass them on. */
export const MAX_CUT_STREAMS = 3;
/** So often in a row a resume may be refused before a new list is made: what is wrong may lie in the resourceVersion. */
export const MAX_REFUSALS = 5;

const NO_PAUSE = { minMs: 0, maxMs: 0 };

/** Where a reflector starts. */
export const INITIAL_WATCH_STATE: WatchState = {
  phase: { kind: "stream" },
  canStream: true,
  cutStreams: 0,
  failures: 0,
};

/** What follows from `input` in `state`. Pure. */
export function step(state: WatchState, input: WatchInput): WatchStep {
  switch (input.kind) {
    case "object":
      return onObject(state, input);
    case "bookmark":
      return onBookmark(state, input);
    case "page":
      return onPage(state, input);
    case "end":
      return onEnd(state, input.end, input.livedMs);
  }
}

function onObject(
  state: WatchState,
  { type, resourceVersion }: WatchInput & { kind: "object" },
): WatchStep {
  const deleted = type === "DELETED";
  if (state.phase.kind !== "watch") return { state, effect: deleted ? "discard" : "collect" };
  return { ...well(watchFrom(state, resourceVersion)), effect: deleted ? "remove" : "upsert" };
}

function onBookmark(
  state: WatchState,
  { resourceVersion, endsInitialEvents }: WatchInput & { kind: "bookmark" },
): WatchStep {
  if (state.phase.kind === "watch") return { ...well(watchFrom(state, resourceVersion)), effect: "nothing" };
  if (endsInitialEvents) return { ...well(watchFrom(state, resourceVersion)), effect: "show" };
  // The first bookmark of an initial stream is the one that ends it. Here the API server took it for a plain watch.
  return { state: { ...state, ...toPages }, effect: "nothing", pause: NO_PAUSE };
}

function onPage(
  state: WatchState,
  { resourceVersion, continueToken }: WatchInput & { kind: "page" },
): WatchStep {
  if (continueToken !== undefined) {
    return {
      state: { ...state, phase: { kind: "pages", continueToken } },
      effect: "nothing",
      pause: NO_PAUSE,
    };
  }
  return { ...well(watchFrom(state, resourceVersion)), effect: "show", pause: NO_PAUSE };
}

function onEnd(state: WatchState, end: WatchEnd, livedMs: number | undefined): WatchStep {
  const longLived = livedMs !== undefined && livedMs >= LONG_LIFE_MS;
  const failures = longLived ? 0 : state.failures;
  const { change, cost } = afterEnd(state, end, livedMs !== undefined);
  if (cost === "free" || (cost === "once" && failures === 0)) {
    const counted = cost === "free" || longLived ? failures : 1;
    return { state: { ...state, ...change, failures: counted }, effect: "nothing", pause: NO_PAUSE };
  }
  const pause = pauseAfter(failures + 1, end);
  // To be asked to wait, once, is nothing to worry about: whoever watches a kind right after its definition was made is.
  if (end.kind === "refused" && end.code === 429 && failures === 0) {
    return { state: { ...state, ...change, failures: 1 }, effect: "nothing", pause };
  }
  const problem = describe(end);
  return {
    state: { ...state, ...change, failures: failures + 1, problem },
    effect: "nothing",
    pause,
    ...(problem === state.problem ? {} : { report: { kind: "failing", problem } }),
  };
}

/**
 * Where to go on after `end`, and what it costs: `failure` a pause and a word; `once` the same if it happens again soon (a
 * watch reaches its time limit, or the end of what the server remembers); `free` nothing, as it cannot repeat at once.
 */
function afterEnd(
  state: WatchState,
  end: WatchEnd,
  answered: boolean,
): { change: Partial<WatchState>; cost: "failure" | "once" | "free" } {
  const { phase } = state;
  const code = end.kind === "refused" ? end.code : undefined;
  // 400 Bad Request, 410 Gone, 422 Invalid: the parameters are at fault, so the same request would fail for ever.
  // 404: the kind was removed, and what comes back under its name has another history.
  const startAgain = end.kind === "malformed" || code === 400 || code === 404 || code === 410 || code === 422;
  switch (phase.kind) {
    case "stream": {
      // sendInitialEvents or resourceVersionMatch is not known to the API server, or turned off.
      if (code === 400 || code === 422) return { change: toPages, cost: "free" };
      const cutStreams = answered && code === undefined ? state.cutStreams + 1 : state.cutStreams;
      return { change: { cutStreams, ...(cutStreams >= MAX_CUT_STREAMS ? toPages : {}) }, cost: "failure" };
    }
    case "pages": {
      const continued = phase.continueToken !== undefined;
      // 410: the snapshot that the pages come from is gone; another is taken.
      return { change: startAgain ? toPages : {}, cost: code === 410 && continued ? "once" : "failure" };
    }
    case "watch": {
      if (startAgain) return { change: toList(state), cost: code === 410 ? "once" : "failure" };
      // Silence proves nothing: bookmarks are a courtesy. If the connection is dead, the next request tells.
      if (end.kind === "idle") return { change: {}, cost: "free" };
      if (code === undefined || code === 429) {
        return { change: {}, cost: end.kind === "closed" ? "once" : "failure" };
      }
      const refusals = phase.refusals + 1;
      const change = refusals >= MAX_REFUSALS ? toList(state) : { phase: { ...phase, refusals } };
      return { change, cost: "failure" };
    }
  }
}

const toPages = { phase: { kind: "pages" }, canStream: false } as const;

function toList(state: WatchState): Partial<WatchState> {
  return { phase: { kind: state.canStream ? "stream" : "pages" } };
}

function watchFrom(state: WatchState, resourceVersion: string): WatchState {
  return { ...state, phase: { kind: "watch", resourceVersion, refusals: 0 }, cutStreams: 0 };
}

/** Nothing is wrong (any more). */
function well(state: WatchState): Pick<WatchStep, "state" | "report"> {
  const { problem, ...rest } = state;
  return problem === undefined ? { state } : { state: rest, report: { kind: "recovered" } };
}

/** Exponential, with as much jitter as pause, and at least what the API server asks for. */
function pauseAfter(failures: number, end: WatchEnd): { minMs: number; maxMs: number } {
  const pause = Math.min(LONGEST_PAUSE_MS, FIRST_PAUSE_MS * 2 ** Math.min(failures - 1, 30));
  const asked = (end.kind === "refused" ? end.retryAfterSeconds ?? 0 : 0) * 1000;
  const minMs = Math.max(pause, Math.min(asked, LONGEST_RETRY_AFTER_MS));
  return { minMs, maxMs: minMs + pause };
}

/** Constant per kind of problem, so that a change of it can be told. */
function describe(end: WatchEnd): string {
  switch (end.kind) {
    case "closed":
      return "stream ended early";
    case "idle":
      return "stream was silent";
    case "broken":
      return "connection failed";
    case "refused":
      return `refused with status ${end.code}`;
    case "malformed":
      return "stream could not be understood";
  }
}
