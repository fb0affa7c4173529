import type { ContenderName, Measurement } from "./measurement.ts";
import { bestLoop, cpuPerTarget, type Results, select, type Selection, writesOf } from "./results.ts";
import { median, percentile } from "./statistics.ts";
import { figureText, ratio, targetsOf } from "./targets.ts";

/** Tables of what came out, in Markdown. Pure. */
export function markdownOf(results: Results): string {
  const { date, machine, versions, certificates, seconds, measurements } = results;
  const on = `${machine.cores} cores of ${article(machine.processor)} ${machine.processor}, ` +
    `${figureText(machine.memoryGib)} GiB`;
  const of = `operator ${versions.operator} on Deno ${versions.deno}, peer ${versions.peer}, ` +
    `Kubernetes ${versions.kubernetes}, ${certificates} certificates`;
  return [
    `On ${date.slice(0, 10)}, ${on}; ${of}; ${Math.round(seconds / 60)} minutes.`,
    ...section("Targets of the project", targetTable(measurements)),
    ...section("Writing all targets", writingTable(measurements)),
    ...section("Latency", latencyTable(measurements)),
    ...section("What each costs", costTable(measurements)),
  ].join("\n\n");
}

function article(word: string): string {
  return /^[AEIOU]/.test(word) ? "an" : "a";
}

function section(title: string, table: string | undefined): string[] {
  return table === undefined ? [] : [`### ${title}`, table];
}

function targetTable(measurements: readonly Measurement[]): string | undefined {
  const rows = targetsOf(measurements).map(({ what, wanted, measured, met }) => [
    what,
    wanted,
    measured,
    met ? "yes" : "**no**",
  ]);
  return table(["Figure", "Target", "Measured", "Met"], rows);
}

/** Seconds of operator, peer and best loop side by side, medians of all rounds. */
function writingTable(measurements: readonly Measurement[]): string | undefined {
  const rows = groups(measurements)
    .filter(({ scenario }) => scenario === "first sync" || scenario === "source change")
    .map((group) => {
      const secondsOf = (contender: ContenderName) =>
        secondsOfAll(select(measurements, { ...group, contender }));
      const [operator, peer] = [secondsOf("operator"), secondsOf("peer")];
      const loop = secondsOfAll(bestLoop(measurements, group));
      return [
        `${group.scenario}, ${group.content}`,
        whole(group.namespaces),
        seconds(operator),
        seconds(loop),
        seconds(peer),
        text(ratio(operator, loop)),
        text(ratio(peer, operator)),
      ];
    });
  return table([
    "What",
    "Namespaces",
    "Operator, s",
    "Best bare loop, s",
    "Peer, s",
    "Operator ÷ loop",
    "Peer ÷ operator",
  ], rows);
}

function latencyTable(measurements: readonly Measurement[]): string | undefined {
  const rows = groups(measurements).flatMap((group) =>
    (["operator", "peer"] as const).flatMap((contender) => {
      const latencies = select(measurements, { ...group, contender })
        .flatMap(({ latenciesMs = [] }) => latenciesMs);
      if (latencies.length === 0) return [];
      const at = (fraction: number) => figureText(percentile(latencies, fraction));
      return [[
        group.scenario,
        whole(group.namespaces),
        contender,
        whole(latencies.length),
        at(0.5),
        at(0.99),
        at(1),
      ]];
    })
  );
  return table(["What", "Namespaces", "Who", "Times", "p50, ms", "p99, ms", "Longest, ms"], rows);
}

function costTable(measurements: readonly Measurement[]): string | undefined {
  const contenders = ["operator", "peer", "loop 8", "loop 16", "loop 32"] as const;
  const rows = groups(measurements).flatMap((group) =>
    contenders.flatMap((contender) => {
      const found = select(measurements, { ...group, contender });
      const [first] = found;
      if (first === undefined) return [];
      const of = (valueOf: (measurement: Measurement) => number) => figureText(median(found.map(valueOf)));
      return [[
        `${group.scenario}, ${group.content}`,
        whole(group.namespaces),
        contender,
        whole(first.targets),
        of((it) => it.seconds),
        of(writesOf),
        of((it) => it.sentMb),
        of((it) => it.receivedMb),
        of((it) => it.cpuSeconds),
        first.targets === 0 ? "" : of(cpuPerTarget),
        of((it) => it.apiServerCpuSeconds),
        of((it) => it.rssMib),
        of((it) => it.peakMib),
      ]];
    })
  );
  return table([
    "What",
    "Namespaces",
    "Who",
    "Targets",
    "Seconds",
    "Writes",
    "Sent, MB",
    "Received, MB",
    "CPU, s",
    "CPU, ms a target",
    "API server's CPU, s",
    "RSS, MiB",
    "Peak, MiB",
  ], rows);
}

/** What was measured, in the order in which it was first. */
function groups(measurements: readonly Measurement[]) {
  const found = new Map<string, Required<Omit<Selection, "contender">>>();
  for (const { scenario, content, namespaces } of measurements) {
    const key = `${scenario}/${content}/${namespaces}`;
    if (!found.has(key)) found.set(key, { scenario, content, namespaces });
  }
  return [...found.values()];
}

function secondsOfAll(measurements: readonly Measurement[]): number | undefined {
  return measurements.length === 0 ? undefined : median(measurements.map((it) => it.seconds));
}

function seconds(value: number | undefined): string {
  return value === undefined ? "" : value.toFixed(2);
}

function text(value: number | undefined): string {
  return value === undefined ? "" : figureText(value);
}

function whole(value: number): string {
  return value.toLocaleString("en-US");
}

/** A table with its columns aligned, as `deno fmt` has it; undefined without rows. */
function table(head: readonly string[], rows: readonly (readonly string[])[]): string | undefined {
  if (rows.length === 0) return undefined;
  const widths = head.map((_, column) =>
    Math.max(3, ...[head, ...rows].map((row) => row[column]?.length ?? 0))
  );
  const line = (cells: readonly string[]) =>
    `| ${cells.map((cell, column) => cell.padEnd(widths[column] ?? 0)).join(" | ")} |`;
  return [line(head), line(widths.map((width) => "-".repeat(width))), ...rows.map(line)].join("\n");
}
