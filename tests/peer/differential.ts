/**
 * A differential run: random worlds happen to two clusters alike, one with the Go trust-manager and one with this operator. After each step
 * both must show the same, but for what docs/migration.md says. CONTRIBUTING.md tells how to run it, and what it does not see.
 */
import { parseArgs } from "node:util";
import { answerReview } from "../../webhook/review.ts";
import { admissionReview } from "../admission_review.ts";
import { anySeed } from "../faults/soak.ts";
import { askAdmissionOracle } from "../oracles/admission/oracle.ts";
import { ROOT } from "../project_files.ts";
import { sleep } from "../until.ts";
import { type Difference, DifferenceJudge, type Explained, KNOWN_ROWS } from "./known_differences.ts";
import { randomWorld, type World, type WorldStep } from "./random_world.ts";
import { startPeer } from "./run_peer.ts";
import { type StartOperator, WorldSide } from "./world_side.ts";

/** How long both sides are looked at again while they differ in what is not known. */
const PATIENCE_MS = 10_000;

const startOurs: StartOperator = async (cluster, flags) => {
  const operator = await cluster.operator(...flags);
  return { idle: () => Promise.resolve(true), stop: () => operator.stop() };
};

const startTheirs: StartOperator = async (cluster, flags) => {
  const peer = await startPeer({ kubeconfig: cluster.operatorKubeconfig, args: flags });
  const idle = async () => {
    const text = await (await fetch(peer.metricsUrl)).text();
    const isBusy = (line: string) =>
      /^(controller_runtime_active_workers|workqueue_depth)\{/.test(line) && !line.endsWith(" 0");
    return !text.split("\n").some(isBusy);
  };
  return { idle, stop: () => peer.stop() };
};

/** What to run. */
interface DifferentialOptions {
  /** Of the first world; the next ones have the next seeds. */
  readonly seed: number;
  readonly worlds: number;
  /** Whether known differences are told, too. */
  readonly verbose: boolean;
  /** Is given lines. */
  readonly report: (line: string) => void;
}

class DifferentialRun {
  readonly #options: DifferentialOptions;
  #peer: WorldSide;
  #ours: WorldSide;
  readonly #counts = new Map<string, number>();
  readonly #bundles: unknown[] = [];
  #steps = 0;
  #compared = 0;
  #synced = 0;
  #unsynced = 0;
  #unknown = 0;

  constructor(options: DifferentialOptions, peer: WorldSide, ours: WorldSide) {
    this.#options = options;
    this.#peer = peer;
    this.#ours = ours;
  }

  /** @returns how many differences are not known. */
  async run(): Promise<number> {
    const { seed, worlds, report } = this.#options;
    for (let i = 0; i < worlds; i++) {
      const begin = performance.now();
      await this.#live(randomWorld(seed + i, `w${seed + i}`), seed + i);
      const seconds = Math.round((performance.now() - begin) / 1000);
      report(`World ${seed + i} took ${seconds} s; ${this.#unknown} unknown differences so far`);
    }
    await this.#compareAdmission();
    report(
      `${worlds} worlds, ${this.#steps} steps, ${this.#compared} values compared; Bundles were in sync ` +
        `${this.#synced} times and not ${this.#unsynced} times`,
    );
    for (const [row, count] of [...this.#counts].sort(([, a], [, b]) => b - a)) {
      report(`${count} times: ${row}`);
    }
    report(`${this.#unknown} differences that are not known`);
    return this.#unknown;
  }

  async #live(world: World, seed: number): Promise<void> {
    const judge = new DifferenceJudge();
    const told = new Set<string>();
    await this.#both((side) => side.begin(world));
    for (const [index, step] of world.steps.entries()) {
      const tell = (difference: Difference | Explained) => {
        const { path, peer, ours } = difference;
        const row = "row" in difference ? difference.row : undefined;
        const key = JSON.stringify([path, peer, ours]);
        if (told.has(key)) return;
        told.add(key);
        if (row === undefined) this.#unknown++;
        else this.#counts.set(row, (this.#counts.get(row) ?? 0) + 1);
        if (row !== undefined && !this.#options.verbose) return;
        this.#options.report(
          `${row ?? "UNKNOWN"}: world ${seed}, step ${index} (${step.text})\n  ${path}\n    Go project: ${
            peer ?? "nothing"
          }\n    here: ${ours ?? "nothing"}`,
        );
      };
      for (const difference of await this.#step(step, judge, told)) tell(difference);
    }
    await this.#both((side) => side.clean());
  }

  /** Makes a step happen. @returns all differences after it. */
  async #step(
    step: WorldStep,
    judge: DifferenceJudge,
    told: ReadonlySet<string>,
  ): Promise<(Difference | Explained)[]> {
    const mayAnswerDiffer = step.requests.some((request) => judge.mayAnswerDiffer(request));
    const found: (Difference | Explained)[] = [];
    if (step.stopped || step.swap) await this.#both((side) => side.pause());
    const [peerAnswers, answers] = await this.#both(async (side) => {
      const said: string[] = [];
      for (const request of step.requests) said.push(await side.send(request));
      return said.join(", ");
    });
    if (peerAnswers !== answers && !mayAnswerDiffer) {
      found.push({ path: "the API server's answer", peer: peerAnswers, ours: answers });
    }
    for (const request of step.requests) {
      judge.requested(request);
      if (request.path.includes("/bundles/") && request.body !== undefined) this.#bundles.push(request.body);
    }
    let untouched: ReadonlySet<string> = new Set();
    const before = new Map<WorldSide, ReadonlyMap<string, string>>();
    if (step.swap) {
      untouched = judge.alike(await this.#peer.look(), await this.#ours.look());
      await this.#both(async (side) => before.set(side, await side.versions()));
      [this.#peer, this.#ours] = [this.#ours, this.#peer];
      await this.#peer.use(startTheirs);
      await this.#ours.use(startOurs);
    }
    if (step.stopped || step.swap) await this.#both((side) => side.resume());
    const deadline = performance.now() + PATIENCE_MS;
    while (true) {
      const [peer, ours] = await this.#both((side) => side.rest());
      const { known, unknown } = judge.judge(peer, ours);
      const isNew = ({ path, peer, ours }: Difference) => !told.has(JSON.stringify([path, peer, ours]));
      if (unknown.some(isNew) && performance.now() < deadline) {
        await sleep(500);
        continue;
      }
      found.push(...unknown, ...known);
      this.#steps++;
      this.#compared += new Set([...peer.keys(), ...ours.keys()]).size;
      for (const [path, value] of ours) {
        if (/^Bundle \S+ Synced status$/.test(path)) value === "True" ? this.#synced++ : this.#unsynced++;
      }
      break;
    }
    for (const [side, versions] of before) {
      const after = await side.versions();
      for (const path of untouched) {
        if (after.get(path) === versions.get(path)) continue;
        const isOurs = side === this.#ours;
        found.push({ path: `${path} was written at the take-over`, peer: `${!isOurs}`, ours: `${isOurs}` });
      }
    }
    return found;
  }

  /** Asks both webhooks about all Bundles that there were. */
  async #compareAdmission(): Promise<void> {
    const reviews = this.#bundles.map((bundle) => admissionReview(bundle));
    const answers = await askAdmissionOracle(reviews);
    for (const [i, review] of reviews.entries()) {
      const say = ({ allowed, status }: { allowed: boolean; status?: { message?: string } }) =>
        // The order of errors is random there.
        allowed
          ? "allowed"
          : (status?.message ?? "").replace(/^\[(.*)\]$/s, "$1").split(/, (?=spec\.)/).sort().join();
      const peer = answers[i] === undefined ? "" : say(answers[i].body.response);
      const ours = say(answerReview(review, () => []).response);
      if (peer === ours) continue;
      this.#unknown++;
      this.#options.report(
        `UNKNOWN: admission of ${
          JSON.stringify(this.#bundles[i])
        }\n    Go project: ${peer}\n    here: ${ours}`,
      );
    }
    this.#compared += reviews.length;
    this.#options.report(`${reviews.length} Bundles were shown to both webhooks`);
  }

  async #both<T>(act: (side: WorldSide) => Promise<T>): Promise<[T, T]> {
    return await Promise.all([act(this.#peer), act(this.#ours)]);
  }
}

async function main(args: readonly string[]): Promise<number> {
  const { values } = parseArgs({
    args: [...args].filter((arg) => arg !== "--"),
    options: {
      seed: { type: "string" },
      worlds: { type: "string", default: "20" },
      verbose: { type: "boolean", default: false },
    },
  });
  const seed = values.seed === undefined ? anySeed() % 1_000_000 : Number(values.seed);
  const worlds = Number(values.worlds);
  if (!Number.isInteger(seed) || !Number.isInteger(worlds)) {
    console.error("Usage: deno task differential [--seed=<integer>] [--worlds=<count>] [--verbose]");
    return 2;
  }
  if (Deno.env.get("TEST_KUBECONFIG")) {
    console.error("A differential run needs two clusters, so it takes none of yours: unset TEST_KUBECONFIG");
    return 2;
  }
  const document = (await Deno.readTextFile(`${ROOT}/docs/migration.md`)).replaceAll(/ +/g, " ");
  const undocumented = KNOWN_ROWS.filter((row) => !document.includes(`\n| ${row}`));
  if (undocumented.length > 0) {
    console.error(`docs/migration.md does not tell: ${undocumented.join("; ")}`);
    return 1;
  }
  console.log(`Differential run: seed ${seed}`);
  await using stack = new AsyncDisposableStack();
  const peer = stack.use(await WorldSide.start(startTheirs));
  const ours = stack.use(await WorldSide.start(startOurs));
  const options = { seed, worlds, verbose: values.verbose, report: (line: string) => console.log(line) };
  return await new DifferentialRun(options, peer, ours).run() === 0 ? 0 : 1;
}

if (import.meta.main) Deno.exit(await main(Deno.args));
