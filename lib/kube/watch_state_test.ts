import assert from "node:assert/strict";
import {
  FIRST_PAUSE_MS,
  INITIAL_WATCH_STATE,
  LONG_LIFE_MS,
  LONGEST_PAUSE_MS,
  LONGEST_RETRY_AFTER_MS,
  MAX_CUT_STREAMS,
  MAX_REFUSALS,
  step,
  type WatchEnd,
  type WatchInput,
  type WatchState,
  type WatchStep,
} from "./watch_state.ts";

const listing = INITIAL_WATCH_STATE;
const paging: WatchState = { ...listing, phase: { kind: "pages" }, canStream: false };
const onPage2: WatchState = { ...paging, phase: { kind: "pages", continueToken: "page-2" } };
const watching: WatchState = { ...listing, phase: { kind: "watch", resourceVersion: "7", refusals: 0 } };
const watchingUnstreamed: WatchState = { ...watching, canStream: false };

const object = (type: "ADDED" | "MODIFIED" | "DELETED", resourceVersion = "8"): WatchInput => ({
  kind: "object",
  type,
  resourceVersion,
});
const bookmark = (endsInitialEvents: boolean): WatchInput => ({
  kind: "bookmark",
  resourceVersion: "9",
  endsInitialEvents,
});
const refused = (code: number, retryAfterSeconds?: number): WatchEnd => ({
  kind: "refused",
  code,
  ...(retryAfterSeconds === undefined ? {} : { retryAfterSeconds }),
});
const end = (end: WatchEnd, livedMs: number | undefined = undefined): WatchInput => ({
  kind: "end",
  end,
  livedMs,
});

const none = { minMs: 0, maxMs: 0 };
const first = { minMs: FIRST_PAUSE_MS, maxMs: 2 * FIRST_PAUSE_MS };

/** What a row expects: the new phase as text, and the parts of the step that are given. */
interface Row {
  name: string;
  from: WatchState;
  input: WatchInput;
  phase: string;
  effect?: WatchStep["effect"];
  pause?: { minMs: number; maxMs: number };
  state?: Partial<WatchState>;
  report?: string;
}

function phaseText({ phase }: WatchState): string {
  if (phase.kind === "watch") return `watch ${phase.resourceVersion}`;
  if (phase.kind === "pages") return `pages ${phase.continueToken ?? ""}`.trim();
  return phase.kind;
}

const reportText = ({ report }: WatchStep) => report?.kind === "failing" ? report.problem : report?.kind;

async function check(t: Deno.TestContext, rows: Row[]): Promise<void> {
  for (const { name, from, input, phase, effect, pause, state, report } of rows) {
    await t.step(name, () => {
      const next = step(from, input);
      assert.equal(phaseText(next.state), phase);
      assert.equal(next.effect, effect ?? "nothing");
      assert.deepEqual(next.pause, pause);
      assert.equal(reportText(next), report);
      for (const [key, value] of Object.entries(state ?? {})) {
        assert.deepEqual(next.state[key as keyof WatchState], value, key);
      }
    });
  }
}

Deno.test("events", (t) =>
  check(t, [
    {
      name: "an object of the initial state is collected",
      from: listing,
      input: object("ADDED"),
      phase: "stream",
      effect: "collect",
    },
    {
      name: "one that changes meanwhile too",
      from: listing,
      input: object("MODIFIED"),
      phase: "stream",
      effect: "collect",
    },
    {
      name: "one that goes meanwhile is discarded",
      from: listing,
      input: object("DELETED"),
      phase: "stream",
      effect: "discard",
    },
    {
      name: "the bookmark shows what was collected",
      from: listing,
      input: bookmark(true),
      phase: "watch 9",
      effect: "show",
    },
    {
      name: "a plain bookmark first: initial events are not known here",
      from: listing,
      input: bookmark(false),
      phase: "pages",
      pause: none,
      state: { canStream: false },
    },
    { name: "an added object", from: watching, input: object("ADDED"), phase: "watch 8", effect: "upsert" },
    {
      name: "a modified object",
      from: watching,
      input: object("MODIFIED"),
      phase: "watch 8",
      effect: "upsert",
    },
    {
      name: "a deleted object",
      from: watching,
      input: object("DELETED"),
      phase: "watch 8",
      effect: "remove",
    },
    { name: "a bookmark", from: watching, input: bookmark(false), phase: "watch 9" },
    { name: "the initial bookmark once more", from: watching, input: bookmark(true), phase: "watch 9" },
    {
      name: "resourceVersions are not ordered",
      from: watching,
      input: object("MODIFIED", "3"),
      phase: "watch 3",
      effect: "upsert",
    },
    {
      name: "a page with more to come",
      from: paging,
      input: { kind: "page", resourceVersion: "7", continueToken: "page-2" },
      phase: "pages page-2",
      pause: none,
    },
    {
      name: "the last page shows what was collected",
      from: onPage2,
      input: { kind: "page", resourceVersion: "7" },
      phase: "watch 7",
      effect: "show",
      pause: none,
    },
  ]));

