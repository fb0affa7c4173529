import type { ContenderName, Measurement, Scenario } from "./measurement.ts";
import { median } from "./statistics.ts";
import type { Content } from "./trust_content.ts";

/** One run of the benchmark, as it is kept in `results/`. */
export interface Results {
  /** When it began, RFC 3339. */
  readonly date: string;
  readonly machine: {
    readonly processor: string;
    readonly cores: number;
    readonly memoryGib: number;
  };
  readonly versions: Readonly<Record<"operator" | "deno" | "peer" | "kubernetes", string>>;
  readonly certificates: number;
  /** Seconds that all of it took. */
  readonly seconds: number;
  readonly measurements: readonly Measurement[];
}

/** Which measurements are asked for; a field that is not given may be anything. */
export interface Selection {
  readonly scenario?: Scenario;
  readonly contender?: ContenderName;
  readonly content?: Content;
  /** How many namespaces there were when the cluster was started. */
  readonly namespaces?: number;
}

/** Those of `measurements` that are asked for. Pure. */
export function select(measurements: readonly Measurement[], selection: Selection): Measurement[] {
  return measurements.filter((measurement) =>
    Object.entries(selection).every(([field, value]) => measurement[field as keyof Selection] === value)
  );
}

/** The median of a figure over all rounds; undefined if it was not measured. Pure. */
export function figure(
  measurements: readonly Measurement[],
  selection: Selection,
  valueOf: (measurement: Measurement) => number,
): number | undefined {
  const values = select(measurements, selection).map(valueOf);
  return values.length === 0 ? undefined : median(values);
}

/** The fastest bare loop: its measurements. Pure. */
export function bestLoop(measurements: readonly Measurement[], selection: Selection): Measurement[] {
  const loops = (["loop 8", "loop 16", "loop 32"] as const)
    .map((contender) => select(measurements, { ...selection, contender }))
    .filter((of) => of.length > 0);
  const seconds = (of: Measurement[]) => median(of.map((measurement) => measurement.seconds));
  return loops.toSorted((a, b) => seconds(a) - seconds(b))[0] ?? [];
}

/** Milliseconds of CPU that a contender spent on each target. Pure. */
export function cpuPerTarget({ cpuSeconds, targets }: Measurement): number {
  return cpuSeconds * 1000 / targets;
}

/** Requests that change something, but for leases. Pure. */
export function writesOf({ requests }: Measurement): number {
  return sumOf(requests, (what) => /^(create|update|patch|delete)/.test(what) && !what.endsWith(" leases"));
}

/** Requests but those for watches and leases. Pure. */
export function otherRequestsOf({ requests }: Measurement): number {
  return sumOf(requests, (what) => !what.startsWith("watch ") && !what.endsWith(" leases"));
}

function sumOf(requests: Readonly<Record<string, number>>, accept: (what: string) => boolean): number {
  return Object.entries(requests).reduce((sum, [what, count]) => accept(what) ? sum + count : sum, 0);
}
