import type { Fault, FaultRule, ProxiedRequest } from "./fault_proxy.ts";

/** A fault for a request, and how often it is chosen in comparison with the others. */
interface Choice {
  readonly weight: number;
  readonly fits: (request: ProxiedRequest) => boolean;
  readonly fault: (random: () => number) => Fault;
}

/** The longest delay, in milliseconds: below the deadlines of the operator, so that it is a delay and not a failure. */
const LONGEST_DELAY = 2_000;

const always = () => true;
const isWatch = ({ watch }: ProxiedRequest) => watch;
const isRead = ({ method, watch }: ProxiedRequest) => method === "GET" && !watch;
const isRest = ({ watch }: ProxiedRequest) => !watch;
/** A lease is renewed in time or lost: what costs more than one attempt ends the process, which is another test. */
const isNotLease = ({ resource }: ProxiedRequest) => resource !== "leases";
const isWatchOrRead = (request: ProxiedRequest) => request.method === "GET" && isNotLease(request);

const whole = (random: () => number, below: number) => Math.floor(random() * below);
const how = (random: () => number) => random() < 0.5 ? "reset" as const : "end" as const;
/** Most often within the first event or two; now and then far behind them. */
const position = (random: () => number) => Math.floor(10 ** (random() * 5));

const CHOICES: readonly Choice[] = [
  ...[500, 502, 503, 504].map((status): Choice => ({
    weight: 1,
    fits: always,
    fault: () => ({ kind: "answer", status }),
  })),
  { weight: 1, fits: always, fault: () => ({ kind: "answer", status: 429, reason: "TooManyRequests" }) },
  { weight: 1, fits: isNotLease, fault: () => ({ kind: "answer", status: 429, retryAfterSeconds: 1 }) },
  { weight: 1, fits: isNotLease, fault: () => ({ kind: "answer", status: 401, reason: "Unauthorized" }) },
  { weight: 1, fits: isNotLease, fault: () => ({ kind: "answer", status: 403, reason: "Forbidden" }) },
  {
    weight: 1,
    fits: isNotLease,
    fault: () => ({ kind: "answer", status: 502, body: "<html>Bad gateway</html>" }),
  },
  { weight: 3, fits: always, fault: () => ({ kind: "reset" }) },
  { weight: 3, fits: isRest, fault: () => ({ kind: "reset-after" }) },
  {
    weight: 3,
    fits: always,
    fault: (random) => ({ kind: "delay", milliseconds: whole(random, LONGEST_DELAY) }),
  },
  {
    weight: 2,
    fits: isWatch,
    fault: (random) => ({ kind: "slow", milliseconds: whole(random, LONGEST_DELAY) }),
  },
  { weight: 1, fits: isRest, fault: () => ({ kind: "freeze" }) },
  { weight: 1, fits: (request) => isRest(request) && isNotLease(request), fault: () => ({ kind: "hang" }) },
  {
    weight: 6,
    fits: isWatch,
    fault: (random) => ({ kind: "cut", afterBytes: position(random), how: how(random) }),
  },
  {
    weight: 2,
    fits: isRead,
    fault: (random) => ({ kind: "cut", afterBytes: position(random), how: how(random) }),
  },
  { weight: 2, fits: isWatchOrRead, fault: (random) => ({ kind: "garbage", afterBytes: position(random) }) },
  { weight: 3, fits: isWatch, fault: () => ({ kind: "duplicate-events" }) },
  { weight: 2, fits: isWatch, fault: () => ({ kind: "expire" }) },
  { weight: 2, fits: isWatchOrRead, fault: () => ({ kind: "stale-list" }) },
  { weight: 1, fits: isWatchOrRead, fault: () => ({ kind: "compress" }) },
  // An API server, or what is before it, that does not stream lists.
  {
    weight: 2,
    fits: ({ watch, query }) => watch && query.get("sendInitialEvents") === "true",
    fault: () => ({ kind: "answer", status: 422, reason: "Invalid" }),
  },
];

/**
 * A rule by which each request meets a fault that fits it with the probability `rate`. The same numbers give the same faults to the same
 * requests; whoever uses it prints the seed.
 *
 * @param random uniform in [0, 1).
 * @param rate from 0 to 1.
 */
export function randomFaults(random: () => number, rate: number): FaultRule {
  return (request) => {
    // Drawn in any case, so that one request more or less that fits nothing does not shift what the others meet.
    const [hit, choice] = [random(), random()];
    if (hit >= rate) return undefined;
    const fitting = CHOICES.filter(({ fits }) => fits(request));
    let left = choice * fitting.reduce((sum, { weight }) => sum + weight, 0);
    return fitting.find(({ weight }) => (left -= weight) < 0)?.fault(random);
  };
}
