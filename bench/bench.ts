/**
 * Measures the operator beside the Go peer and a bare loop of the same writes, on a real API server. See README.md.
 *
 * Prints progress to standard error, and tables to standard output. What was measured is kept in `results/`, and the tables and the
 * chart of README.md are made anew, if nothing was left out.
 */
import { parseArgs } from "node:util";
import { PERMISSIONS, SCRIPT } from "../build.ts";
import { VERSION } from "../lib/version.ts";
import { ROOT } from "../tests/project_files.ts";
import { PEER_VERSION } from "../tests/peer/build_peer.ts";
import { BenchCluster } from "./bench_cluster.ts";
import { chartOf } from "./chart.ts";
import { type Contender, operatorContender, peerContender } from "./contender.ts";
import type { Measurement } from "./measurement.ts";
import { planOf, type PlanOptions, type ScenarioName, SCENARIOS, STANDARD, type Stint } from "./plan.ts";
import { markdownOf } from "./report.ts";
import type { Results } from "./results.ts";
import { bareLoops, events, manyBundles, manyTargets, sync } from "./scenarios.ts";
import type { Stage } from "./session.ts";
import { percentile } from "./statistics.ts";
import { figureText } from "./targets.ts";
import { TrustContent } from "./trust_content.ts";

const CERTIFICATES = "/etc/ssl/certs/ca-certificates.crt";

/** How many new namespaces are timed. */
const NEW_NAMESPACES = { operator: 100, peer: 30 } as const;

const USAGE = `deno task bench [options]
  --sizes=${STANDARD.sizes}          numbers of namespaces; 5000 takes 20 minutes more
  --scenarios=a,b,…             ${SCENARIOS.join(", ")}; default: all but targets
  --peer=${STANDARD.peerSizes}                    sizes at which the Go peer takes part; none for no peer; 1000 takes 15 minutes
  --rounds=${STANDARD.rounds}                    how often operator, loops and peer take turns
  --script=dist/trust-manager.js  another build of the operator, which is taken as it is
  --runtime-flags="a b"         other flags of Deno than those of build.ts, for experiments; may be empty
  --json=<file>                 what was measured goes there as well
Without options, results/ and README.md get what came out.`;

interface Settings {
  readonly plan: PlanOptions;
  readonly script: string | undefined;
  readonly runtimeFlags: readonly string[] | undefined;
  readonly json: string | undefined;
  /** Whether what came out is kept. */
  readonly keep: boolean;
}

function readSettings(args: readonly string[]): Settings | undefined {
  const { values } = parseArgs({
    args: [...args],
    options: {
      "sizes": { type: "string" },
      "scenarios": { type: "string" },
      "peer": { type: "string" },
      "rounds": { type: "string" },
      "script": { type: "string" },
      "runtime-flags": { type: "string" },
      "json": { type: "string" },
      "help": { type: "boolean" },
    },
  });
  if (values.help) return undefined;
  const numbers = (text: string) => text.split(",").map(Number).filter((number) => number > 0);
  const scenarios = values.scenarios?.split(",") ?? [...STANDARD.scenarios];
  const unknown = scenarios.filter((name) => !(SCENARIOS as readonly string[]).includes(name));
  if (unknown.length > 0) throw new Error(`No such scenario: ${unknown.join(", ")}\n${USAGE}`);
  return {
    plan: {
      sizes: values.sizes === undefined ? STANDARD.sizes : numbers(values.sizes),
      scenarios: new Set(scenarios as ScenarioName[]),
      peerSizes: values.peer === undefined ? STANDARD.peerSizes : numbers(values.peer),
      rounds: values.rounds === undefined ? STANDARD.rounds : Number(values.rounds),
    },
    script: values.script,
    runtimeFlags: values["runtime-flags"]?.split(" ").filter((flag) => flag !== ""),
    json: values.json,
    keep: Object.entries(values).every(([name]) => name === "json"),
  };
}

/**
 * What is written before anything is measured, besides a first sync. An API server that has just started is slower, which is not to count
 * against whoever comes first: with all key stores its memory grows from 2 to 9 GiB before it stays.
 */
const WARM_UP = [8, 16, 32, 8, 16, 32] as const;

/** Runs all that is to be done on one cluster, and hands over what was measured. */
async function runStint(
  stint: Stint,
  contenders: { readonly operator: Contender; readonly peer: Contender | undefined },
  trust: TrustContent,
  record: (measurement: Measurement) => void,
): Promise<void> {
  const { operator, peer } = contenders;
  await using cluster = await BenchCluster.start(stint.namespaces, say);
  const stage: Stage = { cluster, trust, content: stint.content, record };
  if (stint.rounds > 0) await bareLoops({ ...stage, record: () => {} }, WARM_UP);
  for (let round = 0; round < stint.rounds; round++) {
    const turns = [() => sync(stage, operator), () => bareLoops(stage)];
    for (const turn of round % 2 === 0 ? turns : turns.toReversed()) await turn();
    if (peer !== undefined && round < stint.peerRounds) await sync(stage, peer);
  }
  if (stint.manyBundles) await manyBundles(stage, operator);
  if (stint.manyTargets) await manyTargets(stage, peer === undefined ? [operator] : [operator, peer]);
  if (stint.events.size > 0) await events(stage, operator, stint.events, NEW_NAMESPACES.operator);
  if (peer !== undefined && stint.peerEvents.size > 0) {
    await events(stage, peer, stint.peerEvents, NEW_NAMESPACES.peer);
  }
}

