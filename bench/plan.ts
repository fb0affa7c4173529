import type { EventScenario } from "./scenarios.ts";
import type { Content } from "./trust_content.ts";

/** What can be asked for on the command line. */
export const SCENARIOS = [
  "sync",
  "formats",
  "restored",
  "flood",
  "restart",
  "steady",
  "namespaces",
  "bulk",
  "burst",
  "bundles",
  "targets",
] as const;

/** A name of {@linkcode SCENARIOS}. */
export type ScenarioName = typeof SCENARIOS[number];

/** What is done on one fresh cluster, in this order. */
export interface Stint {
  readonly namespaces: number;
  readonly content: Content;
  /** How often operator, bare loops and peer take turns. */
  readonly rounds: number;
  /** In how many of these rounds the peer takes part. */
  readonly peerRounds: number;
  readonly events: ReadonlySet<EventScenario>;
  /** What of it the peer does, too. */
  readonly peerEvents: ReadonlySet<EventScenario>;
  readonly manyBundles: boolean;
  readonly manyTargets: boolean;
}

/** What is to be measured. */
export interface PlanOptions {
  readonly sizes: readonly number[];
  readonly scenarios: ReadonlySet<ScenarioName>;
  /** Sizes at which the peer takes part. */
  readonly peerSizes: readonly number[];
  /** At least this many rounds at each size. */
  readonly rounds: number;
}

/** What `deno task bench` does by itself. 10,000 targets, and larger sizes, take long: they must be asked for. */
export const STANDARD: PlanOptions = {
  sizes: [100, 300, 1_000],
  scenarios: new Set(SCENARIOS.filter((name) => name !== "targets")),
  peerSizes: [100],
  rounds: 2,
};

const EVENTS: readonly EventScenario[] = [
  "restored",
  "flood",
  "restart",
  "steady",
  "namespaces",
  "bulk",
  "burst",
];

/** Those that the peer, with its five requests a second, can do in minutes. */
const PEER_EVENTS: readonly EventScenario[] = ["restored", "restart", "namespaces"];

/** The clusters that are needed, and what is done on each. Pure. */
export function planOf({ sizes, scenarios, peerSizes, rounds }: PlanOptions): Stint[] {
  const sorted = sizes.toSorted((a, b) => a - b);
  const [smallest = 0, largest = 0] = [sorted[0], sorted.at(-1)];
  const stints: Stint[] = [];
  for (const namespaces of sorted) {
    const ends = namespaces === smallest || namespaces === largest;
    const wanted = EVENTS.filter((name) => scenarios.has(name) && (ends || name === "namespaces"))
      // The others are about much work, or take time without telling more than at the largest size.
      .filter((name) => namespaces === largest || !["steady", "bulk", "burst"].includes(name));
    const withPeer = peerSizes.includes(namespaces);
    const none = {
      namespaces,
      rounds: 0,
      peerRounds: 0,
      events: new Set<EventScenario>(),
      peerEvents: new Set<EventScenario>(),
      manyBundles: false,
      manyTargets: false,
    };
    const pem: Stint = {
      ...none,
      content: "PEM",
      rounds: scenarios.has("sync") ? rounds : 0,
      peerRounds: scenarios.has("sync") && withPeer ? 1 : 0,
      events: new Set(wanted),
      peerEvents: new Set(withPeer ? PEER_EVENTS.filter((name) => wanted.includes(name)) : []),
      manyBundles: scenarios.has("bundles") && namespaces === smallest,
      manyTargets: scenarios.has("targets") && namespaces === smallest,
    };
    if (pem.rounds > 0 || pem.events.size > 0 || pem.manyBundles || pem.manyTargets) stints.push(pem);
    if (scenarios.has("formats") && ends) {
      stints.push({ ...none, content: "all formats", rounds, peerRounds: withPeer ? 1 : 0 });
    }
  }
  return stints;
}
