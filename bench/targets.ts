import type { ContenderName, Measurement, Scenario } from "./measurement.ts";
import { bestLoop, cpuPerTarget, figure, otherRequestsOf, select, writesOf } from "./results.ts";
import { median, percentile } from "./statistics.ts";
import type { Content } from "./trust_content.ts";

/** A figure that the project wants to reach, and what was measured. */
export interface Target {
  readonly what: string;
  readonly wanted: string;
  readonly measured: string;
  readonly met: boolean;
}

const LARGE = 1_000;
const COMMON = 100;

/** Which targets were reached; those that were not measured are left out. Pure. */
export function targetsOf(measurements: readonly Measurement[]): Target[] {
  const targets: Target[] = [];
  const add = (what: string, value: number | undefined, sign: "≤" | "≥", limit: number, unit = "") => {
    if (value === undefined || Number.isNaN(value)) return;
    targets.push({
      what,
      wanted: `${sign} ${limit}${unit}`,
      measured: `${figureText(value)}${unit}`,
      met: sign === "≤" ? value <= limit : value >= limit,
    });
  };
  const seconds = (contender: ContenderName, content: Content, namespaces: number) =>
    figure(measurements, { scenario: "source change", contender, content, namespaces }, (it) => it.seconds);

  for (const content of ["PEM", "all formats"] as const) {
    const operator = seconds("operator", content, LARGE);
    const loop = bestLoop(measurements, { scenario: "source change", content, namespaces: LARGE });
    add(
      `1,000 namespaces, source change, ${content}: time, compared with the best bare loop`,
      ratio(operator, loop.length === 0 ? undefined : median(loop.map((it) => it.seconds))),
      "≤",
      1.15,
    );
    const peerRate = [LARGE, COMMON].map((size) => ratio(size, seconds("peer", content, size)))
      .find((rate) => rate !== undefined);
    add(
      `the same: speed, compared with the peer's`,
      ratio(ratio(LARGE, operator), peerRate),
      "≥",
      content === "PEM" ? 15 : 7,
      " times",
    );
  }
  const cpu = (contender: ContenderName, namespaces: number) =>
    figure(measurements, { scenario: "source change", contender, content: "PEM", namespaces }, cpuPerTarget);
  const size = cpu("peer", LARGE) === undefined ? COMMON : LARGE;
  add(
    `CPU per target written, ${size} namespaces, PEM, compared with the peer's`,
    ratio(cpu("operator", size), cpu("peer", size)),
    "≤",
    0.2,
  );

  const large = (scenario: Scenario, valueOf: (it: Measurement) => number, content: Content = "PEM") =>
    figure(measurements, { scenario, contender: "operator", content, namespaces: LARGE }, valueOf);
  add("RSS, idle, 1,000 namespaces", large("start", (it) => it.rssMib), "≤", 60, " MiB");
  add("RSS after a source change, PEM", large("source change", (it) => it.rssMib), "≤", 75, " MiB");
  add("peak RSS, PEM", large("source change", (it) => it.peakMib), "≤", 90, " MiB");
  add(
    "peak RSS, all formats, compared with the bare loop's",
    ratio(
      large("source change", (it) => it.peakMib, "all formats"),
      figure(
        measurements,
        { scenario: "source change", contender: "loop 8", content: "all formats", namespaces: LARGE },
        (it) => it.peakMib,
      ),
    ),
    "≤",
    1.3,
  );

  const many = (contender: ContenderName) =>
    figure(measurements, { scenario: "restart with 10,000 small targets", contender }, (it) => it.peakMib);
  add(
    "peak RSS, 10,000 small targets, compared with the peer's",
    ratio(many("operator"), many("peer")),
    "≤",
    1,
  );

  const latency = (scenario: Scenario, fraction: number) => {
    const found = select(measurements, { scenario, contender: "operator" })
      .filter(({ namespaces }) => namespaces >= LARGE);
    return percentile(found.flatMap(({ latenciesMs = [] }) => latenciesMs), fraction);
  };
  add("new namespace to target, 1,000 others: p50", latency("new namespace", 0.5), "≤", 30, " ms");
  add("new namespace to target, 1,000 others: p99", latency("new namespace", 0.99), "≤", 150, " ms");
  add("the same while a bulk update runs: p99", latency("new namespace in bulk", 0.99), "≤", 300, " ms");
  add("start to ready, nothing to do", large("start", (it) => it.seconds * 1000), "≤", 300, " ms");
  const passes = large(
    "20 source changes in 1 s",
    (it) => (it.requests["patch configmaps"] ?? 0) / it.targets,
  );
  add("20 changes of a source in one second: passes of writes", passes, "≤", 3);
  add("restart: writes", large("restart", writesOf), "≤", 0);
  add("steady state: requests but watches and lease", large("steady state", otherRequestsOf), "≤", 0);
  return targets;
}

/** `a` divided by `b`; undefined if one of them is not known. Pure. */
export function ratio(a: number | undefined, b: number | undefined): number | undefined {
  return a === undefined || b === undefined ? undefined : a / b;
}

/** A number with three digits that count, or more before the point. Pure. */
export function figureText(value: number): string {
  if (Number.isNaN(value)) return "–";
  const digits = value === 0 ? 0 : Math.max(0, 2 - Math.floor(Math.log10(Math.abs(value))));
  return value.toLocaleString("en-US", { maximumFractionDigits: Math.min(3, digits) });
}