async function main(args: readonly string[]): Promise<number> {
  const settings = readSettings(args);
  if (settings === undefined) {
    console.log(USAGE);
    return 0;
  }
  const date = new Date().toISOString();
  if (settings.script === undefined) await deno("run", "--allow-all", "build.ts");
  await warmUp(settings.script ?? SCRIPT);
  const stints = planOf(settings.plan);
  const trust = await TrustContent.read(CERTIFICATES);
  const contenders = {
    operator: operatorContender(settings.script ?? SCRIPT, settings.runtimeFlags),
    peer:
      stints.some(({ peerRounds, peerEvents, manyTargets }) =>
          peerRounds + peerEvents.size > 0 || manyTargets
        )
        ? await peerContender(say)
        : undefined,
  };
  const measurements: Measurement[] = [];
  for (const [index, stint] of stints.entries()) {
    say(`Part ${index + 1} of ${stints.length}: ${stint.namespaces} namespaces, ${stint.content}`);
    await runStint(stint, contenders, trust, (measurement) => {
      measurements.push(measurement);
      say(lineOf(measurement));
    });
  }
  const results: Results = {
    date,
    machine: await machine(),
    versions: {
      operator: VERSION,
      deno: Deno.version.deno,
      peer: PEER_VERSION,
      kubernetes: await kubernetesVersion(),
    },
    certificates: trust.size,
    seconds: Math.round(performance.now() / 1000),
    measurements,
  };
  console.log(markdownOf(results));
  if (settings.json !== undefined) {
    await Deno.writeTextFile(settings.json, JSON.stringify(results, null, 2) + "\n");
  }
  if (settings.keep) await keep(results);
  return 0;
}

/** Deno analyses a script that it has never seen before, which makes its first start larger and slower; a binary has that built in. */
async function warmUp(script: string): Promise<void> {
  await deno("run", "--quiet", "--no-config", "--no-lock", ...PERMISSIONS, script, "--help");
}

/** Puts what came out into `results/` and README.md. */
async function keep(results: Results): Promise<void> {
  const name = results.date.slice(0, 10);
  const folder = `${ROOT}/bench/results`;
  await Deno.mkdir(folder, { recursive: true });
  await Deno.writeTextFile(`${folder}/${name}.json`, JSON.stringify(results, null, 2) + "\n");
  await Deno.writeTextFile(`${folder}/${name}.svg`, chartOf(results.measurements));
  const readme = `${ROOT}/bench/README.md`;
  const text = await Deno.readTextFile(readme);
  const [begin, end] = ["<!-- results -->\n", "<!-- end of results -->"];
  const [before, rest] = [text.indexOf(begin) + begin.length, text.indexOf(end)];
  if (before < begin.length || rest < before) throw new Error(`Found no place for results in ${readme}`);
  const chart = `![Operator, Go peer and bare loop compared](results/${name}.svg)`;
  const made = `\n${chart}\n\n${markdownOf(results)}\n\n`;
  await Deno.writeTextFile(readme, text.slice(0, before) + made + text.slice(rest));
  await deno("fmt", "--quiet", readme, `${folder}/${name}.json`, `${folder}/${name}.svg`);
  say(`Wrote bench/results/${name}.json, bench/results/${name}.svg and bench/README.md`);
}

function lineOf(measurement: Measurement): string {
  const { contender, scenario, targets, seconds, latenciesMs, cpuSeconds, rssMib, peakMib } = measurement;
  const speed = targets === 0 ? "" : `, ${figureText(targets / seconds)} targets/s`;
  const latency = latenciesMs === undefined
    ? ""
    : `, p50 ${figureText(percentile(latenciesMs, 0.5))} ms, p99 ${
      figureText(percentile(latenciesMs, 0.99))
    } ms`;
  return `${contender}: ${scenario}: ${seconds.toFixed(2)} s${speed}${latency}, CPU ${
    cpuSeconds.toFixed(2)
  } s, ` +
    `RSS ${rssMib.toFixed(0)} MiB, peak ${peakMib.toFixed(0)} MiB`;
}

function say(line: string): void {
  console.error(`[${(performance.now() / 1000).toFixed(0).padStart(4)} s] ${line}`);
}

async function deno(...args: string[]): Promise<void> {
  const { success, stderr } = await new Deno.Command(Deno.execPath(), { args, cwd: ROOT }).output();
  if (!success) throw new Error(`Failed: deno ${args.join(" ")}\n${new TextDecoder().decode(stderr)}`);
}

async function machine(): Promise<Results["machine"]> {
  const processor = /^model name\s*: (.*)$/m.exec(await Deno.readTextFile("/proc/cpuinfo"))?.[1] ??
    "processor";
  const memoryGib = Math.round(Deno.systemMemoryInfo().total / 2 ** 30);
  return { processor: processor.trim(), cores: navigator.hardwareConcurrency, memoryGib };
}

/** The version of the API server that `tests/cluster/go.mod` pins. */
async function kubernetesVersion(): Promise<string> {
  const module = await Deno.readTextFile(`${ROOT}/tests/cluster/go.mod`);
  return /k8s\.io\/kubernetes (v\S+)/.exec(module)?.[1] ?? "unknown";
}

if (import.meta.main) {
  // Interrupted, it still ends what it has started: guards of the processes see to that, when this process is gone.
  Deno.exit(await main(Deno.args));
}