Deno.test("ends of an initial stream", (t) =>
  check(t, [
    ...[400, 422].map((code): Row => ({
      name: `${code}: it cannot be streamed; pages from now on`,
      from: listing,
      input: end(refused(code)),
      phase: "pages",
      pause: none,
      state: { canStream: false, failures: 0 },
    })),
    ...[401, 403, 404, 410, 500, 504].map((code): Row => ({
      name: `${code}: the same again`,
      from: listing,
      input: end(refused(code)),
      phase: "stream",
      pause: first,
      state: { canStream: true, failures: 1 },
      report: `refused with status ${code}`,
    })),
    {
      name: "no answer",
      from: listing,
      input: end({ kind: "broken" }),
      phase: "stream",
      pause: first,
      state: { cutStreams: 0 },
      report: "connection failed",
    },
    ...(["closed", "broken", "idle", "malformed"] as const).map((kind): Row => ({
      name: `${kind} before the bookmark`,
      from: listing,
      input: end({ kind }, 5),
      phase: "stream",
      pause: first,
      state: { cutStreams: 1 },
      report: reportText(step(listing, end({ kind }))) ?? "",
    })),
    {
      name: "closed before the bookmark too often: pages from now on",
      from: { ...listing, cutStreams: MAX_CUT_STREAMS - 1 },
      input: end({ kind: "closed" }, 5),
      phase: "pages",
      pause: first,
      state: { canStream: false },
      report: "stream ended early",
    },
    {
      name: "a complete stream forgets the cut ones",
      from: { ...listing, cutStreams: MAX_CUT_STREAMS - 1 },
      input: bookmark(true),
      phase: "watch 9",
      effect: "show",
      state: { cutStreams: 0 },
    },
  ]));

Deno.test("ends of a paged list", (t) =>
  check(t, [
    {
      name: "410 between two pages: from the first again",
      from: onPage2,
      input: end(refused(410)),
      phase: "pages",
      pause: none,
    },
    ...[400, 404, 422].map((code): Row => ({
      name: `${code} between two pages: from the first again, after a pause`,
      from: onPage2,
      input: end(refused(code)),
      phase: "pages",
      pause: first,
      report: `refused with status ${code}`,
    })),
    ...[401, 403, 500].map((code): Row => ({
      name: `${code} between two pages: the same page again`,
      from: onPage2,
      input: end(refused(code)),
      phase: "pages page-2",
      pause: first,
      report: `refused with status ${code}`,
    })),
    {
      name: "broken",
      from: onPage2,
      input: end({ kind: "broken" }),
      phase: "pages page-2",
      pause: first,
      report: "connection failed",
    },
    {
      name: "no list",
      from: onPage2,
      input: end({ kind: "malformed" }),
      phase: "pages",
      pause: first,
      report: "stream could not be understood",
    },
    {
      name: "404 on the first page",
      from: paging,
      input: end(refused(404)),
      phase: "pages",
      pause: first,
      report: "refused with status 404",
    },
  ]));

