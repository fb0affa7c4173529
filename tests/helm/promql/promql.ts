import { buildGoPrograms, cacheDirectory } from "../../cluster/go_programs.ts";

/** What Prometheus reads in an expression. */
export interface PromqlExpression {
  /** What is wrong with it, with the place; all else is missing then. */
  readonly error?: string;
  /** `scalar`, `vector` or `matrix`. */
  readonly type?: string;
  readonly selectors?: readonly { readonly metric: string; readonly labels: readonly string[] }[];
  /** Labels that operators keep, or match by. */
  readonly grouped?: readonly string[];
}

/** What Prometheus reads. */
export interface PromqlAnswer {
  /** What is wrong with the rules, the templates of their annotations too. */
  readonly ruleErrors: readonly string[];
  /** One for each that was asked for. */
  readonly expressions: readonly PromqlExpression[];
}

/**
 * Reads rules and expressions with the code of Prometheus itself.
 *
 * @param rules a file of rules, as Prometheus takes it.
 * @throws {GoToolchainError} {GoBuildError} if the program cannot be built.
 * @throws {Error} if it fails.
 */
export async function readPromql(rules: string, expressions: readonly string[]): Promise<PromqlAnswer> {
  const process = new Deno.Command(await buildPromql(), {
    stdin: "piped",
    stdout: "piped",
    stderr: "inherit",
  })
    .spawn();
  const [, answer, status] = await Promise.all([
    new Blob([JSON.stringify({ rules, expressions })]).stream().pipeTo(process.stdin),
    process.stdout.text(),
    process.status,
  ]);
  if (!status.success) throw new Error(`Failed to read PromQL: exit code ${status.code}`);
  return JSON.parse(answer);
}

/**
 * Builds the program that reads them, into the cache, and returns its path.
 *
 * @throws {GoToolchainError} {GoBuildError}
 */
export async function buildPromql(): Promise<string> {
  const folder = import.meta.dirname ?? ".";
  const source = await crypto.subtle.digest("SHA-256", await Deno.readFile(`${folder}/main.go`));
  const directory = await buildGoPrograms({
    module: folder,
    cache: `${cacheDirectory()}/promql`,
    programs: { promql: "." },
    // The flags are part of the cache's key: so is the source, by a variable that is not there.
    ldflags: `-s -w -X main.source=${new Uint8Array(source).toHex()}`,
    report: (line) => console.error(line),
  });
  return `${directory}/promql`;
}
