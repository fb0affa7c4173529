import type { ContenderName, Measurement } from "./measurement.ts";
import { bestLoop, cpuPerTarget, select } from "./results.ts";
import { median } from "./statistics.ts";
import { figureText } from "./targets.ts";

/** One bar of the chart. */
interface Bar {
  readonly label: string;
  readonly value: number;
  readonly kind: "operator" | "peer" | "loop";
}

/** Bars of one figure. */
interface Panel {
  readonly title: string;
  readonly bars: readonly Bar[];
}

const WIDTH = 720;
const LABEL_WIDTH = 230;
const BAR_WIDTH = 380;
const ROW = 22;

/** A picture (SVG) of what a source change takes, for operator, peer and bare loop. Pure. */
export function chartOf(measurements: readonly Measurement[]): string {
  const panels: Panel[] = [
    panel("Targets written a second, after a source change", measurements, (it) => it.targets / it.seconds),
    panel("CPU time a target, milliseconds", measurements, cpuPerTarget),
    panel("Peak of resident memory, MiB", measurements, (it) => it.peakMib),
  ].filter(({ bars }) => bars.length > 0);
  const parts: string[] = [];
  let y = 10;
  for (const { title, bars } of panels) {
    y += 24;
    parts.push(`<text class="title" x="10" y="${y}">${title}</text>`);
    y += 10;
    const most = Math.max(...bars.map(({ value }) => value));
    for (const { label, value, kind } of bars) {
      const length = Math.max(1, value / most * BAR_WIDTH);
      const middle = y + ROW / 2 + 4;
      parts.push(
        `<text x="${LABEL_WIDTH - 8}" y="${middle}" text-anchor="end">${label}</text>`,
        `<rect class="${kind}" x="${LABEL_WIDTH}" y="${y + 3}" width="${length.toFixed(1)}" height="${
          ROW - 6
        }" rx="2"/>`,
        `<text x="${(LABEL_WIDTH + length + 6).toFixed(1)}" y="${middle}">${figureText(value)}</text>`,
      );
      y += ROW;
    }
    y += 10;
  }
  return `<svg xmlns="http://www.w3.org/2000/svg" width="${WIDTH}" height="${y}" viewBox="0 0 ${WIDTH} ${y}" role="img">
<title>Operator, Go peer and bare loop compared</title>
<style>
  text { font: 13px sans-serif; fill: #24292f; }
  .title { font-weight: bold; }
  .operator { fill: #1f6feb; } .peer { fill: #8b949e; } .loop { fill: #a5d6a7; }
</style>
<rect width="100%" height="100%" fill="#ffffff"/>
${parts.join("\n")}
</svg>
`;
}

function panel(
  title: string,
  measurements: readonly Measurement[],
  valueOf: (measurement: Measurement) => number,
): Panel {
  const changes = select(measurements, { scenario: "source change" });
  const bars: Bar[] = [];
  for (const content of ["PEM", "all formats"] as const) {
    const sizes = new Set(select(changes, { content }).map(({ namespaces }) => namespaces));
    for (const namespaces of [...sizes].sort((a, b) => a - b)) {
      const where = `${namespaces.toLocaleString("en-US")} namespaces, ${content}`;
      const add = (kind: Bar["kind"], found: readonly Measurement[]) => {
        if (found.length === 0) return;
        const who = kind === "loop" ? "best bare loop" : kind;
        bars.push({
          kind,
          label: kind === "operator" ? `${where}: ${who}` : who,
          value: median(found.map(valueOf)),
        });
      };
      const of = (contender: ContenderName) => select(changes, { content, namespaces, contender });
      add("operator", of("operator"));
      add("loop", bestLoop(changes, { content, namespaces }));
      add("peer", of("peer"));
    }
  }
  return { title, bars };
}