Deno.test("ends of a watch", (t) =>
  check(t, [
    {
      name: "its time is over",
      from: watching,
      input: end({ kind: "closed" }, LONG_LIFE_MS),
      phase: "watch 7",
      pause: none,
      state: { failures: 0 },
    },
    {
      name: "closed early, once",
      from: watching,
      input: end({ kind: "closed" }, 5),
      phase: "watch 7",
      pause: none,
      state: { failures: 1 },
    },
    {
      name: "closed early again",
      from: { ...watching, failures: 1 },
      input: end({ kind: "closed" }, 5),
      phase: "watch 7",
      pause: { minMs: 2 * FIRST_PAUSE_MS, maxMs: 4 * FIRST_PAUSE_MS },
      report: "stream ended early",
    },
    {
      name: "silent",
      from: watching,
      input: end({ kind: "idle" }, 90_000),
      phase: "watch 7",
      pause: none,
    },
    {
      name: "silent soon after a failure",
      from: { ...watching, failures: 3 },
      input: end({ kind: "idle" }, 5000),
      phase: "watch 7",
      pause: none,
      state: { failures: 3 },
    },
    {
      name: "broken",
      from: watching,
      input: end({ kind: "broken" }, 5),
      phase: "watch 7",
      pause: first,
      report: "connection failed",
    },
    {
      name: "410: a new list",
      from: watching,
      input: end(refused(410)),
      phase: "stream",
      pause: none,
      state: { failures: 1 },
    },
    {
      name: "410 without streams: a paged list",
      from: watchingUnstreamed,
      input: end(refused(410)),
      phase: "pages",
      pause: none,
    },
    {
      name: "410 again and again",
      from: { ...watching, failures: 1 },
      input: end(refused(410), 5),
      phase: "stream",
      pause: { minMs: 2 * FIRST_PAUSE_MS, maxMs: 4 * FIRST_PAUSE_MS },
      report: "refused with status 410",
    },
    ...[400, 404, 422].map((code): Row => ({
      name: `${code}: a new list`,
      from: watching,
      input: end(refused(code)),
      phase: "stream",
      pause: first,
      report: `refused with status ${code}`,
    })),
    {
      name: "malformed: a new list",
      from: watching,
      input: end({ kind: "malformed" }, 5),
      phase: "stream",
      pause: first,
      report: "stream could not be understood",
    },
    ...[401, 403, 500, 503, 504].map((code): Row => ({
      name: `${code}: from the same place`,
      from: watching,
      input: end(refused(code)),
      phase: "watch 7",
      pause: first,
      report: `refused with status ${code}`,
    })),
    {
      name: "refused too often: a new list",
      from: { ...watching, phase: { kind: "watch", resourceVersion: "7", refusals: MAX_REFUSALS - 1 } },
      input: end(refused(504)),
      phase: "stream",
      pause: first,
      report: "refused with status 504",
    },
    {
      name: "an overloaded API server is never asked for a list because of that",
      from: { ...watching, phase: { kind: "watch", resourceVersion: "7", refusals: MAX_REFUSALS - 1 } },
      input: end(refused(429)),
      phase: "watch 7",
      pause: first,
    },
  ]));

Deno.test("to be asked to wait counts as a failure, and is told if it happens again", (t) =>
  check(
    t,
    Object.entries({ "stream": listing, "pages page-2": onPage2, "watch 7": watching }).flatMap((
      [phase, from],
    ): Row[] => [{
      name: `${phase}: once`,
      from,
      input: end(refused(429)),
      phase,
      pause: first,
      state: { failures: 1 },
    }, {
      name: `${phase}: twice`,
      from: { ...from, failures: 1 },
      input: end(refused(429)),
      phase,
      pause: { minMs: 1600, maxMs: 3200 },
      state: { failures: 2 },
      report: "refused with status 429",
    }, {
      name: `${phase}: the next failure is another`,
      from: { ...from, failures: 1 },
      input: end(refused(500)),
      phase,
      pause: { minMs: 1600, maxMs: 3200 },
      state: { failures: 2 },
      report: "refused with status 500",
    }]),
  ));

Deno.test("pauses grow to the longest, honour Retry-After and start small after a long life", () => {
  const after = (failures: number, cause: WatchEnd, livedMs?: number) =>
    step({ ...watching, failures }, end(cause, livedMs)).pause;
  const broken: WatchEnd = { kind: "broken" };
  assert.deepEqual([0, 1, 2, 3, 4, 5, 6, 1000].map((failures) => after(failures, broken)?.minMs), [
    ...[800, 1600, 3200, 6400, 12_800, 25_600, LONGEST_PAUSE_MS, LONGEST_PAUSE_MS],
  ]);
  assert.deepEqual(after(1000, broken)?.maxMs, 2 * LONGEST_PAUSE_MS);
  assert.deepEqual(after(1000, broken, LONG_LIFE_MS), first);
  assert.deepEqual(after(0, refused(429, 10)), { minMs: 10_000, maxMs: 10_800 });
  assert.deepEqual(after(6, refused(429, 1)), { minMs: LONGEST_PAUSE_MS, maxMs: 2 * LONGEST_PAUSE_MS });
  assert.equal(after(0, refused(503, 1e9))?.minMs, LONGEST_RETRY_AFTER_MS);
});

Deno.test("a problem is reported when it begins, when it becomes another, and when it is over", () => {
  const inputs: [WatchInput, string | undefined][] = [
    [end({ kind: "broken" }), "connection failed"],
    [end({ kind: "broken" }), undefined],
    [end(refused(503)), "refused with status 503"],
    [end(refused(503)), undefined],
    [object("ADDED"), undefined],
    [bookmark(true), "recovered"],
    [object("ADDED"), undefined],
    [end(refused(403)), "refused with status 403"],
    [object("ADDED"), "recovered"],
    [bookmark(false), undefined],
  ];
  let state = INITIAL_WATCH_STATE;
  for (const [input, report] of inputs) {
    const next = step(state, input);
    assert.equal(reportText(next), report);
    state = next.state;
  }
});
